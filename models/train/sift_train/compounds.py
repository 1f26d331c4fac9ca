"""Texts that name several sounds, such as "drums and bass", or may mean several, such as "guitar": what the plugin makes
of them, and so the evaluation.

Each sound is encoded and separated by itself. The plugin has the conjunctions and the doubt from the package
(`concepts.json`) and does the same by `plugin/engine/src/query/encoder.rs`, `compound.rs` and `separator/compound.rs`.
"""

import enum
import re
from typing import NamedTuple

import numpy as np

CONJUNCTIONS = (
    " and ", " & ", " plus ", " as well as ", " together with ", ",", "+",
    " 그리고 ", " 및 ", "하고 ", "이랑 ", "랑 ", "와 ", "과 ",
)
"""What stands between the names of two sounds, in lower case."""

NO_CONJUNCTIONS = ("하고 있",)
"""What looks like one and is none: "말하고 있는 사람" is a person speaking."""

MOST_PARTS = 4
"""Sounds that are separated at once: each costs a run of the network a hop."""
SURE = 0.5
"""Closeness from which a sound counts as understood."""
DOUBT = 0.15
"""A text that has not the name of the nearest concept in it means every one whose cosine is less than this lower ..."""
MOST_MEANT = MOST_PARTS - 1
"""... but no more than these: it may be separated by its own words, too."""

# Where several begin at one place, the longest counts.
_WORDS = sorted(CONJUNCTIONS + NO_CONJUNCTIONS, key=len, reverse=True)
_CONJUNCTION = re.compile("|".join(map(re.escape, _WORDS)), re.IGNORECASE)
_KOREAN = re.compile("[가-힣]")


class Heard(NamedTuple):
    """What words were taken for."""

    names: tuple
    """Of the concepts that they mean, the nearest first; more than one where it is in doubt."""
    closeness: float
    """Of the nearest one."""
    negated: bool


class Role(enum.Enum):
    """What becomes of one of the sounds."""

    KEPT = "what its mask lets through passes"
    LEFT_OUT = "only what its mask lets through passes, which is that of all other sounds"
    TURNED = "as LEFT_OUT, but its mask is that of the sound and is to be turned around"


def pieces(text):
    """(begin, end) of what lies between conjunctions, without what is empty."""
    cuts = (found.span() for found in _CONJUNCTION.finditer(text) if found[0] not in NO_CONJUNCTIONS)
    ends = [*cuts, (len(text), len(text))]
    begins = [0, *(end for _, end in ends)]
    return [(begin, end) for begin, (end, _) in zip(begins, ends) if text[begin:end].strip()]


def roles(text, negated):
    """Those of a text's sounds, by which of them negate.

    In "everything but A and B", and so what follows a negation, B is left out, too; in Korean, which negates at the
    end, what comes before it.
    """
    korean = _KOREAN.search(text)
    found = []
    for place, negates in enumerate(negated):
        carried = any(negated[place:] if korean else negated[:place])
        found.append(Role.LEFT_OUT if negates else Role.TURNED if carried else Role.KEPT)
    return found


def parts(text, hear):
    """The sounds that a text names: words and Role of each.

    `hear`: words → Heard. A piece that is not understood is taken together with what follows; where that leaves
    anything, or less than two sounds, the text stays whole.
    """
    cut = pieces(text)
    if not 2 <= len(cut) <= MOST_PARTS:
        return _whole(text, hear)
    sounds = {}
    begin = cut[0][0]
    for place, (_, end) in enumerate(cut):
        words = text[begin:end].strip()
        heard = hear(words)
        if heard.closeness >= SURE:
            sounds.setdefault((heard.names[0], heard.negated), words)
            begin = cut[place + 1][0] if place + 1 < len(cut) else len(text)
    if begin < len(text) or len(sounds) < 2:
        return _whole(text, hear)
    return list(zip(sounds.values(), roles(text, [negated for _, negated in sounds])))


def _whole(text, hear):
    """A text for one sound: where it is in doubt which, all that it may mean, by their names.

    By its own words, too, where even the nearest may be wrong, or where only these tell that it negates.
    """
    heard = hear(text)
    if len(heard.names) == 1:
        return [(text, Role.KEPT)]
    own, named = (Role.LEFT_OUT, Role.TURNED) if heard.negated else (Role.KEPT, Role.KEPT)
    words = [] if heard.closeness >= SURE and not heard.negated else [(text, own)]
    return words + [(name, named) for name in heard.names]


def combined(masks, roles):
    """One mask: the largest gain of those that are kept, but not above that of any that is left out."""
    kept = [mask for mask, role in zip(masks, roles) if role is Role.KEPT]
    left_out = [mask if role is Role.LEFT_OUT else 1 - mask for mask, role in zip(masks, roles) if role is not Role.KEPT]
    return np.minimum.reduce([*([np.maximum.reduce(kept)] if kept else []), *left_out])
