"""The vocabulary: names of sounds, the labels of the corpora that match them, and their captions.

A *concept* is a kind of sound with recordings in the corpora, under one or more labels. An *umbrella* is a name that
several concepts match ("drums", "animal"). A concept can also be an umbrella ("speech", of which "female speech" is one
kind). `models/train/vocabulary` contains both: `concepts.csv` (columns concept, labels, umbrellas, near) and the
captions by kind of sound.
"""

import csv
import tomllib
from collections import defaultdict
from pathlib import Path

from .captions import TEMPLATES, CaptionSet, Meaning

FAMILIES = (
    frozenset({"drums", "percussion"}),
    frozenset({"bass"}),
    frozenset({"guitar"}),
    frozenset({"synthesizer"}),
    frozenset({"strings"}),
    frozenset({"brass"}),
    frozenset({"woodwinds"}),
)
"""Groups of umbrellas whose members sound similar or often share a recording, and are never mixed as interferers."""

CAPTION_FIELDS = {
    "held_out": "english_held_out",
    "korean": "korean",
    "korean_held_out": "korean_held_out",
}
"""The key of the captions file for each part except "train"."""


def _split_names(field):
    return frozenset(part.strip() for part in field.split(";") if part.strip())


class Vocabulary:
    """Concepts, umbrellas and captions of a vocabulary folder.

    Attributes
    ----------
    names : list of str
        All concepts and umbrellas, sorted.
    concept_of : dict
        The concept of each label of the corpora.
    umbrellas_of : dict
        The umbrellas of each concept, a frozenset.
    members : dict
        The concepts that match each name, a frozenset.
    conflicts : dict
        The concepts that must not be interferers of each name: its members and the concepts that sound like them. A
        frozenset.
    near : dict
        The concepts whose recordings can contain each name or be taken for it. A frozenset. For an umbrella, those that
        are near to half of its members.
    """

    def __init__(self, folder):
        """`folder`: contains `concepts.csv` and `captions/*.toml`.

        Raises ValueError if a name has no captions, captions have no name, or a label has two concepts.
        """
        folder = Path(folder)
        with open(folder / "concepts.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.concept_of = {}
        for row in rows:
            for label in _split_names(row["labels"]):
                if label in self.concept_of:
                    raise ValueError(f"{folder / 'concepts.csv'}: label {label!r} has two concepts; expected one")
                self.concept_of[label] = row["concept"]
        self.umbrellas_of = {row["concept"]: _split_names(row["umbrellas"]) for row in rows}
        self.names = sorted(self.umbrellas_of.keys() | set().union(*self.umbrellas_of.values()))
        self.members = {
            name: frozenset(
                concept for concept, umbrellas in self.umbrellas_of.items() if concept == name or name in umbrellas
            )
            for name in self.names
        }
        near = {row["concept"]: _split_names(row["near"]) for row in rows}
        self.conflicts = self._find_conflicts(near)
        self.near = self._find_near(near)
        self._phrases = self._read_captions(folder / "captions")

    def _find_conflicts(self, near):
        similar = defaultdict(set)
        for concept, others in near.items():
            for other in others:
                similar[concept].add(other)
                similar[other].add(concept)
        for concept, umbrellas in self.umbrellas_of.items():
            # A recording of an umbrella ("drums") can contain the concept ("kick drum").
            similar[concept] |= {umbrella for umbrella in umbrellas if umbrella in self.umbrellas_of}
            for family in FAMILIES:
                if (umbrellas | {concept}) & family:
                    similar[concept] |= set().union(*(self.members[umbrella] for umbrella in family))
        conflicts = {}
        for name in self.names:
            members = self.members[name]
            conflicts[name] = frozenset(members.union(*(similar[member] for member in members)))
        return conflicts

    def _find_near(self, near):
        similar = {concept: set(others) for concept, others in near.items()}
        for concept, others in near.items():
            for other in others:
                similar[other].add(concept)
        for concept, umbrellas in self.umbrellas_of.items():
            # A recording of an umbrella ("drums") can contain the concept ("kick drum").
            similar[concept] |= umbrellas & self.umbrellas_of.keys()
        found = {}
        for name in self.names:
            members = self.members[name]
            often = (
                other for other in similar if 2 * sum(other in similar[member] for member in members) >= len(members)
            )
            found[name] = frozenset(similar.get(name, set())).union(often) - members
        return found

    def _read_captions(self, folder):
        phrases = {}
        for path in sorted(folder.glob("*.toml")):
            with open(path, "rb") as file:
                phrases |= tomllib.load(file)
        missing = [name for name in self.names if name not in phrases]
        if missing:
            raise ValueError(f"{folder}: no captions for {', '.join(missing)}; expected a table for each name")
        unknown = sorted(phrases.keys() - set(self.names))
        if unknown:
            raise ValueError(f"{folder}: names that are not in concepts.csv: {', '.join(unknown)}; add or rename them")
        return phrases

    def captions(self, name, part):
        """Returns all captions of a name, without duplicates.

        `part`: "train" or "held_out", in English; "korean" or "korean_held_out".
        """
        phrases = self._phrases[name]
        if part != "train":
            return phrases[CAPTION_FIELDS[part]]
        templated = (template.format(label=name, noun=phrases["noun"]) for template in TEMPLATES)
        return list(dict.fromkeys([*templated, *phrases["english"]]))

    def usual_caption(self, name):
        """Returns the noun phrase of a name."""
        return self._phrases[name]["noun"]

    def caption_set(self):
        """Returns all captions of training in a fixed order. A caption that two names share has the meaning of the first."""
        meanings = {}
        for part in ("train", "korean"):
            for name in self.names:
                for caption in self.captions(name, part):
                    meanings.setdefault(caption, Meaning("one", frozenset({name})))
        return CaptionSet(meanings, self.names)
