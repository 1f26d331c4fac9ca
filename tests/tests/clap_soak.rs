//! The bundled CLAP over a long session. Tests that take minutes are run by `cargo xtask test --full` only.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, demo, stft_frame_and_hop};
use sift_tests::process::{load_factor, private_memory};
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, metrics, warm_up};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// One minute of the demo mixture, repeated from its start.
fn minute() -> Audio {
    let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    Audio::from_fn(mixture.width(), 60 * RATE as usize, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    })
}

/// Private memory in MiB.
fn memory() -> f64 {
    private_memory() as f64 / MEBIBYTE
}

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    hour_offline_keeps_level_and_memory,
    TestEnvironment::as_delivered(),
    {
        const MINUTES: usize = 60;
        let minute = minute();
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let (mut levels, mut memories) = (Vec::new(), Vec::new());
        for _ in 0..MINUTES {
            let output = plugin.render(&minute, Blocks::of(BLOCK), &[]).unwrap();
            levels.push([&output.target, &output.residual].map(|part| metrics::level_dbfs(&part.to_mono())));
            drop(output);
            memories.push(memory());
        }
        println!(
            "measured: dBFS of target and residual in the second minute {:?}, in the last {:?}",
            levels[1],
            levels[MINUTES - 1]
        );
        println!(
            "measured: MiB after 10 minutes {:.1}, after {MINUTES} {:.1}",
            memories[9],
            memories[MINUTES - 1]
        );
        for (second, last) in levels[1].iter().zip(levels[MINUTES - 1]) {
            assert!((second - last).abs() < 0.1, "the level of target or residual drifts: {levels:?}");
        }
        let grown = memories[MINUTES - 1] - memories[9];
        assert!(grown < 1.0, "memory grew by {grown:.2} MiB in 50 minutes: {memories:?}");
    }
);

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    ten_minutes_in_real_time_keep_memory,
    TestEnvironment::as_delivered(),
    {
        const MINUTES: usize = 10;
        let minute = minute();
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        warm_up::until_separated(&mut plugin, &minute, BLOCK, Duration::from_secs(60)).unwrap();
        let times = Arc::new(Mutex::new(Vec::with_capacity(MINUTES * minute.frames() / BLOCK + MINUTES)));
        let mut memories = Vec::new();
        for _ in 0..MINUTES {
            let times = Arc::clone(&times);
            let blocks = Blocks::of(BLOCK)
                .in_real_time()
                .timed(move |timing| times.lock().unwrap().push(timing.processing));
            drop(plugin.render(&minute, blocks, &[]).unwrap());
            memories.push(memory());
        }
        let mut times = times.lock().unwrap();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "measured: audio thread per block, median {:?}, 99.9 % {:?}, worst {:?}",
            at(0.5),
            at(0.999),
            at(1.0)
        );
        println!(
            "measured: MiB after the first minute {:.1}, after the last {:.1}",
            memories[0],
            memories[MINUTES - 1]
        );
        let grown = memories[MINUTES - 1] - memories[0];
        assert!(grown < 1.0, "memory grew by {grown:.2} MiB: {memories:?}");
    }
);

/// Hops of a sound, and those without a mask in time.
#[derive(Default)]
struct Hops {
    all: usize,
    late: usize,
}

impl Hops {
    /// Adds the hops of `target`, which the package `half` makes of noise, from the first one with a mask on.
    ///
    /// With a mask, *Target* is half of the input; without, it is the input.
    fn count(&mut self, target: &Audio, sound: &Audio, latency: usize, rate: f64) {
        let (_, hop) = stft_frame_and_hop(rate);
        let dry = sound.delayed(latency);
        let energy = |audio: &Audio, at: usize| -> f32 {
            audio.channel(0)[at..at + hop].iter().map(|sample| sample * sample).sum()
        };
        let starts = (latency..sound.frames().saturating_sub(hop)).step_by(hop);
        let is_masked = |at: usize| energy(target, at) < 0.3 * energy(&dry, at);
        let hops: Vec<_> = starts.map(is_masked).skip_while(|masked| !masked).collect();
        self.all += hops.len();
        self.late += hops.iter().filter(|masked| !**masked).count();
    }
}

