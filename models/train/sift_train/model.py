"""The two networks: the trained part of QueryNet, and SeparationNet.

SeparationNet is the ResUNet of LASS-Net (Liu et al., "Separate What You Describe: Language-Queried Audio Source
Separation", Interspeech 2022) made causal: pooling is over frequency only, convolutions see the present and the previous
frame, and two GRUs provide longer memory. The state between frames is explicit (`StreamState`), so the same module
separates whole clips in training and single frames in the plugin. SeparationNet adds an output to LASS-Net's mask: the
presence is the probability that the mixture contains the described sound; the mask is multiplied by it.

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
NEGATIVE_SLOPE = 0.01


class QueryProjection(nn.Module):
    """Maps the sentence vector of the frozen text encoder to an embedding: Linear and ReLU, as in LASS-Net."""

    def __init__(self, embedding_size, sentence_size=SENTENCE_SIZE):
        super().__init__()
        self.linear = nn.Linear(sentence_size, embedding_size)

    def forward(self, sentence):
        """`sentence` [B, sentence_size], components of about unit variance → [B, E]."""
        return functional.relu(self.linear(sentence))


class StreamState(NamedTuple):
    """State of a stream between frames; zeros at its start."""

    convolution: torch.Tensor
    """[B, S]: the newest input frame of every causal convolution, flattened and concatenated."""
    recurrent: torch.Tensor
    """[2, B, R]: hidden states of the GRUs."""
    level: torch.Tensor
    """[B, 1]: energy by which the newest frame was normalised."""


class Condition(NamedTuple):
    """Values that the separator derives from an embedding. The same for every frame."""

    films: list
    """(scale, shift) of every activation, in the order of registration, each [B, C, 1, 1]."""
    presence_query: torch.Tensor
    """[B, Presence.SIZE]: the query side of the product in Presence."""


class FilmActivation(nn.Module):
    """Batch normalisation → FiLM scale and shift → leaky ReLU.

    The normalisation is not affine, because FiLM already scales and shifts.
    """

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.norm = nn.BatchNorm2d(channels, affine=False)

    def forward(self, x, film):
        scale, shift = film
        return functional.leaky_relu(self.norm(x) * scale + shift, NEGATIVE_SLOPE)


class CausalUnit(nn.Module):
    """FilmActivation → convolution over the present and the previous frame, and three frequencies."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.activation = FilmActivation(channels_in)
        self.convolution = nn.Conv2d(channels_in, channels_out, (2, 3), padding=(0, 1))
        self.state_shape = (channels_in, 1, bands)

    def forward(self, x, film, past):
        """`past` [B, C, 1, F]: the activated frame before `x`. Returns the output and the next `past`."""
        x = self.activation(x, film)
        newest = x if x.shape[2] == 1 else x[:, :, -1:]
        return self.convolution(torch.cat((past, x), dim=2)), newest


class ResidualBlock(nn.Module):
    """Two CausalUnits and a shortcut around them (a 1×1 convolution if the number of channels changes)."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.first = CausalUnit(channels_in, channels_out, bands)
        self.second = CausalUnit(channels_out, channels_out, bands)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x, films, pasts):
        """`films`, `pasts`: one per unit. Returns the output and the next `pasts`."""
        y, first = self.first(x, films[0], pasts[0])
        y, second = self.second(y, films[1], pasts[1])
        return self.shortcut(x) + y, [first, second]


class UpsamplingBlock(nn.Module):
    """Doubles the number of bands, concatenates the encoder's features of that size, and refines both."""

    def __init__(self, channels_in, channels_out, bands):
        super().__init__()
        self.activation = FilmActivation(channels_in)
        self.upsample = nn.ConvTranspose2d(channels_in, channels_out, (1, 2), stride=(1, 2))
        self.refine = ResidualBlock(2 * channels_out, channels_out, bands)

    def forward(self, x, skip, films, pasts):
        """`films`: one for the activation, two for the units. `pasts`: one per unit."""
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
        """`x` [B, C, T, F], `hidden` [1, B, R] → features [B, C, T, F], GRU outputs [B, T, R], next `hidden`."""
        frames = int(x.shape[2])  # an int, so that the exported graph does not compute shapes
        y = self.activation(x, film).permute(0, 2, 1, 3).reshape(-1, frames, self.channels * self.bands)
        y, hidden = self.recurrent(y, hidden)
        z = self.expand(y).reshape(-1, frames, self.channels, self.bands)
        return x + z.permute(0, 2, 1, 3), y, hidden


