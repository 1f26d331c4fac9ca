//! The program ffmpeg, for what Symphonia does not read.
//!
//! ffmpeg runs twice. The first run lists the packets, and so tells how much audio there is. The second run decodes,
//! and is held against the first, because ffmpeg skips damaged and unexpected packets without an error.

use std::env;
use std::ffi::OsString;
#[cfg(unix)]
use std::fs::File;
#[cfg(unix)]
use std::io::Seek;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::errors::{CUT_SHORT, ensure_supported};
use super::source::Section;
use super::stream::Stream;

/// How much the decoded audio may differ from its packets, in seconds: encoders add up to 0.1 s, which is trimmed.
const TOLERANCE: f64 = 0.15;

/// The shortest gap between two packets that stands for missing ones, in seconds.
const MIN_GAP: f64 = 0.1;

/// How much earlier than declared a file may end: in seconds, and as a fraction.
const END_TOLERANCE: (f64, f64) = (1.0, 0.1);

/// Frames per block.
const BLOCK_FRAMES: usize = 4_096;

/// The installed ffmpeg, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Ffmpeg {
    program: Option<PathBuf>,
}

impl Ffmpeg {
    /// Looks in the folders of `PATH`, those with a full path only: a program in the current folder is not run.
    pub fn find() -> Self {
        let name = format!("ffmpeg{}", env::consts::EXE_SUFFIX);
        let folders = env::var_os("PATH").unwrap_or_default();
        let program = env::split_paths(&folders)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&name))
            .find(|path| path.is_file());
        Self { program }
    }

    /// No ffmpeg: files that need it are refused.
    pub fn absent() -> Self {
        Self::default()
    }

    /// The ffmpeg at `program`.
    #[cfg(test)]
    pub(super) fn at(program: PathBuf) -> Self {
        Self { program: Some(program) }
    }

    #[cfg(test)]
    pub(super) fn is_installed(&self) -> bool {
        self.program.is_some()
    }

    /// Opens the audio of `section`; `kind` names its format. `None` if there is no ffmpeg.
    ///
    /// # Errors
    /// If ffmpeg does not read it.
    pub(super) fn open(&self, section: &Section, kind: &str) -> Result<Option<FfmpegStream>> {
        let Some(program) = &self.program else { return Ok(None) };
        let input = Input::new(section)?;
        let listing = list_packets(program, &input).with_context(|| kind.to_owned())?;
        let stop_at_errors = ["-xerror", "-err_detect", "crccheck+bitstream+buffer+explode"];
        let decode = ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav"];
        let mut run = Run::start(program, &input, &stop_at_errors, &decode)?;
        let (rate, channels) = match read_header(&mut run.output) {
            Ok(header) => header,
            Err(error) => return Err(run.finish().err().unwrap_or(error).context(kind.to_owned())),
        };
        ensure_supported(rate, channels)?;
        Ok(Some(FfmpegStream {
            run: Some(run),
            _input: input,
            rate,
            channels,
            decoded: 0,
            seconds: listing.audio_seconds(),
            warnings: listing
                .gap
                .map(|(time, gap)| format!("{gap:.2} s are missing at {time:.2} s"))
                .into_iter()
                .collect(),
        }))
    }
}

/// Audio that ffmpeg decodes.
pub struct FfmpegStream {
    /// The program until its end.
    run: Option<Run>,
    /// Kept while ffmpeg reads it.
    _input: Input,
    rate: u32,
    channels: usize,
    /// Samples per channel so far.
    decoded: u64,
    /// Duration of the packets: the bounds of what may be decoded, in seconds.
    seconds: (f64, f64),
    warnings: Vec<String>,
}

