//! The separator alone: the time per hop, and from a typed text to its effect.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sift_engine::inference::library;
use sift_engine::package::PackageInfo;
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
    let [time, two, four] = TEXTS.map(|text| hop_time(ModelChoice::BuiltIn, text, mixture));
    let time = time?;
    let (units, side) = GEMMS;
    let heavy = ModelChoice::Folder(fixtures::package("heavy"));
    let excerpt = mixture.slice(0..mixture.frames().min(2 * RATE as usize));
    let products = hop_time(heavy, &format!("x{units}"), &excerpt)?;
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
    Ok(hop)
}

/// Median over `sound` of the time per hop of the separator of `model`.
fn hop_time(model: ModelChoice, query: &str, sound: &Audio) -> Result<Duration> {
    let mut player = LivePlayer::new(model, query, sound.width(), true)?;
    let mut times = Vec::new();
    for start in (0..sound.frames() - BLOCK).step_by(BLOCK) {
        player.play(sound, start);
        times.push(player.snapshot().hop_time);
    }
    Ok(median(&mut times))
}

/// An instance at 48 kHz that is given blocks as by a host.
pub struct LivePlayer {
    pub processor: Processor,
    instance: Instance,
    block: Vec<Vec<f32>>,
}

impl LivePlayer {
    pub fn new(model: ModelChoice, query: &str, channels: usize, offline: bool) -> Result<Self> {
        let config = Config { sample_rate: RATE, max_block: BLOCK, channels, offline };
        let instance = Instance::new(model);
        instance.queries().set_text(0, query);
        let processor = instance.start(config);
        instance.wait_until_ready(LOAD_TIMEOUT).map_err(anyhow::Error::msg)?;
        Ok(Self { processor, instance, block: vec![vec![0.0; BLOCK]; channels] })
    }

    pub fn snapshot(&self) -> Snapshot {
        self.instance.snapshot().expect("the instance has a processor")
    }

    /// Processes the block of `sound` at `start`.
    pub fn play(&mut self, sound: &Audio, start: usize) {
        let ones = [1.0; BLOCK];
        let controls = Controls::new(&ones, &ones);
        for (block, channel) in self.block.iter_mut().zip(sound.channels()) {
            block.copy_from_slice(&channel[start..start + BLOCK]);
        }
        let mut channels: Vec<&mut [f32]> = self.block.iter_mut().map(Vec::as_mut_slice).collect();
        self.processor.process(&mut channels, &mut AuxOutputs::default(), &controls);
    }
}

/// Adds the rows of a query change: from a text to the embedding that the next hop is separated by.
pub fn query_change(table: &mut Table) -> Result<()> {
    let player = LivePlayer::new(ModelChoice::BuiltIn, TEXTS[0], 1, false)?;
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
        encoder.encode(text).map_err(anyhow::Error::msg)?;
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
