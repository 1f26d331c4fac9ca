//! The bundled CLAP on a machine that has no time for it.
//!
//! The package `heavy` works as long as the query says, and lets through less than all of the sound, so
//! that what is heard tells whether a mask was there.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::display::HostWindow;
use sift_tests::fixtures::{KEPT_WORD, clap_bundle, stft_frame_and_hop};
use sift_tests::isolation::Environment;
use sift_tests::process::eventually;
use sift_tests::state::State;
use sift_tests::{host_test, priming};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
/// What the package lets through without [`KEPT_WORD`]; with it, twice as much.
const GAIN: f32 = 0.3;
const QUIET: Duration = Duration::from_secs(2);
const STRESS: Duration = Duration::from_secs(8);
const RECOVERY: Duration = Duration::from_millis(100);
/// Of the window's warnings: that parcels are late, beside their number (`plugin/src/editor/theme.rs`).
const WARNING: [u8; 3] = [0xff, 0xb4, 0x54];

fn hop() -> usize {
    stft_frame_and_hop(RATE).1
}

/// The word that makes the separator take twice the time that a hop lasts, or up to a quarter more, and what it takes.
/// What it is at when the machine has its time again must end before it can recover.
fn twice_the_time(plugin: &mut Instance, state: &State) -> (String, Duration) {
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
    heavy.expect("3584 units of work take longer than 32 ms")
}

/// Runs `meanwhile` with a thread on every core that computes without a pause.
fn under_stress<T>(meanwhile: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut value = 1.0_f64;
                while !over.load(Ordering::Relaxed) {
                    (0..10_000).for_each(|_| value = black_box(value * 1.000_001).sqrt());
                }
            });
        }
        let done = meanwhile();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// The gain of every hop of `heard`, the delayed input being `dry`.
fn gains(heard: &Audio, dry: &Audio) -> Vec<f32> {
    let energy = |audio: &Audio, at: usize| -> f32 {
        audio.channel(0)[at..at + hop()].iter().map(|sample| sample * sample).sum()
    };
    (0..heard.frames() / hop())
        .map(|index| (energy(heard, index * hop()) / energy(dry, index * hop()).max(1e-9)).sqrt())
        .collect()
}

host_test!(
    a_separator_at_twice_its_time_on_a_busy_machine_is_concealed_in_place_and_recovers_within_100_ms,
    Environment::with_package("heavy").on_a_display(),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        let (heavy, time) = twice_the_time(&mut plugin, &state);
        let typed = |text: &str| state.clone().with_query(1, text).to_clap();

        let sine = |frames| Audio::sine(2, frames, RATE, 100.0, 0.5);
        plugin.load_state(&typed("speech")).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        let latency = plugin.latency().unwrap();
        priming::until_separated(&mut plugin, &sine(96_000), BLOCK, Duration::from_secs(60)).unwrap();

        let host = HostWindow::open(1000, 800).unwrap();
        plugin.open_window(host.id()).unwrap();
        let is_drawn = eventually(Duration::from_secs(20), || host.is_drawn().unwrap());
        assert!(is_drawn, "the window stays empty");
        assert!(!host.shows(WARNING).unwrap(), "a warning before anything is late");
        let seconds = (2 * QUIET + STRESS + QUIET).as_secs() as usize;
        let sound = sine(seconds * RATE as usize);
        let begin = Instant::now();
        let (heard, (warned, [stressed, over])) = plugin
            .play(&sound, Blocks::of(BLOCK).paced(), |plugin| {
                plugin.wait(QUIET);
                let stressed = begin.elapsed();
                let warned = under_stress(|| {
                    for second in 0..STRESS.as_secs() {
                        let word = if second % 2 == 0 { "drums" } else { KEPT_WORD };
                        plugin.load_state(&typed(&format!("{heavy} {word}"))).unwrap();
                        plugin.wait(Duration::from_secs(1));
                    }
                    host.shows(WARNING).unwrap()
                });
                // The separator has its time again, and what it takes it for.
                plugin.load_state(&typed("speech")).unwrap();
                let over = begin.elapsed();
                plugin.wait(QUIET);
                plugin.close_window().unwrap();
                (warned, [stressed, over].map(|time| time.as_secs_f64()))
            })
            .unwrap();
        assert!(warned, "the window does not tell that parcels are late");

        let dry = sound.delayed(latency);
        let sum = heard.target.plus(&heard.residual);
        let drift = sum.largest_difference(&dry);
        assert!(drift < 1e-6, "the outputs add up to the input, off by {drift}");

        let jump = heard.main.slice(latency..sound.frames()).largest_jump();
        let allowed = sound.largest_jump() + 0.01;
        assert!(jump < allowed, "a jump of {jump}, where the sine and −40 dB are {allowed}");

        let gains = gains(&heard.target, &dry);
        let at = |time: f64| (time * RATE) as usize / hop();
        let under = &gains[at(stressed + 1.0)..at(over)];
        let dry_hops = under.iter().filter(|gain| **gain > 0.9).count();
        assert!(2 * dry_hops > under.len(), "{dry_hops} of {} hops were concealed", under.len());

        let is_masked = |gain: f32| (gain - GAIN).abs() < 0.01;
        let after = &gains[at(over)..];
        let masked = after.len() - after.iter().rev().take_while(|gain| is_masked(**gain)).count();
        let recovered = masked as f64 * hop() as f64 / RATE;
        println!(
            "measured: {dry_hops} of {} hops concealed, at {:.0} ms a run; largest jump {jump:.4} of {allowed:.4} \
             allowed; separated again after {:.0} ms",
            under.len(),
            1e3 * time.as_secs_f64(),
            1e3 * recovered
        );
        assert!(recovered <= RECOVERY.as_secs_f64(), "not separated again for {recovered} s");
    }
);
