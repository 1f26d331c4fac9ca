//! Spectrum, mask and peak levels for the editor, passed between threads without locks.
//!
//! Nothing is computed while the editor does not read.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_queue::ArrayQueue;
use realfft::num_complex::Complex32;

use crate::dsp::grid::SpectrogramFormat;

/// Number of rows of a column, spaced logarithmically.
pub const ROWS: usize = 160;

/// Lowest frequency of the rows, in hertz.
const MIN_FREQUENCY: f32 = 50.0;

/// Range of the levels in a column, in dBFS; a full-scale sine is 0.
pub const LEVEL_RANGE: Range<f32> = -100.0..0.0;

/// Capacity of the queue to the editor, about four seconds. A full queue means that no editor reads.
const MAX_COLUMNS: usize = 256;

/// One hop's spectrum and mask as the editor draws it, lowest frequency first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpectrumColumn {
    /// Level of each row: 0 is the start of [`LEVEL_RANGE`], 255 its end.
    pub level: [u8; ROWS],
    /// Gain of the mask, 0 to 255. 255 where no mask was made.
    pub mask: [u8; ROWS],
}

/// Frequencies of the rows and duration of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrequencyScale {
    /// Highest frequency of the rows in hertz, the model's Nyquist frequency.
    pub highest: f32,
    /// Seconds between two columns.
    pub hop: f32,
}

impl Default for FrequencyScale {
    /// The scale of a model at 32 kHz with a hop of 512 samples.
    fn default() -> Self {
        Self { highest: 16_000.0, hop: 0.016 }
    }
}

impl FrequencyScale {
    fn new(audio: &SpectrogramFormat) -> Self {
        let rate = audio.sample_rate as f32;
        Self { highest: rate / 2.0, hop: audio.hop as f32 / rate }
    }

    /// Returns the frequency in the middle of a row, in hertz.
    pub fn frequency(&self, row: usize) -> f32 {
        self.frequency_at((row as f32 + 0.5) / ROWS as f32)
    }

    /// Returns the height of a frequency: 0 at the lower end of the rows, 1 at the upper.
    pub fn height(&self, frequency: f32) -> f32 {
        (frequency / MIN_FREQUENCY).ln() / (self.highest / MIN_FREQUENCY).ln()
    }

    /// Inverse of [`height`](Self::height).
    fn frequency_at(&self, height: f32) -> f32 {
        MIN_FREQUENCY * (self.highest / MIN_FREQUENCY).powf(height)
    }
}

/// Peak levels since the last [`Analyzer::take_peaks`], linear.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PeakLevels {
    pub input: f32,
    pub output: f32,
    /// Peak of input minus output.
    pub removed: f32,
}

impl PeakLevels {
    /// Raises the peaks to those of one channel's samples. Real-time safe.
    ///
    /// `dry` is the delayed input, `gain` the linear gain of the output.
    pub(crate) fn update(&mut self, dry: &[f32], output: &[f32], gain: &[f32]) {
        for ((dry, output), gain) in dry.iter().zip(output).zip(gain) {
            self.input = self.input.max(dry.abs());
            self.output = self.output.max(output.abs());
            self.removed = self.removed.max((gain * dry - output).abs());
        }
    }
}

/// Lock-free store for the editor: written by the audio and separator threads.
pub struct Analyzer {
    scale: FrequencyScale,
    columns: ArrayQueue<SpectrumColumn>,
    /// Bins of each row. Neighbouring rows share a bin that is wider than a row.
    rows: Box<[Range<usize>]>,
    /// Factor from a magnitude to the amplitude of a sine.
    to_amplitude: f32,
    /// Bits of the three peaks. As integers they have the same order, since no peak is negative.
    peaks: [AtomicU32; 3],
}

