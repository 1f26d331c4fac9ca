//! The separator alone: the time per hop, and from a typed text to its effect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sift_engine::inference::library;
use sift_engine::inference::provider::ProviderChoice;
use sift_engine::listener;
use sift_engine::package::PackageInfo;
use sift_engine::separator::network::LoadedModel;
use sift_engine::separator::streaming::StreamingSeparator;
use sift_engine::{
    AuxOutputs, CancelToken, Config, Controls, Grid, Instance, ModelChoice, Processor, QueryEncoder,
    SlotState, Snapshot,
};
use sift_tests::audio::Audio;
use sift_tests::fixtures;
use sift_tests::metrics::median;

use crate::table::{Table, milliseconds};
use crate::{BLOCK, LOAD_TIMEOUT, RATE};

/// Texts of one, two and four sounds; each sound is separated by itself.
pub const TEXTS: [&str; 3] =
    ["a person speaking", "a person speaking and drums", "a person speaking, drums, rain and a dog"];
/// Sound that competes in the rows with a rest.
const REST: &str = "music";
/// Work of the test package `heavy` for the word `x1024`: number of matrix products, and side of the matrices.
const GEMMS: (usize, usize) = (1024, 128);

/// Time per hop of the default model's separator.
#[derive(Clone, Copy)]
pub struct HopTime {
    /// As the engine measures it on the separator thread.
    pub time: Duration,
    /// Time of as many multiply-accumulates in plain matrix products by the same library.
    floor: Duration,
    /// Duration of the hop itself.
    pub lasts: Duration,
}

impl HopTime {
    /// Share of a core that one instance takes.
    pub fn share(&self) -> f64 {
        self.time.div_duration_f64(self.lasts)
    }

    pub fn floor_share(&self) -> f64 {
        self.floor.div_duration_f64(self.lasts)
    }

    /// Speed of the separator alone, as a multiple of real time.
    pub fn speed(&self) -> f64 {
        self.lasts.div_duration_f64(self.time)
    }
}

/// Adds the rows of the separator's time per hop.
///
/// The floor is measured with the test package `heavy`, which multiplies matrices and does nothing else.
pub fn separator(mixture: &Audio, table: &mut Table) -> Result<HopTime> {
    let built_in = PackageInfo::built_in();
    let lasts = Duration::from_secs_f64(Grid::new(&built_in.manifest.audio, RATE).hop_seconds());
    let per_second = built_in.manifest.separator.multiply_accumulates;
    let per_second = per_second.context("the default model's manifest gives its multiply-accumulates")?;
    let [time, two, four] = TEXTS.map(|text| hop_time(ModelChoice::BuiltIn, text, Rest::Off, mixture));
    let time = time?;
    let (units, side) = GEMMS;
    let heavy = ModelChoice::Folder(fixtures::package("heavy"));
    let excerpt = mixture.slice(0..mixture.frames().min(2 * RATE as usize));
    let products = hop_time(heavy, &format!("x{units}"), Rest::Off, &excerpt)?;
    let accumulates = (units * side * side * side) as f64;
    let floor = products.mul_f64(per_second * lasts.as_secs_f64() / accumulates);
    let hop = HopTime { time, floor, lasts };
    table.row_over(
        "Separator per hop",
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
            &format!("Separator per hop, {text:?}"),
            format!("{:.2} ms", 1e3 * time.as_secs_f64()),
            time.div_duration_f64(hop.time),
            "every sound of a text is separated by itself; floor: the row for one sound",
        );
    }
    let [alone, beside] = hop_times([Rest::Off, Rest::Said(REST)], mixture)?;
    table.row_over(
        "Separator per hop, with a rest",
        format!("{:.2} ms", 1e3 * beside.as_secs_f64()),
        beside.div_duration_f64(alone),
        &format!(
            "{REST:?} competes in all hops, in one batch; floor: without a rest, block by block in turn, {:.2} ms",
            1e3 * alone.as_secs_f64()
        ),
    );
    let listening = listening_time(&built_in)?;
    table.row_over(
        "Listener per hop",
        format!("{:.3} ms", 1e3 * listening.as_secs_f64()),
        listening.div_duration_f64(hop.time),
        "alone, a run divided by its hops, median of 1000 runs; floor: the row of the separator for one sound",
    );
    Ok(hop)
}

/// Median time per hop of the listener of the package `info`.
fn listening_time(info: &PackageInfo) -> Result<Duration> {
    let package = info.load()?;
    let section = package.manifest.listener.as_ref().context("the default model has a listener")?;
    let (environment, token) = (library::environment()?, CancelToken::default());
    let embedding_size = StreamingSeparator::new(
        environment,
        &LoadedModel::new(info.load()?),
        &ProviderChoice::default(),
        &token,
    )?
    .0
    .embedding_size();
    let loaded = listener::load::load(environment, &package, &Arc::default(), embedding_size, &token);
    let mut listener = loaded.context("the default model has a listener")??.listener;
    // The time does not depend on the values.
    let frame = vec![1.0; package.manifest.audio.bins()];
    let mut times = Vec::new();
    for _ in 0..1000 {
        let begin = Instant::now();
        for _ in 0..section.frames {
            listener.hear(&frame).map_err(anyhow::Error::msg)?;
        }
        times.push(begin.elapsed() / section.frames as u32);
    }
    Ok(median(&mut times))
}

