//! Model packages in ONNX Runtime: what works, and what is said of what does not.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    LOAD_TIMEOUT, OFFLINE, PackageCopy, assert_same, delayed, open, package, play, sine, wait_until_encoded,
};
use sift_engine::inference::library;
use sift_engine::package::{DEFAULT_PACKAGE, PackageInfo};
use sift_engine::{CancelToken, Engine, Mode, PartRole, Queries, QueryEncoder, SlotState};

fn ready(folder: &Path) -> (Engine, Arc<Queries>) {
    let (engine, queries) = open(folder);
    engine.wait_until_ready(LOAD_TIMEOUT).expect("run by `cargo xtask test`, which sets ORT_DYLIB_PATH");
    (engine, queries)
}

#[test]
fn a_network_that_passes_everything_gives_back_the_delayed_input() {
    let (mut engine, _) = ready(&package("identity"));
    let input = sine(48_000);
    let heard = play(&mut engine, &input, Mode::Isolate, 0);
    let dry = delayed(&input, engine.latency());
    assert!(heard.iter().zip(&dry).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn a_window_network_masks_every_frame_as_a_streaming_one_does_but_later() {
    // It comes and goes, in pieces that are no multiple of anything.
    let mut input = sine(64_000);
    let mut at = 0;
    for (number, length) in (0..).map(|number| (number, 2_000 + 777 * (number % 5))) {
        if at >= input.len() {
            break;
        }
        let end = input.len().min(at + length);
        let gain = if number % 2 == 0 { 1.0 } else { 0.01 };
        input[at..end].iter_mut().for_each(|sample| *sample *= gain);
        at = end;
    }
    let [(streaming, early), (window, late)] = ["gate", "window"].map(|name| {
        let (mut engine, _) = ready(&package(name));
        let heard = play(&mut engine, &input, Mode::Isolate, 0);
        assert_eq!((engine.status().late_masks(), engine.status().dropped_frames()), (0, 0), "{name}");
        (heard, engine.latency())
    });
    // Ten frames at this rate: a mask waits for 3 frames ahead and up to 3 of its run, which may take 4.
    assert_eq!(late - early, 10 * 768);
    let frames = input.len() - late;
    assert_same(&window[late..], &streaming[early..][..frames]);
    let (kept, all) = (energy(&streaming[early..]), energy(&input));
    assert!(kept > 0.3 * all && kept < 0.999 * all, "some of it is kept: {kept} of {all}");
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}

#[test]
fn a_network_whose_mask_is_no_number_passes_dry_and_is_counted() {
    for mode in [Mode::Isolate, Mode::Remove] {
        // Its mask is NaN for frames as loud as these.
        let (mut engine, _) = ready(&package("nan"));
        let input = sine(24_000);
        let heard = play(&mut engine, &input, mode, 0);
        assert_same(&heard[12_000..], &delayed(&input, engine.latency())[12_000..]);
        assert!(engine.status().invalid_masks() > 10);
    }
}

#[test]
fn a_text_that_is_typed_takes_effect_and_the_other_slots_keep_theirs() {
    let (mut engine, queries) = ready(&package("identity"));
    for slot in 0..sift_engine::SLOTS {
        assert_eq!(wait_until_encoded(&queries, slot), SlotState::Ready, "{}", queries.text(slot));
    }
    let before = queries.generation();
    queries.set_text(3, "기타 소리 🎸");
    assert!(queries.generation() > before);
    assert_eq!(wait_until_encoded(&queries, 3), SlotState::Ready);
    queries.set_text(3, "");
    let input = sine(24_000);
    let heard = play(&mut engine, &input, Mode::Remove, 3);
    assert_same(&heard, &delayed(&input, engine.latency()));
    assert_eq!(queries.slot_state(3), SlotState::Empty);
}

#[test]
fn the_default_model_understands_its_factory_queries_and_separates_the_same_each_time() {
    let render = || {
        let queries = Arc::new(Queries::default());
        let mut engine = Engine::open(DEFAULT_PACKAGE, OFFLINE, queries.clone());
        let heard = play(&mut engine, &sine(96_000), Mode::Isolate, 1);
        assert_eq!(
            (engine.status().late_masks(), engine.status().dropped_frames(), engine.status().invalid_masks()),
            (0, 0, 0)
        );
        assert!((0..sift_engine::SLOTS).all(|slot| wait_until_encoded(&queries, slot) == SlotState::Ready));
        assert_eq!(engine.status().problem(), None);
        heard
    };
    let (first, second) = (render(), render());
    assert!(first == second, "bit for bit");
    assert!(first.iter().all(|sample| sample.is_finite()));
}

#[test]
fn what_the_default_model_understood_is_told() {
    let queries = Arc::new(Queries::default());
    let _engine = Engine::open(DEFAULT_PACKAGE, OFFLINE, queries.clone());
    let understood = |text| {
        queries.set_text(2, text);
        assert_eq!(wait_until_encoded(&queries, 2), SlotState::Ready);
        queries.concept_matches(2)
    };
    let dog = understood("my dog is barking");
    assert!(queries.concept_names().contains(&dog[0].name));
    assert_eq!(dog[0].name, "dog barking");
    assert!(dog[0].closeness > 0.6 && dog[0].closeness > dog[1].closeness, "{dog:?}");
    let bank = understood("a contract with the bank");
    assert!(bank[0].closeness < 0.4, "{bank:?}");
}

#[test]
fn a_text_of_several_sounds_is_parted_where_each_is_understood() {
    use PartRole::{ExcludeInverted, ExcludeNegated, Include};
    let package = PackageInfo::built_in().load().unwrap();
    let mut encoder =
        QueryEncoder::new(library::environment().unwrap(), &package, CancelToken::default()).unwrap();
    // The training's tests have the same table (models/train/tests/test_query_parts.py).
    for (text, roles) in [
        ("drums and bass", &[Include, Include][..]),
        ("a person speaking, rain and a dog barking", &[Include, Include, Include]),
        ("everything but the drums and the bass", &[ExcludeNegated, ExcludeInverted]),
        ("피아노하고 바이올린", &[Include, Include]),
        ("드럼하고 피아노 빼고 전부", &[ExcludeInverted, ExcludeNegated]),
        ("rock and roll", &[Include]),
        ("thunder and lightning", &[Include]),
        ("말하고 있는 사람", &[Include]),
    ] {
        let encoding = encoder.encode(text).unwrap();
        let told: Vec<_> = encoding.parts.iter().map(|part| part.role).collect();
        assert_eq!(told, roles, "{text}");
        if let [_, _, ..] = roles {
            let [all] = &*encoding.matches else { panic!("{text}: {:?}", encoding.matches) };
            assert_eq!(all.name.split(" + ").count(), roles.len(), "{}", all.name);
            assert!((0.5..=1.0).contains(&all.closeness));
        }
    }
}

#[test]
fn a_text_in_doubt_stands_for_all_that_it_may_mean() {
    use PartRole::{ExcludeInverted, ExcludeNegated, Include};
    let package = PackageInfo::built_in().load().unwrap();
    let mut encoder =
        QueryEncoder::new(library::environment().unwrap(), &package, CancelToken::default()).unwrap();
    let guitars = ["electric guitar", "acoustic guitar", "distorted guitar"];
    // The training's tests have the same table (models/train/tests/test_query_parts.py).
    for (text, own, names) in [
        ("guitar", None, &guitars[..]),
        ("no guitar", Some(ExcludeNegated), &guitars),
        ("기타 소리", None, &guitars),
        ("vocals", None, &["speech", "choir"]),
        ("clicks", Some(Include), &["finger snapping", "keyboard typing"]),
        ("an acoustic guitar", Some(Include), &[]),
        ("drums", Some(Include), &[]),
        ("no drums", Some(Include), &[]),
    ] {
        let encoding = encoder.encode(text).unwrap();
        let (parts, understood) = (encoding.parts, encoding.matches);
        let selected: Vec<_> =
            understood.iter().filter(|near| near.selected).map(|near| near.name.as_str()).collect();
        assert!(selected == names || selected.len() == 1 && names.is_empty(), "{text}: {selected:?}");
        let (own_part, named) = parts.split_at(parts.len() - names.len());
        assert_eq!(own_part.iter().map(|part| part.role).collect::<Vec<_>>(), Vec::from_iter(own), "{text}");
        for (part, name) in named.iter().zip(names) {
            let role = if own == Some(ExcludeNegated) { ExcludeInverted } else { Include };
            let alone = encoder.encode(name).unwrap();
            assert_eq!((part.role, &part.embedding), (role, &alone.parts[0].embedding), "{name} of {text}");
        }
    }
}

#[test]
fn several_sounds_of_one_text_are_all_heard_and_left_out_together() {
    let queries = Arc::new(Queries::default());
    let mut engine = Engine::open(DEFAULT_PACKAGE, OFFLINE, queries.clone());
    engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    // A beat of short tones over a steady one.
    let beat = |at: usize| if at % 24_000 < 2_000 { 1.0 } else { 0.0 };
    let low: Vec<_> = (0..96_000).map(|at| beat(at) * (at as f32 * 0.01).sin()).collect();
    let input: Vec<_> = low.iter().zip(sine(96_000)).map(|(low, high)| 0.5 * low + 0.2 * high).collect();
    let mut heard = |text: &str| {
        queries.set_text(1, text);
        assert_eq!(wait_until_encoded(&queries, 1), SlotState::Ready, "{text}");
        engine.reset();
        energy(&play(&mut engine, &input, Mode::Isolate, 1))
    };
    let [drums, bass, both] = ["drums", "a bass guitar", "drums and a bass guitar"].map(&mut heard);
    assert!(both > 1.01 * drums.max(bass), "{drums} and {bass} make {both}");
    let [without, neither] = ["everything but drums", "everything but drums and a bass guitar"].map(heard);
    assert!(neither < 0.99 * without, "{without} without one, {neither} without both");
}

#[test]
fn a_package_need_not_name_concepts() {
    let (_engine, queries) = ready(&package("identity"));
    assert_eq!(wait_until_encoded(&queries, 0), SlotState::Ready);
    assert!(queries.concept_matches(0).is_empty());
}

#[test]
fn concepts_that_cannot_be_read_or_compared_are_named() {
    let copy = PackageCopy::new("concepts");
    let place = copy.0.join("concepts.json");
    fs::write(&place, r#"{"closeness": {"slope": 1.0}, "concepts": []}"#).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("concepts.json") && problem.contains("offset"), "{problem}");
    fs::write(&place, r#"{"closeness": {"slope": 1.0, "offset": 0.0}, "concepts": []}"#).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("query.onnx") && problem.contains("`concept`"), "{problem}");
}

#[test]
fn several_sounds_in_one_text_need_a_network_that_tells_negations() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/default");
    let copy = PackageCopy::of(&package, "negation");
    let mut network = fs::read(copy.0.join("query.onnx")).unwrap();
    while let Some(at) = network.windows(8).position(|bytes| bytes == b"negation") {
        network[at..at + 8].copy_from_slice(b"another_");
    }
    copy.replace("query.onnx", &network);
    let problem = copy.problem();
    assert!(problem.contains("query.onnx") && problem.contains("`negation`"), "{problem}");
    assert!(problem.contains("`conjunctions` and `doubt` of concepts.json"), "{problem}");
}

#[test]
fn the_version_of_onnx_runtime_is_told() {
    let version = sift_engine::inference::library::version().unwrap();
    assert!(
        version.split('.').count() == 3 && version.split('.').all(|part| part.parse::<u32>().is_ok()),
        "{version}"
    );
}

#[test]
fn a_missing_network_is_named_and_audio_passes_dry() {
    let copy = PackageCopy::new("missing");
    fs::remove_file(copy.0.join("separator.onnx")).unwrap();
    let problem = copy.problem();
    assert!(problem.contains("separator.onnx") && problem.contains("Install the package again"), "{problem}");
}

#[test]
fn a_damaged_network_is_named_with_its_hash() {
    let copy = PackageCopy::new("damaged");
    fs::write(copy.0.join("query.onnx"), b"damaged").unwrap();
    let problem = copy.problem();
    assert!(problem.contains("query.onnx") && problem.contains("query.sha256"), "{problem}");
}

#[test]
fn a_file_that_is_no_network_is_named() {
    for file in ["separator.onnx", "query.onnx"] {
        let copy = PackageCopy::new(&format!("garbage-{file}"));
        copy.replace(file, b"no network at all");
        assert!(copy.problem().contains(file));
    }
}

#[test]
fn a_network_of_another_size_than_the_manifest_says_is_refused_by_its_shape() {
    let copy = PackageCopy::new("shape");
    copy.edit_manifest("n_fft = 1024", "n_fft = 2048");
    let problem = copy.problem();
    assert!(problem.contains("separator.onnx") && problem.contains("magnitude"), "{problem}");
}

#[test]
fn a_broken_tokenizer_is_named() {
    let copy = PackageCopy::new("tokenizer");
    fs::write(copy.0.join("tokenizer.json"), b"{}").unwrap();
    assert!(copy.problem().contains("tokenizer.json"));
}

#[test]
fn a_broken_manifest_is_named_with_its_field() {
    let copy = PackageCopy::new("manifest");
    copy.edit_manifest("hop = 512", "hop = -1");
    let problem = copy.problem();
    assert!(problem.contains("package.toml") && problem.contains("hop"), "{problem}");
}

#[test]
fn a_hostile_network_is_refused_soon() {
    for (kind, said) in [
        ("external", "External data path"),
        ("custom", "example"),
        ("memory", "separator.onnx"),
        ("state", "at most"),
    ] {
        let copy = PackageCopy::new(&format!("hostile-{kind}"));
        copy.replace("separator.onnx", &fs::read(package("hostile").join(format!("{kind}.onnx"))).unwrap());
        let begin = Instant::now();
        let problem = copy.problem();
        assert!(problem.contains("separator.onnx") && problem.contains(said), "{kind}: {problem}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{kind}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_tokenizer_of_a_gigabyte_is_refused_unread() {
    let copy = PackageCopy::new("gigabyte");
    fs::File::create(copy.0.join("tokenizer.json")).unwrap().set_len(1 << 30).unwrap();
    let begin = Instant::now();
    let problem = copy.problem();
    assert!(problem.contains("tokenizer.json") && problem.contains("more than the"), "{problem}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[cfg(unix)]
#[test]
fn a_file_that_is_a_link_out_of_the_folder_is_refused() {
    for file in ["package.toml", "separator.onnx", "query.onnx", "tokenizer.json"] {
        let (copy, outside) =
            (PackageCopy::new(&format!("link-{file}")), PackageCopy::new(&format!("outside-{file}")));
        fs::remove_file(copy.0.join(file)).unwrap();
        std::os::unix::fs::symlink(outside.0.join(file), copy.0.join(file)).unwrap();
        let problem =
            PackageInfo::read(&copy.0).and_then(|info| info.load().map(|_| ())).unwrap_err().to_string();
        assert!(problem.contains(file) && problem.contains("leads out of"), "{problem}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let copy = PackageCopy::new("pipe");
    let pipe = copy.0.join("tokenizer.json");
    fs::remove_file(&pipe).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let problem = copy.problem();
    assert!(problem.contains("tokenizer.json") && problem.contains("is not a file"), "{problem}");
}

#[cfg(unix)]
#[test]
fn a_package_whose_folder_is_a_link_is_as_good_as_any() {
    let copy = PackageCopy::new("linked-folder");
    let link = copy.0.with_extension("link");
    std::os::unix::fs::symlink(&copy.0, &link).unwrap();
    let loaded = PackageInfo::read(&link).and_then(|info| info.load().map(|_| ()));
    fs::remove_file(&link).unwrap();
    loaded.unwrap();
}
