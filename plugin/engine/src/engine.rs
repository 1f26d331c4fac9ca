//! The audio thread's face. Never allocates, locks, logs or calls the network; waits only when
//! that cannot hurt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dsp::analyzer::{Peaks, Scope};
use crate::dsp::grid::{self, Grid};
use crate::dsp::mask_processor::{Mask, Shape};
use crate::dsp::mixer::{Mix, Mode, Weights};
use crate::dsp::stft::Stft;
use crate::engine::channel::{Lane, Voice};
use crate::model_service::Loan;
use crate::realtime::mask_queue::{AudioEnd, Hop};
use crate::realtime::offline_detector::Pace;
use crate::realtime::separator_thread::{PATIENCE, SPIN, Worker};
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
    pub shape: Shape,
    /// Hear what was taken away instead of the output.
    pub listen_removed: bool,
    pub bypass: bool,
}

/// The auxiliary outputs, one slice a channel; empty when the host has not connected them.
#[derive(Default)]
pub struct Aux<'a, 'b> {
    /// The described sound.
    pub target: &'a mut [&'b mut [f32]],
    /// Everything else.
    pub residual: &'a mut [&'b mut [f32]],
}

/// Separates a stream of audio by the words in its [`Queries`].
pub struct Engine {
    grid: Grid,
    /// Frames that a mask lies behind the newest one when it comes home.
    behind: usize,
    /// Hops between a frame's analysis and its synthesis.
    delay: usize,
    latency: usize,
    hold: usize,
    offline: bool,
    status: Arc<Status>,
    scope: Arc<Scope>,

    stft: Stft,
    voices: Vec<Voice>,
    mask: Mask,
    mix: Mix,
    weights: Vec<Weights>,
    /// One channel's samples, from one hop to the next at most.
    lane: Lane,
    to_model_scale: f32,

    link: AudioEnd,
    /// What became of the newest `delay + 1` frames' parcels, by frame.
    parcels: Vec<Parcel>,
    stream: u32,
    /// The next frame does not follow the last one sent: the separator's state cannot go on.
    broken: bool,
    frame: u64,
    until_hop: usize,
    missed: usize,
    fresh: bool,
    pace: Pace,
    patience: Duration,

    // Dropped in this order: first the thread that may wait for an embedding, then the loan.
    _worker: Worker,
    _loan: Option<Loan>,
}

