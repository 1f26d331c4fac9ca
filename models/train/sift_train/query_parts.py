"""Splits texts that name several sounds ("drums and bass") or may mean several ("guitar").

Each part is encoded and separated by itself; of an excluded part, only the name. The words known here are those that the
evaluation needs. The plugin's grammar (`plugin/engine/src/query`) knows more.
"""

import enum
import re
from typing import NamedTuple

import numpy as np

# fmt: off
CONJUNCTIONS = (
    " and ", " & ", " plus ", " as well as ", " together with ", ",", "+",
    " 그리고 ", " 및 ", "하고 ", "이랑 ", "랑 ", "와 ", "과 ",
)
# fmt: on
"""Separators between the names of two sounds, in lower case."""

NO_CONJUNCTIONS = ("하고 있",)
"""Strings that contain a conjunction but do not separate sounds: "말하고 있는 사람" is a person speaking."""

EXCLUSIONS = ("everything but ", "everything except ", "without ", "but no ", "no ")
"""Words before a sound to exclude, in lower case. They also apply to the sounds after it."""

MAX_PARTS = 4
"""The largest number of parts: each costs one run of the network per hop."""
UNDERSTOOD = 0.5
"""The smallest closeness of a text that counts as understood."""
DOUBT = 0.15
"""The cosine distance from the nearest concept below which a text may mean another one too.

This does not apply to texts that contain the name of the nearest concept.
"""
MAX_CONCEPTS = 3
"""The largest number of concepts that a text may mean; its own words may be one more part."""

# Of several that begin at one position, the longest is used.
_WORDS = sorted(CONJUNCTIONS + NO_CONJUNCTIONS, key=len, reverse=True)
_CONJUNCTION = re.compile("|".join(map(re.escape, _WORDS)) + "| (?=without )", re.IGNORECASE)
_EXCLUSION = re.compile("|".join(EXCLUSIONS), re.IGNORECASE)


class TextAnalysis(NamedTuple):
    """The concepts that a text may mean."""

    concepts: tuple
    """Names, the nearest first; several if the text is ambiguous."""
    closeness: float
    """Closeness to the nearest concept."""


class PartRole(enum.Enum):
    """The effect of one part on the combined mask."""

    INCLUDE = "its mask passes the sound"
    EXCLUDE = "its inverted mask limits the combined mask"


def split_at_conjunctions(text):
    """Lists (begin, end) of the pieces between conjunctions, except empty ones."""
    cuts = [found.span() for found in _CONJUNCTION.finditer(text) if found[0] not in NO_CONJUNCTIONS]
    ends = [*cuts, (len(text), len(text))]
    begins = [0, *(end for _, end in ends)]
    return [(begin, end) for begin, (end, _) in zip(begins, ends) if text[begin:end].strip()]


def _read_role(words, role=PartRole.INCLUDE):
    """Returns the name in a piece of text and its role. `role`: that of the piece before it."""
    words = words.strip()
    excluded = _EXCLUSION.match(words)
    return (words[excluded.end() :], PartRole.EXCLUDE) if excluded else (words, role)


def find_sounds(text, analyse):
    """Finds the sounds that a text names: [(words, PartRole)], one if the text is not split.

    `analyse`: words → TextAnalysis. A piece that is not understood is joined with the next one. If a piece remains, or
    fewer than two sounds are found, the text is not split.
    """
    pieces = split_at_conjunctions(text)
    sounds, role = {}, PartRole.INCLUDE
    begin = pieces[0][0] if pieces else 0
    for position, (_, end) in enumerate(pieces):
        words, next_role = _read_role(text[begin:end], role)
        analysis = analyse(words)
        if analysis.closeness >= UNDERSTOOD:
            sounds.setdefault((analysis.concepts[0], next_role), (words, next_role))
            begin = pieces[position + 1][0] if position + 1 < len(pieces) else len(text)
            role = next_role
    is_split = 2 <= len(pieces) <= MAX_PARTS and begin == len(text) and len(sounds) >= 2
    return list(sounds.values()) if is_split else [_read_role(text)]


def split_query(text, analyse):
    """Splits a text into its parts: [(words, PartRole)]. `analyse`: words → TextAnalysis.

    An ambiguous text for one sound has a part for each concept that it may mean. The text itself is another part if even
    the nearest concept may be wrong.
    """
    sounds = find_sounds(text, analyse)
    if len(sounds) > 1:
        return sounds
    [(words, role)] = sounds
    analysis = analyse(words)
    if len(analysis.concepts) == 1:
        return sounds
    itself = [] if analysis.closeness >= UNDERSTOOD else sounds
    return itself + [(name, role) for name in analysis.concepts]


def combine_masks(masks, roles):
    """Combines masks: the largest gain of the included parts, limited by 1 less the gain of every excluded part."""
    included = [mask for mask, role in zip(masks, roles) if role is PartRole.INCLUDE]
    limits = [1 - mask for mask, role in zip(masks, roles) if role is PartRole.EXCLUDE]
    return np.minimum.reduce([*([np.maximum.reduce(included)] if included else []), *limits])
