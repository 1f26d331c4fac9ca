//! What the window looks at: every hop's spectrum and mask in coarse rows, and the levels, handed
//! over without locks. When nobody takes them, they are made no more.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;
use realfft::num_complex::Complex32;

use crate::dsp::grid::SpectrogramFormat;

/// Rows of a column, spaced logarithmically.
pub const ROWS: usize = 160;

/// The lowest frequency of the rows, in hertz.
const MIN_FREQUENCY: f32 = 50.0;

/// Levels that a column tells apart, in dBFS: a full-scale sine is 0.
pub const LEVEL_RANGE: Range<f32> = -100.0..0.0;

/// Columns that wait for the window, four seconds of them: when they are not taken, nobody looks.
const MAX_COLUMNS: usize = 256;

/// One hop as the window sees it; the lowest frequency first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectrumColumn {
    /// From the lowest of [`LEVEL_RANGE`], 0, to the highest, 255.
    pub level: [u8; ROWS],
    /// The mask's gain, 0 to 255. All of it where nothing is separated.
    pub mask: [u8; ROWS],
}

/// What rows and columns stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrequencyScale {
    /// The highest frequency of the rows, in hertz: the model's Nyquist.
    pub highest: f32,
    /// Seconds between two columns.
    pub hop: f32,
}

impl Default for FrequencyScale {
    /// That of a model at 32 kHz.
    fn default() -> Self {
        Self { highest: 16_000.0, hop: 0.016 }
    }
}

impl FrequencyScale {
    fn new(audio: &SpectrogramFormat) -> Self {
        let rate = audio.sample_rate as f32;
        Self { highest: rate / 2.0, hop: audio.hop as f32 / rate }
    }

    /// The frequency in the middle of a row, in hertz.
    pub fn frequency(&self, row: usize) -> f32 {
        self.at((row as f32 + 0.5) / ROWS as f32)
    }

    /// Where a frequency lies: 0 at the lower end of the rows, 1 at the upper.
    pub fn height(&self, frequency: f32) -> f32 {
        (frequency / MIN_FREQUENCY).ln() / (self.highest / MIN_FREQUENCY).ln()
    }

    fn at(&self, height: f32) -> f32 {
        MIN_FREQUENCY * (self.highest / MIN_FREQUENCY).powf(height)
    }
}

/// Largest absolute samples since they were last taken, linear.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakLevels {
    pub input: f32,
    pub output: f32,
    /// What the output lacks of the input.
    pub removed: f32,
}

impl PeakLevels {
    /// Takes in samples of one channel: `dry` the delayed input, `gain` what the output was made louder by.
    pub(crate) fn update(&mut self, dry: &[f32], output: &[f32], gain: &[f32]) {
        for ((dry, output), gain) in dry.iter().zip(output).zip(gain) {
            self.input = self.input.max(dry.abs());
            self.output = self.output.max(output.abs());
            self.removed = self.removed.max((gain * dry - output).abs());
        }
    }
}

/// Where the engine's threads show what they do.
pub struct Analyzer {
    scale: FrequencyScale,
    columns: ArrayQueue<SpectrumColumn>,
    /// The bins of each row; neighbours share one where bins are wider than rows.
    rows: Box<[Range<usize>]>,
    /// From a magnitude to the amplitude of a sine.
    to_amplitude: f32,
    /// Bits of the three peaks, which order as the numbers do, since none is negative.
    peaks: [AtomicU32; 3],
}

impl Analyzer {
    /// For spectra of a model's `audio`.
    pub fn new(audio: &SpectrogramFormat) -> Self {
        let scale = FrequencyScale::new(audio);
        let bin = scale.highest / (audio.bins() - 1) as f32;
        let edge = |row: usize| scale.at(row as f32 / ROWS as f32) / bin;
        let rows = (0..ROWS).map(|row| {
            let first = edge(row).round() as usize;
            let end = (edge(row + 1).round() as usize).max(first + 1);
            first.min(audio.bins() - 1)..end.min(audio.bins())
        });
        Self {
            scale,
            columns: ArrayQueue::new(MAX_COLUMNS),
            rows: rows.collect(),
            to_amplitude: 2.0 / audio.window.samples(audio.n_fft).iter().sum::<f32>(),
            peaks: Default::default(),
        }
    }

    pub fn scale(&self) -> FrequencyScale {
        self.scale
    }

    /// Whether somebody took what was shown lately.
    pub(crate) fn is_active(&self) -> bool {
        !self.columns.is_full()
    }

