"""Writes checkpoints with reproducible random weights: the name of each tensor is its seed.

    python -m sift_export.reference_weights audiosep CHECKPOINT

writes a checkpoint of the published size, and a placeholder tokenizer into the folder CHECKPOINT.tokenizer. The
reference data (`../shared/reference`, or `SIFT_REFERENCE`) has the list of tensors, the rule for their values, and the
results of the published code with these weights.
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

from . import audiosep, lassnet, tokenizers

ARCHITECTURES = {"audiosep": audiosep, "lassnet": lassnet}

TEXTS = {"audiosep": "dogs", "lassnet": "a dog barking [SEP]"}
"""Queries that the placeholder tokenizers turn into the `token_ids` of the reference data."""

TOKEN_IDS = {
    "audiosep": {"d": 100, "o": 5829, "g": 1207, "s": 23},
    "lassnet": {"a": 1037, "dog": 3899, "barking": 19372},
}
"""Vocabulary ids of the tokens of these queries."""

REFERENCE = Path(os.environ.get("SIFT_REFERENCE", Path(__file__).resolve().parents[3].parent / "shared" / "reference"))
"""The folder of the reference data."""


def make_tensor(name, shape):
    """Makes the tensor `name` by the rule of the reference data."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if ".stft." in name or ".istft." in name:
        return torch.zeros(shape)  # Fixed by the published code, and not used here.
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


def make_state_dict(shapes):
    """Makes the state dict for `shapes`, by name."""
    return {name: make_tensor(name, tuple(shape)) for name, shape in shapes.items()}


def read_shapes(architecture):
    """Reads the names and shapes of the published checkpoint's tensors."""
    return json.loads((REFERENCE / architecture / "parameters.json").read_text(encoding="utf-8"))


def read_arrays(architecture):
    """Reads the inputs and outputs of the published code, by name."""
    return numpy.load(REFERENCE / architecture / "golden.npz")


def add_published_prefix(architecture, state):
    """Renames a state dict of the network to the names in the published file."""
    return {f"module.{name}": value for name, value in state.items()} if architecture == "lassnet" else state


def make_vocabulary(family, size, ids):
    """Lists the tokens in order of their ids: special tokens, those of `ids`, all letters, and fillers.

    `ids`: token → id. Fillers do not occur in texts.
    """
    letters = pre_tokenizers.ByteLevel.alphabet() if family is tokenizers.ROBERTA else "abcdefghijklmnopqrstuvwxyz"
    pieces = letters if family is tokenizers.ROBERTA else [*letters, *(f"##{letter}" for letter in letters)]
    fixed = {number: token for token, number in (family.special | ids).items()}
    rest = iter([piece for piece in sorted(pieces) if piece not in ids])
    listed = [fixed.get(number) or next(rest, f"[filler {number}]") for number in range(size)]
    if next(rest, None) is not None:
        raise ValueError(f"a vocabulary of {size} tokens is too small for all letters")
    return listed


def write_placeholder_tokenizer(folder, family, size, ids):
    """Writes a tokenizer of the family with `size` tokens, letters instead of words (see `make_vocabulary`)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {token: number for number, token in enumerate(make_vocabulary(family, size, ids))}
    if family is tokenizers.ROBERTA:
        tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer = Tokenizer(models.WordPiece(vocab=numbers, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(family.special))
    tokenizer.save(str(folder / "tokenizer.json"))


def placeholder_tokenizer_folder(checkpoint):
    """The folder of a checkpoint's placeholder tokenizer."""
    return checkpoint.with_name(checkpoint.name + ".tokenizer")


def write_checkpoint(name, checkpoint):
    """Writes a checkpoint of the published size and its placeholder tokenizer."""
    architecture = ARCHITECTURES[name]
    state = make_state_dict(read_shapes(name))
    torch.save({architecture.ENTRY: state}, checkpoint)
    words = next(len(value) for tensor, value in state.items() if tensor.endswith("word_embeddings.weight"))
    write_placeholder_tokenizer(
        placeholder_tokenizer_folder(checkpoint), architecture.TOKENIZER, words, TOKEN_IDS[name]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=ARCHITECTURES)
    parser.add_argument("checkpoint", type=Path, help="the file to write")
    arguments = parser.parse_args()
    write_checkpoint(arguments.architecture, arguments.checkpoint)
    print(f"{arguments.checkpoint}, {placeholder_tokenizer_folder(arguments.checkpoint)}")
    print(f"The query {TEXTS[arguments.architecture]!r} has the token ids of the reference data.")


if __name__ == "__main__":
    main()
