//! The bundled CLAP's editor, opened and closed many times while sound plays.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::display::HostWindow;
use sift_tests::fixtures::{clap_bundle, demo, late_hops};
use sift_tests::metrics::median;
use sift_tests::process::{eventually, load_factor, private_memory, seconds_by_thread, threads};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, warm_up};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const OPENINGS: usize = 100;
/// Openings between two readings of memory and threads.
const READING_INTERVAL: usize = 20;
/// Instances whose editor is closed as soon as it is open.
const SHORT_LIVES: usize = 200;
const MEBIBYTE: f64 = (1 << 20) as f64;
/// Memory that baseview 0.4.2 leaks per opening: X11's keyboard map.
const LEAK_PER_OPENING: f64 = 0.06 * MEBIBYTE;
/// Growth of a fragmented heap.
const FRAGMENTATION: f64 = 12.0 * MEBIBYTE;
/// Sound before the first opening, with the editor open, and after the last closing.
const QUIET: Duration = Duration::from_secs(6);
/// Bounds on an idle machine for the sound after all openings, against the sound before the first one.
const MAX_BLOCK_TIME_RATIO: f64 = 1.5;
const MAX_LATE_SHARE_GROWTH: f64 = 0.02;

/// Private memory in bytes, and running threads.
#[derive(Debug)]
struct Reading {
    memory: f64,
    threads: usize,
}

impl Reading {
    fn take() -> Self {
        Self { memory: private_memory() as f64, threads: threads().len() }
    }
}

/// Seconds of the sound at which the editor was first opened, first closed, and last closed.
struct Times {
    first_open: f64,
    first_close: f64,
    last_close: f64,
}

/// Prints the share of a processor of each thread between two readings that are [`QUIET`] apart.
fn print_load(before: &HashMap<String, f64>, after: &HashMap<String, f64>) {
    let mut shares: Vec<_> = after
        .iter()
        .map(|(name, seconds)| {
            (100.0 * (seconds - before.get(name).unwrap_or(&0.0)) / QUIET.as_secs_f64(), name)
        })
        .filter(|(share, _)| *share >= 0.1)
        .collect();
    shares.sort_by(|one, other| other.0.total_cmp(&one.0));
    let shares: Vec<_> = shares.iter().map(|(share, name)| format!("{name} {share:.1} %")).collect();
    println!("measured: share of a processor with the editor open, by thread: {}", shares.join(", "));
}

