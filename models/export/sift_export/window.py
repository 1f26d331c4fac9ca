"""The engine's window models and transforms in NumPy, to measure the effect of the window settings."""

import dataclasses

import numpy

from .user_error import UserError

MAX_CONTEXT = 8192
"""The engine's limit, in frames."""


@dataclasses.dataclass(frozen=True)
class WindowSettings:
    """Settings of a window model, all in frames."""

    context: int
    """Input of one run: the newest frames, with silence before the start of the stream."""
    advance: int
    """Distance from one run to the next."""
    lookahead: int
    """Smallest delay of a used mask behind the newest frame of its run."""

    def check(self):
        """Raises `UserError` if the engine cannot run these settings."""
        if self.advance < 1:
            raise UserError("--advance", f"{self.advance} frames; expected at least 1", "Increase it")
        if self.lookahead < 0:
            raise UserError("--lookahead", f"{self.lookahead} frames; expected at least 0", "Increase it")
        if self.context > MAX_CONTEXT:
            raise UserError("--context", f"{self.context} frames; expected at most {MAX_CONTEXT}", "Reduce it")
        if self.context < self.lookahead + self.advance:
            least = f"--lookahead + --advance = {self.lookahead + self.advance}"
            raise UserError("--context", f"{self.context} frames; expected at least {least}", "Increase it")

    def runs(self, frames):
        """Yields the runs that give the masks of `frames` (a range), in order.

        Each is its newest frame, and the range of the frames whose masks are used, which may exceed `frames`. Runs
        take place after the frames `advance` − 1, 2 · `advance` − 1, and so on.
        """
        first = (frames.start + self.lookahead) // self.advance
        last = (frames.stop - 1 + self.lookahead) // self.advance
        for number in range(first, last + 1):
            newest = (number + 1) * self.advance - 1
            yield newest, range(newest - self.lookahead - self.advance + 1, newest - self.lookahead + 1)


def compute_masks(network, magnitude, window, frames):
    """Computes the engine's masks of `frames` (a range) of a stream: complex [len(frames), F].

    `network`: magnitude [context, F] → mask [C, context, F]. Silence follows `magnitude` [T, F].
    """
    found = numpy.zeros((len(frames), magnitude.shape[1]), numpy.complex64)
    for newest, used in window.runs(frames):
        mask = network(_context_frames(magnitude, newest, window.context))
        gain = mask[0] if len(mask) == 1 else mask[0] + 1j * mask[1]
        wanted = range(max(used.start, frames.start), min(used.stop, frames.stop))
        oldest = newest - window.context + 1
        found[wanted.start - frames.start : wanted.stop - frames.start] = gain[
            wanted.start - oldest : wanted.stop - oldest
        ]
    return found


def _context_frames(magnitude, newest, context):
    """The last `context` frames up to `newest`, [context, F]."""
    frames = numpy.zeros((context, magnitude.shape[1]), numpy.float32)
    first = newest - context + 1
    start, stop = max(first, 0), min(newest + 1, len(magnitude))
    frames[start - first : stop - first] = magnitude[start:stop]
    return frames


def _hann(size):
    """The periodic Hann window."""
    return numpy.sin(numpy.pi * numpy.arange(size) / size) ** 2


def analyse(samples, size, hop):
    """Computes the spectra [T, size / 2 + 1] of a stream. Frame i ends with hop i."""
    count = -(-(len(samples) + size - hop) // hop)
    padded = numpy.concatenate([numpy.zeros(size - hop), samples, numpy.zeros(count * hop)])
    frames = numpy.lib.stride_tricks.sliding_window_view(padded, size)[: count * hop : hop]
    return numpy.fft.rfft(frames * _hann(size)).astype(numpy.complex64)


def synthesise(spectra, first, size, hop):
    """Computes the samples whose frames are all in `spectra`: the samples and the position of the first one.

    `first`: number of the first frame. Overlap-add with the analysis window, divided by the sum of squared windows.
    """
    window = _hann(size)
    total = numpy.zeros((len(spectra) - 1) * hop + size)
    power = numpy.zeros_like(total)
    for number, frame in enumerate(numpy.fft.irfft(spectra, size)):
        total[number * hop : number * hop + size] += frame * window
        power[number * hop : number * hop + size] += window**2
    whole = slice(size - hop, len(spectra) * hop)
    return total[whole] / power[whole], first * hop
