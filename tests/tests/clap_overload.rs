//! The bundled CLAP on an overloaded machine.
//!
//! The package `heavy` computes for as long as the query's words request, and keeps less than all of the sound, so
//! that the output shows whether a mask was there.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::display::HostWindow;
use sift_tests::fixtures::{KEPT_WORD, clap_bundle, stft_frame_and_hop};
use sift_tests::process::{eventually, load_factor};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, warm_up};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
/// Gain of the package without [`KEPT_WORD`]; with it, the gain is twice as high.
const GAIN: f32 = 0.3;
/// Overloads, each followed by a recovery; the median of the recoveries is judged, because other programs of the machine
/// may prolong one of them.
const OVERLOADS: usize = 3;
/// Time without load before each overload, and after the last one.
const QUIET: Duration = Duration::from_secs(2);
const STRESS: Duration = Duration::from_secs(4);
/// Longest recovery on a machine that is idle after the overload.
const MAX_RECOVERY: Duration = Duration::from_millis(100);
/// Colour of the editor's warning that masks are late (`plugin/src/editor/theme.rs`).
const WARNING: [u8; 3] = [0xff, 0xb4, 0x54];

fn hop() -> usize {
    stft_frame_and_hop(RATE).1
}

/// The query word for which the separator takes 2 to 2.5 times a hop's duration, and the time that it takes.
///
/// Not more: when the overload ends, the run in progress must end before the plugin can recover.
fn word_for_twice_the_time(plugin: &mut Instance, state: &State) -> (String, Duration) {
    const HOPS: usize = 20;
    let sound = Audio::noise(2, HOPS * hop(), 0.1, 1);
    plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
    let units = (0..10).flat_map(|power| [4, 5, 6, 7].map(|units| units << power));
    let heavy = units.map(|units| format!("x{units}")).find_map(|word| {
        plugin.load_state(&state.clone().with_query(1, &word).to_clap()).unwrap();
        plugin.reset().unwrap();
        plugin.render(&sound, Blocks::of(BLOCK), &[]).unwrap();
        let begin = Instant::now();
        plugin.render(&sound, Blocks::of(BLOCK), &[]).unwrap();
        let time = begin.elapsed() / HOPS as u32;
        (time.as_secs_f64() > 2.0 * hop() as f64 / RATE).then_some((word, time))
    });
    plugin.deactivate();
    heavy.expect("3584 units of work take less than 32 ms; add larger ones to the package `heavy`")
}

/// Runs `meanwhile` while one thread per core computes without a pause.
fn under_load<T>(meanwhile: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut value = 1.0_f64;
                while !is_over.load(Ordering::Relaxed) {
                    (0..10_000).for_each(|_| value = black_box(value * 1.000_001).sqrt());
                }
            });
        }
        let done = meanwhile();
        is_over.store(true, Ordering::Relaxed);
        done
    })
}

/// One overload; times are from the start of the sound.
struct Overload {
    begins: Duration,
    ends: Duration,
    /// Whether the editor showed its warning at the end.
    has_warned: bool,
    /// [`load_factor`] after the recovery.
    load_after: f64,
}

/// Gain of every hop of `output`, where `dry` is the delayed input.
fn gains(output: &Audio, dry: &Audio) -> Vec<f32> {
    let energy = |audio: &Audio, at: usize| -> f32 {
        audio.channel(0)[at..at + hop()].iter().map(|sample| sample * sample).sum()
    };
    (0..output.frames() / hop())
        .map(|index| (energy(output, index * hop()) / energy(dry, index * hop()).max(1e-9)).sqrt())
        .collect()
}

