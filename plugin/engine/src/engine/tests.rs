//! Tests of the engine with fake separators: properties that hold for any model.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use realfft::num_complex::Complex32;

use super::*;
use crate::dsp::grid::SpectrogramFormat;
use crate::dsp::mixer::Mode;
use crate::dsp::stft::WindowFunction;
pub(crate) use crate::dsp::test_signals::noise;
use crate::engine::block::Config;
use crate::model_service::ModelSource;
use crate::package::SeparatorSection;
use crate::query::encoder::EncodedQuery;
use crate::query::slots::Queries;
use crate::realtime::separator_thread::{Networks, SeparatorFactory};
use crate::realtime::status::Readiness;
use crate::separator::Separator;
use crate::separator::fake::FakeSeparator;

mod idle;
mod stereo;

const AUDIO: SpectrogramFormat =
    SpectrogramFormat { sample_rate: 32_000, n_fft: 1024, hop: 512, window: WindowFunction::SqrtHann };
const RATES: [f64; 4] = [44_100.0, 48_000.0, 96_000.0, 50_317.0];

/// Result of `fork` for fakes that support one part only.
fn fork_unsupported() -> Result<Box<dyn Separator>, String> {
    Err("fake separator: fork is unsupported".into())
}

pub(crate) fn fake(make: impl FnMut(&[f32], &[f32], &mut [Complex32]) + Send + 'static) -> SeparatorFactory {
    Box::new(move |_| Ok(Networks::without_listener(Box::new(FakeSeparator(make)))))
}

pub(crate) fn constant(gain: f32) -> SeparatorFactory {
    fake(move |_, _, mask| mask.fill(Complex32::new(gain, 0.0)))
}

/// Gain equal to the embedding: 0 for slot 0, 1 for slot 1.
fn gain_of_query() -> SeparatorFactory {
    fake(|_, embedding, mask| mask.fill(Complex32::new(embedding[0], 0.0)))
}

fn queries() -> Arc<Queries> {
    let queries = Arc::new(Queries::default());
    for slot in 0..crate::SLOTS {
        let encoding = EncodedQuery::single(Arc::from([slot as f32]));
        queries.set_encoded(0, slot, &queries.text(slot).as_str().into(), Ok(encoding));
    }
    queries
}

fn config(sample_rate: f64, max_block: usize) -> Config {
    Config { sample_rate, max_block, channels: 1, offline: true }
}

/// Source of a streaming model with `lookahead` hops whose separator is made by `factory`.
pub(crate) fn source(factory: SeparatorFactory, lookahead: usize) -> ModelSource {
    ModelSource { audio: AUDIO, separator: SeparatorSection::streaming(lookahead), factory, binding: None }
}

/// Opens an engine and waits until its model is loaded.
fn engine(factory: SeparatorFactory, config: Config) -> Engine {
    let engine = Engine::open(source(factory, 0), config, None, queries());
    wait_until_ready(&engine);
    engine
}

fn wait_until_ready(engine: &Engine) {
    let readiness = engine.status().wait_while_loading(Instant::now() + Duration::from_secs(10));
    assert_eq!(readiness, Readiness::Ready);
}

/// Controls of a test, constant during a block.
#[derive(Clone, Copy, Debug)]
struct TestControls {
    strength: f32,
    gain: f32,
    mode: Mode,
    query: usize,
    listen_removed: bool,
    bypass: bool,
}

impl Default for TestControls {
    fn default() -> Self {
        Self { strength: 1.0, gain: 1.0, mode: Mode::Isolate, query: 0, listen_removed: false, bypass: false }
    }
}

#[derive(Default, Clone)]
struct Rendered {
    main: Vec<f32>,
    target: Vec<f32>,
    residual: Vec<f32>,
}

/// Processes `input` in blocks of the sizes that `block` returns.
fn play(
    engine: &mut Engine,
    input: &[f32],
    controls: TestControls,
    mut block: impl FnMut() -> usize,
) -> Rendered {
    let mut output = Rendered::default();
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(block().min(rest.len()));
        rest = later;
        let (mut main, mut target, mut residual) = (now.to_vec(), vec![0.0; now.len()], vec![0.0; now.len()]);
        let (strength, gain) = (vec![controls.strength; now.len()], vec![controls.gain; now.len()]);
        let controls = Controls {
            mode: controls.mode,
            query: controls.query,
            listen_removed: controls.listen_removed,
            bypass: controls.bypass,
            shape: MaskShaping { floor: 0.0, ..MaskShaping::default() },
            ..Controls::new(&strength, &gain)
        };
        let mut aux = AuxOutputs { target: &mut [&mut target], residual: &mut [&mut residual] };
        engine.process(&mut [&mut main], &mut aux, &controls);
        output.main.extend(main);
        output.target.extend(target);
        output.residual.extend(residual);
    }
    output
}

