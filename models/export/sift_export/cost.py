"""Counts the parameters of a model and the multiply-accumulates of the separator's convolutions.

Element-wise operations are not counted.
"""

import dataclasses

import torch
from torch import nn

from .layers import FrozenNorm


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates per second of audio."""

    separator_parameters: int
    query_parameters: int
    once: float
    """Multiply-accumulates if each frame were processed once."""
    windowed: float
    """Multiply-accumulates of the window model: the whole context every `advance` frames."""


def count_cost(architecture, tensors, window):
    """Counts during a run on the meta device of the network with the sizes of `tensors`."""
    counted = {}

    def convolution(module, inputs, output):
        outputs_per_weight = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        counted[module] = outputs_per_weight[0, 0].numel() * module.weight.numel()

    with torch.device("meta"), torch.no_grad():
        model = architecture.model(tensors)
        for module in model.separator.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                module.register_forward_hook(convolution)
        shifts = model.shifts(torch.zeros(1, model.condition_size))
        model.separator(torch.zeros(1, window.context, architecture.N_FFT // 2 + 1), shifts)
    norms = [module for module in model.separator.modules() if isinstance(module, FrozenNorm)]
    parameters = sum(value.numel() for module in [*counted, *norms] for value in module.parameters())
    run = sum(counted.values())
    frames = architecture.SAMPLE_RATE / architecture.HOP
    return Cost(
        separator_parameters=parameters,
        query_parameters=sum(value.numel() for value in model.parameters()) - parameters,
        once=run / window.context * frames,
        windowed=run / window.advance * frames,
    )
