"""Widens a trained network without changing what it computes (Chen et al., "Net2Net", 2016).

Every channel of the wider network is a copy of one of the narrow network's. What reads copies takes a share of the
original's weight from each, so that the sums stay; the shares differ at random, so that copies learn to differ.
"""

import torch

from .model import SENTENCE_SIZE


class _Copies:
    """For a width `narrow` grown to `wide`: which channel each is a copy of, and the share that it is read with."""

    def __init__(self, narrow, wide, generator):
        extra = torch.arange(wide - narrow) % narrow
        self.origin = torch.cat((torch.arange(narrow), extra))
        weight = 0.75 + 0.5 * torch.rand(wide, generator=generator)
        total = torch.zeros(narrow).index_add_(0, self.origin, weight)
        self.share = weight / total[self.origin]

    def written(self, weight, dim=0):
        """Rows (or what `dim` counts) of the copies."""
        return weight.index_select(dim, self.origin)

    def read(self, weight, dim=1):
        """Columns that read the copies."""
        shape = [1] * weight.dim()
        shape[dim] = -1
        return weight.index_select(dim, self.origin) * self.share.view(shape)


def _joined(parts, weight, dim):
    """As `read`, of inputs that are several blocks of channels one after another."""
    sizes = [int(part.origin.max()) + 1 for part in parts]
    return torch.cat([part.read(block, dim) for part, block in zip(parts, weight.split(sizes, dim))], dim)


def widened(weights, narrow, wide, seed=1):
    """Weights of the wide configuration's Model that compute what `weights` of the narrow one's do.

    `weights`: a state dictionary of `Model`. `narrow`, `wide`: configurations with the same number of levels and the same
    embedding, where levels next to each other are equally wide in both or in neither. The wide one's sentence vectors may be longer: what is added begins unused. Bands may lie elsewhere: then
    the network begins near what it was.
    """
    generator = torch.Generator().manual_seed(seed)
    before, after = narrow["separator"]["channels"], wide["separator"]["channels"]
    copies = [_Copies(*counts, generator) for counts in zip(before, after, strict=True)]
    hidden = _Copies(narrow["separator"]["recurrent_size"], wide["separator"]["recurrent_size"], generator)
    levels = len(before)
    result = dict(weights)

    def put(name, value):
        result[f"separator.{name}"] = value.contiguous()

    def get(name):
        return weights[f"separator.{name}"]

    film_parts = []  # in the order in which activations are registered

    def activation(name, parts):
        sizes = [int(part.origin.max()) + 1 for part in parts]
        for statistic in (f"{name}.norm.running_mean", f"{name}.norm.running_var"):
            blocks = get(statistic).split(sizes)
            put(statistic, torch.cat([part.written(block) for part, block in zip(parts, blocks)]))
        film_parts.append(parts)

    def convolution(name, read, written):
        put(f"{name}.weight", written.written(_joined(read, get(f"{name}.weight"), 1)))
        put(f"{name}.bias", written.written(get(f"{name}.bias")))

    def block(name, read, written):
        activation(f"{name}.first.activation", read)
        convolution(f"{name}.first.convolution", read, written)
        activation(f"{name}.second.activation", [written])
        convolution(f"{name}.second.convolution", [written], written)
        if f"separator.{name}.shortcut.weight" in weights:
            convolution(f"{name}.shortcut", read, written)

    put("stem.weight", copies[0].written(get("stem.weight")))
    put("stem.bias", copies[0].written(get("stem.bias")))
    width = copies[0]
    for level in range(levels):
        block(f"encoders.{level}", [width], copies[level])
        width = copies[level]

    def memory(number, channels):
        name = f"memories.{number}"
        activation(f"{name}.activation", [channels])
        bands = get(f"{name}.recurrent.weight_ih_l0").shape[1] // (int(channels.origin.max()) + 1)
        gates = get(f"{name}.recurrent.weight_ih_l0").unflatten(0, (3, -1)).unflatten(2, (-1, bands))
        gates = channels.read(hidden.written(gates, 1), 2)
        put(f"{name}.recurrent.weight_ih_l0", gates.flatten(2).flatten(0, 1))
        gates = get(f"{name}.recurrent.weight_hh_l0").unflatten(0, (3, -1))
        put(f"{name}.recurrent.weight_hh_l0", hidden.read(hidden.written(gates, 1), 2).flatten(0, 1))
        for bias in ("bias_ih_l0", "bias_hh_l0"):
            gates = get(f"{name}.recurrent.{bias}").unflatten(0, (3, -1))
            put(f"{name}.recurrent.{bias}", hidden.written(gates, 1).flatten())
        expand = hidden.read(get(f"{name}.expand.weight"), 1).unflatten(0, (-1, bands))
        put(f"{name}.expand.weight", channels.written(expand).flatten(0, 1))
        put(f"{name}.expand.bias", channels.written(get(f"{name}.expand.bias").unflatten(0, (-1, bands))).flatten())

    memory(0, copies[-1])
    lower = levels - 2  # the level that the second memory's features have
    memory(1, copies[lower])
    remembered = get("presence.remembered.weight")
    put("presence.remembered.weight", _joined([hidden, hidden], remembered, 1))

    width = copies[-1]
    for place, level in enumerate(reversed(range(levels))):
        name = f"decoders.{place}"
        activation(f"{name}.activation", [width])
        # A transposed convolution's weight has the inputs first.
        put(f"{name}.upsample.weight", copies[level].written(width.read(get(f"{name}.upsample.weight"), 0), 1))
        put(f"{name}.upsample.bias", copies[level].written(get(f"{name}.upsample.bias")))
        block(f"{name}.refine", [copies[level], copies[level]], copies[level])
        width = copies[level]
    block("final", [width], width)
    put("logit.weight", width.read(get("logit.weight"), 1))

    flat = [part for parts in film_parts for part in parts]
    sizes = [int(part.origin.max()) + 1 for part in flat]
    for parameter in ("film.weight", "film.bias"):
        halves = get(parameter).chunk(2)  # scales and shifts
        grown = [part.written(block) for half in halves for part, block in zip(flat, half.split(sizes))]
        put(parameter, torch.cat(grown))

    more = wide["query"].get("sentence_size", SENTENCE_SIZE) - SENTENCE_SIZE
    for layer in ("linear", "negation"):
        weight = weights[f"query.{layer}.weight"]
        result[f"query.{layer}.weight"] = torch.cat((weight, weight.new_zeros(len(weight), more)), dim=1)
    return result
