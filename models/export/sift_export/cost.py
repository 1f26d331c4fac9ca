"""Counts what a separator costs: parameters, and the multiply-accumulates of its convolutions.

Element-wise work is left out.
"""

import dataclasses

import torch
from torch import nn

from .layers import FrozenNorm


@dataclasses.dataclass(frozen=True)
class Cost:
    separator_parameters: int
    query_parameters: int
    second: float
    """Multiply-accumulates for a second of audio, if the network saw each frame once."""
    live: float
    """The same as a window model is run: on the whole context, every `advance` frames."""


def cost(architecture, tensors, window):
    """Counts by a run without numbers of the network whose sizes `tensors` tell."""
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
        second=run / window.context * frames,
        live=run / window.advance * frames,
    )