/// What competes with the text of a [`LivePlayer`].
#[derive(Clone, Copy, PartialEq)]
pub enum Rest {
    Off,
    /// What the listener hears.
    Heard,
    /// This text.
    Said(&'static str),
}

/// Median over `sound` of the time per hop of the separator of `model`.
fn hop_time(model: ModelChoice, query: &str, rest: Rest, sound: &Audio) -> Result<Duration> {
    let mut player = LivePlayer::new(model, query, rest, sound.width(), true)?;
    let mut times = Vec::new();
    for start in (0..sound.frames() - BLOCK).step_by(BLOCK) {
        player.play(sound, start);
        times.push(player.snapshot().hop_time);
    }
    Ok(median(&mut times))
}

/// Medians over `sound` of the times per hop of the default model with each of `rests`, which play in turn.
fn hop_times<const N: usize>(rests: [Rest; N], sound: &Audio) -> Result<[Duration; N]> {
    let mut players = Vec::new();
    for rest in rests {
        players
            .push((LivePlayer::new(ModelChoice::BuiltIn, TEXTS[0], rest, sound.width(), true)?, Vec::new()));
    }
    for start in (0..sound.frames() - BLOCK).step_by(BLOCK) {
        for (player, times) in &mut players {
            player.play(sound, start);
            times.push(player.snapshot().hop_time);
        }
    }
    Ok(std::array::from_fn(|at| median(&mut players[at].1)))
}

/// An instance at 48 kHz that is given blocks as by a host.
pub struct LivePlayer {
    pub processor: Processor,
    instance: Instance,
    rest: Rest,
    /// Whether spectrum and levels are read, as by an open window.
    pub is_watched: bool,
    block: Vec<Vec<f32>>,
}

impl LivePlayer {
    pub fn new(model: ModelChoice, query: &str, rest: Rest, channels: usize, offline: bool) -> Result<Self> {
        let config = Config { sample_rate: RATE, max_block: BLOCK, channels, offline };
        let instance = Instance::new(model);
        instance.queries().set_text(0, query);
        if let Rest::Said(text) = rest {
            instance.queries().set_rest(text);
        }
        let processor = instance.start(config);
        instance.wait_until_ready(LOAD_TIMEOUT).map_err(anyhow::Error::msg)?;
        Ok(Self { processor, instance, rest, is_watched: false, block: vec![vec![0.0; BLOCK]; channels] })
    }

    pub fn snapshot(&self) -> Snapshot {
        self.instance.snapshot().expect("the instance has a processor")
    }

    /// Processes the block of `sound` at `start`.
    pub fn play(&mut self, sound: &Audio, start: usize) {
        let ones = [1.0; BLOCK];
        let controls = Controls { with_rest: self.rest != Rest::Off, ..Controls::new(&ones, &ones) };
        for (block, channel) in self.block.iter_mut().zip(sound.channels()) {
            block.copy_from_slice(&channel[start..start + BLOCK]);
        }
        let mut channels: Vec<&mut [f32]> = self.block.iter_mut().map(Vec::as_mut_slice).collect();
        self.processor.process(&mut channels, &mut AuxOutputs::default(), &controls);
        if self.is_watched
            && let Some(analyzer) = self.instance.analyzer()
        {
            analyzer.take_columns().for_each(drop);
        }
    }
}

/// Adds the rows of a query change: from a text to the embedding that the next hop is separated by.
pub fn query_change(table: &mut Table) -> Result<()> {
    let player = LivePlayer::new(ModelChoice::BuiltIn, TEXTS[0], Rest::Off, 1, false)?;
    let queries = player.instance.queries();
    let encode = |text: &str| {
        let begin = Instant::now();
        queries.set_text(0, text);
        while queries.slot_state(0) != SlotState::Ready && begin.elapsed() < LOAD_TIMEOUT {
            std::thread::yield_now();
        }
        begin.elapsed()
    };
    let texts: Vec<_> = (0..9).map(|number| format!("sound number {number} that nobody has typed")).collect();
    let mut new: Vec<_> = texts.iter().map(|text| encode(text)).collect();
    let mut cached: Vec<_> = texts.iter().map(|text| encode(text)).collect();
    let mut encoder =
        QueryEncoder::new(library::environment()?, &PackageInfo::built_in().load()?, CancelToken::default())?;
    let mut bare = Vec::new();
    for text in &texts {
        let begin = Instant::now();
        encoder.encode(&text.as_str().into()).map_err(anyhow::Error::msg)?;
        bare.push(begin.elapsed());
    }
    let (new, cached, floor) = (median(&mut new), median(&mut cached), median(&mut bare));
    let meaning =
        "from the text to its embedding, median; it takes effect with the next hop, at most 16 ms later";
    table.row_over(
        "Query change, new text",
        milliseconds(new),
        new.div_duration_f64(floor),
        &format!("{meaning}; floor: the query network alone, {}", milliseconds(floor)),
    );
    table.row_over(
        "Query change, cached",
        format!("{:.2} ms", 1e3 * cached.as_secs_f64()),
        cached.div_duration_f64(floor),
        &format!("{meaning}; floor: the same"),
    );
    Ok(())
}