impl Analyzer {
    /// Creates an analyzer for spectra of the format `audio`. Not real-time safe.
    pub fn new(audio: &SpectrogramFormat) -> Self {
        let scale = FrequencyScale::new(audio);
        let bin = scale.highest / (audio.bins() - 1) as f32;
        let edge = |row: usize| scale.frequency_at(row as f32 / ROWS as f32) / bin;
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

    /// Frequencies of the rows and duration of a column.
    pub fn scale(&self) -> FrequencyScale {
        self.scale
    }

    /// Whether an editor has read columns in the last seconds. Real-time safe.
    pub(crate) fn is_active(&self) -> bool {
        !self.columns.is_full()
    }

    /// Adds the column of a silent frame, unless no editor reads. Real-time safe.
    pub(crate) fn push_silence(&self) {
        if self.is_active() {
            let _ = self.columns.push(SpectrumColumn { level: [0; ROWS], mask: [255; ROWS] });
        }
    }

    /// Adds a column, unless no editor reads. Real-time safe.
    ///
    /// `magnitude` and `mask` are on the model's grid.
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
            // The cast saturates outside of 0 to 255.
            column.level[row] = (255.0 * share).round() as u8;
            if let Some(mask) = mask {
                column.mask[row] = (255.0 * mask[loudest].norm()).round() as u8;
            }
        }
        // Fails only if the queue became full since `is_active` was read.
        let _ = self.columns.push(column);
    }

    /// Raises the stored peaks to at least `peaks`. Real-time safe.
    pub(crate) fn update(&self, peaks: &PeakLevels) {
        for (held, peak) in self.peaks.iter().zip([peaks.input, peaks.output, peaks.removed]) {
            held.fetch_max(peak.to_bits(), Ordering::Relaxed);
        }
    }

    /// Takes the columns since the last call, oldest first.
    ///
    /// Discards them if the queue is full, since they are outdated.
    pub fn take_columns(&self) -> impl Iterator<Item = SpectrumColumn> {
        if !self.is_active() {
            while self.columns.pop().is_some() {}
        }
        std::iter::from_fn(|| self.columns.pop())
    }

    /// Takes the peak levels since the last call.
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

    /// Approximate magnitude spectrum of a full-scale sine at a bin.
    fn sine(bin: usize) -> Vec<f32> {
        let mut magnitude = vec![0.0; AUDIO.bins()];
        magnitude[bin] = AUDIO.window.samples(AUDIO.n_fft).iter().sum::<f32>() / 2.0;
        magnitude
    }

    #[test]
    fn full_queue_stops_columns_until_they_are_taken() {
        let analyzer = Analyzer::new(&AUDIO);
        for _ in 0..2 {
            for _ in 0..2 * MAX_COLUMNS {
                analyzer.push_frame(&sine(32), None);
            }
            assert!(!analyzer.is_active());
            assert_eq!(analyzer.take_columns().count(), 0, "outdated columns are discarded");
            analyzer.push_frame(&sine(32), None);
            assert_eq!(analyzer.take_columns().count(), 1);
        }
    }

    #[test]
    fn full_scale_sine_has_top_level_in_row_of_its_frequency() {
        let analyzer = Analyzer::new(&AUDIO);
        analyzer.push_frame(&sine(32), None);
        let column = analyzer.take_columns().next().unwrap();
        let row = column.level.iter().position(|&level| level > 0).unwrap();
        assert_eq!(column.level[row], 255);
        let at = analyzer.scale().frequency(row);
        assert!((at / 1_000.0 - 1.0).abs() < 0.03, "{at} Hz");
    }

    #[test]
    fn mask_of_row_is_that_of_its_loudest_bin() {
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
    fn peaks_are_maxima_since_last_take() {
        let analyzer = Analyzer::new(&AUDIO);
        analyzer.update(&PeakLevels { input: 0.5, output: 0.1, removed: 0.0 });
        analyzer.update(&PeakLevels { input: 0.2, output: 0.3, removed: 0.0 });
        assert_eq!(analyzer.take_peaks(), PeakLevels { input: 0.5, output: 0.3, removed: 0.0 });
        assert_eq!(analyzer.take_peaks(), PeakLevels::default());
    }
}
