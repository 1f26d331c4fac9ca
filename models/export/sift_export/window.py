"""How the engine runs a window model, and its transforms; in NumPy, to tell what that costs in agreement."""

import dataclasses

import numpy

from .fault import Fault

CONTEXT_LIMIT = 8192
"""The engine refuses a package with more."""


@dataclasses.dataclass(frozen=True)
class Window:
    """All in frames."""

    context: int
    """That the network sees at once: the last ones, and silence before the stream's start."""
    advance: int
    """From one run to the next."""
    lookahead: int
    """By which a mask at least lies behind the newest frame of its run."""

    def check(self):
        """Raises `Fault` where the engine could not run it."""
        if self.advance < 1:
            raise Fault("--advance", f"is {self.advance}, less than one frame", "Give at least 1")
        if self.lookahead < 0:
            raise Fault("--lookahead", f"is {self.lookahead}, less than none", "Give 0 or more")
        if self.context > CONTEXT_LIMIT:
            raise Fault("--context", f"is {self.context}, more than {CONTEXT_LIMIT} frames", "Give less")
        if self.context < self.lookahead + self.advance:
            used = f"{self.lookahead} + {self.advance} frames that --lookahead and --advance need"
            raise Fault("--context", f"is {self.context}, fewer than the {used}", "Give more")

    def runs(self, frames):
        """For the runs that give the masks of `frames` (a range), in order: the newest frame of each, and which
        frames' masks are used (a range that may reach beyond `frames`).

        The runs follow frame `advance` − 1, 2 · `advance` − 1, and so on.
        """
        first = (frames.start + self.lookahead) // self.advance
        last = (frames.stop - 1 + self.lookahead) // self.advance
        for number in range(first, last + 1):
            newest = (number + 1) * self.advance - 1
            yield newest, range(newest - self.lookahead - self.advance + 1, newest - self.lookahead + 1)


def masks(network, magnitude, window, frames):
    """The masks of `frames` (a range) of a stream, as the engine would have them: complex [len(frames), F].

    `network`: magnitude [context, F] → mask [C, context, F]; `magnitude` [T, F] is followed by silence.
    """
    found = numpy.zeros((len(frames), magnitude.shape[1]), numpy.complex64)
    for newest, used in window.runs(frames):
        mask = network(_ring(magnitude, newest, window.context))
        gain = mask[0] if len(mask) == 1 else mask[0] + 1j * mask[1]
        wanted = range(max(used.start, frames.start), min(used.stop, frames.stop))
        oldest = newest - window.context + 1
        found[wanted.start - frames.start : wanted.stop - frames.start] = gain[
            wanted.start - oldest : wanted.stop - oldest
        ]
    return found


def _ring(magnitude, newest, context):
    """The last `context` frames up to `newest`, [context, F]."""
    ring = numpy.zeros((context, magnitude.shape[1]), numpy.float32)
    first = newest - context + 1
    start, stop = max(first, 0), min(newest + 1, len(magnitude))
    ring[start - first : stop - first] = magnitude[start:stop]
    return ring


def _hann(size):
    """Periodic."""
    return numpy.sin(numpy.pi * numpy.arange(size) / size) ** 2


def analyse(samples, size, hop):
    """Spectra [T, size / 2 + 1] of a stream: each frame ends with a new hop, the first one with the stream's first."""
    count = -(-(len(samples) + size - hop) // hop)
    padded = numpy.concatenate([numpy.zeros(size - hop), samples, numpy.zeros(count * hop)])
    frames = numpy.lib.stride_tricks.sliding_window_view(padded, size)[: count * hop : hop]
    return numpy.fft.rfft(frames * _hann(size)).astype(numpy.complex64)


def synthesise(spectra, first, size, hop):
    """The samples that all of their frames are among `spectra` of, `first` and following: samples and where they begin.

    Overlap-add with the window of the analysis, divided by the sum of squared windows.
    """
    window = _hann(size)
    total = numpy.zeros((len(spectra) - 1) * hop + size)
    power = numpy.zeros_like(total)
    for number, frame in enumerate(numpy.fft.irfft(spectra, size)):
        total[number * hop : number * hop + size] += frame * window
        power[number * hop : number * hop + size] += window**2
    whole = slice(size - hop, len(spectra) * hop)
    return total[whole] / power[whole], first * hop
