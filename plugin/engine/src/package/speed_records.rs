//! How fast model packages were found to be on this machine, kept so that a person can be told.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inference::provider::Provider;
use crate::package::PackageInfo;
use crate::user::{folders, toml_file};

/// Figures that are kept; the oldest go first.
const MAX_RECORDS: usize = 200;

/// A separator that works this share of its time has no reserve.
pub const HEAVY_LOAD: f64 = 0.9;

/// A measured figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRecord {
    /// [`PackageInfo::fingerprint`].
    package: String,
    pub provider: Provider,
    /// Real-time factor: time that the separator takes, over the time that the sound lasts.
    pub factor: f64,
}

impl SpeedRecord {
    pub fn new(info: &PackageInfo, provider: Provider, factor: f64) -> Self {
        Self { package: info.fingerprint(), provider, factor }
    }

    /// What it is good for, in a line.
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

/// All figures, the oldest first.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeedRecords {
    #[serde(default)]
    speed: Vec<SpeedRecord>,
}

impl SpeedRecords {
    /// Where they are kept.
    pub fn file() -> Option<PathBuf> {
        Some(folders::cache()?.join("speeds.toml"))
    }

    /// The figures in a file; none where there is no file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(toml_file::read(path)?.unwrap_or_default())
    }

    /// Those of this very package, one for each provider that was measured. One whose manifest or
    /// networks have changed has none.
    pub fn for_package(&self, info: &PackageInfo) -> impl Iterator<Item = &SpeedRecord> {
        let package = info.fingerprint();
        self.speed.iter().filter(move |speed| speed.package == package)
    }

    /// Adds `speed` to the file `path`, in the place of what was measured of that package before.
    ///
    /// # Errors
    /// Why the file cannot be read or written.
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
    use std::fs;

    use super::*;

    fn speed(factor: f64) -> SpeedRecord {
        SpeedRecord::new(&PackageInfo::built_in(), Provider::Cpu, factor)
    }

    fn fresh(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sift-speed-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder.join("speeds.toml")
    }

    fn factors(records: &SpeedRecords, info: &PackageInfo) -> Vec<f64> {
        records.for_package(info).map(|speed| speed.factor).collect()
    }

    #[test]
    fn the_advice_says_what_a_speed_is_good_for() {
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
    fn a_new_figure_takes_the_place_of_the_old_one_on_the_same_provider() {
        let (path, info) = (fresh("again"), PackageInfo::built_in());
        assert_eq!(SpeedRecords::read(&path), Ok(SpeedRecords::default()), "there need not be a file");
        for (provider, factor) in [(Provider::Cpu, 0.5), (Provider::Cuda, 0.1), (Provider::Cpu, 0.25)] {
            SpeedRecords::add(&path, &SpeedRecord::new(&info, provider, factor)).unwrap();
        }
        assert_eq!(factors(&SpeedRecords::read(&path).unwrap(), &info), [0.1, 0.25]);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_package_that_has_changed_is_not_described_by_an_old_figure() {
        let (path, info) = (fresh("changed"), PackageInfo::built_in());
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
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let path = fresh("limit");
        let old = (0..MAX_RECORDS)
            .map(|number| SpeedRecord { package: number.to_string(), ..speed(0.5) })
            .collect();
        toml_file::write(&path, &SpeedRecords { speed: old }).unwrap();
        SpeedRecords::add(&path, &speed(0.5)).unwrap();
        let kept = SpeedRecords::read(&path).unwrap().speed;
        assert_eq!((kept.len(), kept[0].package.as_str()), (MAX_RECORDS, "1"));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
