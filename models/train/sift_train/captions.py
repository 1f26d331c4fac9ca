"""What people would type for each label of the corpus, from `captions.toml`.

Every label has a noun phrase, from which templates make captions, phrasings of its own, and phrasings that are never
trained on: the evaluation's measure of how well the network understands words that it has not seen. Further templates
say that all but one sound is meant, or two sounds at once.
"""

import functools
import itertools
import random
import tomllib
from pathlib import Path
from typing import NamedTuple

MUSIC = "music"
"""Not a label of the corpus: several instruments together."""

TEMPLATES = ("{label}", "{noun}", "the sound of {noun}", "{label} sounds", "a recording of {noun}")

# fmt: off
EXCEPT = {
    "train": ("everything but {}", "everything except {}", "all but {}", "anything but {}", "without {}", "no {}",
              "not {}", "remove {}", "the rest without {}", "everything without {}", "all except {}",
              "everything except for {}", "except {}", "exclude {}", "mute {}", "cut {}", "minus {}", "drop {}",
              "get rid of {}", "filter out {}", "leave out {}", "{} removed", "the whole mix without {}",
              "anything that is not {}", "delete {}", "everything that isn't {}"),
    "held_out": ("all sounds apart from {}", "the mix minus {}", "take out {}", "everything other than {}",
                 "{} taken out", "silence {}", "strip out {}", "all of it, just not {}", "lose {}", "no more {}",
                 "the track with {} muted", "I don't want {}", "erase {}"),
    "korean": ("{} 빼고 전부", "{} 빼고 다", "{} 제외한 나머지", "{} 없이", "{} 말고 다른 소리", "{} 제거", "{}만 빼고",
               "{} 빼줘", "{} 빼고", "{} 제외", "{} 없애기", "{} 없는 소리", "{} 지우기", "{} 말고 전부", "{} 음소거",
               "{} 제외하고 전부"),
    "korean_held_out": ("{} 뺀 나머지 모두", "{} 외의 모든 소리", "{} 빼기", "{} 말고 나머지", "{} 없애줘", "{} 지워줘",
                        "{} 제외한 모든 소리", "{} 제거하기"),
}
# fmt: on
"""What is said of all sounds but one."""

BOTH = {
    "train": ("{} and {}", "{} with {}", "{} plus {}", "{}, {}", "both {} and {}", "{} & {}"),
    "held_out": ("{} together with {}", "{} as well as {}"),
    "korean": ("{}하고 {}", "{} 그리고 {}", "{}, {}", "{} + {}"),
    "korean_held_out": ("{} 및 {}",),
}
"""What is said of two sounds."""

with open(Path(__file__).with_suffix(".toml"), "rb") as file:
    _PHRASES = tomllib.load(file)

LABELS = sorted(_PHRASES)


def captions_of(label, part):
    """All captions of a label, without repetition.

    `part`: "train" or "held_out", in English; "korean" or "korean_held_out".
    """
    phrases = _PHRASES[label]
    if part != "train":
        return phrases["english_held_out" if part == "held_out" else part]
    templated = (template.format(label=label, noun=phrases["noun"]) for template in TEMPLATES)
    return list(dict.fromkeys([*templated, *phrases["english"]]))


def usual_caption(label):
    """The first natural way to say it, as the evaluation asks for a label."""
    return _PHRASES[label]["noun"]


def all_captions(part):
    """All captions of all labels, without repetition (several labels answer to "guitar"), in a fixed order."""
    return list(dict.fromkeys(caption for label in LABELS for caption in captions_of(label, part)))


def except_captions(label, part):
    """Captions of everything but this label, one of each template, around phrases that are drawn once for all."""
    rng = random.Random(f"except {label} {part}")
    phrases = captions_of(label, part)
    return [template.format(rng.choice(phrases)) for template in EXCEPT[part]]


def both_caption(first, second, part):
    """A caption of two labels at once, drawn once for all."""
    rng = random.Random(f"both {first} {second} {part}")
    phrases = (rng.choice(captions_of(label, part)) for label in (first, second))
    return rng.choice(BOTH[part]).format(*phrases)


class Meaning(NamedTuple):
    """What a caption asks for."""

    kind: str
    """"one" sound, everything "but" one, or "both" of two."""
    labels: frozenset
    """Several for one sound whose name is ambiguous, such as "guitar"."""


@functools.cache
def trained_captions():
    """Every caption that training asks by, in a fixed order, with its Meaning."""
    found = {}

    def add(caption, kind, *labels):
        known = found.get(caption, Meaning(kind, frozenset()))
        found[caption] = known._replace(labels=known.labels | set(labels))

    for part in ("train", "korean"):
        for label in LABELS:
            for caption in captions_of(label, part):
                add(caption, "one", label)
        for label in LABELS:
            for caption in except_captions(label, part):
                add(caption, "but", label)
        for pair in itertools.permutations(LABELS, 2):
            add(both_caption(*pair, part), "both", *pair)
    return found


@functools.cache
def caption_numbers():
    """The position of each of `trained_captions()`."""
    return {caption: number for number, caption in enumerate(trained_captions())}


class CaptionSet(NamedTuple):
    """The captions that a run trains by."""

    meanings: dict
    """The Meaning of each caption, in the order in which batches count captions."""
    names: list
    """Every label or name that a meaning refers to."""


def caption_set():
    """The captions of `captions.toml`."""
    return CaptionSet(trained_captions(), LABELS)
