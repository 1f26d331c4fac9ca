//! The real-time path. Never allocates, locks, logs or runs the network. Blocks only while
//! rendering.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dsp::analyzer::{Analyzer, PeakLevels};
use crate::dsp::grid::{self, Grid};
use crate::dsp::mask_processor::{MaskProcessor, MaskShaping};
use crate::dsp::mixer::{MixWeights, Mixer, Mode};
use crate::dsp::stft::Stft;
use crate::engine::channel::{ChannelScratch, ChannelState};
use crate::model_service::QueryBinding;
use crate::realtime::mask_queue::{AudioEndpoint, MaskRequest};
use crate::realtime::offline_detector::OfflineDetector;
use crate::realtime::separator_thread::{SPIN_DURATION, SeparatorThread, WAIT_TIMEOUT};
use crate::realtime::status::{Readiness, Status};

mod channel;
mod open;
#[cfg(test)]
mod tests;

/// Settings that are fixed while audio runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Sample rate in hertz.
    pub sample_rate: f64,
    /// Size of the largest block, in samples. The latency depends on it.
    pub max_block: usize,
    /// Number of audio channels, 1 or 2.
    pub channels: usize,
    /// Whether the host renders offline. If so, the audio thread waits for the separator.
    pub offline: bool,
}

/// Parameter values for one block.
#[derive(Clone, Copy, Debug)]
pub struct Controls<'a> {
    /// Strength of the mask, 0 to 1, one value per sample.
    pub strength: &'a [f32],
    /// Output gain, linear, one value per sample.
    pub gain: &'a [f32],
    pub mode: Mode,
    /// Active query slot, 0 to 7.
    pub query: usize,
    pub shape: MaskShaping,
    /// Whether the main output carries the removed sound instead.
    pub listen_removed: bool,
    pub bypass: bool,
}

/// Buffers of the auxiliary outputs, one slice per channel.
///
/// Empty if the host has not connected the output.
#[derive(Default)]
pub struct AuxOutputs<'a, 'b> {
    /// Receives the described sound.
    pub target: &'a mut [&'b mut [f32]],
    /// Receives everything else.
    pub residual: &'a mut [&'b mut [f32]],
}

/// Separates audio by the texts of its [`Queries`](crate::Queries).
pub struct Engine {
    grid: Grid,
    /// Frames by which a mask lags behind the newest frame when its reply arrives.
    mask_lag: usize,
    /// Hops between a frame's analysis and its synthesis.
    delay_hops: usize,
    latency: usize,
    hold_hops: usize,
    offline: bool,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,

    stft: Stft,
    channels: Vec<ChannelState>,
    mask: MaskProcessor,
    mixer: Mixer,
    weights: Vec<MixWeights>,
    /// Working buffers for one channel, at most one hop long.
    scratch: ChannelScratch,
    /// Factor from a magnitude of the host's STFT to one of the model's.
    to_model_scale: f32,

    queue: AudioEndpoint,
    /// Requests of the newest `delay_hops + 1` frames, indexed by [`Self::ring_index`].
    requests: Vec<RequestState>,
    stream: u32,
    /// Whether the next frame does not follow the last one sent, so that it starts a new stream.
    discontinuity: bool,
    frame: u64,
    samples_to_hop: usize,
    /// Hops since the last mask that arrived in time.
    missed_hops: usize,
    first_block: bool,
    offline_detector: OfflineDetector,
    wait_timeout: Duration,

    // Drop order: the thread first, since it may wait for an embedding that the binding provides.
    _separator_thread: SeparatorThread,
    _query_binding: Option<QueryBinding>,
}

enum RequestState {
    /// Not sent, or no longer needed.
    Idle,
    InFlight,
    Done(Box<MaskRequest>),
}

impl Engine {
    /// Latency from input to output in samples.
    pub fn latency(&self) -> usize {
        self.latency
    }

