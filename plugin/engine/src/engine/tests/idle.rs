//! Tests of an engine that rests: what it costs, and how it wakes. They play in real time, as a host that renders never rests.

use super::*;
use crate::CancelToken;
use crate::dsp::grid::Grid;
use crate::dsp::stft::{AnalysisBuffer, Stft};
use crate::engine::idle::IdleControl;
use crate::inference::library;
use crate::inference::provider::ProviderChoice;
use crate::listener::concepts::{ConceptEmbeddings, ListenerConcepts};
use crate::package::PackageInfo;
use crate::realtime::mask_queue::FrameTask;
use crate::separator::network::LoadedModel;
use crate::separator::streaming::StreamingSeparator;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const SECOND: usize = RATE as usize;

/// Separator whose masks depend on the frame, and the number of its runs.
fn counted() -> (SeparatorFactory, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let separator = fake(move |magnitude, _, mask| {
        count.fetch_add(1, Ordering::SeqCst);
        mask.fill(Complex32::new(0.5 / (1.0 + magnitude[7]), 0.0));
    });
    (separator, runs)
}

/// Output of an engine that played live, and the runs of its separator up to the end of each block.
struct Played {
    output: Vec<f32>,
    runs: Vec<usize>,
}

impl Played {
    /// Runs from one sample to another.
    fn runs_between(&self, from: usize, to: usize) -> usize {
        self.runs[to / BLOCK - 1] - self.runs[from / BLOCK - 1]
    }
}