impl Stream for FfmpegStream {
    fn decode(&mut self, block: &mut Vec<Vec<f32>>) -> Result<Option<u32>> {
        let Some(run) = &mut self.run else { return Ok(None) };
        let mut bytes = Vec::new();
        let size = (BLOCK_FRAMES * self.channels * size_of::<f32>()) as u64;
        (&mut run.output).take(size).read_to_end(&mut bytes).context("ffmpeg's output cannot be read")?;
        let frames = bytes.len() / (self.channels * size_of::<f32>());
        if frames == 0 {
            self.run.take().expect("it runs").finish()?;
            self.ensure_complete()?;
            return Ok(None);
        }
        block.resize_with(self.channels, Vec::new);
        block.iter_mut().for_each(Vec::clear);
        for frame in bytes.chunks_exact(self.channels * size_of::<f32>()) {
            for (channel, sample) in block.iter_mut().zip(frame.chunks_exact(size_of::<f32>())) {
                channel.push(f32::from_le_bytes(sample.try_into().expect("four bytes")));
            }
        }
        self.decoded += frames as u64;
        Ok(Some(self.rate))
    }

    fn length(&self) -> Option<u64> {
        None
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

impl FfmpegStream {
    fn ensure_complete(&self) -> Result<()> {
        let seconds = self.decoded as f64 / f64::from(self.rate);
        let (least, most) = self.seconds;
        ensure!(
            (least - TOLERANCE..=most + TOLERANCE).contains(&seconds),
            "damaged: ffmpeg decodes {seconds:.3} s of {least:.3} s. Get the file again, or convert it to WAV or FLAC"
        );
        Ok(())
    }
}

/// The file that ffmpeg reads.
struct Input {
    /// ffmpeg's name of it.
    name: OsString,
    /// The temporary copy of what is not a file. On Unix it has no name, hence it disappears with the last process that
    /// reads it; ffmpeg gets it as standard input.
    #[cfg(unix)]
    copy: Option<File>,
    #[cfg(not(unix))]
    _copy: Option<tempfile::NamedTempFile>,
}

impl Input {
    #[cfg(unix)]
    fn new(section: &Section) -> Result<Self> {
        if let Some(path) = section.file() {
            return Ok(Self { name: file_name(path), copy: None });
        }
        let place = env::temp_dir();
        let copy = || -> io::Result<File> {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut section.clone(), &mut file)?;
            Ok(file)
        };
        let copy = copy().with_context(|| super::source::no_copy(&place))?;
        Ok(Self { name: file_name(Path::new("/dev/fd/0")), copy: Some(copy) })
    }

    #[cfg(not(unix))]
    fn new(section: &Section) -> Result<Self> {
        if let Some(path) = section.file() {
            return Ok(Self { name: file_name(path), _copy: None });
        }
        let place = env::temp_dir();
        let copy = || -> io::Result<tempfile::NamedTempFile> {
            let mut file = tempfile::NamedTempFile::new()?;
            io::copy(&mut section.clone(), &mut file)?;
            Ok(file)
        };
        let copy = copy().with_context(|| super::source::no_copy(&place))?;
        Ok(Self { name: file_name(copy.path()), _copy: Some(copy) })
    }

    /// ffmpeg's standard input.
    #[cfg(unix)]
    fn stdin(&self) -> io::Result<Stdio> {
        let Some(copy) = &self.copy else { return Ok(Stdio::null()) };
        let mut copy = copy.try_clone()?;
        copy.rewind()?;
        Ok(copy.into())
    }

    #[cfg(not(unix))]
    fn stdin(&self) -> io::Result<Stdio> {
        Ok(Stdio::null())
    }
}

/// ffmpeg's name of the file at `path`, which may look like an option or an address.
fn file_name(path: &Path) -> OsString {
    let mut name = OsString::from("file:");
    name.push(path);
    name
}

/// A running ffmpeg. Dropping it ends it.
struct Run {
    child: Child,
    output: BufReader<ChildStdout>,
    /// Its messages.
    messages: Option<JoinHandle<String>>,
}

impl Run {
    /// Starts ffmpeg with options before and behind its input.
    fn start(program: &Path, input: &Input, before: &[&str], behind: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        // Files can refer to others, also on the network; those are not opened.
        command
            .args([
                "-hide_banner",
                "-nostdin",
                "-nostats",
                "-loglevel",
                "level+info",
                "-protocol_whitelist",
                "file,pipe",
            ])
            .args(before);
        command.arg("-i").arg(&input.name).args(behind).arg("pipe:1");
        let stdin = input.stdin().context("the temporary copy cannot be read")?;
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("{} cannot be run", program.display()))?;
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut errors = child.stderr.take().expect("it is a pipe");
        let messages = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // Unreadable messages do not matter.
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Ok(Self { child, output, messages: Some(messages) })
    }

