"""The rest of a text: which other sound is there, and how its mask competes with the mask of the text.

`tests/cases/rest.json` has cases of all functions here, which the plugin's tests read too; its implementation is in
`plugin/engine`. `python -m sift_train.rest` writes the file.

The listener says how surely each of its concepts sounded in the last second. A concept that cannot be confused with what the
text wants is a *candidate*; the candidate that is heard most surely becomes the rest, with a weight from 0 to 1.
"""

import json
import math
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from . import config as configuration
from .understanding import UNDERSTOOD

CASES = configuration.REPOSITORY / "tests" / "cases" / "rest.json"
GAIN_LIMITS = (np.float32(0.01), np.float32(0.99))
"""Gains are limited to this range before they compete, so that no bin decides for certain."""
SAID_WEIGHT = 1.0
"""The weight of a rest that a text names."""
SAID_WEIGHT_WITHOUT_LISTENER = 0.6
"""The same for a package without a listener: logit m = 0.7 logit g − 0.3 logit h."""
MAX_SAID = 3
"""Most sounds of a rest that was named."""


@dataclass(frozen=True)
class RestOptions:
    """The table `rest` of `listener.json`."""

    from_: float
    """The probability above which a candidate becomes the rest."""
    full: float
    """The probability from which the rest has its full weight."""
    strength: float
    """The full weight, from 0 to 1."""
    fade: float
    """Seconds in which the weight rises to `strength`."""
    switch: float
    """Seconds for which another candidate must be heard more surely before it replaces the rest."""
    margin: float
    """The difference of probabilities from which another candidate counts as heard more surely."""

    @classmethod
    def parse(cls, table):
        return cls(**{field.name: table[field.name.rstrip("_")] for field in fields(cls)})

    def as_table(self):
        return {field.name.rstrip("_"): getattr(self, field.name) for field in fields(self)}


def hops(seconds, hop_seconds):
    """Returns a duration in hops, at least 1; halves are rounded up."""
    return max(1, math.floor(seconds / hop_seconds + 0.5))


class Rest(NamedTuple):
    """The rest in one hop."""

    concept: int | None
    """Index of the concept; None without a rest."""
    weight: float
    """From 0 to 1; 0 without a rest."""


class RestSelection:
    """Selects the rest hop by hop. All arithmetic is in 32-bit floats, as in the plugin."""

    def __init__(self, options, hop_seconds):
        self.from_, self.full, self.strength, self.margin = (
            np.float32(value) for value in (options.from_, options.full, options.strength, options.margin)
        )
        self.fade_step = self.strength / np.float32(hops(options.fade, hop_seconds))
        self.switch_hops = hops(options.switch, hop_seconds)
        self.current = None
        self.weight = np.float32(0)
        self.leaving = False
        self.contender_hops = 0

    def step(self, heard, candidates):
        """Advances by one hop.

        `heard`: the newest probabilities [C] float32, zeros before the first run of the listener. `candidates`: indices of
        concepts, ascending.
        """
        best = max(candidates, key=lambda concept: heard[concept], default=None)  # the first of equals
        if self.current is None and best is not None and heard[best] >= self.from_:
            self.current, self.leaving, self.contender_hops = best, False, 0
        if self.current is not None:
            if self.current not in candidates:
                self.leaving = True
            elif best != self.current and heard[best] > heard[self.current] + self.margin:
                self.contender_hops += 1
                if self.contender_hops >= self.switch_hops:
                    self.leaving = True
            else:
                self.contender_hops = 0
            share = np.clip((heard[self.current] - self.from_) / (self.full - self.from_), np.float32(0), np.float32(1))
            target = np.float32(0) if self.leaving else self.strength * share
            self.weight += np.clip(target - self.weight, -self.fade_step, self.fade_step)
            if self.weight <= 0 and target == 0:
                self.current, self.leaving, self.contender_hops = None, False, 0
        if self.weight > 0:
            return Rest(self.current, float(self.weight))
        return Rest(None, 0.0)


def is_related(concept, other):
    """Returns whether one of two entries of `listener.json` is the other, a part of it, or cannot be told from it."""
    related = concept["name"] == other["name"]
    for first, second in ((concept, other), (other, concept)):
        related |= second["name"] in first["members"] or second["name"] in first["overlaps"]
    return related


