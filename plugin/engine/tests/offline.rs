//! Listening to recordings and splitting them, with a package whose sounds are bands of the spectrum.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::f32::consts::TAU;

use common::{PackageCopy, package};
use sift_engine::ModelChoice;
use sift_engine::offline::OfflineModel;
use sift_engine::offline::timeline::Timeline;

const RATE: u32 = 48_000;

fn open(name: &str) -> Result<OfflineModel, String> {
    OfflineModel::open(&ModelChoice::Folder(package(name)))
}

/// A sine of `frequency` hertz from `start` to `end` of ten seconds, with fades of 20 ms.
fn tone(frequency: f32, start: f32, end: f32) -> Vec<f32> {
    let sample = |n: usize| {
        let time = n as f32 / RATE as f32;
        let fade = ((time - start).min(end - time) / 0.02).clamp(0.0, 1.0);
        0.3 * fade * (TAU * frequency * time).sin()
    };
    (0..10 * RATE as usize).map(sample).collect()
}

fn mix(tones: &[Vec<f32>]) -> Vec<f32> {
    (0..tones[0].len()).map(|n| tones.iter().map(|tone| tone[n]).sum()).collect()
}

fn listen(model: &mut OfflineModel, input: &[f32]) -> Timeline {
    let mut listener = model.listen(RATE, 1);
    for block in input.chunks(4_000) {
        listener.push(&[block]).unwrap();
    }
    listener.finish().unwrap()
}

#[test]
fn timeline_has_each_sound_in_its_time() {
    let mut model = open("listener").unwrap();
    let input = mix(&[tone(300.0, 1.0, 4.0), tone(2_000.0, 3.0, 10.0), tone(9_000.0, 6.0, 6.3)]);
    let timeline = listen(&mut model, &input);
    assert_eq!(timeline.seconds, 10.0);
    let names: Vec<_> = timeline.sounds.iter().map(|sound| &*sound.name).collect();
    assert_eq!(names, ["low", "middle", "high"]);
    for (sound, (start, end)) in timeline.sounds.iter().zip([(1.0, 4.0), (3.0, 10.0), (6.0, 6.3)]) {
        let [segment] = &sound.segments[..] else { panic!("{sound:?}") };
        // The listener of this package hears a sound for a second after its end, but not after that of the recording.
        let latest = f64::min(end + 1.0, 10.0);
        assert!((segment.start - start).abs() < 0.15, "{sound:?}");
        assert!(segment.end > end - 0.1 && segment.end <= latest, "{sound:?}");
        assert!(sound.probability() > 0.9, "{sound:?}");
    }
}

#[test]
fn silence_has_no_sounds_and_a_recording_leaves_no_trace() {
    let mut model = open("listener").unwrap();
    let before = listen(&mut model, &tone(300.0, 0.0, 10.0));
    assert_eq!(listen(&mut model, &[0.0; 48_000]).sounds, []);
    assert_eq!(listen(&mut model, &tone(300.0, 0.0, 10.0)), before);
}

#[test]
fn stems_are_the_sounds_and_add_up_to_the_input() {
    let model = open("listener").unwrap();
    let sounds = [tone(300.0, 0.0, 10.0), tone(9_000.0, 2.0, 9.0), tone(2_000.0, 0.0, 5.0)];
    let input = mix(&sounds);
    let mut splitter = model.split(&[0, 2], RATE, 1).unwrap();
    let mut stems = vec![Vec::<f32>::new(); 3];
    let mut append = |ready: &[Vec<Vec<f32>>]| {
        stems.iter_mut().zip(ready).for_each(|(stem, ready)| stem.extend(&ready[0]));
    };
    for block in input.chunks(1_234) {
        append(splitter.push(&[block]).unwrap());
    }
    append(splitter.finish().unwrap());
    for (n, sample) in input.iter().enumerate() {
        assert!((stems.iter().map(|stem| stem[n]).sum::<f32>() - sample).abs() < 1e-6);
    }
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    for (stem, sound) in stems.iter().zip(&sounds) {
        // Without the first frames, in which the masks rise.
        let (stem, sound) = (&stem[24_000..], &sound[24_000..]);
        let error: Vec<_> = stem.iter().zip(sound).map(|(stem, sound)| stem - sound).collect();
        assert!(energy(&error) < 0.05 * energy(sound), "{} of {}", energy(&error), energy(sound));
    }
}

#[test]
fn package_without_a_listener_is_refused() {
    let problem = open("half").err().unwrap();
    assert!(problem.contains("package.toml: the model cannot listen"), "{problem}");
}

#[test]
fn broken_listener_is_named() {
    let copy = PackageCopy::of(&package("listener"));
    copy.replace("listener.onnx", b"not a network");
    let problem = OfflineModel::open(&ModelChoice::Folder(copy.path().into())).err().unwrap();
    assert!(problem.contains("listener.onnx"), "{problem}");
}
