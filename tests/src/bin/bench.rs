//! Measures the bundled CLAP and prints the figures as one table.
//!
//! `cargo xtask bench` runs it on a release build. A figure that cannot be had says so. Times on different
//! machines do not compare; beside each stands what it is times a floor that was measured in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use audio_thread_priority::{demote_current_thread_from_real_time, promote_current_thread_to_real_time};
use clap::Parser;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use sift_engine::inference::library;
use sift_engine::package::Listing;
use sift_engine::separator::network::LoadedModel;
use sift_engine::separator::streaming::StreamingSeparator;
use sift_engine::user::preferences::provider_choice;
use sift_engine::{Aux, Config, Controls, Engine, Grid, Queries, QueryEncoder, Shape, Stage, Stop};
use sift_tests::audio::Audio;
use sift_tests::clap_host::{AUDIO_THREAD, Blocks, Instance, Mode};
use sift_tests::fixtures::{self, Inputs};
use sift_tests::priming;
use sift_tests::process::{eventually, resident_memory, seconds_by_thread};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const RATES: [f64; 6] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0];
const FURTHER_INSTANCES: usize = 4;
/// Rates that the audio thread's cost is told at, and seconds that each is played for.
const COST_RATES: [f64; 4] = [44_100.0, 48_000.0, 96_000.0, 192_000.0];
const COST_SECONDS: usize = 3;
const SCANS: usize = 11;
const MOST_INSTANCES: usize = 64;
/// Instances that two cores should carry.
const WANTED_INSTANCES: usize = 24;
/// Seconds that a number of instances is tried for, before the one that holds is played for long.
const TRIAL_SECONDS: usize = 5;
/// How often they are tried: what else goes on in the machine makes a parcel late, too.
const TRIALS: usize = 3;
/// Seconds of the file for `sift render`.
const FILE_SECONDS: usize = 60;
/// Texts of one, two and four sounds; each is separated by itself.
const TEXTS: [&str; 3] =
    ["a person speaking", "a person speaking and drums", "a person speaking, drums, rain and a dog"];
/// Work that the test package `heavy` does for the words `x1024`: products of two matrices of this side.
const GEMMS: (usize, usize) = (1024, 128);
const PATIENCE: Duration = Duration::from_secs(60);
const MEBIBYTE: f64 = (1 << 20) as f64;

/// Measures the bundled CLAP and prints the figures as one table.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Folder of the default model package
    #[arg(long, default_value_os_t = fixtures::repository().join("models/default"))]
    model: PathBuf,
    /// For how long to play in real time, in minutes: one instance, and then as many as hold
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The program `sift`
    #[arg(long)]
    program: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (mixture, rate) = Audio::read_wav(&arguments.inputs.assets.join("mixture.wav"))?;
    anyhow::ensure!(f64::from(rate) == RATE, "mixture.wav is at {rate} Hz instead of {RATE}");

    let mut table = Table::default();
    let seconds = (60.0 * arguments.minutes) as usize;
    let plugin = &arguments.inputs.plugin;
    // First, while this process holds nothing else.
    scan(plugin, &mut table)?;
    memory_and_start(plugin, &mixture, &mut table)?;
    let hop = separator(&mixture, &mut table)?;
    real_time(plugin, &mixture, seconds, hop, &mut table)?;
    rates_and_channels(plugin, &mixture, &mut table)?;
    query_change(&mut table)?;
    instances(&mixture, seconds, hop, &mut table)?;
    offline(plugin, &mixture, hop, &mut table)?;
    render(arguments.program.as_deref(), &mixture, hop, &mut table)?;
    latency(plugin, &mut table)?;
    sizes(&arguments.inputs.plugin, &mut table)?;
    model(&arguments.model, &mut table)?;
    print!("{table}");
    Ok(())
}

/// An instance that plays in real time and separates, and the time from its creation to then.
fn started(plugin: &Path, mixture: &Audio) -> Result<(Instance, Duration)> {
    let begin = Instant::now();
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Realtime)?;
    priming::until_separated(&mut instance, mixture, BLOCK, PATIENCE)?;
    Ok((instance, begin.elapsed()))
}

