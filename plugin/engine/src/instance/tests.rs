//! Tests of an instance with fake models: switching, failures, texts and disposal.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use realfft::num_complex::Complex32;

use super::*;
use crate::engine::block::{AuxOutputs, Controls};
use crate::engine::tests::{delayed, largest_difference, largest_jump, sine, source};
use crate::inference::cancel::CancelToken;
use crate::query::encoder::EncodedQuery;
use crate::realtime::separator_thread::{Networks, SeparatorFactory};
use crate::separator::fake::FakeSeparator;

const OFFLINE: Config = Config { sample_rate: 48_000.0, max_block: 256, channels: 1, offline: true };
const BLOCK: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);

/// An instance of fake models, whose names say what they do.
struct Fixture {
    instance: Instance,
    /// Number of models opened so far.
    opened: Arc<AtomicUsize>,
    /// Has one more reference for every separator that lives.
    live: Arc<AtomicUsize>,
    /// Models called "gated" load when it is true.
    gate: Arc<AtomicBool>,
}

fn named(name: &str) -> ModelChoice {
    ModelChoice::Installed(name.into())
}

impl Fixture {
    /// Creates an instance of `model`: its gain, "late" for one with more latency, "gated", "stubborn", "broken" or "panic".
    ///
    /// The embedding of a text is its value as a number, or 1.
    fn new(model: &str) -> Self {
        let (opened, live, gate) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let (count, owner, is_open) = (opened.clone(), live.clone(), gate.clone());
        let open_source = move |model: &ModelChoice, queries: &Arc<Queries>| {
            count.fetch_add(1, Ordering::SeqCst);
            assert_ne!(model.to_string(), "panic");
            connect(queries);
            let (name, live, gate) = (model.to_string(), owner.clone(), is_open.clone());
            let lookahead = if name.contains("late") { 3 } else { 0 };
            let factory: SeparatorFactory = Box::new(move |token| load(&name, live, &gate, token));
            source(factory, lookahead)
        };
        let instance = Instance::with_source(named(model), Box::new(open_source));
        Self { instance, opened, live, gate }
    }

    fn switch_to(&self, model: &str) {
        self.instance.set_model(named(model)).unwrap();
    }

    fn live_separators(&self) -> usize {
        Arc::strong_count(&self.live) - 2 // one here and one in the source
    }

    fn snapshot(&self) -> Snapshot {
        self.instance.snapshot().unwrap()
    }
}

/// Encodes all texts of `queries` for a new engine, and later ones when they change.
fn connect(queries: &Arc<Queries>) {
    fn encode(queries: &Arc<Queries>) {
        for (slot, text) in queries.pending() {
            let encoded = EncodedQuery::single(Arc::from([text.text.parse().unwrap_or(1.0)]));
            queries.set_encoded(queries.engine_id(), slot, &text, Ok(encoded));
        }
    }
    queries.connect(Some(Arc::new(encode)));
    encode(queries);
}

fn load(
    name: &str,
    live: Arc<AtomicUsize>,
    gate: &AtomicBool,
    token: &CancelToken,
) -> Result<Networks, String> {
    // Does not end when it is cancelled.
    while name.contains("stubborn") && !gate.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    while name.contains("gated") && !gate.load(Ordering::SeqCst) {
        if token.is_cancelled() {
            return Err("cancelled".into());
        }
        thread::yield_now();
    }
    if name == "broken" {
        return Err("models/broken: separator.onnx is missing. Install the package again".into());
    }
    let gain: f32 = name.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(1.0);
    let separator = FakeSeparator(move |_: &[f32], embedding: &[f32], mask: &mut [Complex32]| {
        // Holds a reference as long as the separator lives.
        let _ = &live;
        mask.fill(Complex32::new(gain * embedding[0], 0.0));
    });
    Ok(Networks::without_listener(Box::new(separator)))
}

#[test]
fn block_limit_sets_the_latency_now_and_at_the_next_start() {
    let large = Config { max_block: 8_192, offline: true, ..OFFLINE };
    let fixture = Fixture::new("1");
    let latency = |config| {
        let processor = fixture.instance.start(config);
        let latency = processor.latency();
        fixture.instance.stop(processor);
        latency
    };
    let (for_large, for_small) = (latency(large), latency(OFFLINE));
    assert!(for_large > for_small + 4_096);

    let mut processor = fixture.instance.start(large);
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    fixture.instance.set_block_limit(Some(256)).unwrap();
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    while processor.latency() != for_small {
        assert!(Instant::now() < deadline, "the latency stays {}", processor.latency());
        play(&mut processor, &[0.5; 8 * BLOCK]);
    }
    fixture.instance.stop(processor);
    assert_eq!((latency(large), latency(OFFLINE)), (for_small, for_small));
    fixture.instance.set_block_limit(Some(16_384)).unwrap();
    assert_eq!(latency(large), for_large, "the host's block is smaller than the limit");
    fixture.instance.set_block_limit(None).unwrap();
    assert_eq!(latency(large), for_large);
}

