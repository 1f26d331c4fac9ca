"""The vocabulary: names of sounds that can be asked for, the recordings that answer to them, and their captions.

A *concept* is a kind of sound that the corpora hold recordings of, under one or more labels. An *umbrella* is a name that
several concepts answer to ("drums", "animal"); a concept may be an umbrella, too ("speech", of which "female speech" is
one kind). `models/train/vocabulary` holds both: `concepts.csv` (columns concept, labels, umbrellas, near) and the captions
by kind of sound.
"""

import csv
import random
import tomllib
from collections import defaultdict
from pathlib import Path

from .captions import EXCEPT, TEMPLATES, CaptionSet, Meaning

FAMILIES = (
    frozenset({"drums", "percussion"}),
    frozenset({"bass"}),
    frozenset({"guitar"}),
    frozenset({"synthesizer"}),
    frozenset({"strings"}),
    frozenset({"brass"}),
    frozenset({"woodwinds"}),
)
"""Umbrellas whose members are too alike, or recorded together too often, to be interferers of one another."""

CAPTION_FIELDS = {
    "held_out": "english_held_out",
    "korean": "korean",
    "korean_held_out": "korean_held_out",
}


def _split(field):
    return frozenset(part.strip() for part in field.split(";") if part.strip())


class Vocabulary:
    """Concepts, umbrellas and captions of a vocabulary folder.

    Attributes
    ----------
    names : list of str
        Concepts and umbrellas, sorted: every name that can be asked for.
    concept_of : dict
        The concept of each label of the corpora.
    umbrellas_of : dict
        The umbrellas of each concept, a frozenset.
    members : dict
        The concepts that answer to each name, a frozenset.
    conflicts : dict
        The concepts that must not be heard as interferers when a name is asked for: its members, and whatever a
        listener could take for one of them. A frozenset for each name.
    """

    def __init__(self, folder):
        """`folder`: with `concepts.csv` and `captions/*.toml`.

        Raises ValueError where a name has no captions, captions have no name, or a label has two concepts.
        """
        folder = Path(folder)
        with open(folder / "concepts.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.concept_of = {}
        for row in rows:
            for label in _split(row["labels"]):
                if label in self.concept_of:
                    raise ValueError(f"{folder / 'concepts.csv'}: the label {label!r} has two concepts")
                self.concept_of[label] = row["concept"]
        self.umbrellas_of = {row["concept"]: _split(row["umbrellas"]) for row in rows}
        self.names = sorted(self.umbrellas_of.keys() | set().union(*self.umbrellas_of.values()))
        self.members = {
            name: frozenset(
                concept for concept, umbrellas in self.umbrellas_of.items() if concept == name or name in umbrellas
            )
            for name in self.names
        }
        self.conflicts = self._conflicts({row["concept"]: _split(row["near"]) for row in rows})
        self._phrases = self._read_captions(folder / "captions")

    def _conflicts(self, near):
        alike = defaultdict(set)
        for concept, others in near.items():
            for other in others:
                alike[concept].add(other)
                alike[other].add(concept)
        for concept, umbrellas in self.umbrellas_of.items():
            # A recording of "drums" may hold the kick that is asked for.
            alike[concept] |= {umbrella for umbrella in umbrellas if umbrella in self.umbrellas_of}
            for family in FAMILIES:
                if (umbrellas | {concept}) & family:
                    alike[concept] |= set().union(*(self.members[umbrella] for umbrella in family))
        conflicts = {}
        for name in self.names:
            members = self.members[name]
            conflicts[name] = frozenset(members.union(*(alike[member] for member in members)))
        return conflicts

    def _read_captions(self, folder):
        phrases = {}
        for path in sorted(folder.glob("*.toml")):
            with open(path, "rb") as file:
                phrases |= tomllib.load(file)
        missing = [name for name in self.names if name not in phrases]
        if missing:
            raise ValueError(f"{folder}: no captions for {', '.join(missing)}; add a table for each")
        unknown = sorted(phrases.keys() - set(self.names))
        if unknown:
            raise ValueError(f"{folder}: captions for names that are not in concepts.csv: {', '.join(unknown)}")
        return phrases

    def captions(self, name, part):
        """All captions of a name, without repetition.

        `part`: "train" or "held_out", in English; "korean" or "korean_held_out".
        """
        phrases = self._phrases[name]
        if part != "train":
            return phrases[CAPTION_FIELDS[part]]
        templated = (template.format(label=name, noun=phrases["noun"]) for template in TEMPLATES)
        return list(dict.fromkeys([*templated, *phrases["english"]]))

    def usual_caption(self, name):
        """The first natural way to say it."""
        return self._phrases[name]["noun"]

    def except_captions(self, name, part):
        """Captions of everything but this name: one per template, around phrases drawn once for all."""
        rng = random.Random(f"except {name} {part}")
        phrases = self.captions(name, part)
        return [template.format(rng.choice(phrases)) for template in EXCEPT[part]]

    def caption_set(self):
        """Every caption that training asks by, in a fixed order; one that two names share stands for the first."""
        meanings = {}
        for part in ("train", "korean"):
            for name in self.names:
                for caption in self.captions(name, part):
                    meanings.setdefault(caption, Meaning("one", frozenset({name})))
            for name in self.names:
                for caption in self.except_captions(name, part):
                    meanings.setdefault(caption, Meaning("but", frozenset({name})))
        return CaptionSet(meanings, self.names)
