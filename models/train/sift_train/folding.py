"""Normalisations with fixed statistics, folded into the layers around them, as the package has them."""

import copy

import torch
from torch import nn


class _Affine(nn.Module):
    """What is left of a batch normalisation when its statistics are fixed."""

    def __init__(self, norm):
        super().__init__()
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.register_buffer("scale", scale.detach()[:, None])
        self.register_buffer("shift", (norm.bias - norm.running_mean * scale).detach()[:, None])

    def forward(self, x):
        """`x` [B, C, T]."""
        return x * self.scale + self.shift


@torch.no_grad()
def fold_norms(separator):
    """A copy whose batch normalisations are folded into FiLM's linear layer, which computes the same in one step."""
    folded = copy.deepcopy(separator).eval()
    folded.input_norm = _Affine(folded.input_norm)
    mean = torch.cat([activation.norm.running_mean for activation in folded.activations])
    deviation = torch.cat([(a.norm.running_var + a.norm.eps).sqrt() for a in folded.activations])
    for tensor in (folded.film.weight, folded.film.bias):
        scale, shift = tensor.view(2, len(mean), -1)
        scale /= deviation[:, None]
        shift -= mean[:, None] * scale
    for activation in folded.activations:
        activation.norm = nn.Identity()
    return folded
