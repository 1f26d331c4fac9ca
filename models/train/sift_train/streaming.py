"""The separator of the package: one frame per run for any number of streams, without layers that need only the text.

The running time of a graph this small depends on its number of nodes more than on the arithmetic. So the past of each
convolution is a separate state, and FiLM's linear layer is in the query network.

Shapes: N streams, E embedding size, K size of the separator's condition.
"""

import torch
from torch import nn

from .folding import fold_norms
from .model import Condition, Presence


class ConditionHead(nn.Module):
    """Embedding [N, E] → condition of the separator [N, K]: scales and shifts of all activations, and `asked`."""

    def __init__(self, separator):
        super().__init__()
        folded = fold_norms(separator)
        self.film, self.asked = folded.film, folded.presence.asked

    def forward(self, embedding):
        return torch.cat((self.film(embedding), self.asked(embedding)), dim=1)


class StreamingSeparator(nn.Module):
    """A SeparationNet with the flat lists of inputs and outputs of the package."""

    def __init__(self, separator):
        super().__init__()
        self.separator = fold_norms(separator)
        self.counts = [activation.channels for activation in self.separator.activations]
        del self.separator.film, self.separator.presence.asked, self.separator.activations

    def forward(self, magnitude, conditions, recurrent, level, *pasts):
        """`magnitude` [N, 1, bins], `conditions` [N, K], state → mask [N, 1, 1, bins], presence [N, 1], next state."""
        count = sum(self.counts)
        scales, shifts, asked = conditions.split([count, count, Presence.SIZE], dim=1)
        scales, shifts = (part[:, :, None, None].split(self.counts, dim=1) for part in (scales, shifts))
        condition = Condition(list(zip(scales, shifts)), asked)
        mask, presence, newest, recurrent, level = self.separator.separate(
            magnitude, condition, pasts, recurrent, level
        )
        return mask, presence, recurrent, level, *newest

    def example(self, streams=1):
        """Makes example inputs of one run with the right shapes."""
        bins = self.separator.merge.shape[0]
        size = 2 * sum(self.counts) + Presence.SIZE
        state = self.separator.initial_state(streams)
        pasts = [torch.zeros(streams, *unit.state_shape) for unit in self.separator.units]
        return torch.rand(streams, 1, bins), torch.rand(streams, size), state.recurrent, state.level, *pasts

    def state_names(self):
        """Lists the names of the state inputs, which follow the first two inputs."""
        pasts = range(len(self.separator.units))
        return ["state_recurrent", "state_level", *(f"state_past_{number}" for number in pasts)]

    def stream_axes(self):
        """Maps the names of inputs and outputs to their axis of streams."""
        states = {name: 1 if name == "state_recurrent" else 0 for name in self.state_names()}
        return {
            **dict.fromkeys(("magnitude", "embedding", "mask", "presence"), 0),
            **states,
            **{f"next_{name}": axis for name, axis in states.items()},
        }
