//! Decision which frames the separator gets: few of a silence, and none whose mask the output does not need.

use crate::engine::timing::Timing;
use crate::realtime::mask_queue::FrameTask;

/// Peak up to which a sample is silence: −90 dBFS.
const MAX_SILENCE: f32 = 3.16e-5;

/// Time in seconds, of silence or without use of the masks, after which the network rests.
const IDLE_SECONDS: f64 = 2.0;

/// Frames in a row of a long silence that the network gets.
///
/// The last three of its states say how they go on. The others are there for what changes fast to settle.
const FOLLOWED_HOPS: u64 = 8;

/// The network gets no frames for this part of the silence so far, so that a silence costs the less the longer it lasts.
const SKIPPED_PART: u64 = 8;

/// Follows whether there is anything to separate. All methods but `new` are real-time safe.
pub(super) struct IdleControl {
    frame_size: usize,
    /// Samples from the last one of the input to the last one of the output that it changes.
    tail: usize,
    /// Frames of silence, or without use of their masks, after which the network rests.
    idle_hops: u64,
    /// Samples since the last one above [`MAX_SILENCE`], in whole stretches of [`observe`](Self::observe).
    quiet_samples: usize,
    /// Samples since the last one that is not zero.
    zero_samples: usize,
    /// Whether the output has needed masks since the last hop.
    is_mask_used: bool,
    /// Frames of silence since the last other one.
    silent_hops: u64,
    /// Frames since the output last needed masks.
    unused_hops: u64,
    /// The network gets the frames of a silence after the first number, up to the second.
    followed: (u64, u64),
    /// Frames of silence since the last frame that was sent.
    skipped: u32,
}

impl IdleControl {
    pub fn new(timing: &Timing) -> Self {
        let idle_hops = (IDLE_SECONDS / timing.grid.hop_seconds()).ceil() as u64;
        Self {
            frame_size: timing.grid.size,
            tail: timing.tail(),
            // At rest, all frames that are due are silent.
            idle_hops: idle_hops.max(timing.delay_hops as u64 + 1),
            quiet_samples: 0,
            zero_samples: 0,
            is_mask_used: true,
            silent_hops: 0,
            unused_hops: 0,
            followed: (0, 0),
            skipped: 0,
        }
    }

    /// Forgets what was observed, as a new stream begins.
    pub fn reset(&mut self) {
        (self.quiet_samples, self.zero_samples) = (0, 0);
        (self.silent_hops, self.unused_hops, self.skipped) = (0, 0, 0);
        self.is_mask_used = true;
    }

    /// Takes the peak of the next `samples` samples of the input, and whether the output needs masks.
    pub fn observe(&mut self, samples: usize, peak: f32, is_mask_used: bool) {
        let count = |so_far: usize, is_quiet: bool| if is_quiet { so_far.saturating_add(samples) } else { 0 };
        self.quiet_samples = count(self.quiet_samples, peak <= MAX_SILENCE);
        self.zero_samples = count(self.zero_samples, peak == 0.0);
        self.is_mask_used |= is_mask_used;
    }

    /// Returns what to do with the newest frame, and how many frames of silence before it were not sent.
    ///
    /// `None`: nothing. If not `can_rest`, every frame is separated. `is_watched`: the window shows what is heard.
    pub fn next_task(&mut self, can_rest: bool, is_watched: bool) -> (Option<FrameTask>, u32) {
        let was_unused = self.is_unused();
        let count = |so_far: u64, is_so: bool| if is_so { so_far + 1 } else { 0 };
        self.silent_hops = count(self.silent_hops, can_rest && self.quiet_samples >= self.frame_size);
        self.unused_hops = count(self.unused_hops, can_rest && !std::mem::take(&mut self.is_mask_used));
        if self.is_unused() {
            self.skipped = 0;
            return ((is_watched && self.silent_hops <= self.idle_hops).then_some(FrameTask::Hear), 0);
        }
        if was_unused {
            // The network has not heard this silence.
            self.silent_hops = self.silent_hops.min(1);
        }
        if self.silent_hops <= self.idle_hops {
            self.followed = (self.idle_hops, self.idle_hops + FOLLOWED_HOPS);
            return (Some(FrameTask::Separate), std::mem::take(&mut self.skipped));
        }
        if self.silent_hops > self.followed.1 {
            let first = self.followed.1 + self.followed.1 / SKIPPED_PART;
            self.followed = (first, first + FOLLOWED_HOPS);
        }
        if self.silent_hops > self.followed.0 {
            return (Some(FrameTask::FollowSilence), std::mem::take(&mut self.skipped));
        }
        self.skipped = self.skipped.saturating_add(1);
        (None, 0)
    }

