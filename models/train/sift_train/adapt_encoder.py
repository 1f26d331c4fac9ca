"""Trains low-rank adapters of the text encoder for Korean: `python -m sift_train.adapt_encoder`.

The original encoder knows only English, and separates texts by their words more than by the sound that they describe.
Training moves Korean captions to the vectors of the English captions of their label, moves those towards their mean,
and keeps all other English texts in place. It trains low-rank updates of the matrices and the vectors of Hangul's
letters, and writes them to `checkpoints/languages.safetensors`.
"""

import argparse
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from . import config as configuration
from .captions import LABELS, both_caption, captions_of
from .encoder import CHECKPOINT_NAMES, TextEncoder, encode, encode_lists, load_tokenizer, piece_ids

MATRICES = [name for name in CHECKPOINT_NAMES if not name.endswith("norm")]
PARTS = ("train", "held_out", "korean", "korean_held_out")
"""The parts of `captions_of`."""


class LowRankAdapter(nn.Module):
    """A frozen linear layer plus a trained product of two low-rank matrices."""

    def __init__(self, linear, rank):
        super().__init__()
        rows, columns = linear.weight.codes.shape
        self.linear = linear
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, x):
        return self.linear(x) + functional.linear(functional.linear(x, self.down), self.up)


class AdaptedWordTable(nn.Module):
    """The frozen table of word vectors, except the trained rows of Hangul's letters."""

    def __init__(self, table):
        super().__init__()
        ids = piece_ids()
        self.table = table
        self.pieces = nn.Parameter(table.rows(ids))
        place = torch.full((table.codes.shape[0],), -1)
        place[ids] = torch.arange(len(ids))
        self.register_buffer("place", place)

    def rows(self, numbers):
        place = self.place[numbers]
        trained = functional.embedding(place.clamp_min(0), self.pieces)
        return torch.where((place >= 0)[..., None], trained, self.table.rows(numbers))


def make_trainable_encoder(rank):
    """Makes the original encoder with untrained adapters."""
    encoder = TextEncoder(adapter=None)
    encoder.words = AdaptedWordTable(encoder.words)
    for layer in encoder.layers:
        for name in MATRICES:
            setattr(layer, name, LowRankAdapter(getattr(layer, name), rank))
    return encoder


def adapter_tensors(encoder):
    """Returns the tensors that `apply_adapter` adds to the encoder's weights."""
    tensors = {"pieces": encoder.words.pieces.detach().half()}
    for number, layer in enumerate(encoder.layers):
        for name in MATRICES:
            part = getattr(layer, name)
            tensors[f"{number}.{CHECKPOINT_NAMES[name]}.up"] = part.up.detach().half()
            tensors[f"{number}.{CHECKPOINT_NAMES[name]}.down"] = part.down.detach().half()
    return tensors


