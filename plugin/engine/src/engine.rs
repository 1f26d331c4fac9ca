//! The real-time path. Never allocates, locks, logs or runs the network. Blocks only while
//! rendering.

use std::sync::Arc;

use crate::dsp::analyzer::{Analyzer, PeakLevels};
use crate::dsp::mask_processor::{MaskProcessor, MaskShaping};
use crate::dsp::mixer::Mixer;
use crate::dsp::spatial_filter::{MaskOrigin, SpatialControls};
use crate::engine::block::{AuxOutputs, Controls};
use crate::engine::channel_bank::ChannelBank;
use crate::engine::idle::IdleControl;
use crate::engine::mask_exchange::{MaskExchange, RequestState};
use crate::engine::timing::Timing;
use crate::engine::wait_policy::WaitPolicy;
use crate::model_service::QueryBinding;
use crate::realtime::mask_queue::{FrameTask, WaitLimit};
use crate::realtime::separator_thread::SeparatorThread;
use crate::realtime::status::{Readiness, Status};

pub mod block;
mod channel_bank;
mod idle;
mod mask_exchange;
mod open;
#[cfg(test)]
pub(crate) mod tests;
mod timing;
mod wait_policy;

/// Separates audio with one model; a switch of models replaces it by another engine.
///
/// All methods but the constructor are real-time safe. [`process`](Self::process) blocks only while
/// the host renders. Drop takes as long as the network takes to stop.
pub(crate) struct Engine {
    timing: Timing,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,
    channels: ChannelBank,
    mask: MaskProcessor,
    mixer: Mixer,
    masks: MaskExchange,
    waiting: WaitPolicy,
    idle: IdleControl,
    frame: u64,
    /// First frame that is synthesised: the network rested during those before.
    first_due: u64,
    samples_to_hop: usize,
    /// Hops since the last mask that arrived in time.
    missed_hops: usize,
    // Drop order: the thread first, since it may wait for an embedding that the binding provides.
    _background: (SeparatorThread, Option<QueryBinding>),
}

impl Engine {
    /// Latency from input to output in samples.
    pub fn latency(&self) -> usize {
        self.timing.latency
    }

