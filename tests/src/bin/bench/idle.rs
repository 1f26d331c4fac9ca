//! Cost of instances that have nothing to do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{AuxPorts, Blocks, Instance, Mode};
use sift_tests::process::seconds_by_thread;
use sift_tests::tail;

use crate::separator::{HopTime, LivePlayer};
use crate::table::Table;
use crate::{BLOCK, RATE, instances, repeated, separating_instance};

/// Share of a core that an instance may take.
const AIM: f64 = 0.002;
/// Seconds in which an instance comes to rest, before it is measured: the cost of silence falls with its duration.
const SETTLE_SECONDS: usize = 60;
const MANY: usize = 64;

/// Adds the rows of instances that rest, each measured for `seconds` of real time.
pub fn idle(plugin: &Path, mixture: &Audio, seconds: usize, hop: HopTime, table: &mut Table) -> Result<()> {
    let frames = |seconds: usize| (seconds as f64 * RATE) as usize;
    let sound = |seconds: usize| repeated(mixture, frames(seconds));
    let silence = |seconds: usize| Audio::silence(mixture.width(), frames(seconds));
    let mut row = |name: &str, share: f64, instances: f64, meaning: &str| {
        table.row_over(
            name,
            format!("{:.2} % of a core", 100.0 * share),
            share / instances / AIM,
            &format!(
                "its calls and separator thread, {seconds} s in real time; floor: the aim of {:.1} % for each; separating \
                 takes {:.1} %; {meaning}",
                100.0 * AIM,
                100.0 * hop.share()
            ),
        );
    };

    let mut fresh = Instance::create(plugin)?;
    fresh.activate(RATE, BLOCK, Mode::Realtime)?;
    let share = share_of_core(&mut fresh, &silence(SETTLE_SECONDS), &silence(seconds))?;
    row("Idle instance", share, 1.0, "without any sound since its activation");
    drop(fresh);

    let (mut instance, _) = separating_instance(plugin, mixture)?;
    let share = share_of_core(&mut instance, &sound(2).then(&silence(SETTLE_SECONDS)), &silence(seconds))?;
    row("Silent instance", share, 1.0, &format!("from {SETTLE_SECONDS} s after a sound"));
    let bypass = instance.event(0, "Bypass", "On")?;
    instance.render(&sound(1), aside().in_real_time(), &[bypass])?;
    let share = share_of_core(&mut instance, &sound(3), &sound(seconds))?;
    row("Bypassed instance", share, 1.0, "while a sound plays, without auxiliary outputs");
    drop(instance);

    let mut players =
        (0..MANY).map(|_| instances::player_without_rest(mixture)).collect::<Result<Vec<_>>>()?;
    let silence = silence(1);
    play(&mut players, &silence, SETTLE_SECONDS);
    let before = processor_seconds(|_| true);
    play(&mut players, &silence, seconds);
    let share = (processor_seconds(|_| true) - before) / seconds as f64;
    row(&format!("{MANY} idle instances"), share, MANY as f64, "in one process, played from one thread");
    drop(players);

    let ratio = tail::cost_over_noise(plugin)?;
    table.row_over(
        "Decaying tail",
        format!("{ratio:.2} times noise"),
        ratio,
        "processor time of all threads, rendering 4 s that decay through all denormal numbers; floor: 4 s of noise",
    );
    Ok(())
}

/// Blocks of a host that has not connected the auxiliary outputs.
fn aside() -> Blocks {
    Blocks::of(BLOCK).with_aux(AuxPorts::Absent)
}

/// Plays `before`, and then `measured`, in real time; returns the share of a core that the latter takes.
///
/// Of the audio thread, only the calls of the plugin count: the rest is the host's, and more than what a rest costs.
fn share_of_core(instance: &mut Instance, before: &Audio, measured: &Audio) -> Result<f64> {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let blocks = aside().in_real_time().timed(move |timing| {
        counted.fetch_add(timing.processing.as_nanos() as u64, Ordering::Relaxed);
    });
    let spent = || {
        let separator = processor_seconds(|name| name == "sift separator");
        separator + 1e-9 * calls.load(Ordering::Relaxed) as f64
    };
    let lasts = |sound: &Audio| Duration::from_secs_f64(sound.frames() as f64 / RATE);
    let (_, share) = instance.play(&before.then(measured), blocks, |instance| {
        instance.wait(lasts(before));
        let (begin, before) = (Instant::now(), spent());
        // The time of a thread that has ended is lost, so it must not end before it is read.
        instance.wait(lasts(measured).saturating_sub(Duration::from_millis(200)));
        (spent() - before) / begin.elapsed().as_secs_f64()
    })?;
    Ok(share)
}

/// Processor time that the threads of this process have taken so far, in seconds.
fn processor_seconds(is_counted: impl Fn(&str) -> bool) -> f64 {
    seconds_by_thread().iter().filter(|(name, _)| is_counted(name)).map(|(_, time)| time).sum()
}

/// Plays a second of `sound` repeatedly for `seconds` of real time.
fn play(players: &mut [LivePlayer], sound: &Audio, seconds: usize) {
    let begin = Instant::now();
    for (number, start) in (0..sound.frames() - BLOCK).step_by(BLOCK).cycle().enumerate() {
        let due = Duration::from_secs_f64((number * BLOCK) as f64 / RATE);
        if due.as_secs() >= seconds as u64 {
            break;
        }
        std::thread::sleep(due.saturating_sub(begin.elapsed()));
        players.iter_mut().for_each(|player| player.play(sound, start));
    }
}
