//! The rest, with the test package `listener`: its sounds are three bands of the spectrum, "low", "middle" and "high".
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::f32::consts::TAU;
use std::fs;

use common::{LOAD_TIMEOUT, OFFLINE, PackageCopy, assert_same, package};
use sift_engine::{AuxOutputs, Controls, Instance, ModelChoice, Processor, RestSound};

const RATE: f32 = 48_000.0;
/// Frequencies within the three bands, in Hz. The mask for "low" reaches up to that of the middle band.
const LOW: f32 = 300.0;
const MIDDLE: f32 = 1_200.0;
const HIGH: f32 = 9_000.0;

/// Two seconds of sines of these frequencies and amplitudes.
fn sines(parts: &[(f32, f32)]) -> Vec<f32> {
    let sample = |at: usize| {
        parts
            .iter()
            .map(|(frequency, amplitude)| amplitude * (TAU * frequency * at as f32 / RATE).sin())
            .sum()
    };
    (0..2 * RATE as usize).map(sample).collect()
}

fn start(folder: &std::path::Path, text: &str, rest: &str) -> (Processor, Instance) {
    let instance = Instance::new(ModelChoice::Folder(folder.to_owned()));
    instance.queries().set_text(0, text);
    instance.queries().set_rest(rest);
    let processor = instance.start(OFFLINE);
    instance
        .wait_until_ready(LOAD_TIMEOUT)
        .expect("the model is ready: `cargo xtask test` sets ORT_DYLIB_PATH");
    (processor, instance)
}

/// Processes `input` in blocks of the sizes `blocks`, in turn.
fn play(processor: &mut Processor, input: &[f32], with_rest: bool, blocks: &[usize]) -> Vec<f32> {
    let mut output = input.to_vec();
    let mut left = &mut output[..];
    for &size in blocks.iter().cycle() {
        let (block, later) = left.split_at_mut(size.min(left.len()));
        if block.is_empty() {
            break;
        }
        let ones = vec![1.0; block.len()];
        let controls = Controls { with_rest, ..Controls::new(&ones, &ones) };
        processor.process(&mut [block], &mut AuxOutputs::default(), &controls);
        left = later;
    }
    output
}

/// Amplitude of a frequency in the last second.
fn amplitude(samples: &[f32], frequency: f32) -> f32 {
    let second = &samples[samples.len() - RATE as usize..];
    let part = |phase: f32| -> f32 {
        let wave = |(at, sample): (usize, &f32)| sample * (TAU * frequency * at as f32 / RATE + phase).sin();
        second.iter().enumerate().map(wave).sum::<f32>() * 2.0 / RATE
    };
    part(0.0).hypot(part(TAU / 4.0))
}

/// Renders `text` over a low and a middle sine; returns the output and the rest at its end.
fn render(text: &str, rest: &str, with_rest: bool) -> (Vec<f32>, Option<RestSound>) {
    let (mut processor, instance) = start(&package("listener"), text, rest);
    let output = play(&mut processor, &sines(&[(LOW, 0.3), (MIDDLE, 0.3)]), with_rest, &[512]);
    (output, instance.snapshot().unwrap().hearing.rest)
}

#[test]
fn sound_that_is_heard_beside_the_text_is_its_rest() {
    let (plain, none) = render("low", "", false);
    let (output, rest) = render("low", "", true);
    assert_eq!(none, None);
    let rest = rest.unwrap();
    assert_eq!(rest.name.as_deref(), Some("middle"));
    assert!(rest.weight > 0.1, "{rest:?}");
    assert!(amplitude(&output, MIDDLE) < 0.6 * amplitude(&plain, MIDDLE));
    assert!(amplitude(&output, LOW) > 0.98 * amplitude(&plain, LOW));
}

