"""Checkpoints whose weights anyone can make again: each tensor's are random numbers that its name is the seed of.

    python -m sift_export.golden audiosep CHECKPOINT

writes one of the published size, and a stand-in for the tokenizer into the folder CHECKPOINT.tokenizer. The
list of tensors, and what the published code computes with these weights, are the reference data (`../shared/reference`,
or `SIFT_REFERENCE`), which also says the rule.
"""

import argparse
import json
import math
import os
import zlib
from pathlib import Path

import numpy
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from . import audiosep, lassnet, tokens

ARCHITECTURES = {"audiosep": audiosep, "lassnet": lassnet}

TEXTS = {"audiosep": "dogs", "lassnet": "a dog barking [SEP]"}
"""What the stand-in tokenizers turn into the reference data's `token_ids`."""

PLACES = {
    "audiosep": {"d": 100, "o": 5829, "g": 1207, "s": 23},
    "lassnet": {"a": 1037, "dog": 3899, "barking": 19372},
}
"""Where they have to stand in the vocabulary for that."""

REFERENCE = Path(
    os.environ.get("SIFT_REFERENCE", Path(__file__).resolve().parents[3].parent / "shared" / "reference")
)
"""The folder with the reference data."""


def weight(name, shape):
    """The weights of the tensor `name`, by the first line of the rule that fits."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if ".stft." in name or ".istft." in name:
        return torch.zeros(shape)  # The library's own values; nothing here reads them.
    generator = numpy.random.Generator(numpy.random.PCG64(zlib.crc32(name.encode())))
    noise = torch.from_numpy(generator.standard_normal(shape).astype(numpy.float32))
    if name.endswith("running_var"):
        return 0.5 + noise.abs()
    if name.endswith("running_mean"):
        return 0.1 * noise
    if len(shape) >= 2:
        return noise / math.sqrt(math.prod(shape[1:]))
    if name.endswith("weight"):
        return 1 + 0.1 * noise
    return 0.05 * noise


def weights(shapes):
    """A state dict for names and shapes."""
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items()}


def shapes(architecture):
    """Names and shapes of the published checkpoint's tensors."""
    return json.loads((REFERENCE / architecture / "parameters.json").read_text(encoding="utf-8"))


def arrays(architecture):
    """What the published code took and gave, by name."""
    return numpy.load(REFERENCE / architecture / "golden.npz")


def prefixed(architecture, state):
    """A state dict of the network's own names under those of the published file."""
    return {f"module.{name}": value for name, value in state.items()} if architecture == "lassnet" else state


def vocabulary(family, size, places):
    """Tokens in the order of their numbers: the family's own, those of `places` at theirs, every single letter, and
    for the rest fillers that no text holds."""
    letters = pre_tokenizers.ByteLevel.alphabet() if family is tokens.ROBERTA else "abcdefghijklmnopqrstuvwxyz"
    pieces = letters if family is tokens.ROBERTA else [*letters, *(f"##{letter}" for letter in letters)]
    fixed = {number: token for token, number in (family.special | places).items()}
    rest = iter([piece for piece in sorted(pieces) if piece not in places])
    listed = [fixed.get(number) or next(rest, f"[filler {number}]") for number in range(size)]
    if next(rest, None) is not None:
        raise ValueError(f"a vocabulary of {size} has no room for every letter")
    return listed


def stand_in(folder, family, size, places):
    """Writes a tokenizer of `size` tokens, as the family's published one would be, but without its words."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {token: number for number, token in enumerate(vocabulary(family, size, places))}
    if family is tokens.ROBERTA:
        tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer = Tokenizer(models.WordPiece(vocab=numbers, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(family.special))
    tokenizer.save(str(folder / "tokenizer.json"))


def tokenizer_folder(checkpoint):
    """Where the stand-in tokenizer of a checkpoint is written."""
    return checkpoint.with_name(checkpoint.name + ".tokenizer")


def write(name, checkpoint):
    """Writes a checkpoint of the published size, and its tokenizer beside it."""
    architecture = ARCHITECTURES[name]
    made = weights(shapes(name))
    torch.save({architecture.ENTRY: made}, checkpoint)
    words = next(len(value) for tensor, value in made.items() if tensor.endswith("word_embeddings.weight"))
    stand_in(tokenizer_folder(checkpoint), architecture.TOKENIZER, words, PLACES[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("checkpoint", type=Path, help="the file to write")
    arguments = parser.parse_args()
    write(arguments.architecture, arguments.checkpoint)
    print(f"{arguments.checkpoint}, {tokenizer_folder(arguments.checkpoint)}")
    print(f"The query {TEXTS[arguments.architecture]!r} has the tokens of the reference data.")


if __name__ == "__main__":
    main()
