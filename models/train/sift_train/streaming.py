"""The separator as a package has it: a frame a run of one stream or several, and nothing in it that depends on the words alone.

A graph this small costs as many nodes as it has more than the arithmetic in them. So every convolution's past is a state
of its own, and FiLM's linear layer goes to the query network.

Shapes: N streams, E embedding size, K what the separator takes of it.
"""

import torch
from torch import nn

from .folding import fold_norms
from .model import Condition, Presence


class Wording(nn.Module):
    """Embedding [N, E] → what the separator takes, [N, K]: scales and shifts of all activations, `asked`, negation."""

    def __init__(self, separator):
        super().__init__()
        folded = fold_norms(separator)
        self.film, self.asked = folded.film, folded.presence.asked

    def forward(self, embedding):
        described, negation = embedding[:, :-1], embedding[:, -1:]
        return torch.cat((self.film(described), self.asked(described), negation), dim=1)


class StreamingSeparator(nn.Module):
    """SeparationNet with the package's flat lists of inputs and outputs."""

    def __init__(self, separator):
        super().__init__()
        self.separator = fold_norms(separator)
        self.counts = [activation.channels for activation in self.separator.activations]
        del self.separator.film, self.separator.presence.asked, self.separator.activations

    def forward(self, magnitude, wording, recurrent, level, *pasts):
        """`magnitude` [N, 1, bins], `wording` [N, K], the state → mask [N, 1, 1, bins], presence [N, 1], next state."""
        count = sum(self.counts)
        scales, shifts, asked, negation = wording.split([count, count, Presence.SIZE, 1], dim=1)
        scales, shifts = (part[:, :, None, None].split(self.counts, dim=1) for part in (scales, shifts))
        condition = Condition(list(zip(scales, shifts)), asked, negation)
        mask, presence, newest, recurrent, level = self.separator.separate(
            magnitude, condition, pasts, recurrent, level
        )
        return mask, presence, recurrent, level, *newest

    def example(self, streams=1):
        """Inputs of one run, of the shapes that they have."""
        bins = self.separator.merge.shape[0]
        size = 2 * sum(self.counts) + Presence.SIZE + 1
        state = self.separator.initial_state(streams)
        pasts = [torch.zeros(streams, *unit.state_shape) for unit in self.separator.units]
        return torch.rand(streams, 1, bins), torch.rand(streams, size), state.recurrent, state.level, *pasts

    def state_names(self):
        """Of the inputs after the first two."""
        pasts = range(len(self.separator.units))
        return ["state_recurrent", "state_level", *(f"state_past_{number}" for number in pasts)]

    def stream_axes(self):
        """By the names of inputs and outputs, the axis that the streams lie along."""
        states = {name: 1 if name == "state_recurrent" else 0 for name in self.state_names()}
        return {
            **{name: 0 for name in ("magnitude", "embedding", "mask", "presence")},
            **states,
            **{f"next_{name}": axis for name, axis in states.items()},
        }
