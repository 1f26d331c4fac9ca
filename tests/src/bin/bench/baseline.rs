//! The least that a hop can cost the audio thread: its transforms and one wake-up, at the same intervals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use audio_thread_priority::{demote_current_thread_from_real_time, promote_current_thread_to_real_time};
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use sift_tests::fixtures;

use crate::BLOCK;

/// Times of a thread that sleeps between blocks, and so finds its caches cold, one per block.
pub struct Baseline {
    pub transforms: Vec<Duration>,
    /// Times that this thread takes to wake another one.
    pub wake_ups: Vec<Duration>,
}

impl Baseline {
    /// Measures for `seconds`, block by block at `rate` Hz, with the priority that hosts give their audio thread.
    pub fn measure(channels: usize, rate: f64, seconds: usize) -> Self {
        let done = &AtomicBool::new(false);
        let blocks = seconds * rate as usize / BLOCK;
        std::thread::scope(|scope| {
            let wait = || {
                while !done.load(Ordering::Acquire) {
                    std::thread::park();
                }
            };
            let waiting = scope.spawn(wait).thread().clone();
            let measuring = scope.spawn(move || {
                let raised = promote_current_thread_to_real_time(BLOCK as u32, rate as u32);
                let mut transforms = BareTransforms::new(channels, rate);
                let mut baseline = Self { transforms: Vec::new(), wake_ups: Vec::new() };
                let begin = Instant::now();
                for number in 0..blocks {
                    let due = begin + Duration::from_secs_f64((number * BLOCK) as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    baseline.transforms.push(transforms.time());
                    let begin = Instant::now();
                    waiting.unpark();
                    baseline.wake_ups.push(begin.elapsed());
                }
                if let Ok(handle) = raised {
                    drop(demote_current_thread_from_real_time(handle));
                }
                done.store(true, Ordering::Release);
                waiting.unpark();
                baseline
            });
            measuring.join().expect("measuring does not panic")
        })
    }
}

/// The real transform of one frame per channel and its inverse, and nothing else.
struct BareTransforms {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    frames: Vec<Vec<f32>>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl BareTransforms {
    fn new(channels: usize, rate: f64) -> Self {
        let size = fixtures::stft_frame_and_hop(rate).0;
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            frames: vec![vec![0.0; size]; channels],
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    fn time(&mut self) -> Duration {
        let begin = Instant::now();
        for frame in &mut self.frames {
            let transformed = self.forward.process_with_scratch(frame, &mut self.spectrum, &mut self.scratch);
            let back = self.inverse.process_with_scratch(&mut self.spectrum, frame, &mut self.scratch);
            transformed.and(back).expect("the buffers have the plan's sizes");
        }
        begin.elapsed()
    }
}
