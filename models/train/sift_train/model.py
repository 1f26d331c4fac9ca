"""The two networks: QueryNet's trained half and SeparationNet.

SeparationNet is the ResUNet of LASS-Net (Liu et al., "Separate What You Describe: Language-Queried Audio Source
Separation", Interspeech 2022) made causal: frequency is pooled, time never; convolutions see the present frame and the
one before; two GRUs remember the rest. What one frame leaves for the next is explicit (`StreamState`), so that the
same module separates whole clips in training and single hops in the plugin. Beside LASS-Net's mask there are the
presence, the probability that the described sound is there at all, without which nothing passes, and the negation:
"everything but the drums" is understood as the drums and a mask to be turned around.

Shapes: B batch, C channels, T frames, F frequencies (bins or bands), E embedding size.
"""

import math
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SENTENCE_SIZE = 384
LEAK = 0.01


class QueryProjection(nn.Module):
    """Sentence vector of the frozen text encoder → embedding: Linear and ReLU, as in LASS-Net, and the negation."""

    def __init__(self, embedding_size, sentence_size=SENTENCE_SIZE):
        """`embedding_size`: with the negation, which is the last number."""
        super().__init__()
        self.linear = nn.Linear(sentence_size, embedding_size - 1)
        self.negation = nn.Linear(sentence_size, 1)
        with torch.no_grad():
            # Begins by taking every text as it is.
            self.negation.weight.zero_()
            self.negation.bias.fill_(-3.0)

    def forward(self, sentence):
        """`sentence` [B, sentence_size], components of about unit variance → [B, E]."""
        # Exactly 0 or 1 for texts that are clear: a little of a negation would let the rest leak.
        negation = functional.hardsigmoid(self.negation(sentence))
        return torch.cat((functional.relu(self.linear(sentence)), negation), dim=1)


class StreamState(NamedTuple):
    """What a stream carries from frame to frame; zeros at its start."""

    convolution: torch.Tensor
    """[B, S]: the newest input frame of every causal convolution, flattened one after another."""
    recurrent: torch.Tensor
    """[2, B, R]: hidden states of the GRUs."""
    level: torch.Tensor
    """[B, 1]: energy that the newest frame was measured by."""


class Condition(NamedTuple):
    """What an embedding means to the separator. The same for every frame."""

    films: list
    """(scale, shift) of every activation, in the order of registration, each [B, C, 1, 1]."""
    asked: torch.Tensor
    """[B, Presence.SIZE]."""
    negation: torch.Tensor
    """[B, 1]."""


class FilmActivation(nn.Module):
    """Batch normalisation → FiLM scale and shift → leaky ReLU.

    The normalisation has no affine part: FiLM's bias is one.
    """

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x, film):
        scale, shift = film
        return functional.leaky_relu(self.norm(x) * scale + shift, LEAK)


class CausalUnit(nn.Module):
    """FilmActivation → convolution over this frame and the one before, and three frequencies."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.activation = FilmActivation(channels_in)
        self.convolution = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(0, 1))
        self.state_shape = (channels_in, 1, bands)

    def forward(self, x, film, past):
        """`past` [B, C, 1, F]: the frame before the first one of `x`. Returns the output and the next `past`."""
        x = self.activation(x, film)
        newest = x if x.shape[2] == 1 else x[:, :, -1:]
        return self.convolution(torch.cat((past, x), dim=2)), newest


class ResidualBlock(nn.Module):
    """Two CausalUnits and a shortcut around them (1×1 convolution where the channel count changes)."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.first = CausalUnit(channels_in, channels_out, bands)
        self.second = CausalUnit(channels_out, channels_out, bands)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x, films, pasts):
        """`films`, `pasts`: those of the two units. Returns the output and the next `pasts`."""
        y, first = self.first(x, films[0], pasts[0])
        y, second = self.second(y, films[1], pasts[1])
        return self.shortcut(x) + y, [first, second]


