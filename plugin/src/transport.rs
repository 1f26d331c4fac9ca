//! Detection of seeks from the host's transport positions.

/// Deviation of a position that is not a seek, in samples: hosts round positions, and some report them late.
const POSITION_TOLERANCE: i64 = 64;

/// Compares the transport position of each block with the one before.
#[derive(Default)]
pub struct Transport {
    /// Position and length of the block before, in samples, if the transport played.
    last: Option<(i64, i64)>,
}

impl Transport {
    /// Forgets the block before.
    pub fn reset(&mut self) {
        self.last = None;
    }

    /// Takes the position of the next block of `samples` samples, or `None` while the transport stands.
    /// Returns whether the host has jumped: backwards, or ahead by more than about a block.
    ///
    /// Between them lies what varispeed and changes of tempo do to the positions.
    pub fn has_jumped(&mut self, position: Option<i64>, samples: usize) -> bool {
        let jumped = match (self.last, position) {
            (Some((last, length)), Some(position)) => {
                let expected = last + length;
                position < last - POSITION_TOLERANCE || position > expected + length.max(POSITION_TOLERANCE)
            }
            _ => false,
        };
        self.last = position.map(|position| (position, samples as i64));
        jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the numbers of the blocks at whose start a jump is reported.
    fn jumps(positions: impl IntoIterator<Item = Option<i64>>, samples: usize) -> Vec<usize> {
        let mut transport = Transport::default();
        let blocks = positions.into_iter().enumerate();
        blocks
            .filter(|(_, position)| transport.has_jumped(*position, samples))
            .map(|(block, _)| block)
            .collect()
    }

    #[test]
    fn positions_that_wobble_are_no_jump() {
        let wobble = [0, 3, -5, 1, -2, 8, -8];
        for samples in [16, 64, 512] {
            let positions = (0..100).map(|block| Some(block * samples as i64 + wobble[block as usize % 7]));
            assert!(jumps(positions, samples).is_empty(), "blocks of {samples}");
        }
    }

    #[test]
    fn varispeed_is_no_jump() {
        for speed in [0.25, 0.5, 0.97, 1.03, 1.5, 1.99] {
            let positions = (0..100).map(|block| Some((512.0 * speed * f64::from(block)) as i64));
            assert!(jumps(positions, 512).is_empty(), "{speed} times the speed");
        }
    }

    #[test]
    fn loop_and_jump_ahead_are_jumps() {
        let positions = [0, 512, 1_024, 0, 512, 48_000, 48_512].map(Some);
        assert_eq!(jumps(positions, 512), [3, 5]);
    }

    #[test]
    fn stopped_transport_is_no_jump_and_has_no_position() {
        assert!(jumps([Some(0), None, None, Some(90_000), Some(90_512)], 512).is_empty());
    }
}