fn scan(plugin: &Path, table: &mut Table) -> Result<()> {
    let begin = Instant::now();
    // SAFETY: loading it runs its code; it is our own plugin.
    let library = unsafe { libloading::Library::new(plugin) }?;
    let loaded = begin.elapsed();
    let mut times = Vec::new();
    for _ in 0..SCANS {
        let begin = Instant::now();
        drop(Instance::create(plugin)?);
        times.push(begin.elapsed());
    }
    drop(library);
    let scan = loaded + median(&mut times);
    table.row_over(
        "Scan",
        format!("{:.1} ms", 1e3 * scan.as_secs_f64()),
        scan.div_duration_f64(loaded),
        &format!(
            "the bundle loaded, and an instance made and dropped, median of {SCANS}; floor: the bundle loaded, {:.1} ms",
            1e3 * loaded.as_secs_f64()
        ),
    );
    Ok(())
}

fn memory_and_start(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    let before = resident_memory();
    let (mut first, first_time) = started(plugin, mixture)?;
    let latency = Duration::from_secs_f64(first.latency()? as f64 / RATE);
    let with_one = resident_memory();
    let mut further = Vec::new();
    let mut further_time = Duration::MAX;
    for _ in 0..FURTHER_INSTANCES {
        let (instance, time) = started(plugin, mixture)?;
        further.push(instance);
        further_time = further_time.min(time);
    }
    let with_all = resident_memory();
    drop((first, further));
    let made = Networks::made()?;

    let floor = latency + made.separator + made.encoder;
    table.row_over(
        "Time to the first separated sound",
        milliseconds(first_time),
        first_time.div_duration_f64(floor),
        &format!(
            "from the insertion of the first instance, playing; model and ONNX Runtime are loaded in it; floor: its \
             latency, and both networks made one after the other with ONNX Runtime loaded, {}",
            milliseconds(floor)
        ),
    );
    let floor = latency + made.separator;
    table.row_over(
        "The same, of a further instance",
        milliseconds(further_time),
        further_time.div_duration_f64(floor),
        &format!("floor: its latency, and its separator network made, {}", milliseconds(floor)),
    );
    let (Some(before), Some(with_one), Some(with_all)) = (before, with_one, with_all) else {
        table.row("Memory", "unknown".into(), "this system does not tell");
        return Ok(());
    };
    let folder = plugin.parent().context("the plugin lies in a folder")?;
    let files = size(plugin)? + size(&folder.join(library::LIBRARY))?;
    let one = with_one.saturating_sub(before);
    table.row_over(
        "Memory of the first instance",
        mebibytes(one),
        one as f64 / files as f64,
        &format!(
            "resident; floor: the files of the plugin, default model included, and of ONNX Runtime, {}",
            mebibytes(files)
        ),
    );
    let each = with_all.saturating_sub(with_one) / FURTHER_INSTANCES as u64;
    table.row_over(
        "Memory of each further instance",
        mebibytes(each),
        each as f64 / made.bytes as f64,
        &format!(
            "resident, in the same process; floor: its separator network's file, {}",
            mebibytes(made.bytes)
        ),
    );
    Ok(())
}

/// What it takes to make the networks of the default model, in this process, with ONNX Runtime loaded.
struct Networks {
    separator: Duration,
    encoder: Duration,
    /// Of the separator's file.
    bytes: u64,
}

impl Networks {
    fn made() -> Result<Self> {
        let environment = library::environment()?;
        let model = LoadedModel::new(Listing::built_in().load()?);
        let package = &model.package;
        let begin = Instant::now();
        StreamingSeparator::new(environment, &model, &provider_choice(), &Stop::default())?;
        let separator = begin.elapsed();
        let begin = Instant::now();
        QueryEncoder::new(environment, package, Stop::default())?;
        Ok(Self { separator, encoder: begin.elapsed(), bytes: package.separator.len() as u64 })
    }
}

