//! The bundled CLAP's window, opened and closed again and again while sound plays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::display::HostWindow;
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::isolation::Environment;
use sift_tests::process::{eventually, private_memory, release_free_memory, seconds_by_thread, threads};
use sift_tests::{host_test, metrics, priming};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const OPENINGS: usize = 100;
const EVERY: usize = 20;
/// Plugins whose window is closed as soon as it is open.
const LIVES: usize = 200;
const MEBIBYTE: f64 = (1 << 20) as f64;
/// What baseview 0.4.2 leaves behind at each opening: the keyboard's map on X11.
const LEFT: f64 = 0.06 * MEBIBYTE;
/// The sound before the first opening, with the window open for a while, and after all of them.
const QUIET: Duration = Duration::from_secs(6);

/// Memory in bytes and threads.
fn readings() -> (f64, usize) {
    release_free_memory();
    (private_memory().unwrap_or_default() as f64, threads().len())
}

/// When something was done, in seconds of the sound that plays.
struct Times {
    opened: f64,
    hundred: f64,
    closed: f64,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Prints what each of the process's threads takes of a processor, between two readings [`QUIET`] apart.
fn tell_load(before: &HashMap<String, f64>, after: &HashMap<String, f64>) {
    let mut shares: Vec<_> = after
        .iter()
        .map(|(name, seconds)| {
            (100.0 * (seconds - before.get(name).unwrap_or(&0.0)) / QUIET.as_secs_f64(), name)
        })
        .filter(|(share, _)| *share >= 0.1)
        .collect();
    shares.sort_by(|one, other| other.0.total_cmp(&one.0));
    let told: Vec<_> = shares.iter().map(|(share, name)| format!("{name} {share:.1} %")).collect();
    println!("measured: of a processor, while the window is open, by thread: {}", told.join(", "));
}

host_test!(
    a_hundred_openings_at_play_leave_no_thread_no_memory_and_no_late_parcel_behind,
    Environment::as_delivered().on_a_display(),
    {
        let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
        let seconds = 3 * QUIET.as_secs() as usize + 60;
        let sound = Audio::from_fn(mixture.width(), seconds * RATE as usize, |channel, frame| {
            mixture.channel(channel)[frame % mixture.frames()]
        });

        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        let latency = plugin.latency().unwrap();
        priming::until_separated(&mut plugin, &mixture, BLOCK, Duration::from_secs(60)).unwrap();

        let host = HostWindow::open(1000, 800).unwrap();
        let blocks = Arc::new(Mutex::new(Vec::new()));
        let timed = Arc::clone(&blocks);
        let begin = Instant::now();
        let now = move || begin.elapsed().as_secs_f64();
        let (played, (took, found, times)) = plugin
            .play(
                &sound,
                Blocks::of(BLOCK).paced().timed(move |time| timed.lock().unwrap().push(time)),
                |plugin| {
                    plugin.wait(QUIET);
                    let opened = now();
                    plugin.open_window(host.id()).unwrap();
                    plugin.wait(Duration::from_secs(1));
                    let before = seconds_by_thread();
                    plugin.wait(QUIET);
                    tell_load(&before, &seconds_by_thread());
                    plugin.close_window().unwrap();
                    let hundred = now();
                    let (mut took, mut found) = (Vec::new(), Vec::new());
                    for number in 1..=OPENINGS {
                        let begin = Instant::now();
                        plugin.open_window(host.id()).unwrap();
                        took.push(begin.elapsed());
                        plugin.wait(Duration::from_millis(200));
                        plugin.close_window().unwrap();
                        if number % EVERY == 0 {
                            plugin.wait(Duration::from_millis(200));
                            found.push(readings());
                        }
                    }
                    (took, found, Times { opened, hundred, closed: now() })
                },
            )
            .unwrap();
        plugin.deactivate();
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let rendered = plugin.render(&sound, Blocks::of(BLOCK), &[]).unwrap();

        let heard = latency..sound.frames();
        let late =
            metrics::late_hops(&played.target.slice(heard.clone()), &rendered.target.slice(heard), RATE);
        let hops = late.len() as f64 / seconds as f64;
        let between =
            |from: f64, to: f64| &late[(from * hops) as usize..((to * hops) as usize).min(late.len())];
        let share =
            |late: &[bool]| 100.0 * late.iter().filter(|late| **late).count() as f64 / late.len() as f64;
        let (before, open) = (between(0.0, times.opened), between(times.opened, times.hundred));
        let after = between(times.closed + 1.0, f64::INFINITY);
        println!(
            "measured: late parcels before the window was open {:.1} %, while it was {:.1} %, at {OPENINGS} openings \
             {:.1} %, after them {:.1} %",
            share(before),
            share(open),
            share(between(times.hundred, times.closed)),
            share(after),
        );
        let blocks = blocks.lock().unwrap();
        let block = |time: f64| ((time * RATE) as usize / BLOCK).min(blocks.len());
        println!(
            "measured: median of a block on the audio thread before the window was open {:?}, while it was {:?}, \
             after {OPENINGS} openings {:?}",
            median(blocks[..block(times.opened)].to_vec()),
            median(blocks[block(times.opened)..block(times.hundred)].to_vec()),
            median(blocks[block(times.closed + 1.0)..].to_vec()),
        );
        println!("measured: {:?} to open; bytes, threads: {found:?}", median(took));

        // A second that is as it should be: what a busy machine makes late, it does not make late forever.
        assert!(
            after.chunks_exact(hops as usize).any(|second| !second.contains(&true)),
            "parcels stay late: {after:?}"
        );
        let (memory, running) = found[0];
        for (times, (bytes, threads)) in found.iter().enumerate().skip(1) {
            // Heaps come apart a little, too.
            let allowed = memory + 12.0 * MEBIBYTE + LEFT * (EVERY * times) as f64;
            assert!(*bytes <= allowed, "memory grew: {found:?}");
            assert!(*threads <= running, "threads stayed: {found:?}");
        }
    }
);

host_test!(a_window_that_the_host_shows_late_is_drawn, Environment::as_delivered().on_a_display(), {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let host = HostWindow::open(1000, 800).unwrap();
    plugin.make_window(host.id()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!host.is_drawn().unwrap(), "it is not shown yet");
    plugin.show_window().unwrap();
    let is_drawn = eventually(Duration::from_secs(20), || host.is_drawn().unwrap());
    assert!(is_drawn, "the window stays empty");
    plugin.close_window().unwrap();
});

host_test!(
    nothing_of_a_window_runs_on_once_its_plugin_is_gone,
    Environment::as_delivered().on_a_display(),
    {
        let host = HostWindow::open(1000, 800).unwrap();
        let life = || {
            let mut plugin = Instance::create(&clap_bundle()).unwrap();
            plugin.open_window(host.id()).unwrap();
            plugin.close_window().unwrap();
            drop(plugin);
            threads()
        };
        let first = life();
        for number in 2..=LIVES {
            let left = life();
            assert!(
                left.len() <= first.len(),
                "threads after {number} lives: {left:?}, after one: {first:?}"
            );
        }
    }
);