host_test!(
    hundred_editor_openings_leave_no_thread_memory_or_delay,
    TestEnvironment::as_delivered().with_display(),
    {
        let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
        let seconds = 3 * QUIET.as_secs() as usize + 60;
        let sound = Audio::from_fn(mixture.width(), seconds * RATE as usize, |channel, frame| {
            mixture.channel(channel)[frame % mixture.frames()]
        });

        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        // A rest pauses for ten seconds after a late mask, and the hops of the pause would count as late. The listener
        // runs for the open editor.
        plugin.set("Listen to the rest", "Off").unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        let latency = plugin.latency().unwrap();
        warm_up::until_separated(&mut plugin, &mixture, BLOCK, Duration::from_secs(60)).unwrap();

        let host = HostWindow::open(1000, 800).unwrap();
        let block_times = Arc::new(Mutex::new(Vec::new()));
        let observed = Arc::clone(&block_times);
        let load_before = load_factor();
        let begin = Instant::now();
        let now = move || begin.elapsed().as_secs_f64();
        let (played, (mut opening_times, readings, times)) = plugin
            .play(
                &sound,
                Blocks::of(BLOCK)
                    .in_real_time()
                    .timed(move |timing| observed.lock().unwrap().push(timing.processing)),
                |plugin| {
                    plugin.wait(QUIET);
                    let first_open = now();
                    plugin.open_editor(host.id()).unwrap();
                    plugin.wait(Duration::from_secs(1));
                    let before = seconds_by_thread();
                    plugin.wait(QUIET);
                    print_load(&before, &seconds_by_thread());
                    plugin.close_editor().unwrap();
                    let first_close = now();
                    let (mut opening_times, mut readings) = (Vec::new(), Vec::new());
                    for number in 1..=OPENINGS {
                        let begin = Instant::now();
                        plugin.open_editor(host.id()).unwrap();
                        opening_times.push(begin.elapsed());
                        plugin.wait(Duration::from_millis(200));
                        plugin.close_editor().unwrap();
                        if number % READING_INTERVAL == 0 {
                            plugin.wait(Duration::from_millis(200));
                            readings.push(Reading::take());
                        }
                    }
                    (opening_times, readings, Times { first_open, first_close, last_close: now() })
                },
            )
            .unwrap();
        let load = load_before.max(load_factor());
        plugin.deactivate();
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let rendered = plugin.render(&sound, Blocks::of(BLOCK), &[]).unwrap();

        let aligned = latency..sound.frames();
        let late = late_hops(&played.target.slice(aligned.clone()), &rendered.target.slice(aligned), RATE);
        let hops_per_second = late.len() as f64 / seconds as f64;
        let late_share = |from: f64, to: f64| {
            let to = ((to * hops_per_second) as usize).min(late.len());
            let hops = &late[(from * hops_per_second) as usize..to];
            hops.iter().filter(|late| **late).count() as f64 / hops.len() as f64
        };
        // A second after the last closing, and until the end.
        let after = times.last_close + 1.0;
        let (late_before, late_after) = (late_share(0.0, times.first_open), late_share(after, f64::INFINITY));
        println!(
            "measured: late hops before the editor was open {:.1} %, while it was {:.1} %, during {OPENINGS} openings \
             {:.1} %, after them {:.1} %",
            100.0 * late_before,
            100.0 * late_share(times.first_open, times.first_close),
            100.0 * late_share(times.first_close, times.last_close),
            100.0 * late_after,
        );
        let block_times = block_times.lock().unwrap();
        let block_time = |from: f64, to: f64| {
            let index = |time: f64| ((time * RATE) as usize / BLOCK).min(block_times.len());
            median(&mut block_times[index(from)..index(to)].to_vec())
        };
        let (block_before, block_after) =
            (block_time(0.0, times.first_open), block_time(after, f64::INFINITY));
        println!(
            "measured: median block on the audio thread before the editor was open {block_before:?}, while it was {:?}, \
             after {OPENINGS} openings {block_after:?}",
            block_time(times.first_open, times.first_close),
        );
        println!("measured: {:?} per opening; {readings:?}", median(&mut opening_times));

        let max_late = late_before + MAX_LATE_SHARE_GROWTH * load;
        assert!(
            late_after <= max_late,
            "the share of late hops after all openings is {late_after:.4}; expected at most {max_late:.4}, as before them"
        );
        let max_block = block_before.mul_f64(MAX_BLOCK_TIME_RATIO * load);
        assert!(
            block_after <= max_block,
            "the median block after all openings takes {block_after:?}; expected at most {max_block:?}, as before them"
        );
        let first = &readings[0];
        for (number, reading) in readings.iter().enumerate().skip(1) {
            let leaked = LEAK_PER_OPENING * (READING_INTERVAL * number) as f64;
            assert!(reading.memory <= first.memory + FRAGMENTATION + leaked, "memory grew: {readings:?}");
            assert!(reading.threads <= first.threads, "threads are left: {readings:?}");
        }
    }
);

fn xdotool(arguments: &[&str]) {
    let status = Command::new("xdotool").args(arguments).status();
    assert!(status.expect("xdotool is installed: `cargo xtask test` installs it").success());
}

/// Clicks at a place of the editor, in pixels, and then presses `keys`.
fn operate(plugin: &mut Instance, (x, y): (u32, u32), keys: &[&str]) {
    xdotool(&["mousemove", &x.to_string(), &y.to_string(), "click", "1"]);
    plugin.wait(INPUT_INTERVAL);
    for key in keys {
        xdotool(&["key", key]);
        plugin.wait(INPUT_INTERVAL);
    }
}

/// Time between two inputs, in which some frames are drawn.
const INPUT_INTERVAL: Duration = Duration::from_millis(300);
/// Places in an editor of the default size.
const TEXT_BOX: (u32, u32) = (250, 74);
const PASTE_BUTTON: (u32, u32) = (703, 74);
const SLOT_2: (u32, u32) = (265, 417);