fn real_time(plugin: &Path, mixture: &Audio, seconds: usize, hop: HopTime, table: &mut Table) -> Result<()> {
    let (mut instance, _) = started(plugin, mixture)?;
    let before = processor_seconds();
    let mut times = play(&mut instance, mixture, seconds)?;
    let share = (processor_seconds() - before) / seconds as f64;
    drop(instance);
    let least = hop.floor_share();
    table.row_over(
        "One instance in all",
        format!("{:.1} % of a core", 100.0 * share),
        share / least,
        &format!(
            "its audio and separator threads, {seconds} s in real time; floor: the separator's, {:.1} %",
            100.0 * least
        ),
    );

    let Floor { mut transforms, mut wake_ups } = Floor::measured(mixture.width(), RATE, seconds);
    times.sort();
    transforms.sort();
    wake_ups.sort();
    let block = Duration::from_secs_f64(BLOCK as f64 / RATE);
    let mut row = |name: &str, of: fn(&[Duration]) -> Duration| {
        let (time, transforms, wake_up) = (of(&times), of(&transforms), of(&wake_ups));
        let share = 100.0 * time.as_secs_f64() / block.as_secs_f64();
        table.row_over(
            name,
            format!("{} µs, {share:.2} %", time.as_micros()),
            time.div_duration_f64(transforms),
            &format!(
                "of the {block:.2?} that a block of {BLOCK} at 48 kHz lasts, stereo, {seconds} s in real time; floor: \
                 bare transforms at the same pace, {} µs; waking a thread took {} µs there",
                transforms.as_micros(),
                wake_up.as_micros()
            ),
        );
    };
    row("Audio thread a block, median", |times| times[times.len() / 2]);
    row("Audio thread a block, 99.9th percentile", |times| times[times.len() * 999 / 1000]);
    row("Audio thread a block, worst", |times| times[times.len() - 1]);
    Ok(())
}

/// Plays `mixture` over and over in real time; gives the time of each block.
fn play(instance: &mut Instance, mixture: &Audio, seconds: usize) -> Result<Vec<Duration>> {
    let rate = instance.rate();
    let sound = Audio::from_fn(mixture.width(), (seconds as f64 * rate) as usize, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    });
    let times = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&times);
    let blocks = Blocks::of(BLOCK).paced().timed(move |time| observed.lock().unwrap().push(time));
    instance.play(&sound, blocks, |_| ())?;
    Ok(std::mem::take(&mut *times.lock().unwrap()))
}

/// Processor time that this process's audio and separator threads have taken so far.
fn processor_seconds() -> f64 {
    let ours = [AUDIO_THREAD, "sift separator"];
    seconds_by_thread().iter().filter(|(name, _)| ours.contains(&name.as_str())).map(|(_, time)| time).sum()
}

fn rates_and_channels(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    for rate in COST_RATES {
        for channels in [1, 2] {
            let sound = Audio::new(mixture.channels()[..channels].to_vec());
            let mut instance = Instance::create(plugin)?;
            instance.set_channels(channels)?;
            instance.activate(rate, BLOCK, Mode::Realtime)?;
            priming::until_separated(&mut instance, &sound, BLOCK, PATIENCE)?;
            let mut times = play(&mut instance, &sound, COST_SECONDS)?;
            let floor = median(&mut Floor::measured(channels, rate, COST_SECONDS).transforms);
            // A block without a hop costs next to nothing: the sum over all tells what a second costs.
            let sum: Duration = times.iter().sum();
            let hops = COST_SECONDS as f64 * rate / fixtures::stft_frame_and_hop(rate).1 as f64;
            table.row_over(
                &format!(
                    "Audio thread at {} kHz, {}",
                    rate / 1e3,
                    if channels == 1 { "mono" } else { "stereo" }
                ),
                format!(
                    "{} µs a block, {:.2} % of the time",
                    median(&mut times).as_micros(),
                    100.0 * sum.as_secs_f64() / COST_SECONDS as f64,
                ),
                sum.div_duration_f64(floor.mul_f64(hops)),
                &format!(
                    "median of blocks of {BLOCK}, and all of them in {COST_SECONDS} s; floor: a bare transform and \
                     inverse for each hop and channel, {} µs a hop",
                    floor.as_micros()
                ),
            );
        }
    }
    Ok(())
}