class Presence(nn.Module):
    """Estimates whether the mixture contains the described sound, from the product of a vector of each."""

    SIZE = 64

    def __init__(self, remembered_size, embedding_size):
        super().__init__()
        self.remembered = nn.Linear(remembered_size, self.SIZE)
        self.asked = nn.Linear(embedding_size, self.SIZE)
        # Start with every sound present, so that the mask passes.
        self.bias = nn.Parameter(torch.tensor(3.0))

    def forward(self, remembered, presence_query):
        """`remembered` [B, T, R]: GRU outputs. `presence_query` [B, SIZE]: output of `self.asked`. → probability [B, T]."""
        product = functional.leaky_relu(self.remembered(remembered), NEGATIVE_SLOPE) * presence_query[:, None]
        return torch.sigmoid(product.mean(dim=2, dtype=torch.float32) + self.bias)


def band_edges(bins, separator):
    """Returns the edges of the bands, as bin indices.

    There are `linear_bands` bands of one bin, `merged_bands` bands of logarithmically growing width up to `top_bin`, and
    `top_bands` bands of equal width from there to the last bin. `separator`: the table of the configuration.
    """
    linear, merged, top = separator["linear_bands"], separator["merged_bands"], separator.get("top_bands", 0)
    middle = np.round(np.geomspace(linear, separator["top_bin"] if top else bins, merged + 1)).astype(int)
    upper = np.round(np.linspace(middle[-1], bins, top + 1)).astype(int)[1:]
    return np.concatenate((np.arange(linear), middle, upper))


def merging_matrix(edges):
    """Returns the matrix [bins, bands] that sums the energies of each band's bins."""
    matrix = np.zeros((edges[-1], len(edges) - 1), np.float32)
    for band, (low, high) in enumerate(pairwise(edges)):
        matrix[low:high, band] = 1.0
    return torch.from_numpy(matrix)


def interpolation_matrix(edges):
    """Returns the matrix [bands, bins] of linear interpolation between band centres.

    Columns sum to one, so gains stay in [0, 1].
    """
    centres = (edges[:-1] + edges[1:] - 1) / 2
    bins = np.arange(edges[-1])
    rows = [np.interp(bins, centres, row) for row in np.eye(len(centres))]
    return torch.from_numpy(np.stack(rows).astype(np.float32))