    /// Waits for the end. Returns the messages.
    ///
    /// # Errors
    /// If ffmpeg fails.
    fn finish(mut self) -> Result<String> {
        let status = self.child.wait().context("ffmpeg cannot be waited for")?;
        let messages = self.messages.take().expect("it was not taken").join().unwrap_or_default();
        if status.success() {
            return Ok(messages);
        }
        if messages.contains("matches no streams") {
            bail!("no audio track. Choose a file with sound");
        }
        bail!(
            "ffmpeg fails: {}. Get the file again, or convert it to WAV or FLAC",
            first_error(&messages).unwrap_or_else(|| status.to_string())
        );
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.messages.is_some() {
            // It may have ended.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The first error in ffmpeg's messages, which mark errors.
fn first_error(messages: &str) -> Option<String> {
    let error = |line: &str| {
        ["[error] ", "[fatal] "].iter().find_map(|mark| Some(line.split_once(mark)?.1.trim().to_owned()))
    };
    messages.lines().find_map(error)
}

/// Lists the packets of the first audio track, and of videos, because the declared duration is that of the longest.
///
/// # Errors
/// If ffmpeg does not read the file, or the file is cut short or damaged.
fn list_packets(program: &Path, input: &Input) -> Result<Listing> {
    let list = ["-map", "0:a:0", "-map", "0:v?", "-c", "copy", "-f", "framecrc"];
    let mut run = Run::start(program, input, &[], &list)?;
    let mut listing = Listing::default();
    let mut line = Vec::new();
    while run.output.read_until(b'\n', &mut line).context("ffmpeg's output cannot be read")? > 0 {
        listing.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let messages = run.finish()?;
    listing.ensure_whole(&messages)?;
    Ok(listing)
}

/// Sums of the packets in the output of ffmpeg's `framecrc`: lines of stream, decoding time, time, duration, size.
#[derive(Debug, Default)]
struct Listing {
    /// Seconds per unit of the streams.
    units: Vec<f64>,
    /// Sum of the durations of the first stream, in its units.
    duration: i64,
    /// Beginning and end of all streams, in seconds.
    span: Option<(f64, f64)>,
    /// Beginning and end of the first stream, in seconds.
    audio_span: Option<(f64, f64)>,
    /// A packet has no duration.
    is_unknown: bool,
    /// Time and duration of the first gap in the first stream, in seconds.
    gap: Option<(f64, f64)>,
}

impl Listing {
    fn add(&mut self, line: &str) {
        if let Some((index, unit)) = line.strip_prefix("#tb ").and_then(|unit| unit.split_once(':')) {
            let fraction = unit.trim().split_once('/').and_then(|(numerator, denominator)| {
                Some(numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?)
            });
            if index.parse() == Ok(self.units.len()) {
                self.units.push(fraction.unwrap_or(0.0));
            }
            return;
        }
        let mut fields = line.split(',').map(|field| field.trim().parse::<i64>().ok());
        let mut field = || fields.next().flatten();
        let (Some(stream), _, Some(time), Some(duration)) = (field(), field(), field(), field()) else {
            return;
        };
        let Some(&unit) = usize::try_from(stream).ok().and_then(|stream| self.units.get(stream)) else {
            return;
        };
        let (start, end) = (time as f64 * unit, (time + duration) as f64 * unit);
        let extend = |span: &mut Option<(f64, f64)>| {
            let (first, last) = span.unwrap_or((start, end));
            *span = Some((first.min(start), last.max(end)));
        };
        extend(&mut self.span);
        if stream == 0 {
            if let Some((_, last)) = self.audio_span
                && start - last >= MIN_GAP
                && !self.is_unknown
            {
                self.gap.get_or_insert((last, start - last));
            }
            extend(&mut self.audio_span);
            self.duration += duration;
            self.is_unknown |= duration == 0;
        }
    }

    /// The sum of the durations, and the time from the beginning to the end, the smaller first. They differ if the
    /// container's times are rounded, or if there are gaps.
    fn audio_seconds(&self) -> (f64, f64) {
        let sum = self.duration as f64 * self.units.first().copied().unwrap_or(0.0);
        match self.audio_span {
            Some((start, end)) if self.is_unknown => (end - start, end - start),
            Some((start, end)) => (sum.min(end - start), sum.max(end - start)),
            None => (sum, sum),
        }
    }

    /// Holds the packets against the duration in ffmpeg's `messages`.
    fn ensure_whole(&self, messages: &str) -> Result<()> {
        let (start, end) = self.span.ok_or_else(|| anyhow!("contains no audio"))?;
        if let (Some((time, gap)), Some(error)) = (self.gap, first_error(messages)) {
            bail!("damaged: {gap:.2} s are missing at {time:.2} s ({error}). Get the file again");
        }
        if messages.contains("Estimating duration from bitrate") {
            return Ok(());
        }
        let Some(declared) = declared_seconds(messages) else { return Ok(()) };
        let found = end - start;
        ensure!(
            found + END_TOLERANCE.0.min(END_TOLERANCE.1 * declared) >= declared,
            "{CUT_SHORT}: {found:.2} s of {declared:.2} s. Get the file again, or convert it to WAV or FLAC"
        );
        Ok(())
    }
}

/// The duration of the input in ffmpeg's messages, in seconds.
fn declared_seconds(messages: &str) -> Option<f64> {
    let (_, text) = messages.split_once("Duration: ")?;
    let mut parts = text.split(',').next()?.trim().split(':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    Some((part()? * 60.0 + part()?) * 60.0 + part()?)
}

/// Reads the header of the WAV file that ffmpeg writes. Returns sample rate and channels.
fn read_header(output: &mut impl Read) -> Result<(u32, usize)> {
    let mut header = [0; 12];
    output.read_exact(&mut header).context("ffmpeg writes no audio")?;
    let mut format = None;
    loop {
        let mut chunk = [0; 8];
        output.read_exact(&mut chunk).context("ffmpeg writes no audio")?;
        if &chunk[..4] == b"data" {
            return format.ok_or_else(|| anyhow!("ffmpeg tells no format"));
        }
        let size = u32::from_le_bytes(chunk[4..].try_into().expect("four bytes"));
        let mut content = Vec::new();
        output.take(u64::from(size.next_multiple_of(2))).read_to_end(&mut content)?;
        if &chunk[..4] == b"fmt " && content.len() >= 8 {
            let channels = u16::from_le_bytes([content[2], content[3]]);
            let rate = u32::from_le_bytes(content[4..8].try_into().expect("four bytes"));
            format = Some((rate, usize::from(channels)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_sums_the_durations_of_the_audio() {
        let mut listing = Listing::default();
        for line in [
            "#software: Lavf59.27.100",
            "#tb 0: 1/48000",
            "#tb 1: 1/25",
            "0,       -312,       -312,      960,      205, 0x1c5d6a35, S=1,       10, 0x01070138",
            "1,          0,          0,        1,     2000, 0x00000000",
            "0,        648,        648,      960,      205, 0x1c5d6a35",
        ] {
            listing.add(line);
        }
        assert_eq!(listing.audio_seconds(), (0.04, 0.04));
        assert!(listing.ensure_whole("  Duration: 00:00:00.04, start: 0.0, bitrate: 9 kb/s").is_ok());
        let message = listing.ensure_whole("  Duration: 01:00:02.50, start: 0.0").unwrap_err().to_string();
        assert!(message.contains("of 3602.50 s"), "{message}");
    }

    #[test]
    fn duration_that_is_estimated_or_unknown_is_not_used() {
        let mut listing = Listing::default();
        ["#tb 0: 1/48000", "0, 0, 0, 960, 1, 0x0"].iter().for_each(|line| listing.add(line));
        let estimated =
            "Estimating duration from bitrate, this may be inaccurate\n Duration: 00:00:09.00, bitrate: 1";
        assert!(listing.ensure_whole(estimated).is_ok());
        assert!(listing.ensure_whole("Duration: N/A, bitrate: N/A").is_ok());
    }
}