enum Parcel {
    /// Not sent, or given up.
    None,
    Away,
    Home(Box<Hop>),
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
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
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
        self.link.forget_before(self.stream);
        for parcel in &mut self.parcels {
            if let Parcel::Home(hop) = std::mem::replace(parcel, Parcel::None) {
                self.link.recycle(hop);
            }
        }
        for voice in &mut self.voices {
            voice.history.clear();
            voice.overlap.clear();
            voice.dry.clear();
        }
        self.mask.clear();
        self.mix.wet.snap(0.0);
        self.mix.level.snap(1.0);
        self.pace.restart();
        (self.frame, self.until_hop) = (0, self.grid.hop);
        (self.broken, self.missed, self.fresh, self.patience) = (false, 0, true, PATIENCE);
    }

    /// The host jumped: what comes does not follow from what came. Audio goes on, and the separator
    /// starts its recurrent state anew.
    pub fn seek(&mut self) {
        self.broken = true;
    }

    /// Whether another engine can [take over](Self::take_over) unheard, now. One of another latency
    /// cannot before this one has faded out, which begins with the first asking.
    pub fn gives_way_to(&mut self, next: &Engine) -> bool {
        if next.latency == self.latency {
            return self.mix.wet.is_at(0.0);
        }
        self.mix.level.set(0.0);
        self.mix.level.is_at(0.0)
    }

    /// Goes on where `old` stopped, once that [gives way](Self::gives_way_to): the delayed input
    /// without a gap, until this engine's first masks are there. Allocates nothing.
    pub fn take_over(&mut self, old: &Engine) {
        for (voice, before) in self.voices.iter_mut().zip(&old.voices) {
            voice.dry.go_on_from(&before.dry, self.mix.wet.samples());
            voice.history.go_on_from(&before.history);
        }
        self.mix = old.mix;
        self.mix.wet.snap(0.0);
        self.mix.level.set(1.0);
        // No frame of this stream is the first one: the separated sound fades in.
        self.frame = self.delay as u64 + 1;
        self.fresh = false;
    }

    /// Processes one block in place: `channels` holds as many equally long slices as the
    /// configuration has channels, and the controls' slices are as long.
    pub fn process(&mut self, channels: &mut [&mut [f32]], aux: &mut Aux<'_, '_>, controls: &Controls<'_>) {
        let samples = controls.strength.len();
        self.pace.advance(samples, Instant::now());
        self.set_switches(controls);
        let mut peaks = self.scope.is_watched().then(Peaks::default);
        let mut done = 0;
        while done < samples {
            let length = self.until_hop.min(samples - done);
            let part = done..done + length;
            let (strength, gain) = (&controls.strength[part.clone()], &controls.gain[part.clone()]);
            let resting = self.mix.at_rest();
            if resting.is_none() {
                self.weights.clear();
                self.weights.extend((0..length).map(|_| self.mix.next()));
            }
            let lane = &mut self.lane;
            for (c, (voice, channel)) in self.voices.iter_mut().zip(channels.iter_mut()).enumerate() {
                let channel = &mut channel[part.clone()];
                channel.iter_mut().for_each(|sample| *sample = sound(*sample));
                voice.history.extend(channel);
                voice.dry.process(channel, &mut lane.dry[..length]);
                voice.overlap.take(&mut lane.target[..length]);
                match resting {
                    Some(weights) => lane.mix(|_| weights, strength, gain, channel),
                    None => lane.mix(|at| self.weights[at], strength, gain, channel),
                }
                if let Some(peaks) = &mut peaks {
                    peaks.raise(&lane.dry, channel, gain);
                }
                if let Some(target) = aux.target.get_mut(c) {
                    target[part.clone()].copy_from_slice(&lane.target[..length]);
                }
                if let Some(residual) = aux.residual.get_mut(c) {
                    residual[part.clone()].copy_from_slice(&lane.residual[..length]);
                }
            }
            done += length;
            self.until_hop -= length;
            if self.until_hop == 0 {
                self.until_hop = self.grid.hop;
                self.hop(controls);
            }
        }
        if let Some(peaks) = peaks {
            self.scope.raise(&peaks);
        }
    }

    fn set_switches(&mut self, controls: &Controls<'_>) {
        let Mix { remove, removed, bypass, .. } = &mut self.mix;
        let remove_now = if controls.mode == Mode::Remove { 1.0 } else { 0.0 };
        for (ramp, value) in [
            (remove, remove_now),
            (removed, f32::from(controls.listen_removed)),
            (bypass, f32::from(controls.bypass)),
        ] {
            // Before the first hop there is nothing to fade from.
            if self.fresh { ramp.snap(value) } else { ramp.set(value) }
        }
        self.fresh = false;
    }

    /// One frame in, and the frame that is due out.
    fn hop(&mut self, controls: &Controls<'_>) {
        let exact = self.offline || self.pace.is_ahead();
        let slot = self.slot(self.frame);
        for voice in &mut self.voices {
            self.stft.analyse(&voice.history, &mut voice.spectra[slot]);
        }
        self.send(controls.query, exact);
        self.collect();
        if let Some(due) = self.frame.checked_sub(self.delay as u64) {
            self.take_mask(due, exact, &controls.shape);
            let slot = self.slot(due);
            let gain = self.mask.gain(&controls.shape);
            for voice in &mut self.voices {
                self.stft.synthesise(&voice.spectra[slot], gain, &mut voice.overlap);
            }
        }
        self.frame += 1;
    }

    /// Sends the newest frame's magnitude to the separator.
    fn send(&mut self, query: usize, exact: bool) {
        let slot = self.slot(self.frame);
        let willing = match self.status.readiness() {
            Readiness::Ready => true,
            Readiness::Loading => exact,
            Readiness::Failed => false,
        };
        let Some(mut hop) = willing.then(|| self.link.take()).flatten() else {
            if willing {
                self.status.count_dropped();
            }
            self.broken = true;
            return;
        };
        if std::mem::take(&mut self.broken) {
            self.stream = self.stream.wrapping_add(1);
        }
        (hop.stream, hop.index, hop.query, hop.exact) = (self.stream, self.frame, query as u8, exact);
        let spectra = self.voices.iter().map(|voice| &*voice.spectra[slot]);
        grid::to_model(spectra, self.to_model_scale, &mut hop.magnitude);
        self.parcels[slot] = Parcel::Away;
        self.link.send(hop);
    }

    /// Takes in every parcel that came home.
    fn collect(&mut self) {
        while let Some(hop) = self.link.receive() {
            self.patience = PATIENCE;
            let slot = self.slot(hop.index);
            let wanted = hop.index + self.delay as u64 >= self.frame + self.behind as u64;
            if wanted && matches!(self.parcels[slot], Parcel::Away) {
                self.parcels[slot] = Parcel::Home(hop);
            } else {
                self.link.recycle(hop);
            }
        }
    }

    /// Brings the mask of frame `due` into force, or conceals that it is not there: the last one is
    /// held for a while, then the sound fades to the delayed input.
    fn take_mask(&mut self, due: u64, exact: bool, shape: &Shape) {
        let slot = self.slot(due + self.behind as u64);
        if exact {
            self.wait_for(slot);
        }
        match std::mem::replace(&mut self.parcels[slot], Parcel::None) {
            Parcel::Home(hop) if hop.masked => {
                if !self.mask.is_held() && due == 0 {
                    self.mix.wet.snap(1.0);
                }
                self.mix.wet.set(1.0);
                self.mask.update(&hop.mask, shape);
                self.missed = 0;
                self.link.recycle(hop);
            }
            Parcel::Home(hop) => {
                self.mix.wet.set(0.0);
                self.link.recycle(hop);
            }
            absent => {
                if matches!(absent, Parcel::Away) {
                    self.status.count_late();
                }
                self.missed += 1;
                if self.missed > self.hold || !self.mask.is_held() {
                    self.mix.wet.set(0.0);
                }
            }
        }
    }

    /// Waits until the parcel in `slot` is home, as long as that makes sense.
    fn wait_for(&mut self, slot: usize) {
        let start = Instant::now();
        while matches!(self.parcels[slot], Parcel::Away) && self.status.readiness() != Readiness::Failed {
            if start.elapsed() > self.patience {
                // It will not come: later frames are not waited for until one does.
                self.patience = Duration::ZERO;
                break;
            }
            if start.elapsed() < SPIN {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
            self.collect();
        }
        self.pace.waited(start.elapsed());
    }

    /// Where `frame` lies in the rings of the newest `delay + 1` frames.
    fn slot(&self, frame: u64) -> usize {
        (frame % (self.delay as u64 + 1)) as usize
    }
}

/// The sample, or silence in place of what is no number or no sound: +120 dBFS and beyond, whose
/// power would overflow.
fn sound(sample: f32) -> f32 {
    if sample.abs() < 1e6 { sample } else { 0.0 }
}
