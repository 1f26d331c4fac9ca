//! The bundled CLAP's audio thread, watched from outside: what it asks of the operating system.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{AUDIO_THREAD, Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::host_test;
use sift_tests::isolation::{Environment, scratch_folder};
use sift_tests::priming;
use sift_tests::process::{let_others_trace, thread_called};
use sift_tests::state::State;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const WATCHED: Duration = Duration::from_secs(60);
/// Before and after, in which a thread begins and ends.
const MARGIN: Duration = Duration::from_secs(2);

/// What may stand in the trace of a thread that waits for its next block and wakes the separator.
fn is_expected(line: &str) -> bool {
    // The host sleeps until a block is due; strace tells what went on when it came and of signals.
    let by_host = ["clock_nanosleep(", "<... clock_nanosleep", "restart_syscall(", "strace: ", "---", "+++"];
    let wakes = line.starts_with("futex(") && line.contains("FUTEX_WAKE");
    wakes || by_host.iter().any(|start| line.starts_with(start)) || line.is_empty()
}

host_test!(the_audio_thread_makes_no_system_call_but_to_wake_the_separator, Environment::as_delivered(), {
    let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    let seconds = (WATCHED + 2 * MARGIN).as_secs() as usize;
    let sound = Audio::from_fn(mixture.width(), seconds * RATE as usize, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    });
    let trace = scratch_folder(Path::new(env!("CARGO_TARGET_TMPDIR")), "system-calls").join("trace");

    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
    priming::until_separated(&mut plugin, &mixture, BLOCK, Duration::from_secs(60)).unwrap();
    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    let_others_trace();
    let (output, ()) = plugin
        .play(&sound, Blocks::of(BLOCK).paced(), |plugin| {
            plugin.wait(MARGIN);
            let thread = thread_called(AUDIO_THREAD).unwrap();
            let mut tracer = Command::new("strace")
                .args(["-p", &thread.to_string(), "-o"])
                .arg(&trace)
                .stderr(Stdio::null())
                .spawn()
                .expect("strace starts: `cargo xtask test` installs it");
            // Meanwhile its user types.
            for text in 0..WATCHED.as_secs() / 2 {
                plugin.wait(Duration::from_secs(2));
                let typed = state.clone().with_query(1, &format!("a sound, number {text}"));
                plugin.load_state(&typed.to_clap()).unwrap();
            }
            // Ends by itself with its thread, otherwise.
            drop(tracer.kill());
            drop(tracer.wait());
        })
        .unwrap();
    assert!(priming::is_separated(&output), "it was separating");

    let trace = std::fs::read_to_string(&trace).expect("strace may watch a process of the same user");
    let lines: Vec<&str> = trace.lines().collect();
    let wakes = lines.iter().filter(|line| line.contains("FUTEX_WAKE")).count();
    println!(
        "measured: {} system calls of the audio thread in {WATCHED:?}, {wakes} of them wake-ups",
        lines.len()
    );
    // One parcel in a hop of 16 ms.
    assert!(lines.len() > 1000 && wakes > 0, "the trace is of a thread at work: {} lines", lines.len());
    let others: Vec<_> = lines.iter().filter(|line| !is_expected(line)).collect();
    assert!(others.is_empty(), "{} others, such as {:?}", others.len(), &others[..others.len().min(10)]);
});
