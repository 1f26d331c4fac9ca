//! Helpers of the engine's integration tests: small packages, signals, and processing by an instance.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sift_engine::{
    AuxOutputs, Config, Controls, Instance, MaskFaults, Mode, ModelChoice, Processor, Queries, SlotState,
};
use tempfile::TempDir;

/// Longest wait for an instance to be ready.
pub const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

pub const OFFLINE: Config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };

/// Returns the folder of a package in `tests/packages`.
pub fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages").join(name)
}

/// Processes `input` with the query in `slot` at full strength and returns the output.
pub fn play(processor: &mut Processor, input: &[f32], mode: Mode, slot: usize) -> Vec<f32> {
    let mut output = input.to_vec();
    for block in output.chunks_mut(512) {
        let ones = vec![1.0; block.len()];
        let controls = Controls { mode, query: slot, ..Controls::new(&ones, &ones) };
        processor.process(&mut [block], &mut AuxOutputs::default(), &controls);
    }
    output
}

/// Waits until the text in `slot` is encoded or has failed, and returns its state.
pub fn wait_until_encoded(queries: &Queries, slot: usize) -> SlotState {
    let deadline = Instant::now() + Duration::from_secs(30);
    while queries.slot_state(slot) == SlotState::Encoding && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    queries.slot_state(slot)
}

pub fn sine(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| 0.4 * (i as f32 * 0.05).sin()).collect()
}

pub fn delayed(input: &[f32], latency: usize) -> Vec<f32> {
    let mut delayed = vec![0.0; latency];
    delayed.extend_from_slice(&input[..input.len() - latency]);
    delayed
}

/// Asserts that the samples are the same bit for bit; the message has only the first that differs.
#[track_caller]
pub fn assert_same(output: &[f32], expected: &[f32]) {
    assert_eq!(output.len(), expected.len());
    let first = output.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(first.is_none(), "sample {first:?} differs: {:?}", first.map(|at| (output[at], expected[at])));
}

/// Starts an instance with the package in `folder`, without waiting until it is ready.
pub fn start(folder: &Path) -> (Processor, Instance) {
    let instance = Instance::new(ModelChoice::Folder(folder.to_owned()));
    (instance.start(OFFLINE), instance)
}

/// Returns how many masks could not be used so far.
pub fn faults(instance: &Instance) -> MaskFaults {
    instance.snapshot().expect("the instance is started").faults
}

/// A temporary copy of a package, which tests damage.
pub struct PackageCopy(TempDir);

impl PackageCopy {
    /// Copies the package `identity`.
    pub fn new() -> Self {
        Self::of(&package("identity"))
    }

    pub fn of(package: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(package).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Replaces `from`, which must be there, in `package.toml`.
    pub fn edit_manifest(&self, from: &str, to: &str) {
        let path = self.path().join("package.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Replaces a file and its hash in the manifest, so that the file's content is checked.
    pub fn replace(&self, file: &str, bytes: &[u8]) {
        use sha2::{Digest, Sha256};
        let hash =
            |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let old = hash(&fs::read(self.path().join(file)).unwrap());
        fs::write(self.path().join(file), bytes).unwrap();
        self.edit_manifest(&old, &hash(bytes));
    }

    /// Returns the model's error, after asserting that audio passes dry at the package's latency.
    pub fn problem(&self) -> String {
        let (mut processor, instance) = start(self.path());
        let problem = instance.wait_until_ready(LOAD_TIMEOUT).unwrap_err();
        let input = sine(24_000);
        let output = play(&mut processor, &input, Mode::Remove, 0);
        assert_same(&output, &delayed(&input, processor.latency()));
        assert_eq!(instance.snapshot().unwrap().problem.as_deref(), Some(problem.as_str()));
        problem
    }
}
