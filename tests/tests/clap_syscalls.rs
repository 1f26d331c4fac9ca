//! The system calls of the bundled CLAP's audio thread, as `strace` sees them.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{AUDIO_THREAD, Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::host_test;
use sift_tests::process::{allow_tracing, thread_id};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::warm_up;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const TRACED: Duration = Duration::from_secs(60);
const TYPING_INTERVAL: Duration = Duration::from_secs(2);
/// Sound before and after the trace, so that no start or end of a thread is in it.
const MARGIN: Duration = Duration::from_secs(2);

/// A host that resumes so late and catches up looks like one that renders, for which the plugin may wait.
const CATCH_UP: Duration = Duration::from_millis(25);

/// Whether a line of the trace is of a thread that sleeps until its next block and wakes the separator thread.
fn is_expected(line: &str) -> bool {
    // The host's sleep between blocks, and strace's own lines: what it interrupted, and signals.
    let by_host = ["clock_nanosleep(", "<... clock_nanosleep", "restart_syscall(", "strace: ", "---", "+++"];
    let wakes = line.starts_with("futex(") && line.contains("FUTEX_WAKE");
    wakes || by_host.iter().any(|start| line.starts_with(start)) || line.is_empty()
}

host_test!(audio_thread_calls_the_system_only_to_wake_separator, TestEnvironment::as_delivered(), {
    let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    let seconds = (TRACED + 2 * MARGIN).as_secs() as usize;
    let sound = Audio::from_fn(mixture.width(), seconds * RATE as usize, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    });
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");

    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
    warm_up::until_separated(&mut plugin, &mixture, BLOCK, Duration::from_secs(60)).unwrap();
    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    allow_tracing();
    let late_blocks = Arc::new(AtomicUsize::new(0));
    let observed = Arc::clone(&late_blocks);
    let blocks = Blocks::of(BLOCK).in_real_time().timed(move |timing| {
        observed.fetch_add(usize::from(timing.late > CATCH_UP), Ordering::Relaxed);
    });
    let (output, ()) = plugin
        .play(&sound, blocks, |plugin| {
            plugin.wait(MARGIN);
            let thread = thread_id(AUDIO_THREAD).unwrap();
            let mut tracer = Command::new("strace")
                .args(["-p", &thread.to_string(), "-o"])
                .arg(&trace)
                .stderr(Stdio::null())
                .spawn()
                .expect("strace is installed: `cargo xtask test` installs it");
            // The user types a new text at every interval.
            for text in 0..TRACED.as_secs() / TYPING_INTERVAL.as_secs() {
                plugin.wait(TYPING_INTERVAL);
                let typed = state.clone().with_query(1, &format!("a sound, number {text}"));
                plugin.load_state(&typed.to_clap()).unwrap();
            }
            // Without it strace ends with the thread. Both calls fail if it has ended already.
            drop(tracer.kill());
            drop(tracer.wait());
        })
        .unwrap();
    assert!(warm_up::is_separated(&output), "the plugin did not separate while it was traced");

    let trace = std::fs::read_to_string(&trace).expect("strace may trace a process of the same user");
    let lines: Vec<&str> = trace.lines().collect();
    let wakes = lines.iter().filter(|line| line.contains("FUTEX_WAKE")).count();
    let late_blocks = late_blocks.load(Ordering::Relaxed);
    println!(
        "measured: {} system calls of the audio thread in {TRACED:?}, {wakes} of them wake-ups; the host was late for \
         {late_blocks} blocks",
        lines.len()
    );
    // A working thread makes one mask request per hop of 16 ms.
    assert!(
        lines.len() > 1000 && wakes > 0,
        "the trace is too short: {} lines, {wakes} wake-ups",
        lines.len()
    );
    // A busy machine stops the host itself; after that the plugin waits for masks, with `sched_yield`.
    let is_wait = |line: &str| late_blocks > 0 && line.starts_with("sched_yield(");
    let others: Vec<_> = lines.iter().filter(|line| !is_expected(line) && !is_wait(line)).collect();
    assert!(others.is_empty(), "{} other calls, such as {:?}", others.len(), &others[..others.len().min(10)]);
});