#[test]
fn rest_that_was_said_competes_though_it_is_quiet() {
    let quiet = sines(&[(LOW, 0.3), (MIDDLE, 0.003)]);
    let play_with = |rest: &str| {
        let (mut processor, instance) = start(&package("listener"), "low", rest);
        let output = play(&mut processor, &quiet, true, &[512]);
        (amplitude(&output, MIDDLE), instance.snapshot().unwrap().hearing.rest)
    };
    let (heard, none) = play_with("");
    let (said, rest) = play_with("middle");
    assert_eq!(none, None);
    assert_eq!(rest, Some(RestSound { name: None, weight: 1.0 }));
    assert!(said < 0.5 * heard, "{said} {heard}");
}

#[test]
fn text_that_is_not_understood_has_no_rest_of_its_own_accord() {
    let (plain, _) = render("something else", "", false);
    let (output, rest) = render("something else", "", true);
    assert_eq!(rest, None);
    assert_same(&output, &plain);
}

#[test]
fn bits_do_not_depend_on_the_sizes_of_blocks() {
    let mut input = sines(&[(LOW, 0.3), (HIGH, 0.2)]);
    // The rest changes on the way.
    let later = sines(&[(LOW, 0.3), (MIDDLE, 0.4)]);
    input.extend(later);
    let outputs = [&[512][..], &[1, 64, 500], &[37]].map(|blocks| {
        let (mut processor, _instance) = start(&package("listener"), "low", "");
        play(&mut processor, &input, true, blocks)
    });
    assert_same(&outputs[1], &outputs[0]);
    assert_same(&outputs[2], &outputs[0]);
}

#[test]
fn reset_and_seek_begin_with_no_rest() {
    let (mut processor, _instance) = start(&package("listener"), "low", "");
    let input = sines(&[(LOW, 0.3), (HIGH, 0.3)]);
    let first = play(&mut processor, &input, true, &[512]);
    processor.reset();
    assert_same(&play(&mut processor, &input, true, &[512]), &first);
}

#[test]
fn without_the_rest_a_listener_changes_no_bit() {
    let copy = PackageCopy::of(&package("listener"));
    let manifest = fs::read_to_string(copy.path().join("package.toml")).unwrap();
    let table = &manifest[manifest.find("[listener]").unwrap()..];
    copy.edit_manifest(table, "");
    let input = sines(&[(LOW, 0.3), (MIDDLE, 0.3)]);
    let (mut processor, instance) = start(copy.path(), "low", "");
    let expected = play(&mut processor, &input, true, &[512]);
    assert_eq!(instance.snapshot().unwrap().hearing.problem, None);
    assert_same(&render("low", "", false).0, &expected);
}

#[test]
fn broken_listener_is_named_and_the_text_is_separated_without_it() {
    let plain = render("low", "", false).0;
    type Damage = fn(&PackageCopy);
    let damage: [(&str, &str, Damage); 5] = [
        ("listener.json", "No such file", |copy| {
            fs::remove_file(copy.path().join("listener.json")).unwrap();
        }),
        ("listener.json", "`concepts` is empty", |copy| {
            let rule = r#"{"from": 0.5, "full": 0.9, "strength": 1, "fade": 0, "switch": 0, "margin": 0}"#;
            let text = format!(r#"{{"concepts": [], "rest": {rule}}}"#);
            fs::write(copy.path().join("listener.json"), text).unwrap();
        }),
        ("listener.f16", "has 4 bytes; expected", |copy| {
            fs::write(copy.path().join("listener.f16"), [0; 4]).unwrap();
        }),
        ("listener.onnx", "listener.sha256", |copy| {
            fs::write(copy.path().join("listener.onnx"), b"changed").unwrap();
        }),
        ("listener.onnx", "has no input `magnitude`", |copy| {
            let query = fs::read(copy.path().join("query.onnx")).unwrap();
            copy.replace("listener.onnx", &query);
        }),
    ];
    for (file, fault, break_it) in damage {
        let copy = PackageCopy::of(&package("listener"));
        break_it(&copy);
        let (mut processor, instance) = start(copy.path(), "low", "");
        let output = play(&mut processor, &sines(&[(LOW, 0.3), (MIDDLE, 0.3)]), true, &[512]);
        let problem = instance.snapshot().unwrap().hearing.problem.unwrap();
        assert!(problem.contains(file) && problem.contains(fault), "{problem}");
        assert_same(&output, &plain);
    }
}
