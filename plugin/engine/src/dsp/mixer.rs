//! Mix of the dry and the separated signal in the time domain.
//!
//! With `dry` the input delayed by the latency and `target` the overlap-added masked signal:
//!
//! ```text
//! isolate: out = dry + strength·(target − dry)     remove: out = dry − strength·target     residual = dry − target
//! ```
//!
//! so that strength 0 is the delayed input (of `sanitize`) bit for bit, and target + residual is the input.

/// Selects which side of the separation the main output keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Keep what the query describes.
    #[default]
    Isolate,
    /// Keep everything else.
    Remove,
}

/// Duration in seconds of a fade of mode, listening, bypass or concealment.
const FADE_SECONDS: f64 = 0.01;

/// Linear ramp of a value, which avoids clicks when a switch changes.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    value: f32,
    target: f32,
    step: f32,
}

impl Ramp {
    /// Creates a ramp at 0 that takes `FADE_SECONDS` from 0 to 1 at `sample_rate` in hertz.
    pub fn new(sample_rate: f64) -> Self {
        Self { value: 0.0, target: 0.0, step: (1.0 / (FADE_SECONDS * sample_rate)).min(1.0) as f32 }
    }

    /// Starts to move to `target`.
    pub fn set(&mut self, target: f32) {
        self.target = target;
    }

    /// Whether the ramp has settled at `value`.
    pub fn is_at(&self, value: f32) -> bool {
        (self.value, self.target) == (value, value)
    }

    /// Returns the duration from 0 to 1 in samples.
    pub fn samples(&self) -> usize {
        (1.0 / self.step) as usize
    }

    /// Jumps to `target`.
    pub fn snap(&mut self, target: f32) {
        (self.value, self.target) = (target, target);
    }

    #[inline]
    fn next(&mut self) -> f32 {
        if self.value < self.target {
            self.value = (self.value + self.step).min(self.target);
        } else if self.value > self.target {
            self.value = (self.value - self.step).max(self.target);
        }
        self.value
    }
}

/// Weights of one sample, the same for every channel.
#[derive(Clone, Copy)]
pub struct MixWeights {
    /// 0: isolate, 1: remove.
    remove: f32,
    /// 0: the output, 1: the removed sound.
    removed: f32,
    /// 0: the processed signal, 1: the delayed input.
    bypass: f32,
    /// 0: the delayed input, as no mask arrived, 1: the separated signal.
    wet: f32,
    /// 0: silence, between two engines of different latency, 1: full level.
    level: f32,
}

/// One sample of each output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputSamples {
    pub main: f32,
    pub target: f32,
    pub residual: f32,
}

/// Ramps of all mix weights; [`MixWeights`] documents their values.
///
/// All methods but `new` run on the audio thread and are real-time safe.
#[derive(Clone, Copy)]
pub struct Mixer {
    remove: Ramp,
    removed: Ramp,
    bypass: Ramp,
    pub wet: Ramp,
    pub level: Ramp,
    /// Whether there is output to fade from.
    has_output: bool,
}

impl Mixer {
    pub fn new(sample_rate: f64) -> Self {
        let ramp = Ramp::new(sample_rate);
        let mut level = ramp;
        level.snap(1.0);
        Self { remove: ramp, removed: ramp, bypass: ramp, wet: ramp, level, has_output: false }
    }

    /// Starts again at full level, without a mask and without output to fade from.
    pub fn reset(&mut self) {
        self.wet.snap(0.0);
        self.level.snap(1.0);
        self.has_output = false;
    }

    /// Starts to move to the settings of the next block; before the first block it jumps to them.
    pub fn set_targets(&mut self, mode: Mode, listen_removed: bool, bypass: bool) {
        let remove = mode == Mode::Remove;
        for (ramp, is_on) in
            [(&mut self.remove, remove), (&mut self.removed, listen_removed), (&mut self.bypass, bypass)]
        {
            let target = f32::from(is_on);
            if self.has_output { ramp.set(target) } else { ramp.snap(target) }
        }
        self.has_output = true;
    }

    /// Whether the main output is the delayed input, and stays so until the settings change.
    pub fn is_bypassed(&self) -> bool {
        self.bypass.is_at(1.0)
    }

    /// Returns the constant weights of all further samples if every ramp has settled.
    pub fn settled_weights(&self) -> Option<MixWeights> {
        let ramps = [self.remove, self.removed, self.bypass, self.wet, self.level];
        ramps.iter().all(|ramp| ramp.value == ramp.target).then(|| self.clone().next_weights())
    }

    /// Advances all ramps and returns the weights of the next sample.
    #[inline]
    pub fn next_weights(&mut self) -> MixWeights {
        MixWeights {
            remove: self.remove.next(),
            removed: self.removed.next(),
            bypass: self.bypass.next(),
            wet: self.wet.next(),
            level: self.level.next(),
        }
    }
}

impl MixWeights {
    /// Mixes one sample. `strength` is 0 to 1, `gain` linear. Real-time safe.
    #[inline]
    pub fn mix(&self, dry: f32, separated: f32, strength: f32, gain: f32) -> OutputSamples {
        let blend = |from: f32, to: f32, amount: f32| match amount {
            0.0 => from,
            1.0 => to,
            _ => from + amount * (to - from),
        };
        let target = blend(dry, separated, self.wet);
        let amount = strength * self.wet;
        let processed = if amount == 0.0 {
            dry
        } else {
            dry + amount * ((1.0 - self.remove) * (separated - dry) - self.remove * separated)
        };
        let selected = blend(processed, dry - processed, self.removed) * gain;
        let main = blend(selected, dry, self.bypass);
        if self.level == 1.0 {
            return OutputSamples { main, target, residual: dry - target };
        }
        let [main, target, residual] = [main, target, dry - target].map(|sample| sample * self.level);
        OutputSamples { main, target, residual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(remove: f32) -> MixWeights {
        MixWeights { remove, removed: 0.0, bypass: 0.0, wet: 1.0, level: 1.0 }
    }

    #[test]
    fn strength_zero_returns_dry_signal_bit_for_bit() {
        for dry in [-0.0_f32, 1.0e-42, 0.3, -1.7] {
            for remove in [0.0, 0.5, 1.0] {
                assert_eq!(weights(remove).mix(dry, 0.9, 0.0, 1.0).main.to_bits(), dry.to_bits());
            }
        }
    }

    #[test]
    fn isolated_plus_removed_is_input() {
        let (isolate, remove) = (weights(0.0).mix(0.5, 0.2, 1.0, 1.0), weights(1.0).mix(0.5, 0.2, 1.0, 1.0));
        assert!((isolate.main + remove.main - 0.5).abs() < 1e-7);
        assert!((isolate.target + isolate.residual - 0.5).abs() < 1e-7);
    }

    #[test]
    fn both_modes_return_dry_signal_without_mask() {
        for remove in [0.0, 1.0] {
            let dry = MixWeights { wet: 0.0, ..weights(remove) }.mix(0.5, 0.2, 1.0, 1.0);
            assert_eq!(dry, OutputSamples { main: 0.5, target: 0.5, residual: 0.0 });
        }
    }

    #[test]
    fn removed_sound_is_input_minus_output() {
        let removed = MixWeights { removed: 1.0, ..weights(0.0) }.mix(0.5, 0.2, 1.0, 1.0);
        assert!((removed.main - 0.3).abs() < 1e-7);
    }

    #[test]
    fn bypass_ignores_strength_and_gain() {
        assert_eq!(MixWeights { bypass: 1.0, ..weights(1.0) }.mix(0.5, 0.2, 1.0, 4.0).main, 0.5);
    }
}