def find_candidates(concepts, wanted, closeness):
    """Lists the indices of the concepts that can be the rest of a text, ascending.

    `concepts`: the entries of `listener.json`. `wanted`: per part of the text, the names that it may mean. `closeness`: per
    part, the closeness of all names {name: 0..1}. Empty if a part is not understood.
    """
    if any(max((part[name] for name in names), default=0.0) < UNDERSTOOD for names, part in zip(wanted, closeness)):
        return []
    names = {name for part in wanted for name in part}
    entries = [concept for concept in concepts if concept["name"] in names]
    return [
        index
        for index, concept in enumerate(concepts)
        if not any(is_related(entry, concept) for entry in entries)
        and not any(part.get(concept["name"], 0.0) >= UNDERSTOOD for part in closeness)
    ]


def compete(wanted, rest, weight):
    """Lets the gains of a text compete with those of its rest, in 32-bit floats.

    `wanted`, `rest`: gains of the same shape, from 0 to 1. `weight`: from 0 to 1; 0 returns `wanted` itself. Between the
    limits 0.01 and 0.99 the result m has logit m = (1 − w/2) logit wanted − (w/2) logit rest. Gains of 0 and 1 stay.
    """
    if weight == 0:
        return wanted
    wanted, rest = np.asarray(wanted, np.float32), np.asarray(rest, np.float32)
    one = np.float32(1)
    limited = (np.clip(gains, *GAIN_LIMITS) for gains in (wanted, rest))
    odds_of_wanted, odds_of_rest = (gains / (one - gains) for gains in limited)
    below_one = np.minimum(wanted, np.nextafter(one, np.float32(0)))
    odds = below_one / (one - below_one) * (odds_of_wanted * odds_of_rest) ** np.float32(-weight / 2)
    return np.where(wanted >= one, wanted, odds / (one + odds))


def _selection_case(name, options, hop_seconds, segments):
    """Runs a selection over `segments` [(hops, heard, candidates)] of constant input and records the outcome of every hop."""
    selection = RestSelection(options, hop_seconds)
    recorded = []
    for count, heard, candidates in segments:
        steps = [selection.step(np.array(heard, np.float32), candidates) for _ in range(count)]
        recorded.append(
            {
                "hops": count,
                "heard": heard,
                "candidates": candidates,
                "expected": [[step.concept, round(step.weight, 7)] for step in steps],
            }
        )
    return {"name": name, "rest": options.as_table(), "hop_seconds": hop_seconds, "segments": recorded}


def _selection_cases():
    plain = RestOptions(from_=0.5, full=0.9, strength=0.7, fade=0.05, switch=0.08, margin=0.1)
    hop = 0.016
    every = [0, 1, 2]
    silence = [0.0, 0.0, 0.0]
    yield _selection_case("nothing is heard", plain, hop, [(4, silence, every)])
    yield _selection_case("no candidates", plain, hop, [(4, [0.9, 0.9, 0.9], [])])
    yield _selection_case(
        "the weight rises to its full value", plain, hop, [(2, silence, every), (6, [0.0, 0.95, 0.6], every)]
    )
    yield _selection_case(
        "the weight follows the probability",
        plain,
        hop,
        [(6, [0.0, 0.7, 0.0], every), (4, [0.0, 0.8, 0.0], every), (6, [0.0, 0.55, 0.0], every)],
    )
    yield _selection_case(
        "a probability of exactly `from` has no weight",
        plain,
        hop,
        [(3, [0.5, 0.0, 0.0], every), (3, [0.75, 0.0, 0.0], every)],
    )
    yield _selection_case(
        "the first of equals", plain, hop, [(4, [0.25, 0.75, 0.75], every), (3, [0.75, 0.75, 0.75], every)]
    )
    yield _selection_case("only candidates are selected", plain, hop, [(5, [0.95, 0.2, 0.7], [1, 2])])
    yield _selection_case(
        "the rest ends and the weight falls", plain, hop, [(5, [0.9, 0.0, 0.0], every), (6, [0.3, 0.0, 0.0], every)]
    )
    yield _selection_case(
        "another takes over after `switch`", plain, hop, [(6, [0.8, 0.0, 0.0], every), (16, [0.7, 0.0, 0.95], every)]
    )
    yield _selection_case(
        "an interruption starts `switch` again",
        plain,
        hop,
        [
            (5, [0.8, 0.0, 0.0], every),
            (4, [0.7, 0.9, 0.0], every),
            (1, [0.8, 0.85, 0.0], every),
            (4, [0.7, 0.9, 0.0], every),
            (2, [0.8, 0.7, 0.0], every),
        ],
    )
    yield _selection_case(
        "a difference below `margin` never switches",
        plain,
        hop,
        [(5, [0.8, 0.0, 0.0], every), (12, [0.8, 0.875, 0.0], every)],
    )
    yield _selection_case(
        "a new text excludes the rest", plain, hop, [(6, [0.9, 0.8, 0.0], every), (12, [0.9, 0.8, 0.0], [1, 2])]
    )
    yield _selection_case(
        "a rest that leaves does not return before it has left",
        plain,
        hop,
        [(6, [0.9, 0.8, 0.0], every), (2, [0.9, 0.8, 0.0], [1, 2]), (8, [0.9, 0.8, 0.0], every)],
    )
    yield _selection_case(
        "a new text without a rest", plain, hop, [(4, [0.9, 0.0, 0.0], every), (6, [0.9, 0.0, 0.0], [])]
    )
    instant = RestOptions(from_=0.25, full=0.75, strength=1.0, fade=0.0, switch=0.0, margin=0.0)
    yield _selection_case(
        "durations below one hop are one hop", instant, hop, [(2, [0.5, 0.0, 0.0], every), (4, [0.5, 0.6, 0.0], every)]
    )
    other_grid = RestOptions(from_=0.4, full=0.8, strength=0.5, fade=0.25, switch=0.2, margin=0.05)
    yield _selection_case(
        "another grid", other_grid, 706 / 44100, [(20, [0.1, 0.2, 0.9], every), (40, [0.85, 0.2, 0.6], every)]
    )


