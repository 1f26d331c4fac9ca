//! A host's scan, the time to the first separated sound, and memory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sift_engine::inference::library;
use sift_engine::package::PackageInfo;
use sift_engine::separator::network::LoadedModel;
use sift_engine::separator::streaming::StreamingSeparator;
use sift_engine::user::preferences::provider_choice;
use sift_engine::{CancelToken, QueryEncoder};
use sift_tests::audio::Audio;
use sift_tests::clap_host::Instance;
use sift_tests::metrics::median;
use sift_tests::process::resident_memory;

use crate::files::size;
use crate::table::{Table, mebibytes, milliseconds};
use crate::{RATE, separating_instance};

const SCANS: usize = 11;
const FURTHER_INSTANCES: usize = 4;

pub fn scan(plugin: &Path, table: &mut Table) -> Result<()> {
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
            "the bundle loaded, and an instance created and dropped, median of {SCANS}; floor: the bundle loaded, {:.1} ms",
            1e3 * loaded.as_secs_f64()
        ),
    );
    Ok(())
}

/// Adds the rows of the time to the first separated sound and of memory, for the first and further instances.
pub fn memory_and_start(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    let before = resident_memory();
    let (mut first, first_time) = separating_instance(plugin, mixture)?;
    let latency = Duration::from_secs_f64(first.latency()? as f64 / RATE);
    let with_one = resident_memory();
    let mut further = Vec::new();
    let mut further_time = Duration::MAX;
    for _ in 0..FURTHER_INSTANCES {
        let (instance, time) = separating_instance(plugin, mixture)?;
        further.push(instance);
        further_time = further_time.min(time);
    }
    let with_all = resident_memory();
    drop((first, further));
    let networks = Networks::load()?;

    let floor = latency + networks.separator + networks.encoder;
    table.row_over(
        "Time to the first separated sound",
        milliseconds(first_time),
        first_time.div_duration_f64(floor),
        &format!(
            "from the creation of the first instance, playing, with model and ONNX Runtime loaded on the way; floor: \
             its latency, and both networks loaded one after the other with ONNX Runtime there, {}",
            milliseconds(floor)
        ),
    );
    let floor = latency + networks.separator;
    table.row_over(
        "The same, of a further instance",
        milliseconds(further_time),
        further_time.div_duration_f64(floor),
        &format!(
            "shortest of {FURTHER_INSTANCES}; floor: its latency, and its separator network loaded, {}",
            milliseconds(floor)
        ),
    );
    let (Some(before), Some(with_one), Some(with_all)) = (before, with_one, with_all) else {
        table.row("Memory", "unknown".into(), "this system does not report it");
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
        each as f64 / networks.bytes as f64,
        &format!(
            "resident, in the same process; floor: its separator network's file, {}",
            mebibytes(networks.bytes)
        ),
    );
    Ok(())
}

/// Times to load the networks of the default model in this process, with ONNX Runtime loaded.
struct Networks {
    separator: Duration,
    encoder: Duration,
    /// Size of the separator's file.
    bytes: u64,
}

impl Networks {
    fn load() -> Result<Self> {
        let environment = library::environment()?;
        let model = LoadedModel::new(PackageInfo::built_in().load()?);
        let package = &model.package;
        let begin = Instant::now();
        StreamingSeparator::new(environment, &model, &provider_choice(), &CancelToken::default())?;
        let separator = begin.elapsed();
        let begin = Instant::now();
        QueryEncoder::new(environment, package, CancelToken::default())?;
        Ok(Self { separator, encoder: begin.elapsed(), bytes: package.separator.len() as u64 })
    }
}
