//! How many instances play at once in real time without a late mask.

use std::time::{Duration, Instant};

use anyhow::Result;
use audio_thread_priority::{demote_current_thread_from_real_time, promote_current_thread_to_real_time};
use sift_engine::{DEFAULT_QUERIES, Grid, ModelChoice};
use sift_tests::audio::Audio;

use crate::separator::{HopTime, LivePlayer, Rest};
use crate::table::Table;
use crate::{BLOCK, RATE};

const MAX_INSTANCES: usize = 64;
/// Instances that two cores should carry.
const WANTED_INSTANCES: usize = 24;
/// Seconds of each trial of a number of instances, before the number that holds is played for long.
const TRIAL_SECONDS: usize = 5;
/// Trials per number of instances: a load from outside makes masks late, too, so the best one counts.
const TRIALS: usize = 3;

/// Adds the rows of many instances that play from one thread.
pub fn instances(mixture: &Audio, seconds: usize, hop: HopTime, table: &mut Table) -> Result<()> {
    let new_player = || player(Rest::Off, mixture);
    let MostInstances { mut players, live } = most_instances(Rest::Off, mixture)?;
    let mut held = live.len();
    let held_in_trials = held;
    let resize = |players: &mut Vec<LivePlayer>, number| -> Result<()> {
        while players.len() < number {
            players.push(new_player()?);
        }
        players.truncate(number);
        Ok(())
    };
    resize(&mut players, WANTED_INSTANCES)?;
    let PlayResult { late_masks, late_wake_ups } =
        play_all(&mut players, mixture, seconds, StopCondition::End);
    let hops = (seconds * WANTED_INSTANCES) as f64 / hop.lasts.as_secs_f64();
    table.row(
        &format!("Late masks of {WANTED_INSTANCES} instances"),
        format!("{late_masks}, {:.3} %", 100.0 * late_masks as f64 / hops),
        &format!(
            "{seconds} s in real time, blocks of {BLOCK} from one thread, which itself woke more than {:.0} ms late \
             {late_wake_ups} times",
            1e3 * Grid::BUDGET_SECONDS
        ),
    );
    while held > 0 {
        resize(&mut players, held)?;
        if play_all(&mut players, mixture, seconds, StopCondition::LateMask).late_masks == 0 {
            break;
        }
        eprintln!("{held} instances: a late mask within {seconds} s");
        // In steps of an eighth: one by one would take a day.
        held -= held.div_ceil(8);
    }
    if let (Some(alone), Some(crowded)) = (live.first(), live.last()) {
        let meaning_alone = format!(
            "in real time, block by block; floor: one hop after the other without a pause, {:.2} ms",
            1e3 * hop.time.as_secs_f64()
        );
        let meaning_crowded = format!(
            "the same, mean of the {} instances that held for {TRIAL_SECONDS} s in the best of {TRIALS} trials",
            live.len()
        );
        for (who, time, meaning) in
            [("one instance", alone, &meaning_alone), ("most instances", crowded, &meaning_crowded)]
        {
            table.row_over(
                &format!("Separator per hop, live, {who}"),
                format!("{:.2} ms", 1e3 * time.as_secs_f64()),
                time.div_duration_f64(hop.time),
                meaning,
            );
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let ceiling = cores as f64 / hop.share();
    let meaning_ceiling = format!(
        "blocks of {BLOCK} from one thread; ceiling: as many as keep the cores busy by their separators alone, \
         {ceiling:.0}"
    );
    table.row_over(
        &format!(
            "Instances on {cores} cores without a late mask in {TRIAL_SECONDS} s, best of {TRIALS} trials"
        ),
        format!("{held_in_trials}"),
        held_in_trials as f64 / ceiling,
        &format!(
            "each number was tried {TRIALS} times, and holds if one trial had no late mask; {meaning_ceiling}"
        ),
    );
    table.row_over(
        &format!("Instances on {cores} cores without a late mask in {seconds} s, one trial"),
        format!("{held}"),
        held as f64 / ceiling,
        &format!("tried downwards from the row above in steps of an eighth; {meaning_ceiling}"),
    );
    drop(players);
    let mut watched = player(Rest::Heard, mixture)?;
    watched.is_watched = true;
    let PlayResult { late_masks, late_wake_ups } =
        play_all(std::slice::from_mut(&mut watched), mixture, seconds, StopCondition::End);
    table.row(
        "Late masks of one instance with a rest and an open window",
        format!("{late_masks}"),
        &format!("{seconds} s in real time; the thread that plays woke late {late_wake_ups} times"),
    );
    drop(watched);
    let beside = most_instances(Rest::Heard, mixture)?.live.len();
    table.row_over(
        &format!("Instances on {cores} cores that listen to the rest, in {TRIAL_SECONDS} s"),
        format!("{beside}"),
        beside as f64 / held_in_trials.max(1) as f64,
        "as above, and none is so short of time that it gives the rest up; ceiling: the same trials without a rest",
    );
    Ok(())
}

/// An instance at 48 kHz without a rest.
pub fn player_without_rest(mixture: &Audio) -> Result<LivePlayer> {
    player(Rest::Off, mixture)
}

fn player(rest: Rest, mixture: &Audio) -> Result<LivePlayer> {
    LivePlayer::new(ModelChoice::BuiltIn, DEFAULT_QUERIES[0], rest, mixture.width(), false)
}

/// The first number of instances that has late masks.
struct MostInstances {
    players: Vec<LivePlayer>,
    /// Mean time per hop of each smaller number.
    live: Vec<Duration>,
}

/// Finds how many instances play for [`TRIAL_SECONDS`] without a late mask, and without giving up their rest.
fn most_instances(rest: Rest, mixture: &Audio) -> Result<MostInstances> {
    let mut found = MostInstances { players: Vec::new(), live: Vec::new() };
    while found.players.len() < MAX_INSTANCES {
        found.players.push(player(rest, mixture)?);
        let mut is_too_much = || {
            let late =
                play_all(&mut found.players, mixture, TRIAL_SECONDS, StopCondition::LateMask).late_masks;
            late > 0 || found.players.iter().any(|player| player.snapshot().hearing.is_rest_paused)
        };
        if (0..TRIALS).all(|_| is_too_much()) {
            break;
        }
        found.live.push(mean_hop_time(&found.players));
    }
    Ok(found)
}

/// Time per hop that the separators measure now, mean over `players`.
fn mean_hop_time(players: &[LivePlayer]) -> Duration {
    let sum: Duration = players.iter().map(|player| player.snapshot().hop_time).sum();
    sum / players.len() as u32
}

#[derive(PartialEq, Eq)]
enum StopCondition {
    /// At the first late mask, or at the end.
    LateMask,
    End,
}

struct PlayResult {
    /// Late masks of all players.
    late_masks: u64,
    /// Blocks for which this thread itself woke late by more than the separator's budget.
    late_wake_ups: usize,
}

/// Plays all `players` for `seconds` of real time on this thread, with the priority that hosts give theirs.
fn play_all(
    players: &mut [LivePlayer],
    mixture: &Audio,
    seconds: usize,
    stop_condition: StopCondition,
) -> PlayResult {
    let count = |players: &[LivePlayer]| -> u64 {
        players.iter().map(|player| player.snapshot().faults.missing()).sum()
    };
    let blocks = seconds * RATE as usize / BLOCK;
    let starts = (0..mixture.frames() - BLOCK).step_by(BLOCK).cycle().take(blocks);
    players.iter_mut().for_each(|player| player.processor.reset());
    let before = count(players);
    let raised = promote_current_thread_to_real_time(BLOCK as u32, RATE as u32);
    let mut late_wake_ups = 0;
    let begin = Instant::now();
    for (number, start) in starts.enumerate() {
        let due = begin + Duration::from_secs_f64((number * BLOCK) as f64 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        late_wake_ups += usize::from(due.elapsed().as_secs_f64() > Grid::BUDGET_SECONDS);
        players.iter_mut().for_each(|player| player.play(mixture, start));
        if stop_condition == StopCondition::LateMask && count(players) > before {
            break;
        }
    }
    if let Ok(handle) = raised {
        drop(demote_current_thread_from_real_time(handle));
    }
    PlayResult { late_masks: count(players) - before, late_wake_ups }
}