    /// The host's time-frequency grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Counters and messages of this engine, for any thread.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Spectrum, mask and peak levels for the editor.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.analyzer
    }

    /// Sets whether the host renders offline, from the next hop on. Real-time safe.
    pub fn set_offline(&mut self, offline: bool) {
        self.offline = offline;
    }

    /// Blocks until the model is ready. Not real-time safe.
    ///
    /// # Errors
    /// The model cannot be loaded, or is not ready within `timeout`.
    pub fn wait_until_ready(&self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.status.readiness() {
                Readiness::Ready => return Ok(()),
                Readiness::Failed => return Err(self.status.problem().unwrap_or_default()),
                Readiness::Loading if Instant::now() > deadline => {
                    return Err(format!(
                        "model: not ready within {} s. Try again when the machine is less busy",
                        timeout.as_secs()
                    ));
                }
                Readiness::Loading => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Clears all buffers and starts a new stream. Real-time safe.
    pub fn reset(&mut self) {
        self.stream = self.stream.wrapping_add(1);
        self.queue.discard_before(self.stream);
        for state in &mut self.requests {
            if let RequestState::Done(request) = std::mem::replace(state, RequestState::Idle) {
                self.queue.release(request);
            }
        }
        for channel in &mut self.channels {
            channel.history.clear();
            channel.overlap.clear();
            channel.dry.clear();
        }
        self.mask.clear();
        self.mixer.wet.snap(0.0);
        self.mixer.level.snap(1.0);
        self.offline_detector.restart();
        (self.frame, self.samples_to_hop) = (0, self.grid.hop);
        (self.discontinuity, self.missed_hops, self.first_block, self.wait_timeout) =
            (false, 0, true, WAIT_TIMEOUT);
    }

    /// Marks a discontinuity of the input, after which the separator resets its recurrent state.
    ///
    /// The output continues without a gap. Real-time safe.
    pub fn seek(&mut self) {
        self.discontinuity = true;
    }

    /// Fades out as needed and returns whether `next` can [continue](Self::continue_from) inaudibly.
    ///
    /// An engine of the same latency can continue once the output is dry. For another latency the
    /// first call starts a fade to silence; call again for each block until it returns true.
    /// Real-time safe.
    pub fn prepare_handover(&mut self, next: &Engine) -> bool {
        if next.latency == self.latency {
            return self.mixer.wet.is_at(0.0);
        }
        self.mixer.level.set(0.0);
        self.mixer.level.is_at(0.0)
    }

    /// Continues the output of `old`, after its [`prepare_handover`](Self::prepare_handover) returned true.
    ///
    /// The output is the delayed input without a gap until this engine's first mask arrives.
    /// Real-time safe.
    pub fn continue_from(&mut self, old: &Engine) {
        for (channel, old) in self.channels.iter_mut().zip(&old.channels) {
            channel.dry.copy_from(&old.dry, self.mixer.wet.samples());
            channel.history.copy_from(&old.history);
        }
        self.mixer = old.mixer;
        self.mixer.wet.snap(0.0);
        self.mixer.level.set(1.0);
        // Not frame 0, whose mask would apply at once: the separated sound fades in.
        self.frame = self.delay_hops as u64 + 1;
        self.first_block = false;
    }

    /// Processes one block in place.
    ///
    /// `channels` holds one slice per channel of the configuration; all slices of `channels`, `aux` and
    /// `controls` have the same length, at most `max_block`.
    ///
    /// Real-time safe: does not allocate, lock or run a network. Blocks, for a bounded time, only if
    /// the host renders offline or is ahead of the wall clock.
    pub fn process(
        &mut self,
        channels: &mut [&mut [f32]],
        aux: &mut AuxOutputs<'_, '_>,
        controls: &Controls<'_>,
    ) {
        let samples = controls.strength.len();
        self.offline_detector.advance(samples, Instant::now());
        self.set_ramp_targets(controls);
        let mut peaks = self.analyzer.is_active().then(PeakLevels::default);
        let mut done = 0;
        while done < samples {
            let length = self.samples_to_hop.min(samples - done);
            let part = done..done + length;
            let (strength, gain) = (&controls.strength[part.clone()], &controls.gain[part.clone()]);
            let settled = self.mixer.settled_weights();
            if settled.is_none() {
                self.weights.clear();
                self.weights.extend((0..length).map(|_| self.mixer.next_weights()));
            }
            let scratch = &mut self.scratch;
            for (c, (state, channel)) in self.channels.iter_mut().zip(channels.iter_mut()).enumerate() {
                let channel = &mut channel[part.clone()];
                channel.iter_mut().for_each(|sample| *sample = sanitize(*sample));
                state.history.extend(channel);
                state.dry.process(channel, &mut scratch.dry[..length]);
                state.overlap.take(&mut scratch.target[..length]);
                match settled {
                    Some(weights) => scratch.mix(|_| weights, strength, gain, channel),
                    None => scratch.mix(|at| self.weights[at], strength, gain, channel),
                }
                if let Some(peaks) = &mut peaks {
                    peaks.update(&scratch.dry, channel, gain);
                }
                if let Some(target) = aux.target.get_mut(c) {
                    target[part.clone()].copy_from_slice(&scratch.target[..length]);
                }
                if let Some(residual) = aux.residual.get_mut(c) {
                    residual[part.clone()].copy_from_slice(&scratch.residual[..length]);
                }
            }
            done += length;
            self.samples_to_hop -= length;
            if self.samples_to_hop == 0 {
                self.samples_to_hop = self.grid.hop;
                self.process_hop(controls);
            }
        }
        if let Some(peaks) = peaks {
            self.analyzer.update(&peaks);
        }
    }

    fn set_ramp_targets(&mut self, controls: &Controls<'_>) {
        let Mixer { remove, removed, bypass, .. } = &mut self.mixer;
        let remove_target = f32::from(controls.mode == Mode::Remove);
        for (ramp, value) in [
            (remove, remove_target),
            (removed, f32::from(controls.listen_removed)),
            (bypass, f32::from(controls.bypass)),
        ] {
            // Before the first block there is no output to fade from.
            if self.first_block { ramp.snap(value) } else { ramp.set(value) }
        }
        self.first_block = false;
    }

    /// Analyses the newest frame and synthesises the frame that is due.
    fn process_hop(&mut self, controls: &Controls<'_>) {
        let wait_allowed = self.offline || self.offline_detector.is_faster_than_realtime();
        let newest = self.ring_index(self.frame);
        for channel in &mut self.channels {
            self.stft.analyse(&channel.history, &mut channel.spectra[newest]);
        }
        self.send_request(controls.query, wait_allowed);
        self.receive_masks();
        if let Some(due) = self.frame.checked_sub(self.delay_hops as u64) {
            self.apply_due_mask(due, wait_allowed, &controls.shape);
            let due = self.ring_index(due);
            let gain = self.mask.gain(&controls.shape);
            for channel in &mut self.channels {
                self.stft.synthesise(&channel.spectra[due], gain, &mut channel.overlap);
            }
        }
        self.frame += 1;
    }

    /// Sends the newest frame's magnitude to the separator.
    fn send_request(&mut self, query: usize, wait_allowed: bool) {
        let newest = self.ring_index(self.frame);
        let can_send = match self.status.readiness() {
            Readiness::Ready => true,
            Readiness::Loading => wait_allowed,
            Readiness::Failed => false,
        };
        let Some(mut request) = can_send.then(|| self.queue.acquire()).flatten() else {
            if can_send {
                self.status.count_dropped_frame();
            }
            self.discontinuity = true;
            return;
        };
        if std::mem::take(&mut self.discontinuity) {
            self.stream = self.stream.wrapping_add(1);
        }
        (request.stream, request.index, request.query, request.wait_allowed) =
            (self.stream, self.frame, query as u8, wait_allowed);
        let spectra = self.channels.iter().map(|channel| &*channel.spectra[newest]);
        grid::write_model_magnitude(spectra, self.to_model_scale, &mut request.magnitude);
        self.requests[newest] = RequestState::InFlight;
        self.queue.send(request);
    }

    /// Takes all replies of the separator and stores those that are still needed.
    fn receive_masks(&mut self) {
        while let Some(request) = self.queue.receive() {
            self.wait_timeout = WAIT_TIMEOUT;
            let at = self.ring_index(request.index);
            let is_needed = request.index + self.delay_hops as u64 >= self.frame + self.mask_lag as u64;
            if is_needed && matches!(self.requests[at], RequestState::InFlight) {
                self.requests[at] = RequestState::Done(request);
            } else {
                self.queue.release(request);
            }
        }
    }

    /// Applies the mask of frame `due`, or conceals that it is missing.
    ///
    /// Concealment holds the last mask for `hold_hops`, then fades to the delayed input.
    fn apply_due_mask(&mut self, due: u64, wait_allowed: bool, shape: &MaskShaping) {
        let at = self.ring_index(due + self.mask_lag as u64);
        if wait_allowed {
            self.wait_for_reply(at);
        }
        match std::mem::replace(&mut self.requests[at], RequestState::Idle) {
            RequestState::Done(request) if request.has_mask => {
                if !self.mask.is_held() && due == 0 {
                    self.mixer.wet.snap(1.0);
                }
                self.mixer.wet.set(1.0);
                self.mask.update(&request.mask, shape);
                self.missed_hops = 0;
                self.queue.release(request);
            }
            RequestState::Done(request) => {
                self.mixer.wet.set(0.0);
                self.queue.release(request);
            }
            missing => {
                if matches!(missing, RequestState::InFlight) {
                    self.status.count_late_mask();
                }
                self.missed_hops += 1;
                if self.missed_hops > self.hold_hops || !self.mask.is_held() {
                    self.mixer.wet.set(0.0);
                }
            }
        }
    }

    /// Waits for the reply to the request at ring index `at`, at most `wait_timeout`.
    fn wait_for_reply(&mut self, at: usize) {
        let start = Instant::now();
        while matches!(self.requests[at], RequestState::InFlight)
            && self.status.readiness() != Readiness::Failed
        {
            if start.elapsed() > self.wait_timeout {
                // The separator hangs: do not wait again until a reply arrives.
                self.wait_timeout = Duration::ZERO;
                break;
            }
            if start.elapsed() < SPIN_DURATION {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
            self.receive_masks();
        }
        self.offline_detector.record_wait(start.elapsed());
    }

    /// Index of `frame` in the rings of the newest `delay_hops + 1` frames.
    fn ring_index(&self, frame: u64) -> usize {
        (frame % (self.delay_hops as u64 + 1)) as usize
    }
}

/// Returns the sample, or 0 if it is NaN, infinite or at least 10⁶.
///
/// The power of such samples could overflow.
fn sanitize(sample: f32) -> f32 {
    if sample.abs() < 1e6 { sample } else { 0.0 }
}
