//! Measured speeds of packages on this machine, stored for `sift models` and the model menu.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inference::provider::Provider;
use crate::package::PackageInfo;
use crate::user::{folders, toml_file};

/// Largest number of stored records; older ones are dropped.
const MAX_RECORDS: usize = 200;

/// Real-time factor above which live use has no reserve.
pub const HEAVY_LOAD: f64 = 0.9;

/// Speed of a package on one provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRecord {
    /// Fingerprint of the package ([`PackageInfo::fingerprint`]).
    package: String,
    pub provider: Provider,
    /// Real-time factor: run time of the separator, divided by the duration of the sound.
    pub factor: f64,
}

impl SpeedRecord {
    pub fn new(info: &PackageInfo, provider: Provider, factor: f64) -> Self {
        Self { package: info.fingerprint(), provider, factor }
    }

    /// Advice in one line: live use or rendering.
    pub fn advice(&self) -> String {
        let Self { provider, factor, .. } = self;
        let on = match provider {
            Provider::Cpu => String::new(),
            _ => format!(" on {provider}"),
        };
        if *factor >= 1.0 {
            return format!("{factor:.1} times slower than real time here{on}: use it for rendering");
        }
        let good_for = match *factor < HEAVY_LOAD {
            true => "it plays live",
            false => "it plays live with nothing to spare; rendering is safe",
        };
        format!("{:.1} times faster than real time here{on}: {good_for}", 1.0 / factor)
    }
}

/// All records, oldest first.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRecords {
    #[serde(default)]
    speed: Vec<SpeedRecord>,
}

impl SpeedRecords {
    /// Path of the file; `None` if the user has no home folder.
    pub fn file() -> Option<PathBuf> {
        Some(folders::cache()?.join("speeds.toml"))
    }

    /// Reads the records; none if the file is missing.
    ///
    /// # Errors
    /// If the file cannot be read or has errors.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(toml_file::read(path)?.unwrap_or_default())
    }

    /// Records of this package, one per measured provider. A package whose manifest or networks have changed has none.
    pub fn for_package(&self, info: &PackageInfo) -> impl Iterator<Item = &SpeedRecord> {
        let package = info.fingerprint();
        self.speed.iter().filter(move |speed| speed.package == package)
    }

    /// Adds a record to the file `path`, and replaces that of the same package and provider.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn add(path: &Path, speed: &SpeedRecord) -> Result<(), String> {
        let mut records = Self::read(path)?;
        records.speed.retain(|old| (&old.package, old.provider) != (&speed.package, speed.provider));
        records.speed.push(speed.clone());
        records.speed.drain(..records.speed.len().saturating_sub(MAX_RECORDS));
        toml_file::write(path, &records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(factor: f64) -> SpeedRecord {
        SpeedRecord::new(&PackageInfo::built_in(), Provider::Cpu, factor)
    }

    /// The path of a missing file in an empty folder, and the folder.
    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speeds.toml");
        (folder, path)
    }

    fn factors(records: &SpeedRecords, info: &PackageInfo) -> Vec<f64> {
        records.for_package(info).map(|speed| speed.factor).collect()
    }

    #[test]
    fn advice_names_live_use_or_rendering() {
        for (factor, advice) in [
            (3.1, "3.1 times slower than real time here: use it for rendering"),
            (
                0.95,
                "1.1 times faster than real time here: it plays live with nothing to spare; rendering is safe",
            ),
            (0.05, "20.0 times faster than real time here: it plays live"),
        ] {
            assert_eq!(speed(factor).advice(), advice);
        }
        let accelerated = SpeedRecord { provider: Provider::Cuda, ..speed(0.5) };
        assert_eq!(accelerated.advice(), "2.0 times faster than real time here on CUDA: it plays live");
    }

    #[test]
    fn new_record_replaces_that_of_the_same_provider() {
        let (_folder, path) = fresh();
        let info = PackageInfo::built_in();
        assert_eq!(SpeedRecords::read(&path), Ok(SpeedRecords::default()), "a missing file has no records");
        for (provider, factor) in [(Provider::Cpu, 0.5), (Provider::Cuda, 0.1), (Provider::Cpu, 0.25)] {
            SpeedRecords::add(&path, &SpeedRecord::new(&info, provider, factor)).unwrap();
        }
        assert_eq!(factors(&SpeedRecords::read(&path).unwrap(), &info), [0.1, 0.25]);
    }

    #[test]
    fn changed_package_has_no_record() {
        let (_folder, path) = fresh();
        let info = PackageInfo::built_in();
        SpeedRecords::add(&path, &speed(0.5)).unwrap();
        let records = SpeedRecords::read(&path).unwrap();
        let mut retrained = info.clone();
        retrained.manifest.separator.sha256 = "00".into();
        let mut reworded = info.clone();
        reworded.manifest.query.sha256 = "00".into();
        for changed in [retrained, reworded] {
            assert!(factors(&records, &changed).is_empty());
        }
        assert_eq!(factors(&records, &info), [0.5]);
    }

    #[test]
    fn oldest_record_is_dropped_at_the_limit() {
        let (_folder, path) = fresh();
        let old = (0..MAX_RECORDS)
            .map(|number| SpeedRecord { package: number.to_string(), ..speed(0.5) })
            .collect();
        toml_file::write(&path, &SpeedRecords { speed: old }).unwrap();
        SpeedRecords::add(&path, &speed(0.5)).unwrap();
        let kept = SpeedRecords::read(&path).unwrap().speed;
        assert_eq!((kept.len(), kept[0].package.as_str()), (MAX_RECORDS, "1"));
    }
}
