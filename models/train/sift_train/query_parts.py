"""Splits texts that name several sounds ("drums and bass") or may mean several ("guitar"), as the plugin does.

Each part is encoded and separated by itself. The plugin reads the conjunctions and `DOUBT` from the package
(`concepts.json`); its implementation is in `plugin/engine/src/query` and `plugin/engine/src/separator`.
"""

import enum
import re
from typing import NamedTuple

import numpy as np

CONJUNCTIONS = (
    " and ",
    " & ",
    " plus ",
    " as well as ",
    " together with ",
    ",",
    "+",
    " 그리고 ",
    " 및 ",
    "하고 ",
    "이랑 ",
    "랑 ",
    "와 ",
    "과 ",
)
"""Separators between the names of two sounds, in lower case."""

NO_CONJUNCTIONS = ("하고 있",)
"""Strings that contain a conjunction but do not separate sounds: "말하고 있는 사람" is a person speaking."""

EXCLUSIONS = (" without ", " but no ", " but not ", " minus ")
"""Words before a sound to exclude beside another, in lower case. They separate and belong to what follows them."""

MAX_PARTS = 4
"""The largest number of parts: each costs one run of the network per hop."""
UNDERSTOOD = 0.5
"""The smallest closeness of a text that counts as understood."""
DOUBT = 0.15
"""The cosine distance from the nearest concept below which a text may mean another one too.

This does not apply to texts that contain the name of the nearest concept.
"""
MAX_CONCEPTS = MAX_PARTS - 1
"""The largest number of concepts that a text may mean; its own words may be one more part."""

# Of several that begin at one position, the longest is used.
_WORDS = sorted(CONJUNCTIONS + NO_CONJUNCTIONS + EXCLUSIONS, key=len, reverse=True)
_CONJUNCTION = re.compile("|".join(map(re.escape, _WORDS)), re.IGNORECASE)
_KOREAN = re.compile("[가-힣]")


class TextAnalysis(NamedTuple):
    """The concepts that a text may mean, and whether it is negated."""

    concepts: tuple
    """Names, the nearest first; several if the text is ambiguous."""
    closeness: float
    """Closeness to the nearest concept."""
    negated: bool
    """Whether the text means all sounds but the named one."""


class PartRole(enum.Enum):
    """The effect of one part on the combined mask."""

    INCLUDE = "its mask passes the sound"
    EXCLUDE_NEGATED = "its mask passes all other sounds and limits the combined mask"
    EXCLUDE_INVERTED = "its mask passes the sound and limits the combined mask after inversion"


def split_at_conjunctions(text):
    """Lists (begin, end) of the pieces between conjunctions and before exclusions, except empty ones."""
    cuts = [
        (found.start(), found.start() if found[0].lower() in EXCLUSIONS else found.end())
        for found in _CONJUNCTION.finditer(text)
        if found[0] not in NO_CONJUNCTIONS
    ]
    ends = [*cuts, (len(text), len(text))]
    begins = [0, *(end for _, end in ends)]
    return [(begin, end) for begin, (end, _) in zip(begins, ends) if text[begin:end].strip()]


def assign_roles(text, negated):
    """Lists the roles of a text's parts. `negated`: whether each part is negated.

    A negation also applies to the parts after it ("everything but A and B"); in Korean, where it is at the end, to the
    parts before it.
    """
    korean = _KOREAN.search(text)
    found = []
    for position, is_negated in enumerate(negated):
        inherits = any(negated[position:] if korean else negated[:position])
        if is_negated:
            found.append(PartRole.EXCLUDE_NEGATED)
        else:
            found.append(PartRole.EXCLUDE_INVERTED if inherits else PartRole.INCLUDE)
    return found


def find_sounds(text, analyse):
    """Finds the sounds that a text names: {(nearest concept, negated): words}, or None if the text is one sound.

    `analyse`: words → TextAnalysis. A piece that is not understood is joined with the next one. If a piece remains, or
    fewer than two sounds are found, the text is not split.
    """
    pieces = split_at_conjunctions(text)
    if not 2 <= len(pieces) <= MAX_PARTS:
        return None
    sounds = {}
    begin = pieces[0][0]
    for position, (_, end) in enumerate(pieces):
        words = text[begin:end].strip()
        analysis = analyse(words)
        if analysis.closeness >= UNDERSTOOD:
            sounds.setdefault((analysis.concepts[0], analysis.negated), words)
            begin = pieces[position + 1][0] if position + 1 < len(pieces) else len(text)
    return None if begin < len(text) or len(sounds) < 2 else sounds


def split_query(text, analyse):
    """Splits a text into its parts: [(words, PartRole)]. `analyse`: words → TextAnalysis."""
    sounds = find_sounds(text, analyse)
    if sounds is None:
        return _unsplit(text, analyse)
    return list(zip(sounds.values(), assign_roles(text, [negated for _, negated in sounds])))


def _unsplit(text, analyse):
    """Makes the parts of a text for one sound: if it is ambiguous, the names of all concepts that it may mean.

    The text itself is another part if even the nearest concept may be wrong, or if the text is negated.
    """
    analysis = analyse(text)
    if len(analysis.concepts) == 1:
        return [(text, PartRole.INCLUDE)]
    if analysis.negated:
        return [
            (text, PartRole.EXCLUDE_NEGATED),
            *((name, PartRole.EXCLUDE_INVERTED) for name in analysis.concepts),
        ]
    words = [] if analysis.closeness >= UNDERSTOOD else [(text, PartRole.INCLUDE)]
    return words + [(name, PartRole.INCLUDE) for name in analysis.concepts]


def combine_masks(masks, roles):
    """Combines masks: the largest gain of the included parts, limited by the gain of every excluded part."""
    included = [mask for mask, role in zip(masks, roles) if role is PartRole.INCLUDE]
    limits = [
        mask if role is PartRole.EXCLUDE_NEGATED else 1 - mask
        for mask, role in zip(masks, roles)
        if role is not PartRole.INCLUDE
    ]
    return np.minimum.reduce([*([np.maximum.reduce(included)] if included else []), *limits])