host_test!(copied_text_outlives_the_window, TestEnvironment::as_delivered().with_display(), {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
    let open = |plugin: &mut Instance| {
        // A new window has no picture of the last editor.
        let host = HostWindow::open(1000, 800).unwrap();
        plugin.open_editor(host.id()).unwrap();
        assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
        host
    };
    let host = open(&mut plugin);
    operate(&mut plugin, TEXT_BOX, &["ctrl+a", "ctrl+c"]);
    plugin.close_editor().unwrap();
    drop(host);
    let _host = open(&mut plugin);
    operate(&mut plugin, SLOT_2, &[]);
    // The host takes changed parameters with the next block.
    plugin.process_empty(&[]).unwrap();
    plugin.wait(INPUT_INTERVAL);
    operate(&mut plugin, PASTE_BUTTON, &[]);
    plugin.wait(Duration::from_secs(1));
    plugin.close_editor().unwrap();
    let texts = State::from_clap(&plugin.save_state().unwrap()).unwrap().queries().unwrap();
    assert_eq!(texts[..2], ["a person speaking", "a person speaking"]);
    assert_eq!(plugin.parameter_text("Active query").unwrap(), "2: a person speaking");
});

host_test!(editor_shown_later_than_created_is_drawn, TestEnvironment::as_delivered().with_display(), {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let host = HostWindow::open(1000, 800).unwrap();
    plugin.create_editor(host.id()).unwrap();
    // Nothing must appear, which takes some time to see.
    plugin.wait(Duration::from_secs(1));
    assert!(!host.is_drawn().unwrap(), "the editor is drawn before it is shown");
    plugin.show_editor().unwrap();
    let is_drawn = eventually(Duration::from_secs(20), || host.is_drawn().unwrap());
    assert!(is_drawn, "the editor stays empty");
    plugin.close_editor().unwrap();
});

host_test!(editor_closed_with_its_plugin_leaves_no_thread, TestEnvironment::as_delivered().with_display(), {
    let host = HostWindow::open(1000, 800).unwrap();
    let threads_before = threads();
    for number in 1..=SHORT_LIVES {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.open_editor(host.id()).unwrap();
        plugin.close_editor().unwrap();
        drop(plugin);
        let left = threads();
        assert!(
            left.len() <= threads_before.len(),
            "threads after {number} instances: {left:?}; expected {threads_before:?}"
        );
    }
});

/// Width and height of a small laptop's screen.
const SMALL_SCREEN: (u16, u16) = (1366, 768);

/// Whether an editor of `size` fits on [`SMALL_SCREEN`].
fn fits(size: (u32, u32)) -> bool {
    size.0 <= u32::from(SMALL_SCREEN.0) && size.1 <= u32::from(SMALL_SCREEN.1)
}

host_test!(
    editor_at_scale_2_fits_on_a_small_screen,
    TestEnvironment::as_delivered().with_display_of(SMALL_SCREEN.0, SMALL_SCREEN.1),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let host = HostWindow::open(SMALL_SCREEN.0, SMALL_SCREEN.1).unwrap();
        host.set_display_scale(2.0).unwrap();
        // VST3 hosts ask for the size before they open the editor, and CLAP hosts after they have created it.
        let reported_before = plugin.editor_size().unwrap();
        plugin.create_editor(host.id()).unwrap();
        let reported = plugin.editor_size().unwrap();
        plugin.show_editor().unwrap();
        assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
        // Requests for another size would follow within this time.
        plugin.wait(Duration::from_secs(3));
        let shown = host.editor_size().unwrap().unwrap();
        assert!(fits(shown), "the editor is {shown:?}, larger than the screen");
        assert_eq!(reported_before, shown, "reported before it was created");
        assert_eq!(reported, shown, "reported before it was shown");
        assert_eq!(plugin.editor_size().unwrap(), shown, "reported while it is shown");
        plugin.close_editor().unwrap();
    }
);

host_test!(
    editor_scaled_by_its_host_fits_on_a_small_screen,
    TestEnvironment::as_delivered().with_display_of(SMALL_SCREEN.0, SMALL_SCREEN.1),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let host = HostWindow::open(SMALL_SCREEN.0, SMALL_SCREEN.1).unwrap();
        plugin.create_editor(host.id()).unwrap();
        plugin.set_editor_scale(2.0).unwrap();
        plugin.show_editor().unwrap();
        let is_small = eventually(Duration::from_secs(20), || {
            plugin.wait(Duration::from_millis(10));
            host.editor_size().unwrap().is_some_and(fits)
        });
        assert!(is_small, "the editor is {:?}, larger than the screen", host.editor_size().unwrap());
        plugin.wait(Duration::from_secs(3));
        assert_eq!(host.editor_size().unwrap(), Some(plugin.editor_size().unwrap()), "shown and reported");
        plugin.close_editor().unwrap();
    }
);

