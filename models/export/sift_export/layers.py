"""Layers that both separators share."""

import torch
from torch import nn
from torch.nn import functional

NEGATIVE_SLOPE = 0.01
"""The negative slope of every leaky ReLU."""

NORM_EPSILON = 1e-5


class FrozenNorm(nn.Module):
    """Batch normalisation with fixed, learned statistics, on axis 1 of [B, C, ...]."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def affine(self):
        """The equivalent scale [C] and shift [C]: x · scale + shift."""
        scale = self.weight / (self.running_var + NORM_EPSILON).sqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x):
        scale, shift = self.affine()
        return x * along_channels(scale) + along_channels(shift)


class Affine(nn.Module):
    """A folded normalisation that no linear layer precedes: a scale and, unless FiLM adds it, a shift."""

    def __init__(self, scale, shift=None):
        super().__init__()
        self.register_buffer("scale", along_channels(scale).clone())
        self.register_buffer("shift", None if shift is None else along_channels(shift).clone())

    def forward(self, x):
        scaled = x * self.scale
        return scaled if self.shift is None else scaled + self.shift


def along_channels(values):
    """Reshapes [C] or [1, C] to [1, C, 1, 1], which broadcasts over [B, C, T, F]."""
    return values.reshape(1, -1, 1, 1)


def activate(x):
    return functional.leaky_relu(x, NEGATIVE_SLOPE)


def convolution(channels_in, channels_out, size):
    """A square convolution that keeps the size of its input; 3×3 without bias, 1×1 with bias."""
    return nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=size == 1)


def scale_output(convolution, scale):
    """Multiplies the output of a convolution without bias by `scale` [C]."""
    convolution.weight = nn.Parameter(convolution.weight * scale[:, None, None, None])


def pad_to_multiple(x, multiple):
    """Adds zero frames at the end of `x` [B, C, T, F], so that T is divisible by `multiple`."""
    return functional.pad(x, (0, 0, 0, -int(x.shape[2]) % multiple))


class FilmShifts:
    """Splits FiLM's shifts [1, E] into parts, in the order in which a network adds them.

    Sizes are plain integers, here and where frames are padded and cut, so that they are constants in the graph.
    """

    def __init__(self, vector):
        self._vector = vector
        self._used = 0

    def take(self, channels):
        """Returns the next part, [1, channels, 1, 1]."""
        start, self._used = self._used, self._used + channels
        return along_channels(self._vector[:, start : self._used])

    def finish(self):
        """Raises `ValueError` unless the network has used all shifts."""
        size = int(self._vector.shape[1])
        if self._used != size:
            raise ValueError(f"the network used {self._used} shifts; expected all {size} of the query")
