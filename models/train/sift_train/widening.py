"""Widens a trained network without changing what it computes (Chen et al., "Net2Net", 2016).

Every channel of the wide network is a copy of a channel of the narrow network. The weights that read the copies are
shares of the original weight, so the sums do not change. The shares are random, so that copies diverge in training.
"""

import torch

from .model import SENTENCE_SIZE


class _ChannelCopies:
    """The original of each of `wide` channels among `narrow` ones, and its share of the original's input weight."""

    def __init__(self, narrow, wide, generator):
        extra = torch.arange(wide - narrow) % narrow
        self.origin = torch.cat((torch.arange(narrow), extra))
        weight = 0.75 + 0.5 * torch.rand(wide, generator=generator)
        total = torch.zeros(narrow).index_add_(0, self.origin, weight)
        self.share = weight / total[self.origin]

    def copy_outputs(self, weight, dim=0):
        """Copies the slices of `weight` along the output dimension `dim`."""
        return weight.index_select(dim, self.origin)

    def copy_inputs(self, weight, dim=1):
        """Copies the slices of `weight` along the input dimension `dim`, each multiplied by its share."""
        shape = [1] * weight.dim()
        shape[dim] = -1
        return weight.index_select(dim, self.origin) * self.share.view(shape)


def _copy_block_inputs(parts, weight, dim):
    """Does the same as `copy_inputs` for an input that concatenates several blocks of channels."""
    sizes = [int(part.origin.max()) + 1 for part in parts]
    return torch.cat([part.copy_inputs(block, dim) for part, block in zip(parts, weight.split(sizes, dim))], dim)


def widen(weights, narrow, wide, seed=1):
    """Returns weights of the wide Model with which it computes the same as the narrow Model with `weights`.

    `weights`: a state dictionary of `Model`. `narrow`, `wide`: configurations with the same number of levels and the same
    embedding, where adjacent levels have equal widths in both or in neither. The wide model's sentence vectors can be
    longer: the weights of the added components are zero. If the bands differ, the result is only approximate.
    """
    generator = torch.Generator().manual_seed(seed)
    before, after = narrow["separator"]["channels"], wide["separator"]["channels"]
    copies = [_ChannelCopies(*counts, generator) for counts in zip(before, after, strict=True)]
    hidden = _ChannelCopies(narrow["separator"]["recurrent_size"], wide["separator"]["recurrent_size"], generator)
    levels = len(before)
    result = dict(weights)

    def set_weight(name, value):
        result[f"separator.{name}"] = value.contiguous()

    def get_weight(name):
        return weights[f"separator.{name}"]

    film_parts = []  # in the order of registration of the activations

    def activation(name, parts):
        sizes = [int(part.origin.max()) + 1 for part in parts]
        for statistic in (f"{name}.norm.running_mean", f"{name}.norm.running_var"):
            blocks = get_weight(statistic).split(sizes)
            set_weight(statistic, torch.cat([part.copy_outputs(block) for part, block in zip(parts, blocks)]))
        film_parts.append(parts)

    def convolution(name, inputs, outputs):
        set_weight(f"{name}.weight", outputs.copy_outputs(_copy_block_inputs(inputs, get_weight(f"{name}.weight"), 1)))
        set_weight(f"{name}.bias", outputs.copy_outputs(get_weight(f"{name}.bias")))

    def block(name, inputs, outputs):
        activation(f"{name}.first.activation", inputs)
        convolution(f"{name}.first.convolution", inputs, outputs)
        activation(f"{name}.second.activation", [outputs])
        convolution(f"{name}.second.convolution", [outputs], outputs)
        if f"separator.{name}.shortcut.weight" in weights:
            convolution(f"{name}.shortcut", inputs, outputs)

    set_weight("stem.weight", copies[0].copy_outputs(get_weight("stem.weight")))
    set_weight("stem.bias", copies[0].copy_outputs(get_weight("stem.bias")))
    width = copies[0]
    for level in range(levels):
        block(f"encoders.{level}", [width], copies[level])
        width = copies[level]

    def gru_block(number, channels):
        name = f"memories.{number}"
        activation(f"{name}.activation", [channels])
        bands = get_weight(f"{name}.recurrent.weight_ih_l0").shape[1] // (int(channels.origin.max()) + 1)
        gates = get_weight(f"{name}.recurrent.weight_ih_l0").unflatten(0, (3, -1)).unflatten(2, (-1, bands))
        gates = channels.copy_inputs(hidden.copy_outputs(gates, 1), 2)
        set_weight(f"{name}.recurrent.weight_ih_l0", gates.flatten(2).flatten(0, 1))
        gates = get_weight(f"{name}.recurrent.weight_hh_l0").unflatten(0, (3, -1))
        set_weight(f"{name}.recurrent.weight_hh_l0", hidden.copy_inputs(hidden.copy_outputs(gates, 1), 2).flatten(0, 1))
        for bias in ("bias_ih_l0", "bias_hh_l0"):
            gates = get_weight(f"{name}.recurrent.{bias}").unflatten(0, (3, -1))
            set_weight(f"{name}.recurrent.{bias}", hidden.copy_outputs(gates, 1).flatten())
        expand = hidden.copy_inputs(get_weight(f"{name}.expand.weight"), 1).unflatten(0, (-1, bands))
        set_weight(f"{name}.expand.weight", channels.copy_outputs(expand).flatten(0, 1))
        set_weight(
            f"{name}.expand.bias",
            channels.copy_outputs(get_weight(f"{name}.expand.bias").unflatten(0, (-1, bands))).flatten(),
        )

    gru_block(0, copies[-1])
    lower = levels - 2  # level of the features of the second GRU block
    gru_block(1, copies[lower])
    set_weight(
        "presence.remembered.weight", _copy_block_inputs([hidden, hidden], get_weight("presence.remembered.weight"), 1)
    )

    width = copies[-1]
    for number, level in enumerate(reversed(range(levels))):
        name = f"decoders.{number}"
        activation(f"{name}.activation", [width])
        # The weight of a transposed convolution has the input dimension first.
        set_weight(
            f"{name}.upsample.weight",
            copies[level].copy_outputs(width.copy_inputs(get_weight(f"{name}.upsample.weight"), 0), 1),
        )
        set_weight(f"{name}.upsample.bias", copies[level].copy_outputs(get_weight(f"{name}.upsample.bias")))
        block(f"{name}.refine", [copies[level], copies[level]], copies[level])
        width = copies[level]
    block("final", [width], width)
    set_weight("logit.weight", width.copy_inputs(get_weight("logit.weight"), 1))

    flat = [part for parts in film_parts for part in parts]
    sizes = [int(part.origin.max()) + 1 for part in flat]
    for parameter in ("film.weight", "film.bias"):
        halves = get_weight(parameter).chunk(2)  # scales and shifts
        copied = [part.copy_outputs(block) for half in halves for part, block in zip(flat, half.split(sizes))]
        set_weight(parameter, torch.cat(copied))

    added = wide["query"].get("sentence_size", SENTENCE_SIZE) - SENTENCE_SIZE
    weight = weights["query.linear.weight"]
    result["query.linear.weight"] = torch.cat((weight, weight.new_zeros(len(weight), added)), dim=1)
    return result
