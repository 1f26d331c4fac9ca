//! What the integration tests of the engine share: the small packages of `tests/packages`, and a
//! way to play a signal through an engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sift_engine::package::PackageInfo;
use sift_engine::{AuxOutputs, Config, Controls, Engine, MaskShaping, Mode, Queries, SlotState};

pub const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

pub const OFFLINE: Config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };

/// The folder of one of the small packages.
pub fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages").join(name)
}

/// Plays `input` with the query in `slot`, at full strength.
pub fn play(engine: &mut Engine, input: &[f32], mode: Mode, slot: usize) -> Vec<f32> {
    let mut output = input.to_vec();
    for block in output.chunks_mut(512) {
        let ones = vec![1.0; block.len()];
        let controls = Controls {
            strength: &ones,
            gain: &ones,
            mode,
            query: slot,
            shape: MaskShaping::default(),
            listen_removed: false,
            bypass: false,
        };
        engine.process(&mut [block], &mut AuxOutputs::default(), &controls);
    }
    output
}

/// Waits until the text in `slot` was encoded, or could not be.
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

/// Fails with the first sample that differs, rather than with all of them.
#[track_caller]
pub fn assert_same(heard: &[f32], expected: &[f32]) {
    assert_eq!(heard.len(), expected.len());
    let first = heard.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(first.is_none(), "sample {first:?} differs: {:?}", first.map(|at| (heard[at], expected[at])));
}

/// An engine on the package in `folder`, which may not be ready, with its queries.
pub fn open(folder: &Path) -> (Engine, Arc<Queries>) {
    let queries = Arc::new(Queries::default());
    (Engine::with_package(PackageInfo::read(folder), OFFLINE, queries.clone()), queries)
}

/// A copy of a package to damage, removed when the test ends.
pub struct PackageCopy(pub PathBuf);

impl PackageCopy {
    /// Of the identity package.
    pub fn new(name: &str) -> Self {
        Self::of(&package("identity"), name)
    }

    pub fn of(package: &Path, name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sift-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(package).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        Self(folder)
    }

    pub fn edit_manifest(&self, from: &str, to: &str) {
        let path = self.0.join("package.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Replaces a file and makes its hash agree, so that the content itself is looked at.
    pub fn replace(&self, file: &str, bytes: &[u8]) {
        use sha2::{Digest, Sha256};
        let hash =
            |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
        let old = hash(&fs::read(self.0.join(file)).unwrap());
        fs::write(self.0.join(file), bytes).unwrap();
        self.edit_manifest(&old, &hash(bytes));
    }

    /// What the engine says, having passed dry at the latency that the package would have.
    pub fn problem(&self) -> String {
        let (mut engine, _) = open(&self.0);
        let problem = engine.wait_until_ready(LOAD_TIMEOUT).unwrap_err();
        let input = sine(24_000);
        let heard = play(&mut engine, &input, Mode::Remove, 0);
        assert_same(&heard, &delayed(&input, engine.latency()));
        assert_eq!(engine.status().problem().as_deref(), Some(problem.as_str()));
        problem
    }
}

impl Drop for PackageCopy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
