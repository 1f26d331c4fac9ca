"""Text encoders of the BERT family (Devlin et al., 2019; RoBERTa: Liu et al., 2019), named as in the checkpoints."""

import math

import torch
from torch import nn
from torch.nn import functional

HEAD_SIZE = 64
"""The size of an attention head, the same in all models of the family."""


class Embeddings(nn.Module):
    """Token ids [1, L] → [1, L, D]: the normalised sum of word, position and first-segment vectors."""

    def __init__(self, words, positions, segments, size, epsilon, padding):
        """`padding`: id of the padding token, after which RoBERTa's positions begin; None for BERT."""
        super().__init__()
        self.word_embeddings = nn.Embedding(words, size)
        self.position_embeddings = nn.Embedding(positions, size)
        self.token_type_embeddings = nn.Embedding(segments, size)
        self.LayerNorm = nn.LayerNorm(size, eps=epsilon)
        self.padding = padding

    def positions(self, input_ids):
        """Position ids. BERT counts from 0; RoBERTa from the padding id + 1, and padding tokens get the padding id."""
        if self.padding is None:
            return torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        real = (input_ids != self.padding).long()
        return real.cumsum(dim=1) * real + self.padding

    def forward(self, input_ids):
        words = self.word_embeddings(input_ids)
        positions = self.position_embeddings(self.positions(input_ids))
        return self.LayerNorm(words + positions + self.token_type_embeddings.weight[0])


class SelfAttention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)

    def forward(self, x, bias):
        """`x` [1, L, D] → [1, L, D]; `bias` [1, 1, 1, L] is added to the logits."""
        query, key, value = (
            part(x).unflatten(2, (-1, HEAD_SIZE)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(HEAD_SIZE) + bias
        return (logits.softmax(dim=3) @ value).transpose(1, 2).flatten(2)


class Dense(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.dense = nn.Linear(size_in, size_out)

    def forward(self, x):
        return self.dense(x)


class Output(Dense):
    """A linear layer with a shortcut, followed by a normalisation."""

    def __init__(self, size_in, size_out, epsilon):
        super().__init__(size_in, size_out)
        self.LayerNorm = nn.LayerNorm(size_out, eps=epsilon)

    def forward(self, x, shortcut):
        return self.LayerNorm(self.dense(x) + shortcut)


class Attention(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.add_module("self", SelfAttention(size))
        self.output = Output(size, size, epsilon)

    def forward(self, x, bias):
        return self.output(self.get_submodule("self")(x, bias), x)


class Layer(nn.Module):
    def __init__(self, size, inner, epsilon):
        super().__init__()
        self.attention = Attention(size, epsilon)
        self.intermediate = Dense(size, inner)
        self.output = Output(inner, size, epsilon)

    def forward(self, x, bias):
        x = self.attention(x, bias)
        return self.output(functional.gelu(self.intermediate(x)), x)


class Encoder(nn.Module):
    def __init__(self, layers, size, inner, epsilon):
        super().__init__()
        self.layer = nn.ModuleList(Layer(size, inner, epsilon) for _ in range(layers))

    def forward(self, x, bias):
        for layer in self.layer:
            x = layer(x, bias)
        return x


class Transformer(nn.Module):
    """Text encoder: `input_ids`, `attention_mask` int64 [1, L] → vector of the first token [1, D]."""

    def __init__(self, *, words, positions, segments, size, inner, layers, epsilon, padding=None):
        super().__init__()
        self.embeddings = Embeddings(words, positions, segments, size, epsilon, padding)
        self.encoder = Encoder(layers, size, inner, epsilon)

    def forward(self, input_ids, attention_mask):
        bias = (1.0 - attention_mask.float())[:, None, None, :] * torch.finfo(torch.float32).min
        return self.encoder(self.embeddings(input_ids), bias)[:, 0]


class PooledTransformer(Transformer):
    """A `Transformer` with the pooler: Linear and tanh of the first token's vector."""

    def __init__(self, *, size, **sizes):
        super().__init__(size=size, **sizes)
        self.pooler = Dense(size, size)

    def forward(self, input_ids, attention_mask):
        return self.pooler(super().forward(input_ids, attention_mask)).tanh()


def read_sizes(tensors, prefix):
    """Derives the arguments of `Transformer` from the shapes of a checkpoint's tensors."""
    words = f"{prefix}.embeddings.word_embeddings.weight"
    return {
        "words": tensors.size(words),
        "size": tensors.size(words, axis=1),
        "positions": tensors.size(f"{prefix}.embeddings.position_embeddings.weight"),
        "segments": tensors.size(f"{prefix}.embeddings.token_type_embeddings.weight"),
        "inner": tensors.size(f"{prefix}.encoder.layer.0.intermediate.dense.weight"),
        "layers": tensors.count(f"{prefix}.encoder.layer.{{}}."),
    }