pub(crate) fn sine(samples: usize, hertz: f64, rate: f64) -> Vec<f32> {
    (0..samples).map(|i| 0.5 * (std::f64::consts::TAU * hertz * i as f64 / rate).sin() as f32).collect()
}

pub(crate) fn delayed(input: &[f32], latency: usize) -> Vec<f32> {
    let mut delayed = vec![0.0; latency];
    delayed.extend_from_slice(&input[..input.len() - latency]);
    delayed
}

/// Panics with the first sample that differs, instead of with all samples.
#[track_caller]
fn assert_same(output: &[f32], expected: &[f32]) {
    assert_eq!(output.len(), expected.len());
    let first = output.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(first.is_none(), "sample {first:?} differs: {:?}", first.map(|at| (output[at], expected[at])));
}

pub(crate) fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

pub(crate) fn largest_jump(signal: &[f32]) -> f32 {
    signal.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

/// Returns block sizes from 1 to `max_block`, the same in each run.
fn random_blocks(max_block: usize) -> impl FnMut() -> usize {
    let mut sizes = noise(1 << 16).into_iter().cycle();
    move || 1 + ((sizes.next().unwrap() + 0.5) * (max_block - 1) as f32) as usize
}

#[test]
fn impulse_arrives_after_latency_at_any_rate_and_block_size() {
    for rate in RATES {
        for block in [1, 64, 480, 512, 2048] {
            let mut engine = engine(constant(1.0), config(rate, block));
            let latency = engine.latency();
            let mut input = vec![0.0; latency + 3000];
            input[100] = 1.0;
            let output = play(&mut engine, &input, TestControls::default(), || block);
            let peak =
                (0..output.main.len()).max_by(|&a, &b| output.main[a].total_cmp(&output.main[b])).unwrap();
            assert_eq!(peak, 100 + latency, "{rate} Hz, blocks of {block}");
            assert!((output.main[peak] - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn unit_mask_reconstructs_input_to_minus_100_db() {
    for rate in RATES {
        let mut engine = engine(constant(1.0), config(rate, 512));
        let input = noise(rate as usize / 2);
        let output = play(&mut engine, &input, TestControls::default(), random_blocks(512));
        let error = largest_difference(&output.main, &delayed(&input, engine.latency()));
        assert!(error < 0.5e-5, "{rate} Hz: {error}");
    }
}

#[test]
fn strength_zero_returns_delayed_input_bit_for_bit() {
    for mode in [Mode::Isolate, Mode::Remove] {
        let mut engine = engine(constant(0.3), config(48_000.0, 512));
        let input = noise(20_000);
        let output = play(
            &mut engine,
            &input,
            TestControls { strength: 0.0, mode, ..TestControls::default() },
            random_blocks(512),
        );
        assert_same(&output.main, &delayed(&input, engine.latency()));
    }
}

#[test]
fn target_plus_residual_and_isolated_plus_removed_are_input() {
    let input = noise(30_000);
    let output = |mode| {
        let mut engine = engine(constant(0.3), config(44_100.0, 512));
        let output = play(&mut engine, &input, TestControls { mode, ..TestControls::default() }, || 512);
        (output, delayed(&input, engine.latency()))
    };
    let ((isolated, dry), (removed, _)) = (output(Mode::Isolate), output(Mode::Remove));
    let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    assert!(largest_difference(&sum(&isolated.target, &isolated.residual), &dry) < 1e-6);
    assert!(largest_difference(&sum(&isolated.main, &removed.main), &dry) < 1e-6);
}

#[test]
fn bypass_returns_delayed_input_and_switches_without_click() {
    let rate = 48_000.0;
    let input = sine(48_000, 200.0, rate);
    let mut engine = engine(constant(0.0), config(rate, 512));
    let mut output = Vec::new();
    for (block, part) in input.chunks(512).enumerate() {
        let controls = TestControls { bypass: block / 20 % 2 == 0, ..TestControls::default() };
        output.extend(play(&mut engine, part, controls, || 512).main);
    }
    let dry = delayed(&input, engine.latency());
    assert_same(&output[5000..10_000], &dry[5000..10_000]);
    assert!(output[14_000..20_000].iter().all(|sample| sample.abs() < 1e-4), "nothing is left of the input");
    assert!(largest_jump(&output) < largest_jump(&input) + 0.005);
}

#[test]
fn offline_output_is_bit_identical_for_any_block_sizes() {
    // The mask depends on all frames before it.
    let recurrent = || {
        let mut state = 0.0_f32;
        fake(move |magnitude, _, mask| {
            state = 0.9 * state + magnitude[7];
            mask.fill(Complex32::new(1.0 / (1.0 + state), 0.0));
        })
    };
    let input = noise(100_000);
    let render = |block: &mut dyn FnMut() -> usize| {
        let mut engine = engine(recurrent(), config(44_100.0, 2048));
        play(&mut engine, &input, TestControls::default(), block).main
    };
    let whole = render(&mut || 2048);
    for size in [1, 64, 480, 512] {
        assert!(render(&mut || size) == whole, "blocks of {size}");
    }
    assert!(render(&mut random_blocks(2048)) == whole, "random blocks");
}

#[test]
fn unannounced_offline_render_has_no_late_mask() {
    let slow = fake(|_, _, mask| {
        std::thread::sleep(Duration::from_millis(1));
        mask.fill(Complex32::ONE);
    });
    let mut engine = engine(slow, Config { offline: false, ..config(48_000.0, 512) });
    let input = noise(96_000);
    let output = play(&mut engine, &input, TestControls::default(), || 512);
    assert_eq!(engine.status().faults().late, 0);
    assert!(largest_difference(&output.main, &delayed(&input, engine.latency())) < 1e-4);
}

/// Processes `input` in real time. `before_block` is called with the number of each block.
fn play_live(
    engine: &mut Engine,
    input: &[f32],
    block: usize,
    mut before_block: impl FnMut(usize),
) -> Vec<f32> {
    let rate = engine.sample_rate();
    let start = Instant::now();
    let mut output = Vec::new();
    for (number, part) in input.chunks(block).enumerate() {
        let due = start + Duration::from_secs_f64((number * block) as f64 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        before_block(number);
        output.extend(play(engine, part, TestControls::default(), || block).main);
    }
    output
}

#[test]
fn stalled_separator_yields_dry_and_resumes_without_click() {
    let rate = 48_000.0;
    let stalled = Arc::new(AtomicBool::new(false));
    let switch = stalled.clone();
    let factory = fake(move |_, _, mask| {
        while switch.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        mask.fill(Complex32::new(0.5, 0.0));
    });
    let mut engine = engine(factory, Config { offline: false, ..config(rate, 512) });
    let input = sine(3 * 48_000, 300.0, rate);
    // Stalled during the second of three seconds.
    let second = 48_000 / 512;
    let output = play_live(&mut engine, &input, 512, |block| {
        stalled.store((second..2 * second).contains(&block), Ordering::Release);
    });
    let dry = delayed(&input, engine.latency());
    let gain = |from: usize| {
        let part = |signal: &[f32]| signal[from..from + 4800].iter().map(|s| s * s).sum::<f32>();
        (part(&output) / part(&dry)).sqrt()
    };
    assert!((gain(30_000) - 0.5).abs() < 0.01, "separated before: {}", gain(30_000));
    assert!((gain(85_000) - 1.0).abs() < 0.01, "dry while stalled: {}", gain(85_000));
    assert!((gain(130_000) - 0.5).abs() < 0.01, "separated again: {}", gain(130_000));
    assert_same(&output[85_000..90_000], &dry[85_000..90_000]);
    assert!(engine.status().faults().missing() > 40, "counted");
    assert!(largest_jump(&output) < largest_jump(&input) + 0.005, "no click");
}

#[test]
fn separator_slower_than_realtime_causes_no_click() {
    let slow = fake(|_, _, mask| {
        std::thread::sleep(Duration::from_millis(30));
        mask.fill(Complex32::new(0.2, 0.0));
    });
    let mut engine = engine(slow, Config { offline: false, ..config(48_000.0, 512) });
    let input = sine(48_000, 300.0, 48_000.0);
    let output = play_live(&mut engine, &input, 512, |_| ());
    assert!(engine.status().faults().late > 10);
    assert!(largest_jump(&output) < largest_jump(&input) + 0.005);
}

#[test]
fn reset_removes_all_audio_of_old_stream() {
    let mut engine = engine(constant(1.0), config(48_000.0, 512));
    play(&mut engine, &noise(30_000), TestControls::default(), || 512);
    engine.reset();
    let output = play(&mut engine, &vec![0.0; 30_000], TestControls::default(), || 512);
    assert!(output.main.iter().chain(&output.target).all(|&sample| sample == 0.0));
}

#[test]
fn status_has_presence_if_separator_returns_it() {
    struct PresenceSeparator;
    impl Separator for PresenceSeparator {
        fn as_any(&mut self) -> &mut dyn Any {
            self
        }

        fn reset(&mut self) {}
        fn fork(&self) -> Result<Box<dyn Separator>, String> {
            fork_unsupported()
        }
        fn run(&mut self, _: &[f32], _: &[f32], mask: &mut [Complex32]) -> Result<Option<f32>, String> {
            mask.fill(Complex32::ONE);
            Ok(Some(0.25))
        }
    }
    let mut with_presence = engine(
        Box::new(|_| Ok(Networks::without_listener(Box::new(PresenceSeparator)))),
        config(48_000.0, 512),
    );
    assert_eq!(with_presence.status().presence(), None, "no frame yet");
    play(&mut with_presence, &noise(20_000), TestControls::default(), || 512);
    assert_eq!(with_presence.status().presence(), Some(0.25));
    let mut without_presence = engine(constant(1.0), config(48_000.0, 512));
    play(&mut without_presence, &noise(20_000), TestControls::default(), || 512);
    assert_eq!(without_presence.status().presence(), None);
}

#[test]
fn separator_state_is_reset_by_seek_and_reset_only() {
    struct ResetCounter(Arc<AtomicUsize>);
    impl Separator for ResetCounter {
        fn as_any(&mut self) -> &mut dyn Any {
            self
        }

        fn reset(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        fn fork(&self) -> Result<Box<dyn Separator>, String> {
            fork_unsupported()
        }
        fn run(&mut self, _: &[f32], _: &[f32], mask: &mut [Complex32]) -> Result<Option<f32>, String> {
            mask.fill(Complex32::ONE);
            Ok(None)
        }
    }
    let starts = Arc::new(AtomicUsize::new(0));
    let count = starts.clone();
    let mut engine = engine(
        Box::new(move |_| Ok(Networks::without_listener(Box::new(ResetCounter(count))))),
        config(48_000.0, 512),
    );
    let input = noise(20_000);
    play(&mut engine, &input, TestControls::default(), || 512);
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    engine.seek();
    let output = play(&mut engine, &input, TestControls::default(), || 512);
    assert_eq!(starts.load(Ordering::SeqCst), 2);
    let dry = delayed(&input, engine.latency());
    assert!(largest_difference(&output.main[3000..], &dry[3000..]) < 1e-4, "audio continues across a seek");
    engine.reset();
    play(&mut engine, &input, TestControls::default(), || 512);
    assert_eq!(starts.load(Ordering::SeqCst), 3);
}

#[test]
fn invalid_input_or_mask_gives_finite_output() {
    let mut runs = 0;
    let factory = fake(move |_, _, mask| {
        runs += 1;
        mask.fill(match runs % 3 {
            0 => Complex32::new(f32::NAN, 0.0),
            1 => Complex32::new(f32::INFINITY, 0.0),
            _ => Complex32::ONE,
        });
    });
    let mut engine = engine(factory, config(48_000.0, 512));
    let mut input = noise(48_000);
    for (at, value) in [(5000, f32::NAN), (9000, f32::INFINITY), (9001, f32::NEG_INFINITY), (9002, f32::MAX)]
    {
        input[at] = value;
    }
    let output = play(&mut engine, &input, TestControls::default(), || 512);
    for signal in [&output.main, &output.target, &output.residual] {
        assert!(signal.iter().all(|sample| sample.is_finite() && sample.abs() < 2.0));
    }
    assert!(engine.status().faults().invalid > 10, "counted");
}

#[test]
fn subnormal_input_is_zero_on_the_dry_path() {
    let mut engine = engine(constant(1.0), config(48_000.0, 512));
    let mut input = noise(24_000);
    input.iter_mut().step_by(3).for_each(|sample| *sample *= f32::MIN_POSITIVE / 4.0);
    let flushed: Vec<_> =
        input.iter().map(|sample| if sample.is_subnormal() { 0.0 } else { *sample }).collect();
    assert_ne!(flushed, input);
    let controls = TestControls { strength: 0.0, ..TestControls::default() };
    let output = play(&mut engine, &input, controls, || 512);
    assert_same(&output.main, &delayed(&flushed, engine.latency()));
}

#[test]
fn active_query_switches_at_next_hop() {
    let mut engine = engine(gain_of_query(), config(48_000.0, 512));
    let input = vec![0.5; 96_000];
    let before =
        play(&mut engine, &input[..48_000], TestControls { query: 1, ..TestControls::default() }, || 512)
            .main;
    let after =
        play(&mut engine, &input[48_000..], TestControls { query: 0, ..TestControls::default() }, || 512)
            .main;
    let output = [before, after].concat();
    let (latency, grid) = (engine.latency(), engine.timing.grid);
    // Frames that end in the first part use query 1. The first frame that ends in the second part
    // uses query 0, from the frame's first sample on.
    let first = (48_000 / grid.hop + 1) * grid.hop - grid.size + latency;
    assert!(output[first - 1] > 0.49, "{}", output[first - 1]);
    assert!(output[first + grid.hop..].iter().all(|sample| sample.abs() < 1e-3));
}

#[test]
fn listen_removed_outputs_residual() {
    let input = noise(30_000);
    let mut engine = engine(constant(0.25), config(48_000.0, 512));
    let output =
        play(&mut engine, &input, TestControls { listen_removed: true, ..TestControls::default() }, || 512);
    let dry = delayed(&input, engine.latency());
    let three_quarters: Vec<_> = dry.iter().map(|sample| 0.75 * sample).collect();
    assert!(largest_difference(&output.main[6000..], &three_quarters[6000..]) < 1e-4);
}

#[test]
fn band_pass_mask_passes_its_band_at_every_rate() {
    for rate in RATES {
        // A bin is 31.25 Hz wide: bins 16 to 48 are 500 to 1500 Hz.
        let factory = fake(|_, _, mask| {
            mask.fill(Complex32::ZERO);
            mask[16..=48].fill(Complex32::ONE);
        });
        let mut engine = engine(factory, config(rate, 512));
        let samples = rate as usize;
        let (inside, outside) = (sine(samples, 1000.0, rate), sine(samples, 4000.0, rate));
        let mixture: Vec<_> = inside.iter().zip(&outside).map(|(a, b)| a + b).collect();
        let output = play(&mut engine, &mixture, TestControls::default(), || 512);
        let expected = delayed(&inside, engine.latency());
        let error = largest_difference(&output.main[samples / 2..], &expected[samples / 2..]);
        assert!(error < 5e-3, "{rate} Hz: {error}");
    }
}

#[test]
fn failed_model_passes_dry_at_same_latency_in_both_modes() {
    for mode in [Mode::Isolate, Mode::Remove] {
        let factory: SeparatorFactory =
            Box::new(|_| Err("models/x/separator.onnx: is missing. Install the package again".into()));
        let mut engine = Engine::open(source(factory, 0), config(48_000.0, 512), None, queries());
        assert_eq!(engine.latency(), 2304);
        assert_eq!(
            engine.status().wait_while_loading(Instant::now() + Duration::from_secs(10)),
            Readiness::Failed
        );
        let problem = engine.status().problem().unwrap();
        assert!(problem.contains("separator.onnx") && problem.contains("Install"));
        let input = noise(20_000);
        let output = play(&mut engine, &input, TestControls { mode, ..TestControls::default() }, || 512);
        assert_same(&output.main, &delayed(&input, 2304));
        assert_eq!(engine.status().faults().late, 0);
    }
}

#[test]
fn loading_model_passes_dry_and_counts_no_late_mask() {
    let (load_sender, load_receiver) = mpsc::channel::<()>();
    let factory: SeparatorFactory = Box::new(move |_| {
        let _ = load_receiver.recv();
        let silence = |_: &[f32], _: &[f32], mask: &mut [Complex32]| mask.fill(Complex32::ZERO);
        Ok(Networks::without_listener(Box::new(FakeSeparator(silence))))
    });
    let live = Config { offline: false, ..config(48_000.0, 512) };
    let mut engine = Engine::open(source(factory, 0), live, None, queries());
    let input = noise(24_000);
    let output = play_live(&mut engine, &input, 512, |_| ());
    assert_same(&output, &delayed(&input, engine.latency()));
    assert_eq!(engine.status().faults().late, 0);
    load_sender.send(()).unwrap();
    wait_until_ready(&engine);
    let output = play_live(&mut engine, &input, 512, |_| ());
    assert!(output[12_000..].iter().all(|sample| sample.abs() < 1e-3), "separated once the model is loaded");
}

#[test]
fn block_beyond_the_limit_is_concealed_counted_and_told() {
    let host = Config { offline: false, ..config(48_000.0, 8_192) };
    // Fast enough for single hops, and too slow for all hops of a large block at once. The first mask comes late.
    let open = || {
        let mut time = Duration::from_millis(400);
        let factory = fake(move |_, _, mask| {
            std::thread::sleep(std::mem::replace(&mut time, Duration::from_millis(2)));
            mask.fill(Complex32::ONE);
        });
        Engine::open(source(factory, 0), host, Some(256), queries())
    };
    let latency_of_256 = engine(constant(1.0), config(48_000.0, 256)).latency();
    let input = noise(10 * 48_000);
    for (block, told) in [(256, None), (8_192, Some(8_192))] {
        let mut engine = open();
        wait_until_ready(&engine);
        assert_eq!(engine.latency(), latency_of_256);
        let (start, mut output, mut settled) = (Instant::now(), Vec::new(), None);
        for part in input.chunks(block) {
            let due = start + Duration::from_secs_f64(output.len() as f64 / 48_000.0);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            output.extend(play(&mut engine, part, TestControls::default(), || block).main);
            if engine.mask.is_held() && settled.is_none() {
                // Until then, frames without a mask, which are silent, overlap with those that have one.
                settled = Some(output.len() + engine.timing.grid.size);
            }
            if settled.is_some_and(|settled| output.len() > settled + 16_384) {
                break;
            }
        }
        assert_eq!(engine.status().oversized_block(), told);
        assert!(told.is_none() || engine.status().faults().missing() > 0, "blocks of {block}");
        // The mask of 1 is applied or held, or the sound is dry.
        let expected = delayed(&input, engine.latency());
        let settled = settled.expect("a mask arrives");
        let difference = largest_difference(&output[settled..], &expected[settled..output.len()]);
        assert!(difference < 1e-3, "blocks of {block}: {difference}");
    }
}

#[test]
fn empty_query_passes_dry_in_both_modes() {
    for mode in [Mode::Isolate, Mode::Remove] {
        let queries = queries();
        queries.set_text(0, "");
        let mut engine = Engine::open(source(constant(0.0), 0), config(48_000.0, 512), None, queries);
        let input = noise(20_000);
        let output = play(&mut engine, &input, TestControls { mode, ..TestControls::default() }, || 512);
        assert_same(&output.main, &delayed(&input, engine.latency()));
    }
}

#[test]
fn lookahead_applies_mask_to_its_own_frame() {
    // A separator with a lookahead of two frames: its mask is for the frame two before the newest.
    let mut levels = std::collections::VecDeque::from([0.0_f32; 2]);
    let factory = fake(move |magnitude, _, mask| {
        levels.push_back(magnitude.iter().sum());
        let is_loud = levels.pop_front().unwrap() > 1.0;
        mask.fill(Complex32::new(f32::from(is_loud), 0.0));
    });
    let mut engine = Engine::open(source(factory, 2), config(32_000.0, 512), None, queries());
    wait_until_ready(&engine);
    let mut input = vec![0.0; 32_000];
    input[8192..16_384].copy_from_slice(&noise(8192));
    let output = play(&mut engine, &input, TestControls::default(), || 512);
    assert!(largest_difference(&output.main, &delayed(&input, engine.latency())) < 1e-4);
}

/// Processes `input` by `old`, and by `new` from the first possible handover after sample `at`.
///
/// Returns the output and the sample of the handover.
fn play_handover(old: &mut Engine, new: &mut Engine, input: &[f32], at: usize) -> (Vec<f32>, usize) {
    let mut output =
        play(old, &input[..at], TestControls { query: 1, ..TestControls::default() }, || 100).main;
    while !old.prepare_handover(new) {
        let rest = &input[output.len()..][..100];
        output.extend(play(old, rest, TestControls { query: 1, ..TestControls::default() }, || 100).main);
    }
    new.continue_from(old);
    let handover = output.len();
    output.extend(
        play(new, &input[handover..], TestControls { query: 1, ..TestControls::default() }, || 100).main,
    );
    (output, handover)
}

#[test]
fn handover_at_same_latency_has_no_gap() {
    let rate = 48_000.0;
    let input = sine(96_000, 440.0, rate);
    // The old engine passes dry, as while its model is being replaced.
    let (mut old, mut new) =
        (engine(constant(1.0), config(rate, 512)), engine(constant(1.0), config(rate, 512)));
    old.mixer.wet.snap(0.0);
    old.status.fail("the model is being replaced".into());
    let (output, handover) = play_handover(&mut old, &mut new, &input, 30_000);
    assert_eq!(handover, 30_000);
    let expected = delayed(&input, new.latency());
    let during = output.iter().zip(&expected).skip(20_000).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Up to half of the signal is missing while the first separated frame fades in.
    assert!(largest_jump(&output[20_000..]) < 1.3 * largest_jump(&input), "{}", largest_jump(&output));
    let settled = handover + 3 * new.latency();
    let after =
        output[settled..].iter().zip(&expected[settled..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(during < 0.6 && after < 1e-5, "{during} {after}");
}

#[test]
fn handover_at_different_latency_fades() {
    let rate = 48_000.0;
    let input = sine(96_000, 440.0, rate);
    let mut old = engine(constant(1.0), config(rate, 512));
    let mut new = engine(constant(1.0), config(rate, 2_048));
    let (output, handover) = play_handover(&mut old, &mut new, &input, 30_000);
    assert!((30_000..31_000).contains(&handover) && new.latency() > old.latency());
    assert!(largest_jump(&output[4_000..]) < 1.3 * largest_jump(&input));
    let settled = handover + 3 * new.latency();
    let expected = delayed(&input, new.latency());
    let after =
        output[settled..].iter().zip(&expected[settled..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(after < 1e-5, "{after}");
}

#[test]
fn frames_are_never_dropped_after_many_resets() {
    let live = Config { offline: false, ..config(48_000.0, 512) };
    let mut engine = Engine::open(source(constant(1.0), 5), live, None, queries());
    wait_until_ready(&engine);
    for _ in 0..10 {
        engine.reset();
        play_live(&mut engine, &noise(10_000), 512, |_| ());
    }
    assert_eq!(engine.status().faults().dropped, 0);
}

#[test]
fn live_host_that_works_ahead_never_waits_for_loading() {
    let (load, loading) = mpsc::channel::<()>();
    let factory: SeparatorFactory = Box::new(move |_| Err(format!("{:?}", loading.recv())));
    let live = Config { offline: false, ..config(48_000.0, 512) };
    let mut engine = Engine::open(source(factory, 0), live, None, queries());
    let start = Instant::now();
    play(&mut engine, &noise(48_000), TestControls::default(), || 512);
    assert!(start.elapsed() < Duration::from_millis(500), "{:?} for a second ahead", start.elapsed());
    drop(load);
}

#[test]
fn live_host_that_works_in_bursts_waits_within_its_lead() {
    let slow = fake(|_, _, mask| {
        std::thread::sleep(Duration::from_millis(100));
        mask.fill(Complex32::ONE);
    });
    let mut engine = engine(slow, Config { offline: false, ..config(48_000.0, 512) });
    let burst = Duration::from_secs_f64(4.0 * 512.0 / 48_000.0);
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        std::thread::sleep((number * burst).saturating_sub(start.elapsed()));
        let begin = Instant::now();
        play(&mut engine, &noise(4 * 512), TestControls::default(), || 512);
        longest = longest.max(begin.elapsed());
    }
    assert!(longest < 2 * burst, "{longest:?} for a burst of {burst:?}");
}

#[test]
fn render_of_a_host_that_does_not_say_so_waits_for_masks() {
    let separator = fake(|_, _, mask| {
        std::thread::sleep(Duration::from_millis(2));
        mask.fill(Complex32::new(0.5, 0.0));
    });
    let mut engine = engine(separator, Config { offline: false, ..config(48_000.0, 512) });
    let input = noise(4 * 48_000);
    let output = play(&mut engine, &input, TestControls::default(), || 512).main;
    let half: Vec<_> = delayed(&input, engine.latency()).iter().map(|sample| 0.5 * sample).collect();
    assert!(largest_difference(&output[48_000..], &half[48_000..]) < 1e-4);
}

#[test]
fn separator_that_is_behind_skips_what_comes_too_late() {
    // Each run takes longer than a hop, but less than the three hops until its mask is due.
    let slow = fake(|_, _, mask| {
        std::thread::sleep(Duration::from_millis(24));
        mask.fill(Complex32::new(0.5, 0.0));
    });
    let mut engine = engine(slow, Config { offline: false, ..config(48_000.0, 2_048) });
    let input = noise(3 * 48_000);
    play_live(&mut engine, &input, 512, |_| ());
    let (hops, faults) = (input.len() / engine.timing.grid.hop, engine.status().faults());
    assert!(faults.missing() < 3 * hops as u64 / 4, "{faults:?} of {hops} hops");
    assert_eq!(faults.dropped, 0, "dropped frames would reset the separator");
}

/// A separator that loads for `loading` and takes `cost` per frame, slower than real time.
fn slow(loading: Duration, cost: Duration) -> SeparatorFactory {
    Box::new(move |_| {
        std::thread::sleep(loading);
        let halve = move |_: &[f32], _: &[f32], mask: &mut [Complex32]| {
            std::thread::sleep(cost);
            mask.fill(Complex32::new(0.5, 0.0));
        };
        Ok(Networks::without_listener(Box::new(FakeSeparator(halve))))
    })
}

#[test]
fn host_that_says_offline_and_plays_is_not_held() {
    const BLOCK: usize = 512;
    let block = Duration::from_secs_f64(BLOCK as f64 / 48_000.0);
    let longest_call = || {
        let factory = slow(Duration::from_millis(400), Duration::from_millis(40));
        let mut engine = Engine::open(source(factory, 0), config(48_000.0, BLOCK), None, queries());
        let input = noise(48_000);
        let (start, mut longest, mut output) = (Instant::now(), Duration::ZERO, Vec::new());
        for (number, part) in input.chunks(BLOCK).enumerate() {
            std::thread::sleep((number as u32 * block).saturating_sub(start.elapsed()));
            let begin = Instant::now();
            output.extend(play(&mut engine, part, TestControls::default(), || BLOCK).main);
            longest = longest.max(begin.elapsed());
        }
        let dry = delayed(&input, engine.latency());
        (longest, output[..15_000] == dry[..15_000])
    };
    // Other programs of the machine may delay the calls so much that they do not follow the clock.
    let is_free = |(longest, is_dry): &(Duration, bool)| *longest <= 2 * block && *is_dry;
    let mut calls = vec![longest_call()];
    while !calls.last().is_some_and(is_free) && calls.len() < 8 {
        calls.push(longest_call());
    }
    assert!(
        calls.last().is_some_and(is_free),
        "longest call, and dry while loading: {calls:?}; a block is {block:?}"
    );
}

#[test]
fn offline_render_in_a_slow_host_has_the_bits_of_a_fast_one() {
    let input = noise(24_000);
    let render = |own: Duration| {
        let factory = slow(Duration::from_millis(200), Duration::from_millis(20));
        let mut engine = Engine::open(source(factory, 0), config(48_000.0, 512), None, queries());
        let mut output = Vec::new();
        for part in input.chunks(512) {
            std::thread::sleep(own);
            output.extend(play(&mut engine, part, TestControls::default(), || 512).main);
        }
        assert_eq!(engine.status().faults().late, 0, "{own:?}");
        output
    };
    let fast = render(Duration::ZERO);
    for own in [3, 7, 15, 40] {
        assert_same(&render(Duration::from_millis(own)), &fast);
    }
}

#[test]
fn host_that_is_ahead_gets_the_first_mask_of_a_busy_separator() {
    // With blocks of up to this size the host is 20 ms ahead when the first mask is due.
    const BLOCK: usize = 577;
    let is_busy = Arc::new(AtomicBool::new(false));
    let will_be_busy = is_busy.clone();
    let factory = fake(move |_, _, mask| {
        if is_busy.swap(false, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        mask.fill(Complex32::new(0.5, 0.0));
    });
    let mut engine = engine(factory, Config { offline: false, ..config(48_000.0, BLOCK) });
    let input = noise(48_000);
    play(&mut engine, &input, TestControls::default(), || BLOCK);
    // A frame that the reset makes stale. The separator is at it while the first frames after the reset are sent.
    will_be_busy.store(true, Ordering::SeqCst);
    play(&mut engine, &input[..1000], TestControls::default(), || BLOCK);
    engine.reset();
    let late = engine.status().faults().late;
    let output = play(&mut engine, &input, TestControls::default(), || BLOCK);
    assert_eq!(engine.status().faults().late, late);
    let half: Vec<_> = delayed(&input, engine.latency()).iter().map(|sample| 0.5 * sample).collect();
    assert!(largest_difference(&output.main, &half) < 1e-5);
}