class UpsamplingBlock(nn.Module):
    """Doubles the bands, joins the encoder's features of that size, and refines both."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.activation = FilmActivation(channels_in)
        self.upsample = nn.ConvTranspose2d(channels_in, channels_out, (1, 2), stride=(1, 2))
        self.refine = ResidualBlock(2 * channels_out, channels_out, bands)

    def forward(self, x, skip, films, pasts):
        """`films`: one for the activation, two for the units; `pasts`: those of the units."""
        x = self.upsample(self.activation(x, films[0]))
        return self.refine(torch.cat((x, skip), dim=1), films[1:], pasts)


class GruBlock(nn.Module):
    """A GRU over the features of all bands, with a shortcut around it."""

    def __init__(self, channels, bands, size):
        super().__init__()
        self.channels, self.bands = channels, bands
        self.activation = FilmActivation(channels)
        self.recurrent = nn.GRU(channels * bands, size, batch_first=True)
        self.expand = nn.Linear(size, channels * bands)

    def forward(self, x, film, hidden):
        """`x` [B, C, T, F], `hidden` [1, B, R] → features of that shape, what the GRU gave [B, T, R], next `hidden`."""
        frames = int(x.shape[2])  # a plain number, so that an exported graph has no nodes to compute shapes
        y = self.activation(x, film).permute(0, 2, 1, 3).reshape(-1, frames, self.channels * self.bands)
        y, hidden = self.recurrent(y, hidden)
        z = self.expand(y).reshape(-1, frames, self.channels, self.bands)
        return x + z.permute(0, 2, 1, 3), y, hidden


class Presence(nn.Module):
    """Whether what is remembered contains what is asked for: the product of a vector of each."""

    SIZE = 64

    def __init__(self, remembered_size, embedding_size):
        super().__init__()
        self.remembered = nn.Linear(remembered_size, self.SIZE)
        self.asked = nn.Linear(embedding_size, self.SIZE)
        # Begins by letting everything pass.
        self.bias = nn.Parameter(torch.tensor(3.0))

    def forward(self, remembered, asked):
        """`remembered` [B, T, R], `asked` [B, SIZE], what `self.asked` makes of a description → probability [B, T]."""
        product = functional.leaky_relu(self.remembered(remembered), LEAK) * asked[:, None]
        return torch.sigmoid(product.mean(dim=2, dtype=torch.float32) + self.bias)


def band_edges(bins, separator):
    """Edges of the bands in bins: `linear_bands` single bins, `merged_bands` bands of logarithmically growing width up to
    `top_bin`, and `top_bands` equally wide ones from there to the last bin. `separator`: the configuration's table.
    """
    linear, merged, top = separator["linear_bands"], separator["merged_bands"], separator.get("top_bands", 0)
    middle = np.round(np.geomspace(linear, separator["top_bin"] if top else bins, merged + 1)).astype(int)
    upper = np.round(np.linspace(middle[-1], bins, top + 1)).astype(int)[1:]
    return np.concatenate((np.arange(linear), middle, upper))


def merging_matrix(edges):
    """[bins, bands]: sums the energies of a band's bins."""
    matrix = np.zeros((edges[-1], len(edges) - 1), np.float32)
    for band, (low, high) in enumerate(pairwise(edges)):
        matrix[low:high, band] = 1.0
    return torch.from_numpy(matrix)


def interpolation_matrix(edges):
    """[bands, bins]: linear interpolation between band centres. Columns sum to one: gains stay in [0, 1]."""
    centres = (edges[:-1] + edges[1:] - 1) / 2
    bins = np.arange(edges[-1])
    rows = [np.interp(bins, centres, row) for row in np.eye(len(centres))]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


