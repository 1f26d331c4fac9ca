//! The parcel that the audio thread and the separator thread exchange, and the channels it
//! travels in. Parcels come from a fixed pool and are never freed while audio runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use realfft::num_complex::Complex32;

/// One frame's magnitude on its way out, its mask on the way home.
pub struct Hop {
    /// Which uninterrupted run of frames this one belongs to. The separator starts its recurrent
    /// state anew when it sees a new one.
    pub stream: u32,
    /// The frame's number since the last reset.
    pub index: u64,
    /// The query slot whose embedding conditions the mask.
    pub query: u8,
    /// The audio thread can wait, so the separator may wait too, for a query being encoded.
    pub exact: bool,
    /// Whether `mask` was filled. It is not when there is nothing to separate by.
    pub masked: bool,
    /// Linear magnitude on the model's grid, `model_bins` long.
    pub magnitude: Box<[f32]>,
    /// Complex gain on the model's grid, `model_bins` long, of the frame that lies behind `index` as far as the package says.
    pub mask: Box<[Complex32]>,
}

impl Hop {
    fn new(bins: usize) -> Self {
        Self {
            stream: 0,
            index: 0,
            query: 0,
            exact: false,
            masked: false,
            magnitude: vec![0.0; bins].into(),
            mask: vec![Complex32::ZERO; bins].into(),
        }
    }
}

/// What both ends know without a parcel.
#[derive(Default)]
pub struct Line {
    /// Parcels of streams before this one are of no use to anyone.
    oldest_stream: AtomicU32,
    closed: AtomicBool,
}

impl Line {
    pub fn is_stale(&self, hop: &Hop) -> bool {
        hop.stream < self.oldest_stream.load(Ordering::Acquire)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// The audio thread's end: the pool, and both directions without ever blocking.
pub struct AudioEnd {
    line: Arc<Line>,
    #[expect(clippy::vec_box, reason = "the boxes are what travels; they are not to be opened and closed")]
    pool: Vec<Box<Hop>>,
    outbound: Sender<Box<Hop>>,
    homebound: Receiver<Box<Hop>>,
    /// Whom to wake after a send.
    separator: Option<Thread>,
}

/// The separator thread's end.
pub struct SeparatorEnd {
    pub line: Arc<Line>,
    inbound: Receiver<Box<Hop>>,
    homeward: Sender<Box<Hop>>,
}

/// Both ends of a line with `parcels` parcels of `bins` bins.
pub fn line(parcels: usize, bins: usize) -> (AudioEnd, SeparatorEnd) {
    let line = Arc::new(Line::default());
    // Either channel can hold every parcel there is: a send never finds it full.
    let (outbound, inbound) = bounded(parcels);
    let (homeward, homebound) = bounded(parcels);
    let pool = (0..parcels).map(|_| Box::new(Hop::new(bins))).collect();
    let audio = AudioEnd { line: line.clone(), pool, outbound, homebound, separator: None };
    (audio, SeparatorEnd { line, inbound, homeward })
}

impl AudioEnd {
    pub fn wake_on_send(&mut self, separator: Thread) {
        self.separator = Some(separator);
    }

    /// An empty parcel, unless all are on the way.
    pub fn take(&mut self) -> Option<Box<Hop>> {
        self.pool.pop()
    }

    pub fn recycle(&mut self, hop: Box<Hop>) {
        self.pool.push(hop);
    }

    pub fn send(&mut self, hop: Box<Hop>) {
        if let Err(error) = self.outbound.try_send(hop) {
            // The separator thread is gone; the frame will be heard dry.
            self.pool.push(error.into_inner());
        } else if let Some(separator) = &self.separator {
            separator.unpark();
        }
    }

    /// The next parcel that came home and belongs to a living stream; older ones are recycled.
    pub fn receive(&mut self) -> Option<Box<Hop>> {
        while let Ok(hop) = self.homebound.try_recv() {
            if !self.line.is_stale(&hop) {
                return Some(hop);
            }
            self.pool.push(hop);
        }
        None
    }

    /// Disowns every parcel of a stream before `stream`.
    pub fn forget_before(&self, stream: u32) {
        self.line.oldest_stream.store(stream, Ordering::Release);
    }
}

impl SeparatorEnd {
    pub fn receive(&self) -> Option<Box<Hop>> {
        self.inbound.try_recv().ok()
    }

    pub fn send_home(&self, hop: Box<Hop>) {
        // Fails only when the audio end is gone, and the parcel with it.
        let _ = self.homeward.try_send(hop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_makes_the_round_trip_in_the_same_box() {
        let (mut audio, separator) = line(2, 4);
        let mut hop = audio.take().unwrap();
        hop.index = 7;
        let address: *const Hop = &*hop;
        audio.send(hop);
        separator.send_home(separator.receive().unwrap());
        let home = audio.receive().unwrap();
        assert_eq!((home.index, &*home as *const Hop), (7, address));
    }

    #[test]
    fn parcels_of_a_forgotten_stream_are_recycled_unread() {
        let (mut audio, separator) = line(1, 4);
        let hop = audio.take().unwrap();
        audio.send(hop);
        separator.send_home(separator.receive().unwrap());
        audio.forget_before(1);
        assert!(audio.receive().is_none());
        assert!(audio.take().is_some());
    }
}