/// The least that a hop can cost a thread that sleeps between blocks, and finds its caches cold.
struct Floor {
    transforms: Vec<Duration>,
    /// Of a thread that waits, by this one.
    wake_ups: Vec<Duration>,
}

impl Floor {
    /// At the pace of blocks at `rate` hertz, with the priority that hosts give their audio thread.
    fn measured(channels: usize, rate: f64, seconds: usize) -> Self {
        let done = &AtomicBool::new(false);
        let blocks = seconds * rate as usize / BLOCK;
        std::thread::scope(|scope| {
            let wait = || {
                while !done.load(Ordering::Acquire) {
                    std::thread::park();
                }
            };
            let waiting = scope.spawn(wait).thread().clone();
            let measuring = scope.spawn(move || {
                let raised = promote_current_thread_to_real_time(BLOCK as u32, rate as u32);
                let mut bare = BareTransforms::new(channels, rate);
                let mut floor = Self { transforms: Vec::new(), wake_ups: Vec::new() };
                let begin = Instant::now();
                for number in 0..blocks {
                    let due = begin + Duration::from_secs_f64((number * BLOCK) as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    floor.transforms.push(bare.time());
                    let begin = Instant::now();
                    waiting.unpark();
                    floor.wake_ups.push(begin.elapsed());
                }
                if let Ok(handle) = raised {
                    drop(demote_current_thread_from_real_time(handle));
                }
                done.store(true, Ordering::Release);
                waiting.unpark();
                floor
            });
            measuring.join().expect("measuring does not panic")
        })
    }
}

/// A frame's real transform and its inverse for every channel, and nothing else.
struct BareTransforms {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    frames: Vec<Vec<f32>>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl BareTransforms {
    fn new(channels: usize, rate: f64) -> Self {
        let size = fixtures::stft_frame_and_hop(rate).0;
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            frames: vec![vec![0.0; size]; channels],
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    fn time(&mut self) -> Duration {
        let begin = Instant::now();
        for frame in &mut self.frames {
            let transformed = self.forward.process_with_scratch(frame, &mut self.spectrum, &mut self.scratch);
            let back = self.inverse.process_with_scratch(&mut self.spectrum, frame, &mut self.scratch);
            transformed.and(back).expect("the sizes are the plan's");
        }
        begin.elapsed()
    }
}

/// Of the default model's separator.
#[derive(Clone, Copy)]
struct HopTime {
    /// That the engine measures on its thread.
    time: Duration,
    /// As many multiply-accumulates in plain products of matrices by the same library.
    floor: Duration,
    /// That a hop lasts.
    lasts: Duration,
}

impl HopTime {
    /// Of a core, for one instance.
    fn share(&self) -> f64 {
        self.time.div_duration_f64(self.lasts)
    }

    fn floor_share(&self) -> f64 {
        self.floor.div_duration_f64(self.lasts)
    }

