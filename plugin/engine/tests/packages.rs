//! Model packages in ONNX Runtime: separation, queries, and the errors of damaged packages.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{
    LOAD_TIMEOUT, OFFLINE, PackageCopy, assert_same, delayed, faults, package, play, sine, start,
    wait_until_encoded,
};
use sift_engine::inference::library;
use sift_engine::package::PackageInfo;
use sift_engine::{
    CancelToken, EncodedQuery, Instance, MaskFaults, Mode, PartRole, Processor, QueryEncoder, QueryText,
    SlotState, UnderstoodSound,
};

/// Starts an instance with the package in `folder` and waits until it is ready.
fn start_ready(folder: &Path) -> (Processor, Instance) {
    let (processor, instance) = start(folder);
    instance
        .wait_until_ready(LOAD_TIMEOUT)
        .expect("the model is ready: `cargo xtask test` sets ORT_DYLIB_PATH");
    (processor, instance)
}

#[test]
fn mask_of_one_returns_the_delayed_input() {
    let (mut processor, _instance) = start_ready(&package("identity"));
    let input = sine(48_000);
    let output = play(&mut processor, &input, Mode::Isolate, 0);
    let dry = delayed(&input, processor.latency());
    assert!(output.iter().zip(&dry).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn window_model_gives_the_masks_of_a_streaming_one_later() {
    // The level changes at times that are not multiples of the hop.
    let mut input = sine(64_000);
    let mut start = 0;
    for (number, length) in (0..).map(|number| (number, 2_000 + 777 * (number % 5))) {
        if start >= input.len() {
            break;
        }
        let end = input.len().min(start + length);
        let gain = if number % 2 == 0 { 1.0 } else { 0.01 };
        input[start..end].iter_mut().for_each(|sample| *sample *= gain);
        start = end;
    }
    let [(streaming, early), (window, late)] = ["gate", "window"].map(|name| {
        let (mut processor, instance) = start_ready(&package(name));
        let output = play(&mut processor, &input, Mode::Isolate, 0);
        assert_eq!(faults(&instance).missing(), 0, "{name}");
        (output, processor.latency())
    });
    // Ten hops: 3 of lookahead, up to 3 until the run, and up to 4 for the run.
    assert_eq!(late - early, 10 * 768);
    let frames = input.len() - late;
    assert_same(&window[late..], &streaming[early..][..frames]);
    let (output, all) = (energy(&streaming[early..]), energy(&input));
    assert!(output > 0.3 * all && output < 0.999 * all, "the gate passes an energy of {output} of {all}");
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

#[test]
fn mask_that_is_not_finite_passes_dry_and_is_counted() {
    for mode in [Mode::Isolate, Mode::Remove] {
        // The package's mask is NaN for loud frames.
        let (mut processor, instance) = start_ready(&package("nan"));
        let input = sine(24_000);
        let output = play(&mut processor, &input, mode, 0);
        assert_same(&output[12_000..], &delayed(&input, processor.latency())[12_000..]);
        assert!(faults(&instance).invalid > 10);
    }
}

#[test]
fn mask_of_huge_gains_passes_dry_and_is_counted() {
    let copy = PackageCopy::new();
    copy.replace("separator.onnx", &fs::read(package("hostile").join("huge.onnx")).unwrap());
    let (mut processor, instance) = start_ready(copy.path());
    let input = sine(24_000);
    let output = play(&mut processor, &input, Mode::Isolate, 0);
    assert_same(&output[12_000..], &delayed(&input, processor.latency())[12_000..]);
    assert!(faults(&instance).invalid > 10);
}

#[test]
fn text_set_in_a_slot_takes_effect() {
    let (mut processor, instance) = start_ready(&package("identity"));
    let queries = instance.queries();
    assert!((0..sift_engine::SLOTS).all(|slot| queries.slot_state(slot) == SlotState::Ready));
    let before = queries.generation();
    queries.set_text(3, "기타 소리 🎸");
    assert!(queries.generation() > before);
    assert_eq!(wait_until_encoded(queries, 3), SlotState::Ready);
    queries.set_text(3, "");
    let input = sine(24_000);
    let output = play(&mut processor, &input, Mode::Remove, 3);
    assert_same(&output, &delayed(&input, processor.latency()));
    assert_eq!(queries.slot_state(3), SlotState::Empty);
}

#[test]
fn default_model_renders_the_same_bits_each_time() {
    let render = || {
        let instance = Instance::default();
        let mut processor = instance.start(OFFLINE);
        let output = play(&mut processor, &sine(96_000), Mode::Isolate, 1);
        assert_eq!(faults(&instance), MaskFaults::default());
        instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
        output
    };
    let (first, second) = (render(), render());
    assert!(first == second, "the two renders differ");
    assert!(first.iter().all(|sample| sample.is_finite()));
}

#[test]
fn default_model_returns_the_nearest_concepts() {
    let instance = Instance::default();
    let _processor = instance.start(OFFLINE);
    let queries = instance.queries();
    let understood = |text| {
        queries.set_text(2, text);
        assert_eq!(wait_until_encoded(queries, 2), SlotState::Ready);
        queries.understanding(2)
    };
    let dog = understood("my dog is barking");
    let [sound] = &dog.keep[..] else { panic!("{dog:?}") };
    assert_eq!(sound.matches[0].name, "dog barking");
    assert!(sound.matches[0].closeness > 0.6, "{dog:?}");
    assert!(queries.concept_names().contains(&sound.matches[0].name));
    let bank = understood("a contract with the bank");
    assert!(!bank.is_sure(), "{bank:?}");
}

/// An encoder of the default model.
fn default_encoder() -> QueryEncoder {
    let package = PackageInfo::built_in().load().unwrap();
    QueryEncoder::new(library::environment().unwrap(), &package, CancelToken::default()).unwrap()
}

/// The selected concepts of each sound.
fn selected(sounds: &[UnderstoodSound]) -> Vec<Vec<&str>> {
    let names =
        |sound: &UnderstoodSound| sound.selected().map(|concept| &*concept.name.clone().leak()).collect();
    sounds.iter().map(names).collect()
}

/// A text with the concepts of the default model that it must mean. The tests of the training share these cases.
#[derive(serde::Deserialize)]
struct Case {
    text: String,
    keep: BTreeSet<String>,
    leave_out: BTreeSet<String>,
}

#[test]
fn default_model_understands_the_shared_cases() {
    let mut encoder = default_encoder();
    let mut missed = Vec::new();
    for line in include_str!("../../../tests/cases/understood.jsonl").lines() {
        let Case { text, keep, leave_out } = serde_json::from_str(line).unwrap();
        let understanding = encoder.encode(&text.as_str().into()).unwrap().understanding;
        let names = |sounds: &[UnderstoodSound]| -> BTreeSet<String> {
            sounds.iter().flat_map(UnderstoodSound::selected).map(|concept| concept.name.clone()).collect()
        };
        if (names(&understanding.keep), names(&understanding.leave_out)) != (keep, leave_out) {
            missed.push(format!("{text}: {}", understanding.describe()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn each_sound_of_a_text_is_a_part() {
    use PartRole::{Exclude, Include};
    let mut encoder = default_encoder();
    for (text, roles) in [
        ("drums and bass", &[Include, Include][..]),
        ("a person speaking, rain and a dog barking", &[Include, Include, Include]),
        ("everything but the drums and the bass", &[Exclude, Exclude]),
        ("피아노하고 바이올린", &[Include, Include]),
        ("vocals", &[Include, Include]),
        ("karaoke", &[Exclude, Exclude]),
        ("lead guitar without rhythm guitar", &[Include]),
        ("drums but no cymbals", &[Include]),
        ("accordion and drums", &[Include]),
        ("드럼하고 피아노 빼고 전부", &[Exclude, Exclude]),
        ("speech without music", &[Include, Exclude]),
        ("speech, but no music", &[Include, Exclude]),
        ("the whole mix without drums", &[Exclude]),
        ("drums, drums and drums", &[Include]),
        ("rock and roll", &[Include]),
        ("thunder and lightning", &[Include]),
        ("말하고 있는 사람", &[Include]),
        ("drums, bass, piano, violin, cello, harp, flute, trumpet", &[Include; 8]),
        ("drums, bass, piano, violin, cello, harp, flute, trumpet, organ", &[]),
        ("vocals, drums, bass, piano, violin, cello, harp, flute", &[]),
    ] {
        let EncodedQuery { parts, understanding, .. } = encoder.encode(&text.into()).unwrap();
        assert_eq!(parts.iter().map(|part| part.role).collect::<Vec<_>>(), roles, "{text}");
        let sounds = understanding.keep.len() + understanding.leave_out.len();
        assert_eq!(sounds, roles.len(), "{text}: {understanding:?}");
        assert_eq!(understanding.problem.is_some(), roles.is_empty(), "{text}");
    }
}

#[test]
fn ambiguous_name_has_a_part_for_each_meaning() {
    let mut encoder = default_encoder();
    let guitars = ["electric guitar", "acoustic guitar", "distorted guitar"];
    for text in ["guitar", "no guitar", "기타 소리"] {
        let EncodedQuery { parts, understanding, .. } = encoder.encode(&text.into()).unwrap();
        let sounds =
            if understanding.keep.is_empty() { &understanding.leave_out } else { &understanding.keep };
        let mut names = selected(sounds).concat();
        names.sort_unstable_by_key(|name| guitars.iter().position(|guitar| guitar == name));
        assert_eq!(names, guitars, "{text}");
        for (part, concept) in parts.iter().zip(sounds[0].selected()) {
            let single = encoder.encode(&concept.name.as_str().into()).unwrap();
            assert_eq!(part.embedding, single.parts[0].embedding, "{} of {text}", concept.name);
        }
        assert_eq!(parts.len(), guitars.len(), "{text}");
    }
    for text in ["an acoustic guitar", "drums"] {
        assert_eq!(encoder.encode(&text.into()).unwrap().parts.len(), 1, "{text}");
    }
}

#[test]
fn name_without_a_known_sound_lets_everything_pass() {
    let instance = Instance::default();
    let mut processor = instance.start(OFFLINE);
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    let queries = instance.queries();
    let input = sine(48_000);
    for (text, told) in [
        ("https://example.org/a-dog-barking.wav", "names no sound"),
        ("qqq xyzzy", "does not know “qqq xyzzy”"),
        ("내일 몇 시에 만날까요?", "does not know “내일 몇 시에 만날까요”"),
        ("drums, harp, flute, cello, violin, trumpet, organ, choir, piano", "names 9 sounds"),
        ("only", "names no sound"),
    ] {
        queries.set_text(1, text);
        assert_eq!(wait_until_encoded(queries, 1), SlotState::Ready, "{text}");
        let understanding = queries.understanding(1);
        assert!(understanding.passes_everything(), "{text}");
        assert!(understanding.describe().contains(told), "{}", understanding.describe());
        for mode in [Mode::Isolate, Mode::Remove] {
            processor.reset();
            let output = play(&mut processor, &input, mode, 1);
            assert_same(&output, &delayed(&input, processor.latency()));
        }
    }
}

#[test]
fn everything_else_is_what_the_other_slots_leave() {
    let instance = Instance::default();
    let _processor = instance.start(OFFLINE);
    let queries = instance.queries();
    for slot in 2..sift_engine::SLOTS {
        queries.set_text(slot, "");
    }
    queries.set_text(0, "everything else");
    queries.set_text(1, "drums and a violin");
    assert_eq!(wait_until_encoded(queries, 0), SlotState::Ready);
    assert_eq!(selected(&queries.understanding(0).leave_out), [["drums"], ["violin"]]);
    queries.set_text(1, "piano");
    assert_eq!(wait_until_encoded(queries, 0), SlotState::Ready);
    assert_eq!(selected(&queries.understanding(0).leave_out), [["piano"]]);
}

#[test]
fn context_decides_between_several_meanings() {
    let mut encoder = default_encoder();
    let mut meanings = |text: &str, others: &[&str]| {
        let others = others.iter().map(|&text| text.to_owned()).collect();
        let encoded = encoder.encode(&QueryText { text: text.into(), others }).unwrap();
        selected(&encoded.understanding.keep).concat().iter().map(|&name| name.to_owned()).collect::<Vec<_>>()
    };
    let alone = meanings("keyboard", &[]);
    assert!(alone.len() > 1 && alone.contains(&"keyboard typing".to_owned()), "{alone:?}");
    assert!(!meanings("keyboard and drums", &[]).contains(&"keyboard typing".to_owned()));
    assert!(!meanings("keyboard", &["violin"]).contains(&"keyboard typing".to_owned()));
    assert_eq!(meanings("keyboard", &["a typewriter"]), ["keyboard typing"]);
    assert_eq!(meanings("keyboard", &["drums"]), alone, "the text of a new instance decides nothing");
}

#[test]
fn slip_of_one_letter_finds_the_name() {
    let mut encoder = default_encoder();
    for (slip, name) in [("gutar", "guitar"), ("pianno", "piano"), ("drms", "drums"), ("no voilin", "violin")]
    {
        let understanding = encoder.encode(&slip.into()).unwrap().understanding;
        let sound = understanding.keep.iter().chain(&understanding.leave_out).next().unwrap();
        assert_eq!(sound.name, name);
        let typed = slip.trim_start_matches("no ");
        assert!(understanding.describe().contains(&format!("“{typed}” taken for “{name}”")));
    }
}

#[test]
fn several_sounds_of_a_text_all_pass_or_are_all_removed() {
    let instance = Instance::default();
    let queries = instance.queries();
    let mut processor = instance.start(OFFLINE);
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    // Short low tones over a steady high one.
    let beat = |sample: usize| if sample % 24_000 < 2_000 { 1.0 } else { 0.0 };
    let low: Vec<_> = (0..96_000).map(|sample| beat(sample) * (sample as f32 * 0.01).sin()).collect();
    let input: Vec<_> = low.iter().zip(sine(96_000)).map(|(low, high)| 0.5 * low + 0.2 * high).collect();
    let mut output_energy = |text: &str| {
        queries.set_text(1, text);
        assert_eq!(wait_until_encoded(queries, 1), SlotState::Ready, "{text}");
        processor.reset();
        energy(&play(&mut processor, &input, Mode::Isolate, 1))
    };
    let [drums, bass, both] = ["drums", "a bass guitar", "drums and a bass guitar"].map(&mut output_energy);
    assert!(both > 1.01 * drums.max(bass), "the energies {drums} and {bass} become {both} together");
    let [without_one, without_both] =
        ["everything but drums", "everything but drums and a bass guitar"].map(output_energy);
    assert!(
        without_both < 0.99 * without_one,
        "energy {without_one} without one, {without_both} without both"
    );
}

#[test]
fn package_without_concepts_has_no_matches() {
    let (_processor, instance) = start_ready(&package("identity"));
    let understanding = instance.queries().understanding(0);
    assert_eq!(understanding.describe(), "keeping person speaking");
    assert!(understanding.keep[0].matches.is_empty() && understanding.is_sure());
}

#[test]
fn invalid_concepts_are_named() {
    let copy = PackageCopy::new();
    let path = copy.path().join("concepts.json");
    fs::write(&path, r#"{"closeness": {"slope": 1.0}, "concepts": []}"#).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("concepts.json") && problem.contains("offset"), "{problem}");
    fs::write(&path, r#"{"closeness": {"slope": 1.0, "offset": 0.0}, "concepts": []}"#).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("query.onnx") && problem.contains("`concept`"), "{problem}");
}

#[test]
fn version_of_onnx_runtime_has_three_numbers() {
    let version = library::version().unwrap();
    assert!(
        version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok()),
        "{version}"
    );
}

#[test]
fn missing_network_passes_dry_and_is_named() {
    let copy = PackageCopy::new();
    fs::remove_file(copy.path().join("separator.onnx")).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("separator.onnx") && problem.contains("Install the package again"), "{problem}");
}

#[test]
fn damaged_network_is_named_with_its_hash() {
    let copy = PackageCopy::new();
    fs::write(copy.path().join("query.onnx"), b"damaged").unwrap();
    let problem = copy.problem();
    assert!(problem.contains("query.onnx") && problem.contains("query.sha256"), "{problem}");
}

#[test]
fn file_that_is_not_a_network_is_named() {
    for file in ["separator.onnx", "query.onnx"] {
        let copy = PackageCopy::new();
        copy.replace(file, b"not a network");
        assert!(copy.problem().contains(file));
    }
}

#[test]
fn network_with_another_n_fft_is_refused() {
    let copy = PackageCopy::new();
    copy.edit_manifest("n_fft = 1024", "n_fft = 2048");
    let problem = copy.problem();
    assert!(problem.contains("separator.onnx") && problem.contains("magnitude"), "{problem}");
}

#[test]
fn broken_tokenizer_is_named() {
    let copy = PackageCopy::new();
    fs::write(copy.path().join("tokenizer.json"), b"{}").unwrap();
    assert!(copy.problem().contains("tokenizer.json"));
}

#[test]
fn token_that_the_query_network_lacks_is_named() {
    let copy = PackageCopy::new();
    let tokenizer = fs::read_to_string(copy.path().join("tokenizer.json")).unwrap();
    let with_another = tokenizer.replacen("\"[UNK]\": 0", "\"[UNK]\": 0, \"rain\": 9000", 1);
    assert_ne!(with_another, tokenizer);
    fs::write(copy.path().join("tokenizer.json"), with_another).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("tokenizer.json") && problem.contains("the token of id 9000"), "{problem}");
}

#[test]
fn broken_manifest_is_named_with_its_field() {
    let copy = PackageCopy::new();
    copy.edit_manifest("hop = 512", "hop = -1");
    let problem = copy.problem();
    assert!(problem.contains("package.toml") && problem.contains("hop"), "{problem}");
}

#[test]
fn hostile_network_is_refused_in_time() {
    for (kind, expected) in [
        ("external", "external data"),
        ("external-attribute", "external data"),
        ("custom", "example"),
        ("memory", "separator.onnx"),
        ("state", "at most"),
    ] {
        let copy = PackageCopy::new();
        copy.replace("separator.onnx", &fs::read(package("hostile").join(format!("{kind}.onnx"))).unwrap());
        let start = Instant::now();
        let problem = copy.problem();
        assert!(problem.contains("separator.onnx") && problem.contains(expected), "{kind}: {problem}");
        assert!(start.elapsed() < Duration::from_secs(20), "{kind}: {:?}", start.elapsed());
    }
}

#[test]
fn tokenizer_of_a_gibibyte_is_refused_unread() {
    let copy = PackageCopy::new();
    fs::File::create(copy.path().join("tokenizer.json")).unwrap().set_len(1 << 30).unwrap();
    let start = Instant::now();
    let problem = copy.problem();
    assert!(problem.contains("tokenizer.json") && problem.contains("expected at most"), "{problem}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[cfg(unix)]
#[test]
fn link_out_of_the_folder_is_refused() {
    for file in ["package.toml", "separator.onnx", "query.onnx", "tokenizer.json"] {
        let (copy, outside) = (PackageCopy::new(), PackageCopy::new());
        fs::remove_file(copy.path().join(file)).unwrap();
        std::os::unix::fs::symlink(outside.path().join(file), copy.path().join(file)).unwrap();
        let problem =
            PackageInfo::read(copy.path()).and_then(|info| info.load().map(|_| ())).unwrap_err().to_string();
        assert!(problem.contains(file) && problem.contains("link out of"), "{problem}");
    }
}

#[cfg(unix)]
#[test]
fn pipe_is_refused_without_waiting() {
    let copy = PackageCopy::new();
    let pipe = copy.path().join("tokenizer.json");
    fs::remove_file(&pipe).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let problem = copy.problem();
    assert!(problem.contains("tokenizer.json") && problem.contains("is not a file"), "{problem}");
}

#[cfg(unix)]
#[test]
fn package_folder_that_is_a_link_loads() {
    let copy = PackageCopy::new();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(copy.path(), &link).unwrap();
    PackageInfo::read(&link).and_then(|info| info.load().map(|_| ())).unwrap();
}
