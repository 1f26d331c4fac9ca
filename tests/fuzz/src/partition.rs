//! Processing of a session in two partitions into blocks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use sift_engine::{AuxOutputs, Config, Controls, Instance, MaskShaping, Mode, ModelChoice, Processor, SLOTS};
use sift_tests::audio::Random;
use sift_tests::fixtures::{self, KEPT_WORD};

const RATES: [f64; 3] = [44_100.0, 48_000.0, 50_317.0];
const MAX_BLOCK: usize = 2048;
/// Parts that are processed of a session.
const MAX_PARTS: usize = 6;
/// Longest wait for a model to load or a text to be encoded.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A session that the bytes describe.
#[derive(Arbitrary, Debug)]
struct Session {
    rate: u8,
    stereo: bool,
    seed: u8,
    parts: Vec<Part>,
}

/// Sound with the same controls, which a host changes only between blocks.
#[derive(Arbitrary, Debug)]
struct Part {
    length: u16,
    before: Before,
    sound: Sound,
    remove: bool,
    query: u8,
    sharpness: u8,
    floor: u8,
    smoothing: u8,
    listen_removed: bool,
    with_rest: bool,
    stereo: u8,
    bypass: bool,
    /// Lengths of the second instance's blocks; the last one repeats.
    blocks: Vec<u16>,
}

#[derive(Arbitrary, Debug)]
enum Before {
    Nothing,
    Seek,
    Reset,
}

#[derive(Arbitrary, Debug)]
enum Sound {
    Silence,
    Quiet,
    Loud,
    /// With NaN, infinity and extreme values.
    Invalid,
}

/// Two equal instances: one for whole parts, one for parts in blocks.
struct Pair([(Instance, Processor); 2]);

impl Pair {
    fn new(config: Config) -> Self {
        Self([(); 2].map(|()| {
            let texts = std::array::from_fn(|slot| if slot % 2 == 0 { KEPT_WORD } else { "drums" }.into());
            let instance = Instance::new(ModelChoice::Folder(fixtures::package("recurrent")));
            instance.queries().set_texts(&texts);
            let processor = instance.start(config);
            instance
                .wait_until_ready(LOAD_TIMEOUT)
                .expect("the model is ready: `cargo xtask` sets ORT_DYLIB_PATH");
            (instance, processor)
        }))
    }
}

thread_local! {
    /// Instances by rate and channels, kept for further sessions because they take long to make.
    static PAIRS: RefCell<HashMap<(usize, usize), Pair>> = RefCell::default();
}

/// Processes the session that `bytes` describe.
///
/// # Panics
/// If the output differs between the two partitions into blocks.
pub fn check(bytes: &[u8]) {
    let Ok(session) = Session::arbitrary_take_rest(Unstructured::new(bytes)) else { return };
    let (rate, channels) = (usize::from(session.rate) % RATES.len(), 1 + usize::from(session.stereo));
    PAIRS.with_borrow_mut(|pairs| {
        let config = Config { sample_rate: RATES[rate], max_block: MAX_BLOCK, channels, offline: true };
        let Pair([(_, whole), (_, split)]) =
            pairs.entry((rate, channels)).or_insert_with(|| Pair::new(config));
        whole.reset();
        split.reset();
        let mut random = Random::new(session.seed.into());
        for part in session.parts.iter().take(MAX_PARTS) {
            let length = 1 + usize::from(part.length) % MAX_BLOCK;
            let input: Vec<Vec<f32>> = (0..channels)
                .map(|_| (0..length).map(|_| part.sound.sample(&mut random)).collect())
                .collect();
            let strength: Vec<f32> = (0..length).map(|_| random.bipolar().abs()).collect();
            let gain: Vec<f32> = (0..length).map(|_| 2.0 * random.bipolar().abs()).collect();
            let expected = part.process(whole, &input, &strength, &gain, &[]);
            let output = part.process(split, &input, &strength, &gain, &part.blocks);
            assert!(output == expected, "the bits differ in blocks of {:?} of {session:?}", part.blocks);
        }
        for (instance, _) in &pairs[&(rate, channels)].0 {
            let missing = instance.snapshot().map(|snapshot| snapshot.faults.missing());
            assert_eq!(missing, Some(0), "masks are late although the instance renders offline");
        }
    });
}

impl Sound {
    fn sample(&self, random: &mut Random) -> f32 {
        match self {
            Self::Silence => 0.0,
            Self::Quiet => 0.001 * random.bipolar(),
            Self::Loud => random.bipolar(),
            Self::Invalid => match random.between(0, 200) {
                0 => f32::NAN,
                1 => f32::INFINITY,
                2 => -1e30,
                3 => 1e-40,
                _ => random.bipolar(),
            },
        }
    }
}

impl Part {
    /// The bits of all outputs, channel by channel, of `input` in `blocks`; in one block if `blocks` is empty.
    fn process(
        &self,
        processor: &mut Processor,
        input: &[Vec<f32>],
        strength: &[f32],
        gain: &[f32],
        blocks: &[u16],
    ) -> Vec<u32> {
        match self.before {
            Before::Nothing => (),
            Before::Seek => processor.seek(),
            Before::Reset => processor.reset(),
        }
        let mut main = input.to_vec();
        let (mut target, mut residual) = (input.to_vec(), input.to_vec());
        let mut lengths = blocks.iter().map(|&length| 1 + usize::from(length) % MAX_BLOCK);
        let (mut start, mut length) = (0, MAX_BLOCK);
        while start < strength.len() {
            length = lengths.next().unwrap_or(length);
            let range = start..strength.len().min(start + length);
            let controls = Controls {
                strength: &strength[range.clone()],
                gain: &gain[range.clone()],
                mode: if self.remove { Mode::Remove } else { Mode::Isolate },
                query: usize::from(self.query) % SLOTS,
                with_rest: self.with_rest,
                stereo: f32::from(self.stereo) / 255.0,
                shape: MaskShaping {
                    sharpness: 0.5 + 3.5 * f32::from(self.sharpness) / 255.0,
                    floor: f32::from(self.floor) / 255.0,
                    smoothing: 0.2 * f32::from(self.smoothing) / 255.0,
                },
                listen_removed: self.listen_removed,
                bypass: self.bypass,
            };
            let [mut main, mut target, mut residual] = [&mut main, &mut target, &mut residual]
                .map(|port| port.iter_mut().map(|channel| &mut channel[range.clone()]).collect::<Vec<_>>());
            let mut aux = AuxOutputs { target: &mut target, residual: &mut residual };
            processor.process(&mut main, &mut aux, &controls);
            start = range.end;
        }
        [main, target, residual].iter().flatten().flatten().map(|sample| sample.to_bits()).collect()
    }
}