    /// Counters and messages of this engine, for any thread.
    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Spectrum, mask and peak levels for the editor.
    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.analyzer
    }

    /// Sample rate in hertz.
    pub fn sample_rate(&self) -> f64 {
        self.timing.grid.sample_rate
    }

    /// Seconds between frames.
    pub fn hop_seconds(&self) -> f64 {
        self.timing.grid.hop_seconds()
    }

    /// Samples from the last one of the input to the last one of the output that it changes.
    pub fn tail(&self) -> usize {
        self.timing.tail()
    }

    /// Whether all outputs are zero and stay so until the input is not. Never while the host renders or a window is open.
    pub fn is_silent(&self) -> bool {
        self.idle.is_silent() && !self.analyzer.is_active()
    }

    /// Clears all buffers and starts a new stream.
    pub fn reset(&mut self) {
        self.masks.reset();
        self.channels.clear();
        self.mask.clear();
        self.mixer.reset();
        self.waiting.restart();
        self.idle.reset();
        (self.frame, self.first_due) = (0, 0);
        (self.samples_to_hop, self.missed_hops) = (self.timing.grid.hop, 0);
    }

    /// Marks a discontinuity of the input, after which the separator resets its recurrent state.
    ///
    /// The output continues without a gap.
    pub fn seek(&mut self) {
        self.masks.mark_discontinuity();
    }

    /// Fades out as needed and returns whether `next` can [continue](Self::continue_from) inaudibly.
    ///
    /// An engine of the same latency can continue once the output is dry. For another latency the
    /// first call starts a fade to silence; call again for each block until it returns true.
    pub fn prepare_handover(&mut self, next: &Engine) -> bool {
        if next.latency() == self.latency() {
            return self.mixer.wet.is_at(0.0);
        }
        self.mixer.level.set(0.0);
        self.mixer.level.is_at(0.0)
    }

    /// Continues the output of `old`, after its [`prepare_handover`](Self::prepare_handover) returned true.
    ///
    /// The output is the delayed input without a gap until this engine's first mask arrives.
    pub fn continue_from(&mut self, old: &Engine) {
        self.channels.copy_input(&old.channels, self.mixer.wet.samples());
        self.mixer = old.mixer;
        self.mixer.wet.snap(0.0);
        self.mixer.level.set(1.0);
        // Not frame 0, whose mask would apply at once: the separated sound fades in.
        self.frame = self.timing.delay_hops as u64 + 1;
    }

    /// Processes one block in place.
    ///
    /// `channels` holds one slice per channel of the configuration; all slices of `channels`, `aux` and
    /// `controls` have the same length, at most `max_block`.
    pub fn process(
        &mut self,
        channels: &mut [&mut [f32]],
        aux: &mut AuxOutputs<'_, '_>,
        controls: &Controls<'_>,
    ) {
        let samples = controls.strength.len();
        self.waiting.begin_call(samples, self.frame > self.timing.delay_hops as u64);
        if samples > self.timing.max_block && !self.waiting.is_render() {
            self.status.record_oversized_block(samples);
        }
        self.mixer.set_targets(controls.mode, controls.listen_removed, controls.bypass);
        let mut peaks = self.analyzer.is_active().then(PeakLevels::default);
        let mut done = 0;
        while done < samples {
            let range = done..done + self.samples_to_hop.min(samples - done);
            let (length, mixer) = (range.len(), &mut self.mixer);
            let is_mixed = !mixer.is_bypassed() && controls.strength[range.clone()].iter().any(|&s| s != 0.0);
            let peak = self.channels.process(range, channels, aux, controls, mixer, peaks.as_mut());
            self.idle.observe(length, peak, is_mixed || aux.is_connected());
            done += length;
            self.samples_to_hop -= length;
            if self.samples_to_hop == 0 {
                self.samples_to_hop = self.timing.grid.hop;
                self.process_hop(controls);
            }
        }
        if let Some(peaks) = peaks {
            self.analyzer.update(&peaks);
        }
        self.waiting.end_call();
    }

    /// Analyses the newest frame, requests its mask, and synthesises the frame that is due.
    ///
    /// While the network rests, there is nothing to synthesise.
    fn process_hop(&mut self, controls: &Controls<'_>) {
        let wait = self.waiting.limit();
        let can_rest = !self.waiting.is_render() && self.status.readiness() == Readiness::Ready;
        let (task, skipped) = self.idle.next_task(can_rest, self.analyzer.is_active());
        match task {
            Some(task) => self.request_mask((task, skipped), wait, controls),
            None => self.analyzer.push_silence(),
        }
        if task != Some(FrameTask::Separate) {
            self.first_due = self.frame + 1;
        }
        if self.idle.is_unused() {
            // Inaudible now. The first mask after the rest fades in.
            self.mixer.wet.set(0.0);
            self.mask.clear();
        }
        self.waiting.receive(&mut self.masks, self.frame);
        let due = self.frame.checked_sub(self.timing.delay_hops as u64);
        if let Some(resting) = due.filter(|due| *due < self.first_due) {
            self.rest(resting, &controls.shape);
        } else if let Some(due) = due {
            self.waiting.wait_for_mask(&mut self.masks, self.frame, due, wait);
            let origin = self.apply_mask(due, &controls.shape);
            let spatial = SpatialControls { amount: controls.stereo, floor: controls.shape.floor, origin };
            self.channels.synthesise(self.timing.ring_index(due), self.mask.gain(&controls.shape), spatial);
        }
        self.frame += 1;
    }

    /// Analyses the newest frame and sends it to the separator for `task`, which `skipped` frames of silence precede.
    fn request_mask(&mut self, (task, skipped): (FrameTask, u32), wait: WaitLimit, controls: &Controls<'_>) {
        let newest = self.timing.ring_index(self.frame);
        if task != FrameTask::FollowSilence {
            self.channels.analyse(newest);
        }
        let channels = &self.channels;
        self.masks.send(
            self.frame,
            (task, skipped),
            (controls.query, controls.with_rest),
            wait,
            |magnitude| match task {
                FrameTask::FollowSilence => magnitude.fill(0.0),
                _ => channels.write_magnitude(newest, magnitude),
            },
        );
    }

    /// Keeps the mask of frame `due`, of a silence, so that smoothing goes on from it. The frame is not synthesised.
    fn rest(&mut self, due: u64, shape: &MaskShaping) {
        if !self.idle.is_unused() {
            self.channels.skip_silence();
        }
        if let RequestState::Done(request) = self.masks.take(due) {
            if request.has_mask && !self.idle.is_unused() {
                self.mask.update(&request.mask, &MaskShaping { smoothing: 0.0, ..*shape });
            }
            self.masks.release(request);
        }
    }

    /// Applies the mask of frame `due`, or conceals that it is missing.
    ///
    /// Concealment holds the last mask for `hold_hops`, then fades to the delayed input. Returns what the mask is of, or
    /// `None` if it is missing.
    fn apply_mask(&mut self, due: u64, shape: &MaskShaping) -> Option<MaskOrigin> {
        match self.masks.take(due) {
            RequestState::Done(request) if request.has_mask => {
                if !self.mask.is_held() && due == 0 {
                    self.mixer.wet.snap(1.0);
                }
                self.mixer.wet.set(1.0);
                self.mask.update(&request.mask, shape);
                self.missed_hops = 0;
                let origin = MaskOrigin { stream: request.stream, sounds: request.sounds };
                self.masks.release(request);
                return Some(origin);
            }
            RequestState::Done(request) => {
                self.mixer.wet.set(0.0);
                self.masks.release(request);
            }
            missing => {
                if matches!(missing, RequestState::InFlight) {
                    self.status.count_late_mask();
                }
                self.missed_hops += 1;
                if self.missed_hops > self.timing.hold_hops || !self.mask.is_held() {
                    self.mixer.wet.set(0.0);
                }
            }
        }
        None
    }
}