/// Keys of the X server by their codes: the places of Q, E and Y on an American keyboard, and its apostrophe.
const Q_PLACE: &str = "24";
const E_PLACE: &str = "26";
const Y_PLACE: &str = "29";
const APOSTROPHE_PLACE: &str = "48";

host_test!(keys_are_composed_in_the_current_layout, TestEnvironment::as_delivered().with_display(), {
    let layout = |arguments: &[&str]| {
        let status = Command::new("setxkbmap").args(arguments).status();
        assert!(status.expect("setxkbmap is installed: `cargo xtask test` installs it").success());
    };
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let host = HostWindow::open(1000, 800).unwrap();
    layout(&["-layout", "us", "-variant", "intl"]);
    plugin.open_editor(host.id()).unwrap();
    assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
    // The apostrophe of this layout is a dead key.
    operate(&mut plugin, TEXT_BOX, &["ctrl+a", APOSTROPHE_PLACE, E_PLACE]);
    layout(&["-layout", "fr"]);
    operate(&mut plugin, TEXT_BOX, &["End", Q_PLACE]);
    layout(&["-layout", "de"]);
    operate(&mut plugin, TEXT_BOX, &["End", Y_PLACE, "Return"]);
    assert_eq!(plugin.parameter_text("Active query").unwrap(), "1: éaz");
    plugin.close_editor().unwrap();
});

host_test!(
    editor_without_opengl_says_what_it_needs,
    TestEnvironment::as_delivered().with_display_without_opengl(),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        let host = HostWindow::open(1000, 800).unwrap();
        plugin.open_editor(host.id()).unwrap();
        let is_written = || host.shows(MESSAGE_BACKGROUND).unwrap() && host.shows(MESSAGE_TEXT).unwrap();
        assert!(eventually(Duration::from_secs(20), is_written), "the window stays empty");
        let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        plugin.render(&mixture.slice(0..BLOCK), Blocks::of(BLOCK), &[]).unwrap();
        plugin.close_editor().unwrap();
        plugin.open_editor(host.id()).unwrap();
        // Some hosts destroy the window first.
        host.destroy_editor().unwrap();
        plugin.close_editor().unwrap();
    }
);

/// Colours of the window that tells what is missing.
const MESSAGE_BACKGROUND: [u8; 3] = [0x20, 0x20, 0x24];
const MESSAGE_TEXT: [u8; 3] = [0xe6, 0xe6, 0xe6];

host_test!(editor_that_can_no_longer_draw_ends_no_host, TestEnvironment::as_delivered().with_display(), {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let host = HostWindow::open(1000, 800).unwrap();
    for _ in 0..3 {
        plugin.open_editor(host.id()).unwrap();
        assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
        host.destroy_editor().unwrap();
        // Frames for which OpenGL has no window any more.
        plugin.wait(Duration::from_millis(500));
        plugin.close_editor().unwrap();
    }
});

/// `size` in logical pixels at `scale`, as physical pixels.
fn scaled((width, height): (u32, u32), scale: f64) -> (u32, u32) {
    let physical = |length: u32| (f64::from(length) * scale).round() as u32;
    (physical(width), physical(height))
}

host_test!(editor_follows_changes_of_its_scale, TestEnvironment::as_delivered().with_display(), {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let host = HostWindow::open(1600, 1200).unwrap();
    plugin.open_editor(host.id()).unwrap();
    assert!(eventually(Duration::from_secs(20), || host.is_drawn().unwrap()), "the editor stays empty");
    let unscaled = plugin.editor_size().unwrap();
    for scale in [1.25, 1.67, 1.0, 1.75] {
        plugin.set_editor_scale(scale).unwrap();
        let expected = scaled(unscaled, scale);
        assert_eq!(plugin.take_requested_size(), Some(expected), "requested of the host at {scale}");
        assert_eq!(plugin.editor_size().unwrap(), expected, "reported at {scale}");
        assert_eq!(host.editor_size().unwrap(), Some(expected), "shown at {scale}");
        plugin.wait(Duration::from_secs(1));
        assert_eq!(host.editor_size().unwrap(), Some(expected), "shown at {scale} after a second");
    }
    plugin.close_editor().unwrap();
});