class SeparationNet(nn.Module):
    """Maps magnitudes of the mixture and an embedding to a gain in [0, 1] per bin, and the presence."""

    LOWER_DECODERS = 2
    """Number of decoder blocks before the second GRU block."""

    def __init__(self, audio, separator, embedding_size):
        """`audio`, `separator`: the tables of the configuration.

        Raises ValueError if the number of bands cannot be halved once per level.
        """
        super().__init__()
        self.embedding_size = embedding_size
        bins = audio["n_fft"] // 2 + 1
        edges = band_edges(bins, separator)
        bands = len(edges) - 1
        channels = separator["channels"]
        if bands % 2 ** len(channels):
            raise ValueError(
                f"[separator] linear_bands, merged_bands: {bands} bands cannot be halved {len(channels)} times; "
                f"expected a multiple of {2 ** len(channels)}"
            )
        window = torch.hann_window(audio["n_fft"], periodic=True, dtype=torch.float64).sqrt()
        self.window_sum = float(window.sum())
        self.exponent = separator["compression"] / 2  # of energies
        # Factor per frame.
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
        after = len(channels) - self.LOWER_DECODERS  # level of the second GRU block
        self.memories = nn.ModuleList(
            (GruBlock(width, bands >> len(channels), size), GruBlock(channels[after], bands >> after, size))
        )
        self.presence = Presence(2 * size, embedding_size)
        self.decoders = nn.ModuleList()
        for level, count in reversed(list(enumerate(channels))):
            self.decoders.append(UpsamplingBlock(width, count, bands >> level))
            width = count
        self.final = ResidualBlock(width, width, bands)
        self.logit = nn.Conv2d(width, 1, 1)

        # States and films are assigned in the order in which modules are registered.
        self.units = [m for m in self.modules() if isinstance(m, CausalUnit)]
        self.activations = [m for m in self.modules() if isinstance(m, FilmActivation)]
        self.film = nn.Linear(embedding_size, 2 * sum(a.channels for a in self.activations))
        # Start close to the identity, with a small influence of the query.
        nn.init.normal_(self.film.weight, std=0.3 / embedding_size**0.5)
        with torch.no_grad():
            scale_bias, shift_bias = self.film.bias.chunk(2)
            scale_bias.fill_(1.0)
            shift_bias.zero_()

    def initial_state(self, batch=1):
        """Returns the state at the start of a stream."""
        size = sum(math.prod(unit.state_shape) for unit in self.units)
        parameter = self.stem.weight
        return StreamState(
            parameter.new_zeros(batch, size),
            parameter.new_zeros(len(self.memories), batch, self.memories[0].recurrent.hidden_size),
            parameter.new_zeros(batch, 1),
        )

    def follow_level(self, energy, level):
        """Follows peaks of the energy: rises immediately and halves in `level_half_life` seconds.

        `energy` [B, T], `level` [B, 1] of the previous frame → [B, T].
        """
        if energy.shape[1] == 1:
            return torch.maximum(energy, level * self.level_decay)
        # level[t] = max over s <= t of energy[s]·decay^(t-s), computed as a running maximum of logarithms.
        frames = torch.arange(1, energy.shape[1] + 1, device=energy.device)
        slope = frames * -math.log(self.level_decay)
        logarithms = torch.cat((level, energy), dim=1).clamp_min(1e-30).log()
        logarithms[:, 1:] += slope
        return (logarithms.cummax(dim=1).values[:, 1:] - slope).exp()

    def bands(self, magnitude, level):
        """Maps magnitudes [B, T, bins] to compressed, normalised band magnitudes [B, 1, T, bands], and the next level.

        Magnitudes are relative to the level of the last seconds, so that masks do not depend on loudness.
        """
        energy = (magnitude / self.window_sum).square()
        levels = self.follow_level(energy.sum(dim=2), level)
        # The constants (-90 dB relative to full scale) keep digital silence finite.
        relative = (energy @ self.merge) / (levels.unsqueeze(2) + 1e-9)
        compressed = (relative + 1e-9).pow(self.exponent)
        return self.input_norm(compressed.transpose(1, 2)).transpose(1, 2).unsqueeze(1), levels[:, -1:]

    def condition(self, embedding):
        """Computes the Condition of `embedding` [B, E]."""
        counts = [activation.channels for activation in self.activations]
        scale, shift = self.film(embedding)[:, :, None, None].chunk(2, dim=1)
        films = list(zip(scale.split(counts, dim=1), shift.split(counts, dim=1)))
        return Condition(films, self.presence.asked(embedding))

    def _split_convolution_state(self, flat):
        """Splits StreamState.convolution into one part per unit."""
        sizes = [math.prod(unit.state_shape) for unit in self.units]
        return [part.unflatten(1, unit.state_shape) for part, unit in zip(flat.split(sizes, dim=1), self.units)]

    def descend(self, x, films, pasts):
        """Encodes [B, 1, T, bands]: features at the lowest resolution, skip connections, next pasts."""
        x = self.stem(x)
        skips, newest = [], []
        for level, encoder in enumerate(self.encoders):
            units = slice(2 * level, 2 * level + 2)
            x, block_newest = encoder(x, films[units], pasts[units])
            newest += block_newest
            skips.append(x)
            x = functional.avg_pool2d(x, (1, 2))
        return x, skips, newest

    def ascend(self, x, skips, films, pasts, decoders):
        """Decodes through these decoders: features, next pasts. `skips`: one per decoder."""
        newest = []
        for level, (decoder, skip) in enumerate(zip(decoders, reversed(skips))):
            units = slice(2 * level, 2 * level + 2)
            x, block_newest = decoder(x, skip, films[3 * level : 3 * level + 3], pasts[units])
            newest += block_newest
        return x, newest

    def ascend_lower(self, x, skips, films, pasts):
        """Decodes up to the second GRU block."""
        return self.ascend(x, skips, films, pasts, self.decoders[: self.LOWER_DECODERS])

    def ascend_upper(self, x, skips, films, pasts):
        """Decodes from the second GRU block to gains [B, 1, T, bands], next pasts."""
        x, newest = self.ascend(x, skips, films[:-2], pasts[:-2], self.decoders[self.LOWER_DECODERS :])
        x, block_newest = self.final(x, films[-2:], pasts[-2:])
        return torch.sigmoid(self.logit(x)), newest + block_newest

    def forward(self, magnitude, embedding, state=None):
        """`magnitude` [B, T, bins], `embedding` [B, E] → `mask` [B, 1, T, bins], `presence` [B, T], next StreamState."""
        if state is None:
            state = self.initial_state(magnitude.shape[0])
        pasts = self._split_convolution_state(state.convolution)
        mask, presence, newest, recurrent, level = self.separate(
            magnitude, self.condition(embedding), pasts, state.recurrent, state.level
        )
        convolution = torch.cat([past.flatten(1) for past in newest], dim=1)
        return mask, presence, StreamState(convolution, recurrent, level)

    def separate(self, magnitude, condition, pasts, recurrent, level):
        """Does the same as `forward` with the parts of a StreamState; `pasts`: one per unit. Returns the next parts."""
        films, pasts = iter(condition.films), iter(pasts)
        levels = len(self.encoders)

        def take(source, count):
            return list(islice(source, count))

        x, level = self.bands(magnitude, level)
        x, skips, first = self.descend(x, take(films, 2 * levels), take(pasts, 2 * levels))
        bottom_film, top_film = take(films, 2)
        x, bottom_memory, bottom_hidden = self.memories[0](x, bottom_film, recurrent[:1])
        x, second = self.ascend_lower(
            x, skips[-self.LOWER_DECODERS :], take(films, 3 * self.LOWER_DECODERS), take(pasts, 2 * self.LOWER_DECODERS)
        )
        x, top_memory, top_hidden = self.memories[1](x, top_film, recurrent[1:])
        x, third = self.ascend_upper(x, skips[: -self.LOWER_DECODERS], list(films), list(pasts))

        presence = self.presence(torch.cat((bottom_memory, top_memory), dim=2), condition.presence_query)
        # Interpolation weights sum to one only up to rounding. A presence of at least 0.5 does not attenuate.
        mask = (x @ self.interpolate).clamp_max(1.0) * (2 * presence).clamp_max(1.0)[:, None, :, None]
        return mask, presence, first + second + third, torch.cat((bottom_hidden, top_hidden)), level


class Model(nn.Module):
    """The trained networks: query projection and separator."""

    def __init__(self, config):
        super().__init__()
        size = config["query"]["embedding_size"]
        self.query = QueryProjection(size, config["query"].get("sentence_size", SENTENCE_SIZE))
        self.separator = SeparationNet(config["audio"], config["separator"], size)

    def forward(self, magnitude, sentence, state=None):
        return self.separator(magnitude, self.query(sentence).float(), state)
