//! The audio thread's face. Never allocates, locks, logs or calls the network; waits only when
//! that cannot hurt.

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

/// What the host says before audio starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Hertz.
    pub sample_rate: f64,
    /// The largest block there will be, in samples. The latency depends on it.
    pub max_block: usize,
    /// 1 or 2.
    pub channels: usize,
    /// The host renders: the audio thread may wait for the separator.
    pub offline: bool,
}

/// What a block is processed with.
#[derive(Clone, Copy, Debug)]
pub struct Controls<'a> {
    /// Strength of the mask, 0 to 1, sample by sample.
    pub strength: &'a [f32],
    /// Output gain, linear, sample by sample.
    pub gain: &'a [f32],
    pub mode: Mode,
    /// Active query slot, 0 to 7.
    pub query: usize,
    pub shape: MaskShaping,
    /// Hear what was taken away instead of the output.
    pub listen_removed: bool,
    pub bypass: bool,
}

/// The auxiliary outputs, one slice a channel; empty when the host has not connected them.
#[derive(Default)]
pub struct AuxOutputs<'a, 'b> {
    /// The described sound.
    pub target: &'a mut [&'b mut [f32]],
    /// Everything else.
    pub residual: &'a mut [&'b mut [f32]],
}

/// Separates a stream of audio by the words in its [`Queries`].
pub struct Engine {
    grid: Grid,
    /// FrameWindow that a mask lies mask_lag the newest one when it comes home.
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
    /// One channel's samples, from one hop to the next at most.
    scratch: ChannelScratch,
    to_model_scale: f32,

    queue: AudioEndpoint,
    /// What became of the newest `delay + 1` frames' requests, by frame.
    requests: Vec<RequestState>,
    stream: u32,
    /// The next frame does not follow the last one sent: the separator's state cannot go on.
    discontinuity: bool,
    frame: u64,
    samples_to_hop: usize,
    missed_hops: usize,
    first_block: bool,
    offline_detector: OfflineDetector,
    wait_timeout: Duration,

    // Dropped in this order: first the thread that may wait for an embedding, then the binding.
    _separator_thread: SeparatorThread,
    _query_binding: Option<QueryBinding>,
}

enum RequestState {
    /// Not sent, or given up.
    Idle,
    InFlight,
    Done(Box<MaskRequest>),
}