host_test!(
    overload_fades_to_dry_in_place_and_recovers_within_100_ms,
    TestEnvironment::with_package("heavy").with_display(),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        let (heavy_word, time) = word_for_twice_the_time(&mut plugin, &state);
        let typed = |text: &str| state.clone().with_query(1, text).to_clap();

        let sine = |frames| Audio::sine(2, frames, RATE, 100.0, 0.5);
        plugin.load_state(&typed("speech")).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        let latency = plugin.latency().unwrap();
        warm_up::until_separated(&mut plugin, &sine(96_000), BLOCK, Duration::from_secs(60)).unwrap();

        let host = HostWindow::open(1000, 800).unwrap();
        plugin.open_editor(host.id()).unwrap();
        let is_drawn = eventually(Duration::from_secs(20), || host.is_drawn().unwrap());
        assert!(is_drawn, "the editor stays empty");
        assert!(!host.shows(WARNING).unwrap(), "the editor warns before any mask is late");
        let seconds = (OVERLOADS as u32 * (QUIET + STRESS) + 3 * QUIET).as_secs() as usize;
        let sound = sine(seconds * RATE as usize);
        let begin = Instant::now();
        let overload = |plugin: &mut Instance| {
            plugin.wait(QUIET);
            let begins = begin.elapsed();
            let has_warned = under_load(|| {
                for second in 0..STRESS.as_secs() {
                    let word = if second % 2 == 0 { "drums" } else { KEPT_WORD };
                    plugin.load_state(&typed(&format!("{heavy_word} {word}"))).unwrap();
                    plugin.wait(Duration::from_secs(1));
                }
                host.shows(WARNING).unwrap()
            });
            // From here on the machine is idle and the query light.
            plugin.load_state(&typed("speech")).unwrap();
            let ends = begin.elapsed();
            // The measurement takes processor time itself, so that it must not fall into the recovery.
            plugin.wait(2 * MAX_RECOVERY);
            Overload { begins, ends, has_warned, load_after: load_factor() }
        };
        let (output, overloads) = plugin
            .play(&sound, Blocks::of(BLOCK).in_real_time(), |plugin| {
                let overloads: Vec<_> = (0..OVERLOADS).map(|_| overload(plugin)).collect();
                plugin.wait(QUIET);
                plugin.close_editor().unwrap();
                overloads
            })
            .unwrap();
        assert!(
            overloads.iter().all(|overload| overload.has_warned),
            "the editor does not warn that masks are late"
        );

        let dry = sound.delayed(latency);
        let sum = output.target.plus(&output.residual);
        let difference = sum.largest_difference(&dry);
        assert!(difference < 1e-6, "target and residual add up to the delayed input but for {difference}");

        let jump = output.main.slice(latency..sound.frames()).largest_jump();
        let allowed = sound.largest_jump() + 0.01;
        assert!(
            jump < allowed,
            "the largest jump is {jump}; expected less than {allowed}, the sine's and −40 dB"
        );

        let gains = gains(&output.target, &dry);
        let hop_at = |time: Duration| (time.as_secs_f64() * RATE) as usize / hop();
        for Overload { begins, ends, .. } in &overloads {
            let during = &gains[hop_at(*begins + Duration::from_secs(1))..hop_at(*ends)];
            let dry_hops = during.iter().filter(|gain| **gain > 0.9).count();
            println!(
                "measured: {dry_hops} of {} hops dry, at {:.0} ms per run",
                during.len(),
                1e3 * time.as_secs_f64()
            );
            assert!(
                2 * dry_hops > during.len(),
                "{dry_hops} of {} hops are dry; expected more than half",
                during.len()
            );
        }

        let is_masked = |gain: &f32| (gain - GAIN).abs() < 0.01;
        let mut recoveries: Vec<_> = overloads
            .iter()
            .map(|Overload { ends, load_after, .. }| {
                let after = hop_at(*ends)..hop_at(*ends + QUIET);
                let masked_hops =
                    gains[after.clone()].iter().rev().take_while(|gain| is_masked(gain)).count();
                let first_masked = Duration::from_secs_f64(((after.end - masked_hops) * hop()) as f64 / RATE);
                (first_masked.saturating_sub(*ends), *load_after)
            })
            .collect();
        println!(
            "measured: separated again after, and load: {recoveries:.3?}; largest jump {jump:.4} of {allowed:.4}"
        );
        recoveries.sort_by_key(|(recovery, load)| recovery.div_f64(*load));
        let (recovery, load) = recoveries[OVERLOADS / 2];
        let limit = MAX_RECOVERY.mul_f64(load);
        assert!(recovery <= limit, "separated again after {recovery:?}; expected at most {limit:?}");
    }
);

