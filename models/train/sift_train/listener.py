"""The listener: a small causal network that says which concepts sounded in the last second.

It runs once per `frames` frames (T) of the separator's magnitudes, so that the cost of a run is shared by several hops. A
stack of convolutions with strides, over the newest T frames and some before them, makes one vector of a run; a GRU remembers
what was before. The state is explicit, so the same module hears whole clips in training and T frames in the plugin.

Shapes: N streams, T frames per run, K runs, F bins, B bands, C concepts.
"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .folding import AffineNorm, norm_scale_and_shift
from .model import merging_matrix

NEGATIVE_SLOPE = 0.01
STRIDE = 2
"""Of each convolution, in frames."""
KERNEL = 3
"""Frames that each convolution sees."""
FLOOR = 1e-9
"""Energy (−90 dB relative to full scale) that keeps digital silence finite."""


class ListenerState(NamedTuple):
    """State of a stream between runs; zeros at its start."""

    bands: torch.Tensor
    """[N, CONTEXT, B]: normalised bands of the newest frames."""
    level: torch.Tensor
    """[N, 1]: reference energy of the newest frame."""
    recurrent: torch.Tensor
    """[N, R]: hidden state of the GRU."""


def listener_edges(listener):
    """Returns the edges of the bands as bin indices: `linear_bands` of one bin, and `merged_bands` up to `top_bin`.

    The width of the latter grows logarithmically. `listener`: the table of the configuration.
    """
    linear, merged = listener["linear_bands"], listener["merged_bands"]
    upper = np.round(np.geomspace(linear, listener["top_bin"], merged + 1)).astype(int)
    return np.concatenate((np.arange(linear), upper))


class Listener(nn.Module):
    """Maps magnitudes of the mixture to the logit of each concept, once per run."""

    def __init__(self, listener, audio, concepts):
        """`listener`, `audio`: the tables of the configuration. `concepts`: C, the number of outputs."""
        super().__init__()
        self.frames = listener["frames"]
        channels = listener["channels"]
        if self.frames != STRIDE ** len(channels):
            raise ValueError(
                f"[listener] frames: {self.frames} does not suit {len(channels)} channels; "
                f"expected {STRIDE ** len(channels)}"
            )
        edges = listener_edges(listener)
        bands = len(edges) - 1
        self.top_bin = int(edges[-1])
        self.context = (KERNEL - STRIDE) * (self.frames - 1)
        self.exponent = listener["compression"] / 2  # of energies
        self.decay = 0.5 ** (audio["hop"] / audio["sample_rate"] / listener["level_half_life"])
        window = torch.hann_window(audio["n_fft"], periodic=True, dtype=torch.float64).sqrt()
        self.register_buffer("merge", merging_matrix(edges) / float(window.sum()) ** 2, persistent=False)
        # level[t] = max over s <= t of energy[s]·decay^(t-s), of the frames of one run and the frame before.
        after = np.arange(1, self.frames + 1)[:, None] - np.arange(self.frames + 1)
        decays = np.where(after >= 0, self.decay ** np.maximum(after, 0), 0.0)
        self.register_buffer("decays", torch.from_numpy(decays.astype(np.float32)), persistent=False)

        self.input_norm = nn.BatchNorm1d(bands)
        layers = []
        width = 1
        for count in channels:
            layers += [nn.Conv2d(width, count, (KERNEL, 3), stride=(STRIDE, 2), padding=(0, 1)), nn.BatchNorm2d(count)]
            width, bands = count, (bands + 1) // 2
        self.convolutions = nn.ModuleList(layers[::2])
        self.norms = nn.ModuleList(layers[1::2])
        self.vector = nn.Linear(width * bands, listener["vector_size"])
        self.recurrent = nn.GRU(listener["vector_size"], listener["recurrent_size"], batch_first=True)
        self.heard = nn.Linear(listener["vector_size"] + listener["recurrent_size"], concepts)
        nn.init.normal_(self.heard.weight, std=0.01)
        nn.init.constant_(self.heard.bias, -4.0)

    def initial_state(self, streams=1):
        """Returns the state at the start of a stream."""
        zeros = self.heard.weight.new_zeros
        return ListenerState(
            zeros(streams, self.context, self.merge.shape[1]),
            zeros(streams, 1),
            zeros(streams, self.recurrent.hidden_size),
        )

    def follow_level(self, energies, level):
        """Follows the peaks of the energies of one run [N, T]: rises at once, halves in `level_half_life` seconds → [N, T]."""
        before = torch.cat((level, energies), dim=1)
        return (before.unsqueeze(1) * self.decays).amax(dim=2)

    def bands(self, magnitude, level):
        """Maps magnitudes [N, K·T, F] to compressed bands relative to the reference level, and the next level."""
        energies = magnitude[:, :, : self.top_bin].square() @ self.merge
        totals = energies.sum(dim=2)
        levels = []
        for run in totals.split(self.frames, dim=1):
            levels.append(self.follow_level(run, level))
            level = levels[-1][:, -1:]
        levels = torch.cat(levels, dim=1) if len(levels) > 1 else levels[0]
        relative = energies / (levels.unsqueeze(2) + FLOOR) + FLOOR
        return relative.pow(self.exponent), level

    def forward(self, magnitude, state=None):
        """`magnitude` [N, K·T, F] → logits [N, K, C] and the next ListenerState."""
        if state is None:
            state = self.initial_state(magnitude.shape[0])
        newest, level = self.bands(magnitude, state.level)
        bands = torch.cat((state.bands, newest), dim=1)
        x = self.input_norm(bands.transpose(1, 2)).transpose(1, 2).unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms):
            x = functional.leaky_relu(norm(convolution(x)), NEGATIVE_SLOPE)
        runs = int(x.shape[2])
        vector = functional.leaky_relu(
            self.vector(x.transpose(1, 2).reshape(-1, runs, self.vector.in_features)), NEGATIVE_SLOPE
        )
        memory, hidden = self.recurrent(vector, state.recurrent.unsqueeze(0))
        logits = self.heard(torch.cat((vector, memory), dim=2))
        return logits, ListenerState(bands[:, -self.context :], level, hidden[0])


@torch.no_grad()
def fold_listener(listener, columns, scale, offset):
    """Returns a copy with the outputs `columns` alone, calibrated, whose normalisations are folded into other layers.

    The logit of a kept output is its `scale` times the logit before plus its `offset`; both are [columns]. Computed in double
    precision and rounded once.
    """
    folded = copy.deepcopy(listener).eval()
    folded.input_norm = AffineNorm(folded.input_norm)
    for index, (convolution, norm) in enumerate(zip(folded.convolutions, folded.norms)):
        factor, shift = norm_scale_and_shift(norm)
        convolution.bias.copy_(convolution.bias.double() * factor + shift)
        convolution.weight.copy_(convolution.weight.double() * factor[:, None, None, None])
        folded.norms[index] = nn.Identity()
    scale, offset = scale.double(), offset.double()
    heard = nn.Linear(folded.heard.in_features, len(columns))
    heard.weight.copy_(folded.heard.weight[columns].double() * scale[:, None])
    heard.bias.copy_(folded.heard.bias[columns].double() * scale + offset)
    folded.heard = heard
    return folded


class StreamingListener(nn.Module):
    """A folded Listener with the flat inputs and outputs of the package, for one run."""

    STATES = ("state_bands", "state_level", "state_recurrent")

    def __init__(self, listener):
        super().__init__()
        self.listener = listener

    def forward(self, magnitude, *state):
        """`magnitude` [N, T, F], the parts of a ListenerState → probabilities [N, C], the next parts."""
        logits, newest = self.listener(magnitude, ListenerState(*state))
        return torch.sigmoid(logits[:, 0]), *newest

    def example(self, bins, streams=1):
        """Makes example inputs of one run with the right shapes."""
        return torch.rand(streams, self.listener.frames, bins), *self.listener.initial_state(streams)
