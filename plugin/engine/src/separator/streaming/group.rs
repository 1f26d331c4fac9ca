//! Streams that run together on each frame.

use std::sync::Arc;

use parking_lot::Mutex;
use realfft::num_complex::Complex32;

use crate::inference::cancel::CANCELLED;
use crate::separator::Separator;
use crate::separator::streaming::states::StateTensor;
use crate::separator::streaming::{Group, MAX_BATCH, Stream, StreamingSeparator, new_job};

/// A stream to run on a frame: its separator, its embedding, and the mask to fill in.
pub struct StreamRun<'a> {
    pub separator: &'a mut dyn Separator,
    pub embedding: &'a [f32],
    pub mask: &'a mut [Complex32],
    /// Result of the run: the presence, if the separator estimates it.
    pub presence: Option<f32>,
}

/// Runs all `streams` on the frame `magnitude`: in one batch if they are streams of one network that can, else one by one.
///
/// `is_batched` lets waiting frames of other instances into the batch, as [`Separator::run_batched`] does. Without it, the
/// results depend on nothing else.
///
/// # Errors
/// Fails if a run fails or is cancelled; the masks are then invalid.
pub fn run_together(
    magnitude: &[f32],
    streams: &mut [StreamRun<'_>],
    is_batched: bool,
) -> Result<(), String> {
    let can_batch = |stream: &mut StreamRun<'_>| {
        let separator = stream.separator.as_any().downcast_ref::<StreamingSeparator>();
        separator.is_some_and(|separator| separator.has_batch_axis)
    };
    if streams.len() < 2 || !streams.iter_mut().all(can_batch) {
        for StreamRun { separator, embedding, mask, presence } in streams {
            *presence = match is_batched {
                true => separator.run_batched(magnitude, embedding, mask)?,
                false => separator.run(magnitude, embedding, mask)?,
            };
        }
        return Ok(());
    }
    let group = match common_group(streams) {
        Some(group) => group,
        None => join(streams)?,
    };
    let mut job = group.lock().take().ok_or(CANCELLED)?;
    job.magnitude.clear();
    job.embedding.clear();
    for stream in &mut *streams {
        downcast(stream.separator).network.layout.check_embedding(stream.embedding)?;
        job.magnitude.extend_from_slice(magnitude);
        job.embedding.extend_from_slice(stream.embedding);
    }
    let first = downcast(streams[0].separator);
    let mut jobs = vec![job];
    if is_batched {
        jobs = first.network.sessions.submit(jobs, MAX_BATCH, |session, jobs| first.infer(session, jobs))?;
    } else {
        first.infer(&mut *first.network.sessions.acquire()?, &mut jobs);
    }
    let mut job = jobs.pop().ok_or(CANCELLED)?;
    let result = std::mem::replace(&mut job.result, Ok(()));
    let masks = job.mask.chunks_exact(first.network.layout.bins);
    for ((stream, mask), &presence) in streams.iter_mut().zip(masks).zip(&job.presence) {
        stream.mask.copy_from_slice(mask);
        stream.presence = presence;
    }
    *group.lock() = Some(job);
    result
}

