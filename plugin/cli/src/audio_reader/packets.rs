//! Packets of an encoded stream, and the samples of them that belong to the audio.

use symphonia::core::errors::Result as SymphoniaResult;
use symphonia::core::packet::Packet;

/// The packets of an encoded stream.
pub trait Packets {
    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>>;
}

/// The samples of a stream that belong to the audio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trim {
    /// Samples per channel to leave out at the beginning.
    pub skip: u64,
    /// Samples per channel behind them, if the end is trimmed.
    pub length: Option<u64>,
}
