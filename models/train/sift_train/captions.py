"""What people would type for each label of the corpus, from `captions.toml`.

Every label has a noun phrase, from which templates make captions, phrasings of its own, and phrasings that are never
trained on: the evaluation's measure of how well the network understands words that it has not seen.
"""

import tomllib
from pathlib import Path

MUSIC = "music"
"""Not a label of the corpus: several instruments together."""

TEMPLATES = ("{label}", "{noun}", "the sound of {noun}", "{label} sounds", "a recording of {noun}")

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
