//! The power of a recording over time and frequency, at a resolution that does not depend on its length.

use realfft::num_complex::Complex32;
use sift_engine::{AnalysisBuffer, Stft, WindowFunction};

/// Number of rows; their frequencies are spaced logarithmically.
pub const ROWS: usize = 220;

/// The lowest frequency shown, in hertz.
pub const MIN_FREQUENCY: f32 = 40.0;

/// Largest number of columns; when it is reached, neighbours are merged.
const MAX_COLUMNS: usize = 2_048;

/// Approximate duration of a frame, in seconds.
const FRAME_DURATION: f32 = 0.04;

/// A log-frequency power spectrogram, computed while audio is pushed.
pub struct Spectrogram {
    sample_rate: u32,
    stft: Stft,
    /// Samples per frame.
    size: usize,
    /// Samples between two frames.
    hop: usize,
    /// The newest samples of each channel.
    history: Vec<AnalysisBuffer>,
    /// Samples until the next frame is complete.
    samples_to_frame: usize,
    samples: u64,
    spectrum: Vec<Complex32>,
    /// Mean power of each row, lowest frequency first.
    columns: Vec<[f32; ROWS]>,
    frames_per_column: usize,
    frames_in_last: usize,
}

impl Spectrogram {
    /// Creates an empty spectrogram for `sample_rate` hertz.
    pub fn new(sample_rate: u32, channels: usize) -> Self {
        let size = ((sample_rate as f32 * FRAME_DURATION) as usize).next_power_of_two().max(64);
        let hop = size / 4;
        Self {
            sample_rate,
            stft: Stft::new(size, hop, WindowFunction::Hann),
            size,
            hop,
            history: (0..channels).map(|_| AnalysisBuffer::new(size)).collect(),
            // The first frame is centred at the first sample.
            samples_to_frame: size / 2,
            samples: 0,
            spectrum: vec![Complex32::ZERO; size / 2 + 1],
            columns: Vec::new(),
            frames_per_column: 1,
            frames_in_last: 0,
        }
    }

    /// Appends a block: one slice per channel, of equal length.
    pub fn push<S: AsRef<[f32]>>(&mut self, block: &[S]) {
        self.samples += block.first().map_or(0, |block| block.as_ref().len() as u64);
        self.analyse(block);
    }

    /// Analyses the remaining samples at the end.
    pub fn finish(&mut self) {
        self.analyse(&vec![vec![0.0; self.size / 2]; self.history.len()]);
    }

    /// The duration of the audio, in seconds.
    pub fn duration(&self) -> f64 {
        self.samples as f64 / f64::from(self.sample_rate)
    }

    /// Half the sample rate, in hertz: the highest frequency shown.
    pub fn nyquist(&self) -> f32 {
        self.sample_rate as f32 / 2.0
    }

    /// The largest power.
    pub fn peak(&self) -> f32 {
        self.columns.iter().flatten().copied().fold(0.0, f32::max)
    }

    /// The power of each row, lowest frequency first, at `position` from 0 (start) to 1 (end).
    pub fn at(&self, position: f64) -> Option<&[f32; ROWS]> {
        let column = (position * self.columns.len() as f64) as usize;
        self.columns.get(column.min(self.columns.len().saturating_sub(1)))
    }

    /// The frequency at `height` from 0 (lowest) to 1 (Nyquist), in hertz.
    fn frequency(&self, height: f32) -> f32 {
        MIN_FREQUENCY * (self.nyquist() / MIN_FREQUENCY).powf(height)
    }

    fn analyse<S: AsRef<[f32]>>(&mut self, block: &[S]) {
        let samples = block.first().map_or(0, |block| block.as_ref().len());
        let mut done = 0;
        while done < samples {
            let end = samples.min(done + self.samples_to_frame);
            for (history, block) in self.history.iter_mut().zip(block) {
                history.extend(&block.as_ref()[done..end]);
            }
            self.samples_to_frame -= end - done;
            if self.samples_to_frame == 0 {
                self.analyse_frame();
                self.samples_to_frame = self.hop;
            }
            done = end;
        }
    }

    fn analyse_frame(&mut self) {
        // A full-scale sine has the power 1.
        let scale = (2.0 / self.stft.window_sum()).powi(2) / self.history.len() as f32;
        let mut power = vec![0.0; self.spectrum.len()];
        for history in &self.history {
            self.stft.analyse(history, &mut self.spectrum);
            for (power, bin) in power.iter_mut().zip(&self.spectrum) {
                *power += scale * bin.norm_sqr();
            }
        }
        let column = self.rows(&power);
        self.append(&column);
    }

