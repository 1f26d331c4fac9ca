"""Teaches the text encoder Korean, and what is said of one sound: `python -m sift_train.languages`.

The encoder knows English alone, and tells apart words more than what they are said of. Korean captions are drawn to
where it puts the English ones of their label, those some of the way to one another, while all other English stays where
it is. Learned are thin matrices beside the encoder's own and the rows of Hangul's letters, kept in
`checkpoints/languages.safetensors`.
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
from .captions import LABELS, both_caption, captions_of, except_captions
from .encoder import NAMES, TextEncoder, encode, encode_each, piece_numbers, tokenizer

MATRICES = [name for name in NAMES if not name.endswith("norm")]
PARTS = ("train", "held_out", "korean", "korean_held_out")
"""Those of `captions_of`."""


class Beside(nn.Module):
    """A linear layer with a learned product of two thin matrices beside it."""

    def __init__(self, linear, rank):
        super().__init__()
        rows, columns = linear.weight.codes.shape
        self.linear = linear
        self.down = nn.Parameter(torch.randn(rank, columns) / columns**0.5)
        self.up = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, x):
        return self.linear(x) + functional.linear(functional.linear(x, self.down), self.up)


class Words(nn.Module):
    """The table of words, of which the rows of Hangul's letters are learned."""

    def __init__(self, table):
        super().__init__()
        numbers = piece_numbers()
        self.table = table
        self.pieces = nn.Parameter(table.rows(numbers))
        place = torch.full((table.codes.shape[0],), -1)
        place[numbers] = torch.arange(len(numbers))
        self.register_buffer("place", place)

    def rows(self, numbers):
        place = self.place[numbers]
        learned = functional.embedding(place.clamp_min(0), self.pieces)
        return torch.where((place >= 0)[..., None], learned, self.table.rows(numbers))


def learner(rank):
    """The encoder as it came, with all that is learned beside it."""
    encoder = TextEncoder(adapter=None)
    encoder.words = Words(encoder.words)
    for layer in encoder.layers:
        for name in MATRICES:
            setattr(layer, name, Beside(getattr(layer, name), rank))
    return encoder


def learned(encoder):
    """What `adapt` adds to the encoder's weights."""
    tensors = {"pieces": encoder.words.pieces.detach().half()}
    for number, layer in enumerate(encoder.layers):
        for name in MATRICES:
            part = getattr(layer, name)
            tensors[f"{number}.{NAMES[name]}.up"] = part.up.detach().half()
            tensors[f"{number}.{NAMES[name]}.down"] = part.down.detach().half()
    return tensors


class Lessons:
    """Draws texts and the sentence vectors that they are to get."""

    def __init__(self, options, max_tokens):
        self.options = options
        self.rng = random.Random(options["seed"])
        self.tokens = tokenizer(max_tokens)
        self.teacher = TextEncoder(adapter=None)
        self.max_tokens = max_tokens
        self.korean, self.fixed = [], []
        # Templates around labels: in English they stay where they are, in Korean they go to the middle of those.
        templates = [list(self._templates(label)) for label in LABELS]
        captions = encode_each(self.teacher, [captions_of(label, "train") for label in LABELS], max_tokens)
        composed = iter(
            encode_each(self.teacher, [english for pairs in templates for english, _ in pairs], max_tokens)
        )
        for label, sentences, pairs in zip(LABELS, captions, templates):
            centre = functional.normalize(sentences.mean(dim=0), dim=0) * sentences.shape[1] ** 0.5
            self.korean += [(text, centre) for text in captions_of(label, "korean")]
            places = torch.lerp(sentences, centre, options["together"])
            self.fixed += list(zip(captions_of(label, "train"), places))
            for (english, korean), sentences in zip(pairs, composed):
                self.fixed += list(zip(english, sentences))
                self.fixed += [(text, sentences.mean(dim=0)) for text in korean]
        self.words = [word for word in self.tokens.get_vocab() if word.isascii() and word.isalpha() and len(word) > 2]
        self.words.sort()

    def _templates(self, label):
        """English and Korean texts that say the same of a label: everything but it, and it beside two others."""
        yield except_captions(label, "train"), except_captions(label, "korean")
        for other in self.rng.sample(LABELS, 2):
            yield [both_caption(label, other, "train")], [both_caption(label, other, "korean")]

    def vary(self, text):
        """Korean as others would type it: without spaces, without a word, with what one says of sounds."""
        words = text.split()
        if len(words) > 2 and self.rng.random() < 0.2:
            words.pop(self.rng.randrange(len(words)))
        text = ("" if self.rng.random() < 0.15 else " ").join(words)
        if "소리" not in text and self.rng.random() < 0.2:
            text += self.rng.choice([" 소리", "소리", " 소리만"])
        return text

    def draw(self):
        """One batch: texts, and where they are to be, [texts, 384]."""
        korean = self.rng.sample(self.korean, self.options["korean"])
        fixed = self.rng.sample(self.fixed, self.options["fixed"])
        # Any English, so that words of no caption stay where they are, too.
        other = [" ".join(self.rng.sample(self.words, self.rng.randint(1, 4))) for _ in range(self.options["other"])]
        texts = [self.vary(text) for text, _ in korean] + [text for text, _ in fixed] + other
        places = [place for _, place in korean + fixed]
        return texts, torch.cat((torch.stack(places), encode(self.teacher, other, self.max_tokens)))


def padded(tokens, texts):
    """Token numbers and mask, [texts, longest]."""
    rows = [tokens.encode(text).ids for text in texts]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def teach(options, max_tokens):
    """The learner after all lessons."""
    torch.manual_seed(options["seed"])
    lessons = Lessons(options, max_tokens)
    encoder = learner(options["rank"])
    thin = [p for name, p in encoder.named_parameters() if name.endswith((".up", ".down"))]
    rates = [options["learning_rate"], options["pieces_learning_rate"]]
    optimiser = torch.optim.Adam([{"params": thin}, {"params": [encoder.words.pieces]}])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=options["steps"], pct_start=0.1)
    bar = tqdm(range(options["steps"]), unit="step", mininterval=10)
    for _ in bar:
        texts, places = lessons.draw()
        error = (encoder(*padded(lessons.tokens, texts)) - places).square().mean(dim=1)
        loss = error.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*thin, encoder.words.pieces], 1.0)
        optimiser.step()
        schedule.step()
        korean, others = error.split([options["korean"], len(error) - options["korean"]])
        bar.set_postfix(korean=f"{korean.mean():.3f}", others=f"{others.mean():.4f}")
    return encoder


@torch.no_grad()
def closeness(encoder, max_tokens, parts=PARTS):
    """For each of these parts of the captions, the share of which the nearest label is the right one.

    Labels are where the mean of their trained English captions is.
    """

    def by_label(part):
        return encode_each(encoder, [captions_of(label, part) for label in LABELS], max_tokens)

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
    encoder = teach(config["languages"], max_tokens)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(learned(encoder), arguments.out)
    before, after = (closeness(TextEncoder(adapter), max_tokens) for adapter in (None, arguments.out))
    for part, share in after.items():
        count = sum(len(captions_of(label, part)) for label in LABELS)
        print(f"{count} {part}: {100 * before[part]:.1f} % -> {100 * share:.1f} % nearest to their own label")


if __name__ == "__main__":
    main()