/// Calls of a host that plays and is never held end within this many blocks, on an idle machine.
const MAX_CALL_BLOCKS: u32 = 2;

host_test!(host_that_says_offline_and_plays_is_not_held, TestEnvironment::with_package("heavy"), {
    let block = Duration::from_secs_f64(BLOCK as f64 / RATE);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    // Each mask takes far longer than a hop.
    plugin.load_state(&state.with_query(1, "x3584").to_clap()).unwrap();
    let sound = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
    let mut longest_call = || {
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let latency = plugin.latency().unwrap();
        let (sender, times) = std::sync::mpsc::channel();
        let blocks = Blocks::of(BLOCK).in_real_time().timed(move |timing| {
            sender.send(timing.processing).expect("the test collects the times");
        });
        let (output, ()) = plugin.play(&sound, blocks, |_| ()).unwrap();
        plugin.deactivate();
        // What came without a mask is the input.
        let dry = sound.delayed(latency);
        let (start, end) = (latency, latency + 4 * hop());
        let difference = output.main.slice(start..end).largest_difference(&dry.slice(start..end));
        (times.into_iter().max().unwrap_or_default(), difference < 1e-6)
    };
    // Other programs of the machine may delay the first calls so much that they do not follow the clock.
    let is_free = |(longest, is_dry): &(Duration, bool)| *longest <= MAX_CALL_BLOCKS * block && *is_dry;
    let mut calls = vec![longest_call()];
    while !calls.last().is_some_and(is_free) && calls.len() < 6 {
        calls.push(longest_call());
    }
    println!("measured: longest call of a host that says offline and plays: {calls:?}; a block is {block:?}");
    assert!(
        calls.last().is_some_and(is_free),
        "longest call, and whether the first sound was the input: {calls:?}; a block is {block:?}"
    );
});

host_test!(offline_render_in_a_slow_host_gives_equal_bits, TestEnvironment::with_package("heavy"), {
    let noise = Audio::noise(2, 24_000, 0.5, 4);
    let render = |own: Duration| {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        plugin.load_state(&state.with_query(1, "x256").to_clap()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let starts = (0..noise.frames()).step_by(BLOCK);
        let blocks = starts.map(|start| {
            std::thread::sleep(own);
            let block = noise.slice(start..(start + BLOCK).min(noise.frames()));
            plugin.render(&block, Blocks::of(BLOCK), &[]).unwrap().main
        });
        blocks.reduce(|before, block| before.then(&block)).unwrap()
    };
    let expected = render(Duration::ZERO);
    let masked = expected.slice(4_800..24_000).largest_difference(&Audio::silence(2, 19_200));
    assert!(masked < 0.3, "the largest sample is {masked}; expected {GAIN} of the input");
    for own in [5, 15, 30] {
        let output = render(Duration::from_millis(own));
        assert_eq!(output.first_difference(&expected), None, "a host that takes {own} ms between blocks");
    }
});

/// The limits that rtkit sets, and those of a client of a sound server; soft and hard, in microseconds.
#[cfg(target_os = "linux")]
const PROCESSOR_TIME_LIMITS: [(u64, u64); 2] = [(200_000, 200_000), (16_000, 200_000)];

#[cfg(target_os = "linux")]
host_test!(limit_of_realtime_processor_time_does_not_end_the_host, TestEnvironment::with_package("heavy"), {
    for (soft, hard) in PROCESSOR_TIME_LIMITS {
        // Between the limits no plugin runs: a thread would have to keep a limit that it has already passed.
        let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the call only reads `limit`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_RTTIME, &limit) }, 0);
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        // The network computes longer than the limits for each hop.
        plugin.load_state(&state.with_query(1, "x3584").to_clap()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        let sound = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
        plugin.render(&sound, Blocks::of(BLOCK).in_real_time(), &[]).unwrap();
    }
});
