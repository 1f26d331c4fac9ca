"""Texts that measure which names a package understands, and the shares of what becomes of them.

The texts are phrases that no training used: the held-out captions of the package's labels, those of the other sounds of the
vocabulary, and texts of `unknown.toml`. A wrong sound told with a closeness that counts as understood is *wrong, yet sure*.
"""

import copy

import numpy as np

from .captions import LABELS, captions_of
from .concepts import UNKNOWN, calibrate
from .names import GENERAL, normalise, resolve
from .understanding import MIN_CLOSENESS, UNDERSTOOD, Dictionary

PARTS = ("held_out", "korean_held_out")
CAPTIONS = ("English captions", "Korean captions")
KINDS, UNKNOWN_SOUNDS, OTHER = "kinds of known sounds", "unknown sounds", "other texts"
GROUPS = (*CAPTIONS, KINDS, UNKNOWN_SOUNDS, OTHER)
"""Groups of texts. In the last two, the right answer is that the model does not know the sound."""
OUTCOMES = ("right", "right, in doubt", "wrong, yet sure", "wrong, in doubt", "everything passes")
"""What can become of a text. "In doubt" is told with a closeness that does not count as understood."""
UNDERSTOOD_VALUES = (0.4, 0.5, 0.6, 0.7, 0.8)
FLOOR_VALUES = (0.15, 0.25, 0.35, 0.45)
CALIBRATIONS = {
    "fitted to captions and unknown sounds": (*CAPTIONS, UNKNOWN_SOUNDS, OTHER),
    "fitted to all groups": GROUPS,
}
"""Other calibrations of the closeness, with the groups that they are fitted to."""


def allowed_concepts(name, labels, vocabulary):
    """Returns the concepts of a package that a phrase of the vocabulary's `name` may be taken for.

    They are those that the dictionary gives it, its umbrellas and its members. Who sings may be taken for speech or a choir,
    as the plugin does.
    """
    umbrellas = vocabulary.umbrellas_of.get(name, frozenset())
    singing = {"speech", "choir"} if "vocals" in umbrellas | {name} else set()
    return labels & (set(resolve(name, labels, vocabulary)) | umbrellas | vocabulary.members[name] | singing)


def collect_texts(labels, vocabulary):
    """Collects the texts of `GROUPS`: {group: {text: set of concepts that it may be taken for}}.

    `labels`: names of the package's concepts.
    """
    labels = set(labels)
    groups = {group: {} for group in GROUPS}
    for group, part in zip(CAPTIONS, PARTS):
        for label in LABELS:
            for text in captions_of(label, part):
                groups[group].setdefault(text, set()).add(label)
    phrases = {}
    for name in vocabulary.names:
        allowed = allowed_concepts(name, labels, vocabulary)
        for part in ("train", "korean", *PARTS):
            for text in vocabulary.captions(name, part):
                phrases.setdefault(normalise(text), set()).update(allowed)
    captions = set().union(*(groups[group] for group in CAPTIONS))
    for name in vocabulary.names:
        for text in (text for part in PARTS for text in vocabulary.captions(name, part)):
            if name not in labels and text not in captions:
                allowed = phrases[normalise(text)]
                groups[KINDS if allowed - GENERAL else UNKNOWN_SOUNDS][text] = allowed
    groups[OTHER] = {text: phrases.get(normalise(text), set()) for text in UNKNOWN["judge"]}
    return groups


def classify(understanding, allowed, understood=UNDERSTOOD):
    """Returns the outcome, one of `OUTCOMES`, of a text that may be taken for the concepts `allowed`."""
    if understanding.passes_everything:
        return "everything passes"
    sounds = understanding.keep + understanding.leave_out
    is_sure = any(sound.matches[0].closeness >= understood for sound in sounds)
    if understanding.means(allowed):
        return "right" if is_sure else "right, in doubt"
    return "wrong, yet sure" if is_sure else "wrong, in doubt"


def measure_shares(reader, groups, understood=UNDERSTOOD):
    """Measures the share of each outcome: {group: {outcome: share}}."""
    shares = {}
    for group, texts in groups.items():
        outcomes = [classify(reader.read(text), allowed, understood) for text, allowed in texts.items()]
        shares[group] = {outcome: outcomes.count(outcome) / len(outcomes) for outcome in OUTCOMES}
    return shares