    /// Shows a hop: `magnitude` on the model's grid, and its mask if there is one.
    pub(crate) fn push_frame(&self, magnitude: &[f32], mask: Option<&[Complex32]>) {
        if !self.is_active() {
            return;
        }
        let mut column = SpectrumColumn { level: [0; ROWS], mask: [255; ROWS] };
        for (row, bins) in self.rows.iter().enumerate() {
            let loudest = bins.clone().max_by(|&a, &b| magnitude[a].total_cmp(&magnitude[b]));
            let loudest = loudest.unwrap_or(bins.start);
            let decibels = 20.0 * (self.to_amplitude * magnitude[loudest]).max(1e-9).log10();
            let share = (decibels - LEVEL_RANGE.start) / (LEVEL_RANGE.end - LEVEL_RANGE.start);
            // A cast of what lies outside of the range stops at its ends.
            column.level[row] = (255.0 * share).round() as u8;
            if let Some(mask) = mask {
                column.mask[row] = (255.0 * mask[loudest].norm()).round() as u8;
            }
        }
        // Full only if it became so just now.
        let _ = self.columns.push(column);
    }

    /// Raises the peaks to at least these.
    pub(crate) fn update(&self, peaks: &PeakLevels) {
        for (held, peak) in self.peaks.iter().zip([peaks.input, peaks.output, peaks.removed]) {
            held.fetch_max(peak.to_bits(), Ordering::Relaxed);
        }
    }

    /// The hops since the last call, oldest first; none of them if that was too long ago.
    pub fn take_columns(&self) -> impl Iterator<Item = SpectrumColumn> {
        if !self.is_active() {
            while self.columns.pop().is_some() {}
        }
        std::iter::from_fn(|| self.columns.pop())
    }

    /// The largest samples since the last call.
    pub fn take_peaks(&self) -> PeakLevels {
        let [input, output, removed] =
            self.peaks.each_ref().map(|peak| f32::from_bits(peak.swap(0, Ordering::Relaxed)));
        PeakLevels { input, output, removed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::stft::WindowFunction;

    const AUDIO: SpectrogramFormat =
        SpectrogramFormat { sample_rate: 32_000, n_fft: 1024, hop: 512, window: WindowFunction::SqrtHann };

    /// The spectrum of a full-scale sine at a bin, about.
    fn sine(bin: usize) -> Vec<f32> {
        let mut magnitude = vec![0.0; AUDIO.bins()];
        magnitude[bin] = AUDIO.window.samples(AUDIO.n_fft).iter().sum::<f32>() / 2.0;
        magnitude
    }

    #[test]
    fn what_nobody_takes_is_made_no_more_until_somebody_looks_again() {
        let analyzer = Analyzer::new(&AUDIO);
        for _ in 0..2 {
            for _ in 0..2 * MAX_COLUMNS {
                analyzer.push_frame(&sine(32), None);
            }
            assert!(!analyzer.is_active());
            assert_eq!(analyzer.take_columns().count(), 0, "what is old is not shown");
            analyzer.push_frame(&sine(32), None);
            assert_eq!(analyzer.take_columns().count(), 1);
        }
    }

    #[test]
    fn a_full_scale_sine_is_at_the_top_level_in_the_row_of_its_frequency() {
        let analyzer = Analyzer::new(&AUDIO);
        analyzer.push_frame(&sine(32), None);
        let column = analyzer.take_columns().next().unwrap();
        let row = column.level.iter().position(|&level| level > 0).unwrap();
        assert_eq!(column.level[row], 255);
        let at = analyzer.scale().frequency(row);
        assert!((at / 1_000.0 - 1.0).abs() < 0.03, "{at} Hz");
    }

    #[test]
    fn the_mask_is_shown_where_the_sound_is_loudest() {
        let analyzer = Analyzer::new(&AUDIO);
        let mut mask = vec![Complex32::ZERO; AUDIO.bins()];
        mask[400] = Complex32::new(0.5, 0.0);
        analyzer.push_frame(&sine(400), Some(&mask));
        let column = analyzer.take_columns().next().unwrap();
        let row = column.level.iter().position(|&level| level == 255).unwrap();
        assert_eq!(column.mask[row], 128);
        assert_eq!(column.mask[0], 0);
    }

    #[test]
    fn peaks_are_the_largest_since_they_were_taken() {
        let analyzer = Analyzer::new(&AUDIO);
        analyzer.update(&PeakLevels { input: 0.5, output: 0.1, removed: 0.0 });
        analyzer.update(&PeakLevels { input: 0.2, output: 0.3, removed: 0.0 });
        assert_eq!(analyzer.take_peaks(), PeakLevels { input: 0.5, output: 0.3, removed: 0.0 });
        assert_eq!(analyzer.take_peaks(), PeakLevels::default());
    }
}
