"""Folds normalisations with fixed statistics into the adjacent layers, for the package.

Computed in double precision and rounded once, so that all processors give the same bits.
"""

import copy

import torch
from torch import nn


def _deviation(norm):
    return (norm.running_var.double() + norm.eps).sqrt()


def norm_scale_and_shift(norm):
    """Returns the scale and shift [C] of a batch normalisation with fixed statistics, in double precision."""
    scale = norm.weight.double() / _deviation(norm)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


class AffineNorm(nn.Module):
    """A batch normalisation with fixed statistics, as scale and shift."""

    def __init__(self, norm):
        super().__init__()
        scale, shift = norm_scale_and_shift(norm)
        self.register_buffer("scale", scale.float().detach()[:, None])
        self.register_buffer("shift", shift.float().detach()[:, None])

    def forward(self, x):
        """`x` [B, C, T]."""
        return x * self.scale + self.shift


@torch.no_grad()
def fold_norms(separator):
    """Returns a copy whose batch normalisations are folded into FiLM's linear layer; its output is the same."""
    folded = copy.deepcopy(separator).eval()
    folded.input_norm = AffineNorm(folded.input_norm)
    mean = torch.cat([activation.norm.running_mean.double() for activation in folded.activations])
    deviation = torch.cat([_deviation(activation.norm) for activation in folded.activations])
    for tensor in (folded.film.weight, folded.film.bias):
        scale, shift = tensor.double().view(2, len(mean), -1)
        scale = scale / deviation[:, None]
        tensor.copy_(torch.stack((scale, shift - mean[:, None] * scale)).view_as(tensor))
    for activation in folded.activations:
        activation.norm = nn.Identity()
    return folded