class AdapterBatches:
    """Draws texts and the sentence vectors that are their training targets."""

    def __init__(self, options, max_tokens):
        self.options = options
        self.rng = random.Random(options["seed"])
        self.tokenizer = load_tokenizer(max_tokens)
        self.original = TextEncoder(adapter=None)
        self.max_tokens = max_tokens
        self.korean, self.fixed = [], []
        # Templates around labels: English texts keep their vectors, Korean ones move to the mean of these.
        templates = [list(self._templates(label)) for label in LABELS]
        captions = encode_lists(self.original, [captions_of(label, "train") for label in LABELS], max_tokens)
        composed = iter(
            encode_lists(self.original, [english for pairs in templates for english, _ in pairs], max_tokens)
        )
        for label, sentences, pairs in zip(LABELS, captions, templates):
            centre = functional.normalize(sentences.mean(dim=0), dim=0) * sentences.shape[1] ** 0.5
            self.korean += [(text, centre) for text in captions_of(label, "korean")]
            targets = torch.lerp(sentences, centre, options["together"])
            self.fixed += list(zip(captions_of(label, "train"), targets))
            for (english, korean), sentences in zip(pairs, composed):
                self.fixed += list(zip(english, sentences))
                self.fixed += [(text, sentences.mean(dim=0)) for text in korean]
        self.words = [
            word for word in self.tokenizer.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2
        ]
        self.words.sort()

    def _templates(self, label):
        """Yields English and Korean texts of equal meaning: the label with another one."""
        for other in self.rng.sample(LABELS, 2):
            yield [both_caption(label, other, "train")], [both_caption(label, other, "korean")]

    def vary(self, text):
        """Varies a Korean text as users would type it: without spaces, without a word, or with a word for "sound"."""
        words = text.split()
        if len(words) > 2 and self.rng.random() < 0.2:
            words.pop(self.rng.randrange(len(words)))
        text = ("" if self.rng.random() < 0.15 else " ").join(words)
        if "소리" not in text and self.rng.random() < 0.2:
            text += self.rng.choice([" 소리", "소리", " 소리만"])
        return text

    def draw(self):
        """Draws one batch: texts and their target vectors [texts, 384]."""
        korean = self.rng.sample(self.korean, self.options["korean"])
        fixed = self.rng.sample(self.fixed, self.options["fixed"])
        # Random English words, so that texts other than captions keep their vectors.
        other = [" ".join(self.rng.sample(self.words, self.rng.randint(1, 4))) for _ in range(self.options["other"])]
        texts = [self.vary(text) for text, _ in korean] + [text for text, _ in fixed] + other
        targets = [target for _, target in korean + fixed]
        return texts, torch.cat((torch.stack(targets), encode(self.original, other, self.max_tokens)))


def pad_batch(tokenizer, texts):
    """Token ids and attention mask, [texts, longest]."""
    rows = [tokenizer.encode(text).ids for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def train_adapter(options, max_tokens):
    """Trains and returns the encoder with its adapters. `options`: the table [languages] of the configuration."""
    torch.manual_seed(options["seed"])
    batches = AdapterBatches(options, max_tokens)
    encoder = make_trainable_encoder(options["rank"])
    low_rank = [p for name, p in encoder.named_parameters() if name.endswith((".up", ".down"))]
    rates = [options["learning_rate"], options["pieces_learning_rate"]]
    optimiser = torch.optim.Adam([{"params": low_rank}, {"params": [encoder.words.pieces]}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=options["steps"], pct_start=0.1)
    bar = tqdm(range(options["steps"]), unit="step", mininterval=10)
    for _ in bar:
        texts, targets = batches.draw()
        error = (encoder(*pad_batch(batches.tokenizer, texts)) - targets).square().mean(dim=1)
        loss = error.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*low_rank, encoder.words.pieces], 1.0)
        optimiser.step()
        schedule.step()
        korean, others = error.split([options["korean"], len(error) - options["korean"]])
        bar.set_postfix(korean=f"{korean.mean():.3f}", others=f"{others.mean():.4f}")
    return encoder


@torch.no_grad()
def nearest_label_shares(encoder, max_tokens, parts=PARTS):
    """Measures, for each part of the captions, the share whose nearest label is the right one.

    The vector of a label is the mean of its trained English captions.
    """

    def by_label(part):
        return encode_lists(encoder, [captions_of(label, part) for label in LABELS], max_tokens)

    centres = functional.normalize(torch.stack([sentences.mean(dim=0) for sentences in by_label("train")]), dim=1)
    shares = {}
    for part in parts:
        right = [(sentences @ centres.T).argmax(dim=1) == number for number, sentences in enumerate(by_label(part))]
        shares[part] = torch.cat(right).float().mean().item()
    return shares


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--out", type=Path, default=configuration.ADAPTER)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    max_tokens = config["query"]["max_tokens"]
    encoder = train_adapter(config["languages"], max_tokens)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(adapter_tensors(encoder), arguments.out)
    before, after = (nearest_label_shares(TextEncoder(adapter), max_tokens) for adapter in (None, arguments.out))
    for part, share in after.items():
        count = sum(len(captions_of(label, part)) for label in LABELS)
        print(f"{count} {part}: {100 * before[part]:.1f} % -> {100 * share:.1f} % are nearest to their own label")


if __name__ == "__main__":
    main()
