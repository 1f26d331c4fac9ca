"""The separator as a package has it: a frame a run, and nothing in it that depends on the words alone.

A graph this small costs as many nodes as it has more than the arithmetic in them. So normalisation, scale and shift are
one node, every convolution's past is a state of its own, and FiLM's linear layer goes to the query network.
"""

import torch
from torch import nn
from torch.nn import functional

from .folding import fold_norms
from .model import LEAK, CausalUnit, Condition, Memory, Presence, UpsamplingBlock

EPSILON = 1e-5


class _ScaledActivation(nn.Module):
    """FilmActivation whose statistics are folded away: BatchNormalization is ONNX's node to scale and shift channels."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels) - EPSILON)

    def forward(self, x, film):
        """`film`: scale and shift, each [C]."""
        scale, shift = film
        scaled = functional.batch_norm(x, self.mean, self.variance, scale, shift, eps=EPSILON)
        return functional.leaky_relu(scaled, LEAK)


class Wording(nn.Module):
    """Embedding [1, E] → what the separator takes, [1, K]: scales and shifts of all activations, `asked`, negation."""

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
        for module in list(self.separator.modules()):
            if isinstance(module, CausalUnit | Memory | UpsamplingBlock):
                module.activation = _ScaledActivation(module.activation.channels)
        del self.separator.film, self.separator.presence.asked, self.separator.activations

    def forward(self, magnitude, wording, recurrent, level, *pasts):
        """`magnitude` [1, 1, bins], `wording` [1, K], the state → mask [1, 1, 1, bins], presence [1, 1], next state."""
        *films, asked, negation = wording[0].split([*self.counts, *self.counts, Presence.SIZE, 1])
        half = len(self.counts)
        condition = Condition(list(zip(films[:half], films[half:])), asked[None], negation[None])
        mask, presence, newest, recurrent, level = self.separator.separate(
            magnitude, condition, pasts, recurrent, level
        )
        return mask, presence, recurrent, level, *newest

    def example(self):
        """Inputs of one run, of the shapes that they always have."""
        bins = self.separator.merge.shape[0]
        size = 2 * sum(self.counts) + Presence.SIZE + 1
        state = self.separator.initial_state()
        pasts = [torch.zeros(1, *unit.state_shape) for unit in self.separator.units]
        return torch.rand(1, 1, bins), torch.rand(1, size), state.recurrent, state.level, *pasts

    def state_names(self):
        """Of the inputs after the first two."""
        pasts = range(len(self.separator.units))
        return ["state_recurrent", "state_level", *(f"state_past_{number}" for number in pasts)]