/// Two projects in one host for `rounds` rounds of two seconds; prints and judges their late hops.
///
/// One plays all the time. The other is activated at another rate in each round, and plays blocks of 1 to 16,384 samples.
/// Meanwhile instances are made, played and dropped.
fn play_two_projects(rounds: usize) {
    const LARGEST: usize = 16_384;
    const DROPPED: usize = 20;
    const RATES: [f64; 3] = [44_100.0, 96_000.0, 48_000.0];
    let bundle = clap_bundle();
    let create = || Instance::create(&bundle).unwrap();
    let (mut steady, mut changing) = (create(), create());
    let mut dropped = 0;
    let mut hops = [Hops::default(), Hops::default()];
    let begin = Instant::now();
    for round in 0..rounds {
        if round == 0 {
            steady.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        }
        let rate = RATES[round % RATES.len()];
        let noise = |rate: f64| Audio::noise(2, 2 * rate as usize, 0.3, round as u64);
        let (steady_sound, sound) = (noise(RATE), noise(rate));
        let (output, (changed, latency)) = steady
            .play(&steady_sound, Blocks::of(BLOCK).in_real_time(), |_| {
                // While the other project plays.
                changing.deactivate();
                changing.activate(rate, LARGEST, Mode::Realtime).unwrap();
                let latency = changing.latency().unwrap();
                let blocks = Blocks::random(LARGEST, round as u64).in_real_time();
                let short = sound.slice(0..sound.frames() * 3 / 4);
                let (changed, ()) = changing
                    .play(&short, blocks, |_| {
                        let mut others: Vec<Instance> = Vec::new();
                        for number in 0..DROPPED {
                            let mut other = create();
                            other.activate(rate, BLOCK, Mode::Realtime).unwrap();
                            other.render(&sound.slice(0..4 * BLOCK), Blocks::of(BLOCK), &[]).unwrap();
                            others.push(other);
                            // They are not dropped in the order in which they were made.
                            if others.len() > 4 {
                                drop(others.swap_remove(number % others.len()));
                            }
                        }
                        dropped += DROPPED;
                    })
                    .unwrap();
                (changed, latency)
            })
            .unwrap();
        assert!(output.main.is_finite() && changed.main.is_finite(), "round {round}");
        hops[0].count(&output.target, &steady_sound, steady.latency().unwrap(), RATE);
        let played = sound.slice(0..changed.target.frames());
        hops[1].count(&changed.target, &played, latency, rate);
    }
    let [steady, changing] = &hops;
    println!(
        "measured: in {:.0} s, {dropped} instances dropped, {} of {} hops late in the project that plays all the time, {} of \
         {} in the one that changes; no allocation in process, which would end the host",
        begin.elapsed().as_secs_f64(),
        steady.late,
        steady.all,
        changing.late,
        changing.all
    );
    assert!(steady.all > rounds * 60 && changing.all > rounds * 20, "the projects are hardly separated");
    let limit = MAX_LATE_SHARE * load_factor();
    for Hops { all, late } in &hops {
        assert!(
            *late as f64 <= limit * *all as f64,
            "{late} of {all} hops are late; expected {limit:.3} of them"
        );
    }
}

/// Largest share of late hops on an idle machine.
const MAX_LATE_SHARE: f64 = 0.01;

host_test!(two_projects_play_while_rate_and_blocks_change, TestEnvironment::with_package("half"), {
    play_two_projects(2);
});

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    two_projects_play_for_minutes_while_rate_and_blocks_change,
    TestEnvironment::with_package("half"),
    {
        play_two_projects(60);
    }
);