/// Processes `input` at full strength and returns the output.
fn play(processor: &mut Processor, input: &[f32]) -> Vec<f32> {
    let mut output = input.to_vec();
    for block in output.chunks_mut(BLOCK) {
        let ones = [1.0; BLOCK];
        let controls = Controls::new(&ones[..block.len()], &ones[..block.len()]);
        processor.process(&mut [block], &mut AuxOutputs::default(), &controls);
    }
    output
}

/// Calls `is_done` until it returns true.
#[track_caller]
fn wait_until(mut is_done: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_done() {
        assert!(Instant::now() < deadline, "not done within {TIMEOUT:?}");
        thread::yield_now();
    }
}

/// Plays blocks of a constant 1 until one has the constant value `expected`, and returns all output.
#[track_caller]
fn play_until(processor: &mut Processor, expected: f32) -> Vec<f32> {
    let mut output = Vec::new();
    wait_until(|| {
        output.extend(play(processor, &[1.0; BLOCK]));
        output[output.len() - BLOCK..].iter().all(|sample| (sample - expected).abs() < 1e-3)
    });
    output
}

#[test]
fn panic_while_a_model_is_switched_is_told_and_ends_no_wait() {
    let fixture = Fixture::new("0.5");
    let mut processor = fixture.instance.start(OFFLINE);
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    fixture.switch_to("panic");
    let problem = fixture.instance.wait_until_ready(TIMEOUT).unwrap_err();
    assert!(problem.contains("internal error. Choose the model again"), "{problem}");
    fixture.switch_to("0.25");
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    play_until(&mut processor, 0.25);
}

#[test]
fn latency_before_the_start_is_that_of_the_processor() {
    let instance = Instance::default();
    for (sample_rate, max_block) in [(48_000.0, 64), (48_000.0, 2048), (44_100.0, 512)] {
        let config = Config { sample_rate, max_block, ..OFFLINE };
        let before = instance.latency(&config);
        let processor = instance.start(config);
        assert_eq!(processor.latency(), before, "{sample_rate} Hz, blocks of {max_block}");
        instance.stop(processor);
    }
}

#[test]
fn nothing_is_loaded_before_the_start() {
    let fixture = Fixture::new("0.5");
    fixture.switch_to("0.25");
    assert_eq!((fixture.opened.load(Ordering::SeqCst), fixture.instance.snapshot()), (0, None));
    let mut processor = fixture.instance.start(OFFLINE);
    play_until(&mut processor, 0.25);
    assert_eq!((fixture.opened.load(Ordering::SeqCst), fixture.snapshot().model.as_str()), (1, "0.25"));
}

#[test]
fn switched_model_continues_without_click() {
    let fixture = Fixture::new("0.5");
    let mut processor = fixture.instance.start(OFFLINE);
    play_until(&mut processor, 0.5);
    fixture.switch_to("0.25");
    let output = play_until(&mut processor, 0.25);
    assert!(largest_jump(&output) < 0.01, "{}", largest_jump(&output));
    let (lowest, highest) = output.iter().fold((1.0_f32, 0.0_f32), |(a, b), &x| (a.min(x), b.max(x)));
    // Up to half of the signal is missing while the first separated frame fades in.
    assert!(lowest > 0.125 && highest < 1.001, "dry in between: {lowest} to {highest}");
    assert_eq!(fixture.snapshot().readiness, Readiness::Ready);
}

#[test]
fn model_with_another_latency_fades_in() {
    let fixture = Fixture::new("1.0");
    let mut processor = fixture.instance.start(OFFLINE);
    let early = processor.latency();
    let input = sine(200_000, 200.0, OFFLINE.sample_rate);
    let before = play(&mut processor, &input[..50_000]);
    fixture.switch_to("late 1.0");
    let mut output = before;
    // Once the model is loaded, the fade to it takes 10 ms.
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    wait_until(|| {
        output.extend(play(&mut processor, &input[output.len()..][..BLOCK]));
        processor.latency() != early
    });
    let rest = &input[output.len()..];
    output.extend(play(&mut processor, rest));
    assert_eq!((processor.latency(), fixture.snapshot().latency), (early + 3 * 768, early + 3 * 768));
    assert!(largest_jump(&output[10_000..]) < 1.3 * largest_jump(&input));
    let expected = delayed(&input, processor.latency());
    let settled = input.len() - 5_000;
    assert!(largest_difference(&output[settled..], &expected[settled..]) < 1e-3);
}

#[test]
fn broken_model_passes_dry_and_another_one_plays_again() {
    let fixture = Fixture::new("0.5");
    let mut processor = fixture.instance.start(OFFLINE);
    play_until(&mut processor, 0.5);
    fixture.switch_to("broken");
    let output = play_until(&mut processor, 1.0);
    assert!(largest_jump(&output) < 0.01);
    let problem = fixture.instance.wait_until_ready(TIMEOUT).unwrap_err();
    assert!(problem.contains("separator.onnx") && fixture.snapshot().problem == Some(problem));
    fixture.switch_to("0.25");
    play_until(&mut processor, 0.25);
    assert_eq!(fixture.snapshot().problem, None);
}