class SeparationNet(nn.Module):
    """Magnitudes of the mixture and an embedding → a gain in [0, 1] for every bin, and the presence."""

    LOWER = 2
    """Decoder blocks before the second memory."""

    def __init__(self, audio, separator, embedding_size):
        """`audio` and `separator` are the tables of that name in the configuration."""
        super().__init__()
        self.embedding_size = embedding_size
        described = embedding_size - 1  # without the negation
        bins = audio["n_fft"] // 2 + 1
        edges = band_edges(bins, separator)
        bands = len(edges) - 1
        channels = separator["channels"]
        if bands % 2 ** len(channels):
            raise ValueError(f"{bands} bands cannot be halved {len(channels)} times")
        window = torch.hann_window(audio["n_fft"], periodic=True, dtype=torch.float64).sqrt()
        self.window_sum = float(window.sum())
        self.exponent = separator["compression"] / 2  # of energies
        # What is left of the level after a frame.
        self.level_decay = 0.5 ** (audio["hop"] / audio["sample_rate"] / separator["level_half_life"])
        self.register_buffer("merge", merging_matrix(edges), persistent=False)
        self.register_buffer("interpolate", interpolation_matrix(edges), persistent=False)

        self.input_norm = nn.BatchNorm1d(bands)
        self.stem = nn.Conv2d(1, channels[0], (1, 5), padding=(0, 2))
        self.encoders = nn.ModuleList()
        width = channels[0]
        for level, count in enumerate(channels):
            self.encoders.append(ResidualBlock(width, count, bands >> level))
            width = count
        size = separator["recurrent_size"]
        after = len(channels) - self.LOWER  # the level at which the second one is
        self.memories = nn.ModuleList(
            (GruBlock(width, bands >> len(channels), size), GruBlock(channels[after], bands >> after, size))
        )
        self.presence = Presence(2 * size, described)
        self.decoders = nn.ModuleList()
        for level, count in reversed(list(enumerate(channels))):
            self.decoders.append(UpsamplingBlock(width, count, bands >> level))
            width = count
        self.final = ResidualBlock(width, width, bands)
        self.logit = nn.Conv2d(width, 1, 1)

        # States and films are dealt out in the order in which modules are registered.
        self.units = [m for m in self.modules() if isinstance(m, CausalUnit)]
        self.activations = [m for m in self.modules() if isinstance(m, FilmActivation)]
        self.film = nn.Linear(described, 2 * sum(a.channels for a in self.activations))
        # Starts as the identity, with a little of the query in it.
        nn.init.normal_(self.film.weight, std=0.3 / described**0.5)
        with torch.no_grad():
            scale_bias, shift_bias = self.film.bias.chunk(2)
            scale_bias.fill_(1.0)
            shift_bias.zero_()

    def initial_state(self, batch=1):
        """The state at the start of a stream."""
        size = sum(math.prod(unit.state_shape) for unit in self.units)
        parameter = self.stem.weight
        return StreamState(
            parameter.new_zeros(batch, size),
            parameter.new_zeros(len(self.memories), batch, self.memories[0].recurrent.hidden_size),
            parameter.new_zeros(batch, 1),
        )

    def follow_level(self, energy, level):
        """Peak follower: rises with a frame's energy at once, falls by half in `level_half_life` seconds.

        `energy` [B, T], `level` [B, 1] of the frame before → [B, T].
        """
        if energy.shape[1] == 1:
            return torch.maximum(energy, level * self.level_decay)
        # level[t] = max over s <= t of energy[s]·decay^(t-s), as a running maximum of logarithms.
        frames = torch.arange(1, energy.shape[1] + 1, device=energy.device)
        slope = frames * -math.log(self.level_decay)
        rising = torch.cat((level, energy), dim=1).clamp_min(1e-30).log()
        rising[:, 1:] += slope
        return (rising.cummax(dim=1).values[:, 1:] - slope).exp()

    def bands(self, magnitude, level):
        """Linear magnitudes [B, T, bins] → compressed, normalised band magnitudes [B, 1, T, bands], next level.

        Measured by the level of the last seconds, so that a quiet mixture is separated as a loud one is.
        """
        energy = (magnitude / self.window_sum).square()
        levels = self.follow_level(energy.sum(dim=2), level)
        # The constants keep digital silence finite; -90 dB below full scale is as good as silence.
        relative = (energy @ self.merge) / (levels.unsqueeze(2) + 1e-9)
        compressed = (relative + 1e-9).pow(self.exponent)
        return self.input_norm(compressed.transpose(1, 2)).transpose(1, 2).unsqueeze(1), levels[:, -1:]

    def condition(self, embedding):
        """`embedding` [B, E] → Condition."""
        described, negation = embedding[:, :-1], embedding[:, -1:]
        counts = [activation.channels for activation in self.activations]
        scale, shift = self.film(described)[:, :, None, None].chunk(2, dim=1)
        films = list(zip(scale.split(counts, dim=1), shift.split(counts, dim=1)))
        return Condition(films, self.presence.asked(described), negation)

    def _pasts(self, flat):
        """StreamState.convolution, cut into the units' parts."""
        sizes = [math.prod(unit.state_shape) for unit in self.units]
        return [part.unflatten(1, unit.state_shape) for part, unit in zip(flat.split(sizes, dim=1), self.units)]

    def descend(self, x, films, pasts):
        """[B, 1, T, bands] → features at the lowest resolution, skip connections, next pasts."""
        x = self.stem(x)
        skips, newest = [], []
        for level, encoder in enumerate(self.encoders):
            units = slice(2 * level, 2 * level + 2)
            x, newer = encoder(x, films[units], pasts[units])
            newest += newer
            skips.append(x)
            x = functional.avg_pool2d(x, (1, 2))
        return x, skips, newest

    def ascend(self, x, skips, films, pasts, decoders):
        """One way of `descend` back, through these decoders: features, next pasts. As many `skips` as decoders."""
        newest = []
        for level, (decoder, skip) in enumerate(zip(decoders, reversed(skips))):
            units = slice(2 * level, 2 * level + 2)
            x, newer = decoder(x, skip, films[3 * level : 3 * level + 3], pasts[units])
            newest += newer
        return x, newest

    def ascend_lower(self, x, skips, films, pasts):
        """Up to the second memory."""
        return self.ascend(x, skips, films, pasts, self.decoders[: self.LOWER])

    def ascend_upper(self, x, skips, films, pasts):
        """From there to gains [B, 1, T, bands]; next pasts."""
        x, newest = self.ascend(x, skips, films[:-2], pasts[:-2], self.decoders[self.LOWER :])
        x, newer = self.final(x, films[-2:], pasts[-2:])
        return torch.sigmoid(self.logit(x)), newest + newer

    def forward(self, magnitude, embedding, state=None):
        """`magnitude` [B, T, bins], `embedding` [B, E] → `mask` [B, 1, T, bins], `presence` [B, T], next StreamState."""
        if state is None:
            state = self.initial_state(magnitude.shape[0])
        pasts = self._pasts(state.convolution)
        mask, presence, newest, recurrent, level = self.separate(
            magnitude, self.condition(embedding), pasts, state.recurrent, state.level
        )
        convolution = torch.cat([past.flatten(1) for past in newest], dim=1)
        return mask, presence, StreamState(convolution, recurrent, level)

    def separate(self, magnitude, condition, pasts, recurrent, level):
        """As `forward`, by the parts of a StreamState, its `convolution` cut into every unit's past; returns the next ones."""
        films, pasts = iter(condition.films), iter(pasts)
        levels = len(self.encoders)

        def deal(source, count):
            return list(islice(source, count))

        x, level = self.bands(magnitude, level)
        x, skips, first = self.descend(x, deal(films, 2 * levels), deal(pasts, 2 * levels))
        bottom, top = deal(films, 2)
        x, lasting, slow = self.memories[0](x, bottom, recurrent[:1])
        x, second = self.ascend_lower(x, skips[-self.LOWER :], deal(films, 3 * self.LOWER), deal(pasts, 2 * self.LOWER))
        x, detailed, fast = self.memories[1](x, top, recurrent[1:])
        x, third = self.ascend_upper(x, skips[: -self.LOWER], list(films), list(pasts))

        presence = self.presence(torch.cat((lasting, detailed), dim=2), condition.asked)
        # Interpolation weights sum to one only to the last bit. What is likelier there than not passes whole.
        mask = (x @ self.interpolate).clamp_max(1.0) * (2 * presence).clamp_max(1.0)[:, None, :, None]
        negation = condition.negation
        mask = torch.lerp(mask, 1 - mask, negation[:, :, None, None])
        # Of "everything but the drums", something is always there.
        presence = presence + negation * (1 - presence)
        return mask, presence, first + second + third, torch.cat((slow, fast)), level


class Model(nn.Module):
    """All that is trained: query projection and separator."""

    def __init__(self, config):
        super().__init__()
        size = config["query"]["embedding_size"]
        self.query = QueryProjection(size, config["query"].get("sentence_size", SENTENCE_SIZE))
        self.separator = SeparationNet(config["audio"], config["separator"], size)

    def forward(self, magnitude, sentence, state=None):
        return self.separator(magnitude, self.query(sentence).float(), state)