    fn rows(&self, power: &[f32]) -> [f32; ROWS] {
        let bin = |height: f32| self.frequency(height) * self.size as f32 / self.sample_rate as f32;
        let last = power.len() - 1;
        std::array::from_fn(|row| {
            let (low, high) = (bin(row as f32 / ROWS as f32), bin((row + 1) as f32 / ROWS as f32));
            let (first, end) = (low.ceil() as usize, (high.ceil() as usize).min(last + 1));
            if first < end {
                return power[first..end].iter().copied().fold(0.0, f32::max);
            }
            // Interpolates between two bins.
            let middle = 0.5 * (low + high);
            let below = (middle as usize).min(last);
            power[below] + (middle - below as f32) * (power[(below + 1).min(last)] - power[below])
        })
    }

    fn append(&mut self, frame: &[f32; ROWS]) {
        if self.columns.is_empty() || self.frames_in_last == self.frames_per_column {
            if self.columns.len() == MAX_COLUMNS {
                self.columns =
                    self.columns.chunks_exact(2).map(|pair| mean(&pair[0], &pair[1], 0.5)).collect();
                self.frames_per_column *= 2;
            }
            self.columns.push(*frame);
            self.frames_in_last = 1;
            return;
        }
        self.frames_in_last += 1;
        if let Some(last) = self.columns.last_mut() {
            *last = mean(last, frame, 1.0 / self.frames_in_last as f32);
        }
    }
}

fn mean(old: &[f32; ROWS], new: &[f32; ROWS], share: f32) -> [f32; ROWS] {
    std::array::from_fn(|row| old[row] + share * (new[row] - old[row]))
}

#[cfg(test)]
mod tests {
    use std::f32::consts::PI;

    use super::*;

    fn sine(frequency: f32, sample_rate: u32, seconds: f32) -> Vec<f32> {
        let samples = (seconds * sample_rate as f32) as usize;
        (0..samples).map(|n| (2.0 * PI * (frequency * n as f32 / sample_rate as f32).fract()).sin()).collect()
    }

    fn of(audio: &[Vec<f32>], sample_rate: u32) -> Spectrogram {
        let mut spectrogram = Spectrogram::new(sample_rate, audio.len());
        spectrogram.push(audio);
        spectrogram.finish();
        spectrogram
    }

    #[test]
    fn full_scale_sine_has_power_one_at_its_frequency() {
        for (frequency, rate) in [(440.0, 48_000), (3_000.0, 44_100), (100.0, 16_000)] {
            let spectrogram = of(&[sine(frequency, rate, 1.0)], rate);
            let column = spectrogram.at(0.5).unwrap();
            let loudest = (0..ROWS).max_by(|&a, &b| column[a].total_cmp(&column[b])).unwrap();
            let found = spectrogram.frequency((loudest as f32 + 0.5) / ROWS as f32);
            assert!((found / frequency).log2().abs() < 0.15, "{found} Hz instead of {frequency}");
            assert!((column[loudest] - 1.0).abs() < 0.4, "{}", column[loudest]);
        }
    }

    #[test]
    fn opposite_channels_do_not_cancel() {
        let left = sine(1_000.0, 48_000, 0.5);
        let right = left.iter().map(|sample| -sample).collect();
        assert!(of(&[left, right], 48_000).peak() > 0.5);
    }

    #[test]
    fn position_covers_recordings_of_any_length() {
        for seconds in [0.5, 10.0, 60.0] {
            let mut audio = vec![0.0; (8_000.0 * seconds * 0.75) as usize];
            audio.extend(sine(1_000.0, 8_000, seconds * 0.25));
            let spectrogram = of(&[audio], 8_000);
            let loud = |position| spectrogram.at(position).unwrap().iter().any(|&power| power > 0.1);
            assert!(!loud(0.0) && !loud(0.7) && loud(0.8) && loud(0.95), "{seconds} s");
            assert!((spectrogram.duration() - f64::from(seconds)).abs() < 0.01);
        }
    }

    #[test]
    fn columns_are_merged_at_the_limit() {
        let mut spectrogram = Spectrogram::new(8_000, 1);
        for frame in 0..5 * MAX_COLUMNS {
            spectrogram.append(&[(frame % 2) as f32; ROWS]);
        }
        assert!(spectrogram.columns.len() <= MAX_COLUMNS);
        assert_eq!(spectrogram.frames_per_column, 8);
        assert!(spectrogram.columns.iter().all(|column| (column[0] - 0.5).abs() < 1e-6));
    }

    #[test]
    fn recording_shorter_than_a_frame_has_one_column() {
        assert!(of(&[vec![0.5; 10]], 48_000).at(0.0).is_some());
    }
}