def _competition_cases():
    wanted = [0.0, 0.001, 0.01, 0.2, 0.5, 0.7, 0.99, 0.9995, 1.0]
    for weight in (0.0, 0.25, 0.6, 1.0):
        for rest in (0.0, 0.005, 0.3, 0.5, 0.8, 1.0):
            result = compete(np.array(wanted, np.float32), np.full(len(wanted), rest, np.float32), weight)
            yield {
                "weight": weight,
                "wanted": wanted,
                "rest": [rest] * len(wanted),
                "expected": [round(float(gain), 7) for gain in result],
            }


def _candidate_cases():
    concepts = [
        {"name": "drums", "members": [], "overlaps": ["hand clapping"]},
        {"name": "guitar", "members": ["electric guitar"], "overlaps": []},
        {"name": "electric guitar", "members": [], "overlaps": []},
        {"name": "hand clapping", "members": [], "overlaps": []},
        {"name": "music", "members": ["drums", "guitar", "electric guitar"], "overlaps": []},
        {"name": "rain", "members": [], "overlaps": ["stream"]},
        {"name": "stream", "members": [], "overlaps": ["rain"]},
        {"name": "speech", "members": [], "overlaps": []},
    ]
    names = [concept["name"] for concept in concepts]

    def case(name, *parts):
        """`parts`: (names that the part may mean, closeness of names above 0)."""
        wanted = [meant for meant, _ in parts]
        closeness = [dict.fromkeys(names, 0.0) | close for _, close in parts]
        return {
            "name": name,
            "wanted": wanted,
            "closeness": closeness,
            "expected": [names[index] for index in find_candidates(concepts, wanted, closeness)],
        }

    cases = [
        case("an overlap counts in both directions", (["hand clapping"], {"hand clapping": 0.9})),
        case("members of an umbrella", (["music"], {"music": 0.9})),
        case("umbrellas of a member", (["electric guitar"], {"electric guitar": 0.9})),
        case("a close name that is not wanted", (["rain"], {"rain": 0.9, "speech": 0.5})),
        case("a text of two sounds", (["rain"], {"rain": 0.9}), (["speech"], {"speech": 0.8, "music": 0.49})),
        case("an ambiguous text", (["drums", "rain"], {"drums": 0.6, "rain": 0.5})),
        case("a text that is not understood", (["drums"], {"drums": 0.45})),
        case("a second part that is not understood", (["rain"], {"rain": 0.9}), (["drums"], {"drums": 0.3})),
        case("a wanted concept that the listener lacks", (["whistle"], {"whistle": 0.8, "speech": 0.6})),
    ]
    return {"concepts": concepts, "cases": cases}


def make_cases():
    """Makes the content of `tests/cases/rest.json`."""
    return {
        "selection": list(_selection_cases()),
        "competition": list(_competition_cases()),
        "candidates": _candidate_cases(),
    }


def format_cases(cases):
    """Formats the cases as JSON with one case per line."""

    def lines(entries):
        return ",\n".join(f"  {json.dumps(entry)}" for entry in entries)

    candidates = cases["candidates"]
    return (
        f'{{"selection": [\n{lines(cases["selection"])}\n],\n'
        f'"competition": [\n{lines(cases["competition"])}\n],\n'
        f'"candidates": {{"concepts": [\n{lines(candidates["concepts"])}\n],\n'
        f'"cases": [\n{lines(candidates["cases"])}\n]}}}}\n'
    )


if __name__ == "__main__":
    CASES.write_text(format_cases(make_cases()), encoding="utf-8")