/// The group of `streams`, if they form one, in this order.
fn common_group(streams: &mut [StreamRun<'_>]) -> Option<Arc<Group>> {
    let mut common: Option<Arc<Group>> = None;
    let count = streams.len();
    for (place, stream) in streams.iter_mut().enumerate() {
        let Stream::Grouped(group, at) = &downcast(stream.separator).stream else { return None };
        if *at != place || common.as_ref().is_some_and(|common| !Arc::ptr_eq(common, group)) {
            return None;
        }
        common.get_or_insert_with(|| group.clone());
    }
    common.filter(|group| group.lock().as_ref().is_none_or(|job| job.streams() == count))
}

/// Makes a group of `streams`, with the states that they have.
fn join(streams: &mut [StreamRun<'_>]) -> Result<Arc<Group>, String> {
    let mut jobs = Vec::with_capacity(streams.len());
    for stream in &mut *streams {
        jobs.push(downcast(stream.separator).take_job()?);
    }
    let first = downcast(streams[0].separator);
    let gather = |(number, state): (usize, &StateTensor)| state.gather(&jobs, number);
    let states = first.states.iter().enumerate().map(gather).collect::<ort::Result<_>>();
    let states = states.map_err(|error| error.to_string())?;
    let group = Arc::new(Mutex::new(Some(new_job(&first.network, states, jobs.len()))));
    for (at, stream) in streams.iter_mut().enumerate() {
        downcast(stream.separator).stream = Stream::Grouped(group.clone(), at);
    }
    Ok(group)
}

fn downcast(separator: &mut dyn Separator) -> &mut StreamingSeparator {
    separator.as_any().downcast_mut().expect("checked before the streams run together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::cancel::CancelToken;
    use crate::inference::library;
    use crate::inference::provider::ProviderChoice;
    use crate::package::PackageInfo;
    use crate::separator::network::LoadedModel;

    const HOPS: usize = 10;

    type BoxedSeparator = Box<dyn Separator>;

    /// Separators of the default model for two streams, and the embedding of each.
    struct Fixture {
        streams: [BoxedSeparator; 2],
        embeddings: [Vec<f32>; 2],
        bins: usize,
    }

    impl Fixture {
        fn new() -> Self {
            let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
            let (environment, token) = (library::environment().unwrap(), CancelToken::default());
            let (first, _) =
                StreamingSeparator::new(environment, &model, &ProviderChoice::default(), &token).unwrap();
            let embeddings = [0.3, 0.7].map(|step| wave(first.embedding_size(), step));
            let second = first.fork().unwrap();
            Self { streams: [Box::new(first), second], embeddings, bins: model.package.manifest.audio.bins() }
        }

        /// Runs one frame; returns the masks of both streams.
        fn run(&mut self, hop: usize, is_batched: bool) -> [Vec<Complex32>; 2] {
            let magnitude = self.magnitude(hop);
            let mut masks = [(); 2].map(|()| vec![Complex32::ZERO; self.bins]);
            let mut runs: Vec<_> = self
                .streams
                .iter_mut()
                .zip(&self.embeddings)
                .zip(&mut masks)
                .map(|((separator, embedding), mask)| StreamRun {
                    separator: &mut **separator,
                    embedding,
                    mask,
                    presence: None,
                })
                .collect();
            run_together(&magnitude, &mut runs, is_batched).unwrap();
            assert!(runs.iter().all(|run| run.presence.is_some()));
            masks
        }

        /// Runs one frame of one stream by itself.
        fn run_alone(&mut self, stream: usize, hop: usize) -> Vec<Complex32> {
            let (magnitude, mut mask) = (self.magnitude(hop), vec![Complex32::ZERO; self.bins]);
            self.streams[stream].run(&magnitude, &self.embeddings[stream], &mut mask).unwrap();
            mask
        }

        fn magnitude(&self, hop: usize) -> Vec<f32> {
            wave(self.bins, 0.1 + 0.01 * hop as f32)
        }
    }

    fn wave(length: usize, step: f32) -> Vec<f32> {
        (0..length).map(|at| 5.0 + 5.0 * (at as f32 * step).sin()).collect()
    }

    #[track_caller]
    fn assert_near(a: &[Complex32], b: &[Complex32]) {
        let largest = a.iter().zip(b).map(|(a, b)| (a - b).norm()).fold(0.0, f32::max);
        assert!(largest < 1e-4, "masks differ by {largest}");
    }

    #[test]
    fn streams_together_get_the_masks_of_single_runs() {
        let (mut together, mut alone) = (Fixture::new(), Fixture::new());
        for hop in 0..HOPS {
            let masks = together.run(hop, false);
            for (stream, mask) in masks.iter().enumerate() {
                assert_near(mask, &alone.run_alone(stream, hop));
            }
        }
    }

    #[test]
    fn bits_are_the_same_live_and_offline() {
        let (mut offline, mut live) = (Fixture::new(), Fixture::new());
        for hop in 0..HOPS {
            assert_eq!(offline.run(hop, false), live.run(hop, true));
        }
    }

    #[test]
    fn stream_that_leaves_and_comes_back_keeps_its_state() {
        let (mut changing, mut alone) = (Fixture::new(), Fixture::new());
        for hop in 0..3 * HOPS {
            let masks = match (hop / HOPS) % 2 {
                0 => changing.run(hop, false),
                _ => [0, 1].map(|stream| changing.run_alone(stream, hop)),
            };
            for (stream, mask) in masks.iter().enumerate() {
                assert_near(mask, &alone.run_alone(stream, hop));
            }
        }
    }

    #[test]
    fn reset_and_fork_of_a_stream_leave_the_others_alone() {
        let (mut changing, mut alone) = (Fixture::new(), Fixture::new());
        for hop in 0..HOPS {
            changing.run(hop, false);
            (0..2).for_each(|stream| drop(alone.run_alone(stream, hop)));
        }
        let mut fork = changing.streams[1].fork().unwrap();
        changing.streams[0].reset();
        alone.streams[0].reset();
        let (magnitude, mut mask) = (alone.magnitude(HOPS), vec![Complex32::ZERO; alone.bins]);
        fork.run(&magnitude, &alone.embeddings[1], &mut mask).unwrap();
        let masks = changing.run(HOPS, false);
        for (stream, mask) in masks.iter().enumerate() {
            assert_near(mask, &alone.run_alone(stream, HOPS));
        }
        assert_near(&mask, &masks[1]);
    }
}