def recalibrate(reader, groups):
    """Returns a reader whose closeness is fitted to the texts of groups, each {text: set of concepts that it may be taken for}."""
    cosines, right = [], []
    for texts in groups:
        for text, allowed in texts.items():
            cosine, name = reader.nearest(text)
            cosines.append(cosine)
            right.append(name in allowed)
    slope, offset = calibrate(np.array(cosines), np.array(right))
    other = reader.vary()
    other.concepts = copy.copy(reader.concepts)
    other.concepts.closeness = {"slope": round(float(slope), 4), "offset": round(float(offset), 4)}
    return other


def measure_names(reader, vocabulary):
    """Measures the outcomes of all groups of texts; returns a dictionary.

    They are those of `reader`, of a reader without the package's dictionary, and of other thresholds and calibrations.
    """
    groups = collect_texts(reader.concepts.names, vocabulary)
    recalibrated = {
        name: recalibrate(reader, [groups[group] for group in fitted]) for name, fitted in CALIBRATIONS.items()
    }
    calibrations = {"of the package": reader, **recalibrated}
    return {
        "texts": {group: len(texts) for group, texts in groups.items()},
        "shares": {
            "with the dictionary": measure_shares(reader, groups),
            "without": measure_shares(reader.vary(Dictionary(reader.concepts.names)), groups),
        },
        "calibrations": {
            name: other.concepts.closeness | {"shares": measure_shares(other, groups)}
            for name, other in calibrations.items()
        },
        "understood": {
            str(value): measure_shares(reader.vary(understood=value), groups, value) for value in UNDERSTOOD_VALUES
        },
        "floor": {str(value): measure_shares(reader.vary(floor=value), groups) for value in FLOOR_VALUES},
    }


def _table(heading, columns, rows):
    """Formats rows {name: [cells]} as the lines of a table."""
    lines = [f"| {heading} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    return [*lines, *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items())]


def _percent(*shares):
    return " · ".join(f"{100 * share:.1f}" for share in shares)


def _right(shares):
    return shares["right"] + shares["right, in doubt"]


def make_names_markdown(figures):
    """Formats the figures of `measure_names` as text with tables."""
    with_dictionary, without = figures["shares"].values()
    groups = [f"{group}, {figures['texts'][group]}" for group in GROUPS]

    def cells(shares):
        """Cells of one set of thresholds: right and sure, wrong and sure, everything passes."""
        return [
            _percent(shares[group]["right"], shares[group]["wrong, yet sure"], shares[group]["everything passes"])
            for group in GROUPS
        ]

    calibrations = {
        f"{name}: slope {row['slope']:.2f}, offset {row['offset']:.2f}": cells(row["shares"])
        for name, row in figures["calibrations"].items()
    }
    return [
        "What becomes of texts that no training used, in percent, with the dictionary of names and without it. A text is "
        f"understood from a closeness of {UNDERSTOOD} on, and everything passes below {MIN_CLOSENESS}. Phrases of unknown "
        "sounds and other texts may only be taken for an umbrella, such as music.",
        "",
        *_table(
            "outcome",
            groups,
            {
                outcome: [_percent(with_dictionary[group][outcome], without[group][outcome]) for group in GROUPS]
                for outcome in OUTCOMES
            },
        ),
        "",
        "Other calibrations of the closeness: right and sure · wrong, yet sure · everything passes.",
        "",
        *_table("calibration", GROUPS, calibrations),
        "",
        "Other values from which a text is understood: right and sure · wrong, yet sure.",
        "",
        *_table(
            "understood from",
            GROUPS,
            {
                value: [_percent(shares[group]["right"], shares[group]["wrong, yet sure"]) for group in GROUPS]
                for value, shares in figures["understood"].items()
            },
        ),
        "",
        "Other values below which everything passes: right, sure or not · everything passes.",
        "",
        *_table(
            "floor",
            GROUPS,
            {
                value: [_percent(_right(shares[group]), shares[group]["everything passes"]) for group in GROUPS]
                for value, shares in figures["floor"].items()
            },
        ),
    ]
