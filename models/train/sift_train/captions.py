"""Captions of every label of the corpus, read from `captions.toml`.

Each label has a noun phrase for templates, phrasings for training, and held-out phrasings. Training never uses the
held-out phrasings; the evaluation measures with them how well the network understands unseen words. Further templates
describe two sounds.
"""

import functools
import itertools
import random
import tomllib
from pathlib import Path
from typing import NamedTuple

MUSIC = "music"
"""The label of several instruments together. Not a label of the corpus."""

TEMPLATES = ("{label}", "{noun}", "the sound of {noun}", "{label} sounds", "a recording of {noun}")

BOTH = {
    "train": ("{} and {}", "{} with {}", "{} plus {}", "{}, {}", "both {} and {}", "{} & {}"),
    "held_out": ("{} together with {}", "{} as well as {}"),
    "korean": ("{}하고 {}", "{} 그리고 {}", "{}, {}", "{} + {}"),
    "korean_held_out": ("{} 및 {}",),
}
"""Templates of captions for two sounds, by part."""

with open(Path(__file__).with_suffix(".toml"), "rb") as file:
    _PHRASES = tomllib.load(file)

LABELS = sorted(_PHRASES)


def captions_of(label, part):
    """Returns all captions of a label, without duplicates.

    `part`: "train" or "held_out", in English; "korean" or "korean_held_out".
    """
    phrases = _PHRASES[label]
    if part != "train":
        return phrases["english_held_out" if part == "held_out" else part]
    templated = (template.format(label=label, noun=phrases["noun"]) for template in TEMPLATES)
    return list(dict.fromkeys([*templated, *phrases["english"]]))


def usual_caption(label):
    """Returns the noun phrase of a label, which the evaluation uses as its caption."""
    return _PHRASES[label]["noun"]


def all_captions(part):
    """Returns the captions of all labels in a fixed order.

    Captions that several labels share, such as "guitar", occur once.
    """
    return list(dict.fromkeys(caption for label in LABELS for caption in captions_of(label, part)))


def both_caption(first, second, part):
    """Returns a caption of two labels together, the same in every call."""
    rng = random.Random(f"both {first} {second} {part}")
    phrases = (rng.choice(captions_of(label, part)) for label in (first, second))
    return rng.choice(BOTH[part]).format(*phrases)


class Meaning(NamedTuple):
    """The sounds that a caption describes."""

    kind: str
    """One of "one" (a sound) and "both" (two sounds)."""
    labels: frozenset
    """Labels of the sounds. Kind "one" has several where the name is ambiguous, such as "guitar"."""


@functools.cache
def trained_captions():
    """Returns {caption: Meaning} of all captions of training, in a fixed order."""
    meanings = {}

    def add(caption, kind, *labels):
        known = meanings.get(caption, Meaning(kind, frozenset()))
        meanings[caption] = known._replace(labels=known.labels | set(labels))

    for part in ("train", "korean"):
        for label in LABELS:
            for caption in captions_of(label, part):
                add(caption, "one", label)
        for pair in itertools.permutations(LABELS, 2):
            add(both_caption(*pair, part), "both", *pair)
    return meanings


@functools.cache
def caption_indices():
    """Returns {caption: index in `trained_captions()`}."""
    return {caption: number for number, caption in enumerate(trained_captions())}


class CaptionSet(NamedTuple):
    """The captions that a run trains with."""

    meanings: dict
    """{caption: Meaning}. Batches contain captions as indices into this order."""
    names: list
    """All labels or names that meanings refer to."""


def caption_set():
    """Returns the captions of `captions.toml`."""
    return CaptionSet(trained_captions(), LABELS)