    /// How often faster than real time the separator alone is.
    fn speed(&self) -> f64 {
        self.lasts.div_duration_f64(self.time)
    }
}

/// The separator's thread by itself. Its floor is measured by the test package `heavy`, which multiplies matrices and
/// does nothing else.
fn separator(mixture: &Audio, table: &mut Table) -> Result<HopTime> {
    let built_in = Listing::built_in();
    let lasts = Duration::from_secs_f64(Grid::new(&built_in.manifest.audio, RATE).hop_seconds());
    let a_second = built_in.manifest.separator.multiply_accumulates;
    let a_second = a_second.context("the default model's manifest tells its multiply-accumulates")?;
    let [time, two, four] = TEXTS.map(|text| hop_time(built_in.clone(), text, mixture));
    let time = time?;
    let (units, side) = GEMMS;
    let heavy = Listing::read(&fixtures::package("heavy"))?;
    let some = mixture.slice(0..mixture.frames().min(2 * RATE as usize));
    let products = hop_time(heavy, &format!("x{units}"), &some)?;
    let accumulates = (units * side * side * side) as f64;
    let floor = products.mul_f64(a_second * lasts.as_secs_f64() / accumulates);
    let hop = HopTime { time, floor, lasts };
    table.row_over(
        "Separator a hop",
        format!("{:.2} ms, {:.1} %", 1e3 * time.as_secs_f64(), 100.0 * hop.share()),
        time.div_duration_f64(floor),
        &format!(
            "of the {:.1} ms that a hop lasts; running mean of 32 hops, median of it over the demo; floor: as many \
             multiply-accumulates in products of {side} × {side} matrices, {:.2} ms",
            1e3 * lasts.as_secs_f64(),
            1e3 * floor.as_secs_f64()
        ),
    );
    for (time, text) in [two?, four?].into_iter().zip(&TEXTS[1..]) {
        table.row_over(
            &format!("Separator a hop, {text:?}"),
            format!("{:.2} ms", 1e3 * time.as_secs_f64()),
            time.div_duration_f64(hop.time),
            "every sound of a text is separated by itself; floor: the row for one sound",
        );
    }
    Ok(hop)
}

/// Median over `sound` of the time that the separator of `listing` takes for a hop.
fn hop_time(listing: Listing, query: &str, sound: &Audio) -> Result<Duration> {
    let queries = Arc::new(Queries::default());
    queries.set_text(0, query);
    let mut player = Player::new(listing, queries, sound.width(), true)?;
    let mut times = Vec::new();
    for start in (0..sound.frames() - BLOCK).step_by(BLOCK) {
        player.play(sound, start);
        times.push(player.engine.status().hop_time());
    }
    Ok(median(&mut times))
}

/// An engine at 48 kHz that is handed blocks.
struct Player {
    engine: Engine,
    block: Vec<Vec<f32>>,
}

impl Player {
    fn new(listing: Listing, queries: Arc<Queries>, channels: usize, offline: bool) -> Result<Self> {
        let config = Config { sample_rate: RATE, max_block: BLOCK, channels, offline };
        let engine = Engine::with_listing(Ok(listing), config, queries.clone());
        engine.wait_until_ready(PATIENCE).map_err(anyhow::Error::msg)?;
        anyhow::ensure!(
            eventually(PATIENCE, || queries.stage(0) == Stage::Ready),
            "the query is not encoded"
        );
        Ok(Self { engine, block: vec![vec![0.0; BLOCK]; channels] })
    }