/// Plays `input` in real time, with the controls for each sample's block; `with_aux` connects the auxiliary outputs.
fn play_idle(
    engine: &mut Engine,
    runs: &AtomicUsize,
    input: &[f32],
    with_aux: bool,
    controls: impl Fn(usize) -> TestControls,
) -> Played {
    let (start, mut smoothed) = (Instant::now(), controls(0).strength);
    let mut played = Played { output: input.to_vec(), runs: Vec::new() };
    for (number, block) in played.output.chunks_mut(BLOCK).enumerate() {
        let due = start + Duration::from_secs_f64((number * BLOCK) as f64 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let TestControls { strength, gain, mode, query, listen_removed, bypass } = controls(number * BLOCK);
        // As by the plugin's smoother, in 10 ms.
        let mut next_strength = || {
            smoothed += (strength - smoothed).clamp(-1.0 / 480.0, 1.0 / 480.0);
            smoothed
        };
        let strength: Vec<_> = block.iter().map(|_| next_strength()).collect();
        let gain = vec![gain; block.len()];
        let controls = Controls {
            mode,
            query,
            listen_removed,
            bypass,
            shape: MaskShaping { floor: 0.0, ..MaskShaping::default() },
            ..Controls::new(&strength, &gain)
        };
        let (mut target, mut residual) = (vec![0.0; block.len()], vec![0.0; block.len()]);
        let (mut target, mut residual) = ([&mut *target], [&mut *residual]);
        let mut aux = match with_aux {
            true => AuxOutputs { target: &mut target, residual: &mut residual },
            false => AuxOutputs::default(),
        };
        engine.process(&mut [block], &mut aux, &controls);
        played.runs.push(runs.load(Ordering::SeqCst));
    }
    played
}

/// Repeats `play` on a new engine until no mask is missing: a busy machine can be late at any time, a rest would be each time.
fn play_without_missing_masks(play: impl Fn(&mut Engine, &AtomicUsize) -> Played) -> (Played, usize) {
    for _ in 0..5 {
        let (separator, runs) = counted();
        let mut engine = engine(separator, live());
        let played = play(&mut engine, &runs);
        if engine.status().faults().missing() == 0 {
            return (played, engine.latency());
        }
    }
    panic!("masks are missing in each of five trials");
}

fn live() -> Config {
    Config { offline: false, ..config(RATE, BLOCK) }
}

#[test]
fn network_rests_while_the_output_needs_no_mask() {
    let unused = [
        TestControls { bypass: true, ..TestControls::default() },
        TestControls { strength: 0.0, ..TestControls::default() },
        TestControls { strength: 0.0, listen_removed: true, ..TestControls::default() },
    ];
    for resting in unused {
        let input = sine(6 * SECOND, 300.0, RATE);
        // Two seconds pass before the network rests; then there is one more, and one of separation.
        let (begin, end) = (SECOND, 5 * SECOND);
        let is_resting = |sample: usize| (begin..end).contains(&sample);
        let controls = |sample| if is_resting(sample) { resting } else { TestControls::default() };
        let (played, latency) =
            play_without_missing_masks(|engine, runs| play_idle(engine, runs, &input, false, controls));
        assert_eq!(played.runs_between(end - SECOND, end), 0, "{resting:?}");
        let dry = delayed(&input, latency);
        let level =
            |from: usize| played.output[from..from + 4800].iter().fold(0.0, |a: f32, b| a.max(b.abs()));
        assert!(level(begin - 4800) < 0.3, "separated before");
        if !resting.listen_removed {
            assert_same(&played.output[end - SECOND..end], &dry[end - SECOND..end]);
            assert!(largest_jump(&played.output) < largest_jump(&input) + 0.005, "{resting:?}: no click");
        }
        assert!(level(end + 4800) < 0.3, "separated again after 100 ms: {}", level(end + 4800));
    }
}

#[test]
fn auxiliary_output_in_use_keeps_the_network_awake() {
    let (separator, runs) = counted();
    let mut engine = engine(separator, live());
    let bypassed = TestControls { bypass: true, ..TestControls::default() };
    let played = play_idle(&mut engine, &runs, &sine(4 * SECOND, 300.0, RATE), true, |_| bypassed);
    assert!(played.runs_between(3 * SECOND, 4 * SECOND) > 55);
}

#[test]
fn network_rests_in_silence_and_wakes_without_a_trace() {
    let mut input = noise(7 * SECOND);
    input[SECOND..6 * SECOND].fill(0.0);
    let (played, _) = play_without_missing_masks(|engine, runs| {
        play_idle(engine, runs, &input, false, |_| TestControls::default())
    });
    // At most a burst of frames that keep the state up to date.
    assert!(
        played.runs_between(4 * SECOND, 6 * SECOND) < 30,
        "{}",
        played.runs_between(4 * SECOND, 6 * SECOND)
    );
    let (separator, _) = counted();
    let mut awake = engine(separator, config(RATE, BLOCK));
    let expected = play(&mut awake, &input, TestControls::default(), || BLOCK).main;
    assert!(largest_difference(&played.output[SECOND..], &expected[SECOND..]) < 1e-6);
}

#[test]
fn engine_is_silent_only_while_it_rests_and_holds_no_sound() {
    let (separator, runs) = counted();
    let mut engine = engine(separator, live());
    let mut input = noise(4 * SECOND);
    input[SECOND / 2..].fill(0.0);
    play_idle(&mut engine, &runs, &input[..2 * SECOND], false, |_| TestControls::default());
    assert!(!engine.is_silent(), "the network has not heard enough silence");
    play_idle(&mut engine, &runs, &input[2 * SECOND..], false, |_| TestControls::default());
    assert!(!engine.is_silent(), "an editor may read");
    while engine.analyzer().is_active() {
        engine.analyzer().push_silence();
    }
    assert!(engine.is_silent());
    play_idle(&mut engine, &runs, &[1e-6; BLOCK], false, |_| TestControls::default());
    assert!(!engine.is_silent());
}

#[test]
fn model_that_is_loading_while_the_input_is_silent_takes_over() {
    let (separator, runs) = counted();
    let mut old = engine(separator, live());
    play_idle(&mut old, &runs, &vec![0.0; 3 * SECOND], false, |_| TestControls::default());
    let new = engine(constant(1.0), live());
    old.status.fail("the model is being replaced".into());
    play_idle(&mut old, &runs, &vec![0.0; SECOND / 10], false, |_| TestControls::default());
    assert!(old.prepare_handover(&new));
}

/// Frames of the demo's mixture: magnitudes and power.
fn demo_frames(grid: &Grid) -> Vec<(Vec<f32>, Vec<f32>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/demo/mixture.wav");
    // 16-bit stereo at 48 kHz, behind a header of 44 bytes.
    let bytes = std::fs::read(path).unwrap();
    let left = bytes[44..]
        .chunks_exact(4)
        .map(|frame| f32::from(i16::from_le_bytes([frame[0], frame[1]])) / 32_768.0);
    let samples: Vec<f32> = left.collect();
    let mut stft = Stft::new(grid.size, grid.hop, AUDIO.window);
    let (mut history, mut spectrum) = (AnalysisBuffer::new(grid.size), vec![Complex32::ZERO; grid.bins()]);
    let scale = crate::dsp::grid::model_scale(&AUDIO, &stft);
    let frame = |samples: &[f32]| {
        history.extend(samples);
        stft.analyse(&history, &mut spectrum);
        let mut magnitude = vec![0.0; grid.model_bins];
        crate::dsp::grid::write_model_magnitude([&*spectrum].into_iter(), scale, &mut magnitude);
        let power = spectrum[..grid.model_bins].iter().map(Complex32::norm_sqr).collect();
        (magnitude, power)
    };
    samples.chunks_exact(grid.hop).map(frame).collect()
}

/// Masks of the default model for the frames after `silence` hops of silence, which follow four seconds of the demo.
fn masks_after_silence(
    frames: &[(Vec<f32>, Vec<f32>)],
    silence: usize,
    embedding: &[f32],
    rests: bool,
) -> Vec<Vec<Complex32>> {
    let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
    let (choice, token) = (ProviderChoice::default(), CancelToken::default());
    let environment = library::environment().unwrap();
    let (mut separator, _) = StreamingSeparator::new(environment, &model, &choice, &token).unwrap();
    let timing = Timing::new(&AUDIO, &SeparatorSection::streaming(0), &live());
    let mut idle = IdleControl::new(&timing);
    let silent = vec![0.0; AUDIO.bins()];
    let (before, after) = frames.split_at(250);
    let mut hops: Vec<_> = before.iter().map(|(magnitude, _)| (magnitude, 1.0)).collect();
    hops.extend((0..silence).map(|_| (&silent, 0.0)));
    hops.extend(after.iter().take(60).map(|(magnitude, _)| (magnitude, 1.0)));
    let mut masks = Vec::new();
    for (magnitude, peak) in hops {
        idle.observe(timing.grid.hop, peak, true);
        let (task, skipped) = idle.next_task(rests, false);
        if skipped > 0 {
            separator.skip_silence(skipped);
        }
        let Some(task) = task else { continue };
        let mut mask = vec![Complex32::ZERO; AUDIO.bins()];
        separator.run(magnitude, embedding, &mut mask).unwrap();
        if task == FrameTask::FollowSilence {
            separator.note_silence();
        }
        masks.push(mask);
    }
    masks.split_off(masks.len() - 60)
}

#[test]
fn sound_after_a_rest_is_separated_as_without_it() {
    let package = PackageInfo::built_in().load().unwrap();
    let files = package.listener.as_ref().unwrap().as_ref().unwrap();
    let concepts = ListenerConcepts::parse(&files.concepts).unwrap().names().len();
    let size = files.embeddings.len() / 2 / concepts;
    let embeddings = ConceptEmbeddings::parse(&files.embeddings, concepts, size).unwrap();
    let grid = Grid::new(&AUDIO, RATE);
    let frames = demo_frames(&grid);
    for embedding in [0, 40].map(|concept| embeddings.row(concept)) {
        for seconds in [5, 60] {
            let silence = (f64::from(seconds) / grid.hop_seconds()) as usize;
            let [rested, awake] =
                [true, false].map(|rests| masks_after_silence(&frames, silence, &embedding, rests));
            let (mut difference, mut signal) = (0.0_f64, 0.0_f64);
            for ((rested, awake), (_, power)) in rested.iter().zip(&awake).zip(&frames[250..]) {
                for ((rested, awake), power) in rested.iter().zip(awake).zip(power) {
                    difference += f64::from((rested - awake).norm_sqr() * power);
                    signal += f64::from(*power);
                }
            }
            let decibels = 10.0 * (difference / signal).log10();
            println!("{decibels:.1} dB after {seconds} s");
            assert!(decibels < -60.0, "{decibels:.1} dB after {seconds} s");
        }
    }
}