#[test]
fn text_changed_while_a_model_loads_is_in_effect_after_it() {
    let fixture = Fixture::new("0.5");
    let mut processor = fixture.instance.start(OFFLINE);
    play_until(&mut processor, 0.5);
    fixture.switch_to("gated 0.5");
    wait_until(|| fixture.snapshot().readiness == Readiness::Loading);
    fixture.instance.queries().set_text(0, "0.2");
    play_until(&mut processor, 1.0);
    fixture.gate.store(true, Ordering::SeqCst);
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
    play_until(&mut processor, 0.1);
}

#[test]
fn hundred_switches_leave_only_the_last_model() {
    let fixture = Fixture::new("0.5");
    let mut processor = fixture.instance.start(OFFLINE);
    let mut output = Vec::new();
    for number in 0..100 {
        fixture.switch_to(["0.5", "gated 0.1", "broken", "0.25"][number % 4]);
        output.extend(play(&mut processor, &[1.0; 3 * BLOCK]));
    }
    wait_until(|| {
        output.extend(play(&mut processor, &[1.0; BLOCK]));
        fixture.live_separators() == 1
    });
    output.extend(play_until(&mut processor, 0.25));
    let settled = &output[2 * processor.latency()..];
    assert!(largest_jump(settled) < 0.01, "{}", largest_jump(settled));
    drop(processor);
    assert_eq!(fixture.live_separators(), 0);
}

#[test]
fn processor_dropped_while_loading_leaves_nothing() {
    let fixture = Fixture::new("gated");
    drop(fixture.instance.start(OFFLINE));
    assert_eq!(fixture.instance.snapshot(), None);
    let processor = fixture.instance.start(OFFLINE);
    fixture.switch_to("gated 0.5");
    drop(processor);
    fixture.instance.shut_down();
    assert_eq!((fixture.instance.snapshot(), fixture.live_separators()), (None, 0));
}

#[test]
fn stopped_processor_is_dropped_in_the_background() {
    let fixture = Fixture::new("0.5");
    for _ in 0..10 {
        let mut processor = fixture.instance.start(OFFLINE);
        play_until(&mut processor, 0.5);
        fixture.switch_to("gated");
        fixture.instance.stop(processor);
        assert_eq!(fixture.instance.snapshot(), None);
        fixture.switch_to("0.5");
    }
    fixture.instance.shut_down();
    assert_eq!(fixture.live_separators(), 0);
}

#[test]
fn newest_of_two_processors_separates() {
    let fixture = Fixture::new("0.5");
    let mut first = fixture.instance.start(OFFLINE);
    play_until(&mut first, 0.5);
    let mut second = fixture.instance.start(OFFLINE);
    play_until(&mut second, 0.5);
    play_until(&mut first, 1.0);
    drop(first);
    fixture.switch_to("0.25");
    play_until(&mut second, 0.25);
}

#[test]
fn waiting_ends_with_the_reason() {
    let fixture = Fixture::new("gated");
    let problem = fixture.instance.wait_until_ready(TIMEOUT).unwrap_err();
    assert!(problem.contains("not started"), "{problem}");
    let _processor = fixture.instance.start(OFFLINE);
    let problem = fixture.instance.wait_until_ready(Duration::ZERO).unwrap_err();
    assert!(problem.contains("not ready within 0 s"), "{problem}");
    fixture.gate.store(true, Ordering::SeqCst);
    fixture.instance.wait_until_ready(TIMEOUT).unwrap();
}

#[test]
fn start_does_not_wait_for_the_engine_before_it() {
    let fixture = Fixture::new("stubborn");
    let processor = fixture.instance.start(OFFLINE);
    fixture.instance.stop(processor);
    fixture.switch_to("0.5");
    let begin = Instant::now();
    let mut processor = fixture.instance.start(OFFLINE);
    let elapsed = begin.elapsed();
    play_until(&mut processor, 0.5);
    assert_eq!(fixture.live_separators(), 2, "the first one has not ended");
    fixture.gate.store(true, Ordering::SeqCst);
    assert!(elapsed < Duration::from_millis(500), "{elapsed:?}");
    fixture.instance.stop(processor);
    fixture.instance.shut_down();
    wait_until(|| fixture.live_separators() == 0);
}

#[test]
fn start_after_many_stops_holds_two_engines_at_most() {
    let fixture = Fixture::new("0.5");
    for _ in 0..50 {
        let processor = fixture.instance.start(OFFLINE);
        assert!(fixture.instance.shared.stopping() <= 1, "{}", fixture.instance.shared.stopping());
        fixture.instance.stop(processor);
    }
    fixture.instance.shut_down();
    assert_eq!((fixture.instance.shared.stopping(), fixture.live_separators()), (0, 0));
}