    /// Hands over the block of `sound` at `start`.
    fn play(&mut self, sound: &Audio, start: usize) {
        let ones = [1.0; BLOCK];
        let controls = Controls {
            strength: &ones,
            gain: &ones,
            mode: sift_engine::Mode::Isolate,
            query: 0,
            shape: Shape::default(),
            listen_removed: false,
            bypass: false,
        };
        for (block, channel) in self.block.iter_mut().zip(sound.channels()) {
            block.copy_from_slice(&channel[start..start + BLOCK]);
        }
        let mut channels: Vec<&mut [f32]> = self.block.iter_mut().map(Vec::as_mut_slice).collect();
        self.engine.process(&mut channels, &mut Aux::default(), &controls);
    }
}

/// From a text to its embedding in force: the next hop is separated by it.
fn query_change(table: &mut Table) -> Result<()> {
    let queries = Arc::new(Queries::default());
    let _player = Player::new(Listing::built_in(), queries.clone(), 1, false)?;
    let encoded = |text: &str| {
        let begin = Instant::now();
        queries.set_text(0, text);
        while queries.stage(0) != Stage::Ready && begin.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        begin.elapsed()
    };
    let texts: Vec<_> = (0..9).map(|number| format!("sound number {number} that nobody has typed")).collect();
    let mut new: Vec<_> = texts.iter().map(|text| encoded(text)).collect();
    let mut cached: Vec<_> = texts.iter().map(|text| encoded(text)).collect();
    let mut encoder =
        QueryEncoder::new(library::environment()?, &Listing::built_in().load()?, Stop::default())?;
    let mut bare = Vec::new();
    for text in &texts {
        let begin = Instant::now();
        encoder.encode(text).map_err(anyhow::Error::msg)?;
        bare.push(begin.elapsed());
    }
    let (new, cached, floor) = (median(&mut new), median(&mut cached), median(&mut bare));
    let in_force =
        "from the text to its embedding, median; it is in force from the next hop on, 16 ms at most";
    table.row_over(
        "Query change, new text",
        milliseconds(new),
        new.div_duration_f64(floor),
        &format!("{in_force}; floor: the query network alone, {}", milliseconds(floor)),
    );
    table.row_over(
        "Query change, cached",
        format!("{:.2} ms", 1e3 * cached.as_secs_f64()),
        cached.div_duration_f64(floor),
        &format!("{in_force}; floor: the same"),
    );
    Ok(())
}

/// How many instances play in real time, from one thread, without a late parcel.
fn instances(mixture: &Audio, seconds: usize, hop: HopTime, table: &mut Table) -> Result<()> {
    let player = || Player::new(Listing::built_in(), Arc::new(Queries::default()), mixture.width(), false);
    let mut players = Vec::new();
    let mut held = 0;
    let mut live = Vec::new();
    while players.len() < MOST_INSTANCES {
        players.push(player()?);
        if (0..TRIALS).all(|_| play_all(&mut players, mixture, TRIAL_SECONDS, Until::Late).late > 0) {
            break;
        }
        held = players.len();
        live.push(mean_hop(&players));
    }
    let most_held = held;
    let resize = |players: &mut Vec<Player>, number| -> Result<()> {
        while players.len() < number {
            players.push(player()?);
        }
        players.truncate(number);
        Ok(())
    };
    resize(&mut players, WANTED_INSTANCES)?;
    let Played { late, woken_late } = play_all(&mut players, mixture, seconds, Until::Over);
    let parcels = (seconds * WANTED_INSTANCES) as f64 / hop.lasts.as_secs_f64();
    table.row(
        &format!("Late parcels of {WANTED_INSTANCES} instances"),
        format!("{late}, {:.3} %", 100.0 * late as f64 / parcels),
        &format!(
            "{seconds} s in real time, blocks of {BLOCK} from one thread, which itself was woken more than {:.0} ms \
             late {woken_late} times",
            1e3 * Grid::BUDGET
        ),
    );
    while held > 0 {
        resize(&mut players, held)?;
        if play_all(&mut players, mixture, seconds, Until::Late).late == 0 {
            break;
        }
        eprintln!("{held} instances: late before {seconds} s");
        // One by one would take a day.
        held -= held.div_ceil(8);
    }
    if let (Some(alone), Some(crowded)) = (live.first(), live.last()) {
        let in_a_row = format!(
            "at blocks' pace in real time; floor: one hop after the other without a pause, {:.2} ms",
            1e3 * hop.time.as_secs_f64()
        );
        let of_all = format!("the same, mean of the {} that held for {TRIAL_SECONDS} s", live.len());
        for (who, time, meaning) in [("alone", alone, &in_a_row), ("among most", crowded, &of_all)] {
            table.row_over(
                &format!("Separator a hop, live, {who}"),
                format!("{:.2} ms", 1e3 * time.as_secs_f64()),
                time.div_duration_f64(hop.time),
                meaning,
            );
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = cores as f64 / hop.share();
    table.row_over(
        &format!("Instances on {cores} cores without a late parcel"),
        format!("{held}"),
        held as f64 / most,
        &format!(
            "{seconds} s in real time, blocks of {BLOCK} from one thread; {most_held} for {TRIAL_SECONDS} s; ceiling: as \
             many as keep the cores busy by their separators alone, {most:.0}"
        ),
    );
    Ok(())
}

/// What the separators take for a hop now, on the average of `players`.
fn mean_hop(players: &[Player]) -> Duration {
    let sum: Duration = players.iter().map(|Player { engine, .. }| engine.status().hop_time()).sum();
    sum / players.len() as u32
}

/// How long is played.
#[derive(PartialEq, Eq)]
enum Until {
    /// The first parcel that is late, or the end.
    Late,
    Over,
}

/// What came of playing.
struct Played {
    /// Parcels of all players.
    late: u64,
    /// Blocks that this thread itself was woken for later than by the separator's budget.
    woken_late: usize,
}

/// Has `players` play for `seconds` of real time, on this thread with the priority that hosts give theirs.
fn play_all(players: &mut [Player], mixture: &Audio, seconds: usize, until: Until) -> Played {
    let count = |players: &[Player]| -> u64 {
        players.iter().map(|Player { engine, .. }| engine.status().late() + engine.status().dropped()).sum()
    };
    let blocks = seconds * RATE as usize / BLOCK;
    let starts = (0..mixture.frames() - BLOCK).step_by(BLOCK).cycle().take(blocks);
    players.iter_mut().for_each(|player| player.engine.reset());
    let before = count(players);
    let raised = promote_current_thread_to_real_time(BLOCK as u32, RATE as u32);
    let mut woken_late = 0;
    let begin = Instant::now();
    for (number, start) in starts.enumerate() {
        let due = begin + Duration::from_secs_f64((number * BLOCK) as f64 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        woken_late += usize::from(due.elapsed().as_secs_f64() > Grid::BUDGET);
        players.iter_mut().for_each(|player| player.play(mixture, start));
        if until == Until::Late && count(players) > before {
            break;
        }
    }
    if let Ok(handle) = raised {
        drop(demote_current_thread_from_real_time(handle));
    }
    Played { late: count(players) - before, woken_late }
}

/// `sift render`, from its start to its end.
fn render(program: Option<&Path>, mixture: &Audio, hop: HopTime, table: &mut Table) -> Result<()> {
    let Some(program) = program else {
        table.row("`sift render`", "unknown".into(), "--program does not say where it is");
        return Ok(());
    };
    let folder = std::env::temp_dir().join(format!("sift-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let (input, output) = (folder.join("in.wav"), folder.join("out.wav"));
    let frames = FILE_SECONDS * RATE as usize;
    let sound = Audio::from_fn(mixture.width(), frames, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    });
    sound.write_wav(&input, RATE as u32)?;
    let begin = Instant::now();
    let ended = Command::new(program)
        .arg("render")
        .arg(&input)
        .args(["--query", TEXTS[0], "--output"])
        .arg(&output)
        .output();
    let elapsed = begin.elapsed();
    std::fs::remove_dir_all(&folder)?;
    let ended = ended.with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let speed = FILE_SECONDS as f64 / elapsed.as_secs_f64();
    table.row_over(
        "`sift render`",
        format!("{speed:.1} × real time"),
        speed / hop.speed(),
        &format!(
            "a stereo file of {FILE_SECONDS} s, the start of the program included; ceiling: the separator alone, {:.1} ×",
            hop.speed()
        ),
    );
    Ok(())
}

fn offline(plugin: &Path, mixture: &Audio, hop: HopTime, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Offline)?;
    // The model is loaded in the first pass.
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let begin = Instant::now();
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let elapsed = begin.elapsed();
    let speed = mixture.frames() as f64 / RATE / elapsed.as_secs_f64();
    table.row_over(
        "Offline, by one instance",
        format!("{speed:.1} × real time"),
        speed / hop.speed(),
        &format!(
            "separator and audio thread one after the other; ceiling: the separator alone, {:.1} ×",
            hop.speed()
        ),
    );
    Ok(())
}

fn latency(plugin: &Path, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    for rate in RATES {
        instance.activate(rate, BLOCK, Mode::Realtime)?;
        let latency = instance.latency()?;
        instance.deactivate();
        let frame = fixtures::stft_frame_and_hop(rate).0;
        table.row_over(
            &format!("Latency at {} kHz", rate / 1e3),
            format!("{latency} samples, {:.1} ms", 1e3 * latency as f64 / rate),
            latency as f64 / frame as f64,
            &format!("reported to the host, blocks of up to {BLOCK}; floor: a frame, {frame} samples"),
        );
    }
    Ok(())
}

fn sizes(plugin: &Path, table: &mut Table) -> Result<()> {
    let folder = plugin.parent().context("the plugin lies in a folder")?;
    for (name, path) in [("CLAP", plugin.to_owned()), ("VST3", folder.join("Sift.vst3"))] {
        if path.exists() {
            let runtime = if path.is_file() { "without" } else { "with" };
            table.row(
                &format!("Size of the {name}"),
                mebibytes(size(&path)?),
                &format!("default model included, {runtime} ONNX Runtime"),
            );
        }
    }
    for name in ["libonnxruntime.so", "libonnxruntime.dylib", "onnxruntime.dll"] {
        let path = folder.join(name);
        if path.exists() {
            table.row("Size of ONNX Runtime", mebibytes(size(&path)?), "beside the CLAP");
        }
    }
    Ok(())
}

/// Bytes of a file, or of all files of a folder.
fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

/// What the model card says below its mark `cost`: parameters and multiply-accumulates.
fn model(folder: &Path, table: &mut Table) -> Result<()> {
    let path = folder.join("MODEL_CARD.md");
    let card = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let costs: Vec<_> = card
        .lines()
        .skip_while(|line| !line.contains("<!-- cost -->"))
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.contains(|character: char| character.is_ascii_digit()))
        .filter_map(cost)
        .collect();
    if costs.is_empty() {
        table.row("Model", "unknown".into(), "its card does not tell what it costs");
    }
    for (name, value) in costs {
        table.row(&format!("Model, {name}"), value.into(), "by its card");
    }
    Ok(())
}

/// Name and value of a line `| name | value |` or `name   value`.
fn cost(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_matches('|').trim();
    let (name, value) = line.split_once('|').or_else(|| line.split_once("  "))?;
    Some((name.trim(), value.trim()))
}

/// Sorts `times`.
fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", 1e3 * time.as_secs_f64())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MEBIBYTE)
}

/// Rows of figure, value, ratio to its floor, and meaning; printed as a Markdown table.
#[derive(Default)]
struct Table(Vec<[String; 4]>);

impl Table {
    /// A figure that has no floor.
    fn row(&mut self, figure: &str, value: String, meaning: &str) {
        self.add([figure.to_owned(), value, "–".to_owned(), meaning.to_owned()]);
    }

    /// A figure that is `ratio` times its floor, or its ceiling, which `meaning` names.
    fn row_over(&mut self, figure: &str, value: String, ratio: f64, meaning: &str) {
        self.add([figure.to_owned(), value, format!("{ratio:.2}"), meaning.to_owned()]);
    }

    /// Also tells it at once: the whole takes its time.
    fn add(&mut self, row: [String; 4]) {
        eprintln!("{}: {} ({})", row[0], row[1], row[2]);
        self.0.push(row);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let header = ["Figure", "Value", "Ratio", "What it is"].map(str::to_owned);
        let width = |column: usize| {
            self.0.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 4] = std::array::from_fn(width);
        let mut write = |row: &[String; 4], fill: char| {
            let cells: [String; 4] = std::array::from_fn(|column| {
                let padding = widths[column] - row[column].chars().count();
                format!("{}{}", row[column], String::from(fill).repeat(padding))
            });
            writeln!(formatter, "| {} |", cells.join(" | "))
        };
        write(&header, ' ')?;
        write(&[const { String::new() }; 4], '-')?;
        self.0.iter().try_for_each(|row| write(row, ' '))
    }
}