    /// Whether the network rests because the output needs no masks.
    pub fn is_unused(&self) -> bool {
        self.unused_hops > self.idle_hops
    }

    /// Whether the network rests and all outputs are zero, and stay so until the input is not.
    pub fn is_silent(&self) -> bool {
        let is_resting = self.is_unused() || self.silent_hops > self.idle_hops;
        is_resting && self.zero_samples >= self.tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::grid::SpectrogramFormat;
    use crate::dsp::stft::WindowFunction;
    use crate::engine::block::Config;
    use crate::package::SeparatorSection;

    const AUDIO: SpectrogramFormat =
        SpectrogramFormat { sample_rate: 32_000, n_fft: 1024, hop: 512, window: WindowFunction::SqrtHann };
    const HOP: usize = 512;
    const SECOND: usize = 63;

    /// A control, and the tasks of `hops` hops of a peak and use of masks.
    struct Fixture(IdleControl);

    impl Fixture {
        fn new() -> Self {
            let config = Config { sample_rate: 32_000.0, max_block: 512, channels: 1, offline: false };
            Self(IdleControl::new(&Timing::new(&AUDIO, &SeparatorSection::streaming(0), &config)))
        }

        fn hops(&mut self, hops: usize, peak: f32, is_mask_used: bool) -> Vec<(Option<FrameTask>, u32)> {
            (0..hops)
                .map(|_| {
                    self.0.observe(HOP, peak, is_mask_used);
                    self.0.next_task(true, false)
                })
                .collect()
        }
    }

    #[test]
    fn silence_costs_the_less_the_longer_it_lasts() {
        let mut fixture = Fixture::new();
        let runs =
            |tasks: &[(Option<FrameTask>, u32)]| tasks.iter().filter(|(task, _)| task.is_some()).count();
        let first = fixture.hops(2 * SECOND, 0.0, true);
        assert!(first.iter().all(|task| *task == (Some(FrameTask::Separate), 0)), "two seconds in full");
        let minute = fixture.hops(58 * SECOND, 0.0, true);
        assert!(runs(&minute) < 250, "{}", runs(&minute));
        let next = fixture.hops(60 * SECOND, 0.0, true);
        assert!(runs(&next) < 60, "{}", runs(&next));
        let skipped: u32 = minute.iter().chain(&next).map(|(_, skipped)| skipped).sum();
        let sent = runs(&minute) + runs(&next);
        let at_end = fixture.hops(1, 0.5, true)[0];
        assert_eq!(at_end.0, Some(FrameTask::Separate), "sound is separated at once");
        assert_eq!(skipped as usize + at_end.1 as usize + sent, 118 * SECOND, "every frame is counted");
    }

    #[test]
    fn frame_with_any_sample_above_the_limit_is_no_silence() {
        let mut fixture = Fixture::new();
        for _ in 0..1000 {
            assert!(fixture.hops(1, 0.0, true)[0].0 == Some(FrameTask::Separate));
            assert!(fixture.hops(1, 4e-5, true)[0].0 == Some(FrameTask::Separate));
        }
    }

    #[test]
    fn masks_that_are_not_used_are_not_made_after_two_seconds() {
        let mut fixture = Fixture::new();
        fixture.hops(2 * SECOND, 0.5, false);
        assert_eq!(fixture.hops(3, 0.5, false), [(None, 0); 3]);
        fixture.0.observe(HOP, 0.5, false);
        assert_eq!(fixture.0.next_task(true, true), (Some(FrameTask::Hear), 0), "an open window");
        assert_eq!(fixture.hops(1, 0.5, true), [(Some(FrameTask::Separate), 0)]);
    }

    #[test]
    fn silence_that_the_network_has_not_heard_is_followed_from_its_start() {
        let mut fixture = Fixture::new();
        fixture.hops(10 * SECOND, 0.0, false);
        let tasks = fixture.hops(2 * SECOND - 1, 0.0, true);
        assert!(tasks.iter().all(|task| *task == (Some(FrameTask::Separate), 0)));
    }

    #[test]
    fn host_that_renders_gets_every_mask() {
        let mut fixture = Fixture::new();
        for _ in 0..10 * SECOND {
            fixture.0.observe(HOP, 0.0, false);
            assert_eq!(fixture.0.next_task(false, false), (Some(FrameTask::Separate), 0));
        }
        assert!(!fixture.0.is_silent());
    }
}