impl Engine {
    /// Samples from an input sample to the output sample it becomes.
    pub fn latency(&self) -> usize {
        self.latency
    }

    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// What a window may look at.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.analyzer
    }

    /// Whether the host renders. Takes effect at the next hop.
    pub fn set_offline(&mut self, offline: bool) {
        self.offline = offline;
    }

    /// Blocks until the model is ready. Not for the audio thread.
    ///
    /// # Errors
    /// What is wrong with the model, or that it was not ready within `timeout`.
    pub fn wait_until_ready(&self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.status.readiness() {
                Readiness::Ready => return Ok(()),
                Readiness::Failed => return Err(self.status.problem().unwrap_or_default()),
                Readiness::Loading if Instant::now() > deadline => {
                    return Err(format!(
                        "the model was not ready within {} s. Try again when the machine is less busy",
                        timeout.as_secs()
                    ));
                }
                Readiness::Loading => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Forgets all audio: what was heard before is not heard again.
    pub fn reset(&mut self) {
        self.stream = self.stream.wrapping_add(1);
        self.queue.discard_before(self.stream);
        for parcel in &mut self.requests {
            if let RequestState::Done(hop) = std::mem::replace(parcel, RequestState::Idle) {
                self.queue.release(hop);
            }
        }
        for state in &mut self.channels {
            state.history.clear();
            state.overlap.clear();
            state.dry.clear();
        }
        self.mask.clear();
        self.mixer.wet.snap(0.0);
        self.mixer.level.snap(1.0);
        self.offline_detector.restart();
        (self.frame, self.samples_to_hop) = (0, self.grid.hop);
        (self.discontinuity, self.missed_hops, self.first_block, self.wait_timeout) =
            (false, 0, true, WAIT_TIMEOUT);
    }

    /// The host jumped: what comes does not follow from what came. SpectrogramFormat goes on, and the separator
    /// starts its recurrent state anew.
    pub fn seek(&mut self) {
        self.discontinuity = true;
    }

    /// Whether another engine can [take over](Self::continue_from) unheard, now. One of another latency
    /// cannot before this one has faded out, which begins with the first asking.
    pub fn prepare_handover(&mut self, next: &Engine) -> bool {
        if next.latency == self.latency {
            return self.mixer.wet.is_at(0.0);
        }
        self.mixer.level.set(0.0);
        self.mixer.level.is_at(0.0)
    }

    /// Goes on where `old` stopped, once that [gives way](Self::prepare_handover): the delayed input
    /// without a gap, until this engine's first masks are there. Allocates nothing.
    pub fn continue_from(&mut self, old: &Engine) {
        for (state, before) in self.channels.iter_mut().zip(&old.channels) {
            state.dry.copy_from(&before.dry, self.mixer.wet.samples());
            state.history.copy_from(&before.history);
        }
        self.mixer = old.mixer;
        self.mixer.wet.snap(0.0);
        self.mixer.level.set(1.0);
        // No frame of this stream is the first one: the separated sound fades in.
        self.frame = self.delay_hops as u64 + 1;
        self.first_block = false;
    }

    /// Processes one block in place: `channels` holds as many equally long slices as the
    /// configuration has channels, and the controls' slices are as long.
    pub fn process(
        &mut self,
        channels: &mut [&mut [f32]],
        aux: &mut AuxOutputs<'_, '_>,
        controls: &Controls<'_>,
    ) {
        let samples = controls.strength.len();
        self.offline_detector.advance(samples, Instant::now());
        self.set_switches(controls);
        let mut peaks = self.analyzer.is_active().then(PeakLevels::default);
        let mut done = 0;
        while done < samples {
            let length = self.samples_to_hop.min(samples - done);
            let part = done..done + length;
            let (strength, gain) = (&controls.strength[part.clone()], &controls.gain[part.clone()]);
            let resting = self.mixer.settled_weights();
            if resting.is_none() {
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
                match resting {
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
                self.hop(controls);
            }
        }
        if let Some(peaks) = peaks {
            self.analyzer.update(&peaks);
        }
    }

    fn set_switches(&mut self, controls: &Controls<'_>) {
        let Mixer { remove, removed, bypass, .. } = &mut self.mixer;
        let remove_now = if controls.mode == Mode::Remove { 1.0 } else { 0.0 };
        for (ramp, value) in [
            (remove, remove_now),
            (removed, f32::from(controls.listen_removed)),
            (bypass, f32::from(controls.bypass)),
        ] {
            // Before the first hop there is nothing to fade from.
            if self.first_block { ramp.snap(value) } else { ramp.set(value) }
        }
        self.first_block = false;
    }

    /// One frame in, and the frame that is due out.
    fn hop(&mut self, controls: &Controls<'_>) {
        let wait_allowed = self.offline || self.offline_detector.is_faster_than_realtime();
        let slot = self.slot(self.frame);
        for state in &mut self.channels {
            self.stft.analyse(&state.history, &mut state.spectra[slot]);
        }
        self.send(controls.query, wait_allowed);
        self.receive_masks();
        if let Some(due) = self.frame.checked_sub(self.delay_hops as u64) {
            self.apply_due_mask(due, wait_allowed, &controls.shape);
            let slot = self.slot(due);
            let gain = self.mask.gain(&controls.shape);
            for state in &mut self.channels {
                self.stft.synthesise(&state.spectra[slot], gain, &mut state.overlap);
            }
        }
        self.frame += 1;
    }

    /// Sends the newest frame's magnitude to the separator.
    fn send(&mut self, query: usize, wait_allowed: bool) {
        let slot = self.slot(self.frame);
        let willing = match self.status.readiness() {
            Readiness::Ready => true,
            Readiness::Loading => wait_allowed,
            Readiness::Failed => false,
        };
        let Some(mut hop) = willing.then(|| self.queue.acquire()).flatten() else {
            if willing {
                self.status.count_dropped_frame();
            }
            self.discontinuity = true;
            return;
        };
        if std::mem::take(&mut self.discontinuity) {
            self.stream = self.stream.wrapping_add(1);
        }
        (hop.stream, hop.index, hop.query, hop.wait_allowed) =
            (self.stream, self.frame, query as u8, wait_allowed);
        let spectra = self.channels.iter().map(|state| &*state.spectra[slot]);
        grid::to_model(spectra, self.to_model_scale, &mut hop.magnitude);
        self.requests[slot] = RequestState::InFlight;
        self.queue.send(hop);
    }

    /// Takes in every parcel that came home.
    fn receive_masks(&mut self) {
        while let Some(hop) = self.queue.receive() {
            self.wait_timeout = WAIT_TIMEOUT;
            let slot = self.slot(hop.index);
            let wanted = hop.index + self.delay_hops as u64 >= self.frame + self.mask_lag as u64;
            if wanted && matches!(self.requests[slot], RequestState::InFlight) {
                self.requests[slot] = RequestState::Done(hop);
            } else {
                self.queue.release(hop);
            }
        }
    }

    /// Brings the mask of frame `due` into force, or conceals that it is not there: the last one is
    /// held for a while, then the sound fades to the delayed input.
    fn apply_due_mask(&mut self, due: u64, wait_allowed: bool, shape: &MaskShaping) {
        let slot = self.slot(due + self.mask_lag as u64);
        if wait_allowed {
            self.wait_for(slot);
        }
        match std::mem::replace(&mut self.requests[slot], RequestState::Idle) {
            RequestState::Done(hop) if hop.has_mask => {
                if !self.mask.is_held() && due == 0 {
                    self.mixer.wet.snap(1.0);
                }
                self.mixer.wet.set(1.0);
                self.mask.update(&hop.mask, shape);
                self.missed_hops = 0;
                self.queue.release(hop);
            }
            RequestState::Done(hop) => {
                self.mixer.wet.set(0.0);
                self.queue.release(hop);
            }
            absent => {
                if matches!(absent, RequestState::InFlight) {
                    self.status.count_late_mask();
                }
                self.missed_hops += 1;
                if self.missed_hops > self.hold_hops || !self.mask.is_held() {
                    self.mixer.wet.set(0.0);
                }
            }
        }
    }

    /// Waits until the parcel in `slot` is home, as long as that makes sense.
    fn wait_for(&mut self, slot: usize) {
        let start = Instant::now();
        while matches!(self.requests[slot], RequestState::InFlight)
            && self.status.readiness() != Readiness::Failed
        {
            if start.elapsed() > self.wait_timeout {
                // It will not come: later frames are not waited for until one does.
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
        self.offline_detector.waited(start.elapsed());
    }

    /// Where `frame` lies in the rings of the newest `delay + 1` frames.
    fn slot(&self, frame: u64) -> usize {
        (frame % (self.delay_hops as u64 + 1)) as usize
    }
}

/// The sample, or silence in place of what is no number or no sound: +120 dBFS and beyond, whose
/// power would overflow.
fn sanitize(sample: f32) -> f32 {
    if sample.abs() < 1e6 { sample } else { 0.0 }
}
