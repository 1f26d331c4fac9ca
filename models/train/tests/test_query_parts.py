"""Splitting of texts that name several sounds or may mean several."""

import json

import numpy as np
import pytest

from sift_train import concepts, query_parts
from sift_train import config as configuration
from sift_train.evaluate import Package
from sift_train.query_parts import PartRole, TextAnalysis

INCLUDE, EXCLUDE = PartRole.INCLUDE, PartRole.EXCLUDE


def cut(text):
    return [text[begin:end].strip() for begin, end in query_parts.split_at_conjunctions(text)]


def test_text_is_split_at_conjunctions():
    assert cut("drums and bass") == ["drums", "bass"]
    assert cut("Drums AND Bass") == ["Drums", "Bass"]
    assert cut("drums, bass, and a piano") == ["drums", "bass", "a piano"]
    assert cut("sand and island") == ["sand", "island"]
    assert cut("and drums and") == ["and drums and"]
    assert cut(" , ,") == []
    assert cut("speech without music") == ["speech", "without music"]
    assert cut("베이스랑 드럼하고 바람이랑 비") == ["베이스", "드럼", "바람", "비"]
    assert cut("말하고 있는 사람하고 비") == ["말하고 있는 사람", "비"]


def analyse(words):
    known = {"drums": "drums", "a drum kit": "drums", "bass": "bass guitar", "salt and pepper": "shakers"}
    name = known.get(words)
    if words.endswith("guitar"):
        return TextAnalysis(("electric guitar", "acoustic guitar"), 0.7)
    if words == "a thing":
        return TextAnalysis(("rain", "wind"), 0.2)
    return TextAnalysis((name,), 0.9) if name else TextAnalysis(("rain",), 0.2)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("drums", [("drums", INCLUDE)]),
        ("drums and bass", [("drums", INCLUDE), ("bass", INCLUDE)]),
        ("no drums", [("drums", EXCLUDE)]),
        ("no drums and bass", [("drums", EXCLUDE), ("bass", EXCLUDE)]),
        ("drums and no bass", [("drums", INCLUDE), ("bass", EXCLUDE)]),
        ("drums Without bass", [("drums", INCLUDE), ("bass", EXCLUDE)]),
        (", drums and bass,", [("drums", INCLUDE), ("bass", INCLUDE)]),
        # Two names of one sound.
        ("drums and a drum kit", [("drums and a drum kit", INCLUDE)]),
        ("drums, a drum kit and bass", [("drums", INCLUDE), ("bass", INCLUDE)]),
        # A piece that is understood only with the next one, or not at all.
        ("salt and pepper and bass", [("salt and pepper", INCLUDE), ("bass", INCLUDE)]),
        ("drums and roll", [("drums and roll", INCLUDE)]),
        ("rock and bass", [("rock and bass", INCLUDE)]),
        # An ambiguous text has a part per concept; as one of several sounds it is one part.
        ("guitar", [("electric guitar", INCLUDE), ("acoustic guitar", INCLUDE)]),
        ("no guitar", [("electric guitar", EXCLUDE), ("acoustic guitar", EXCLUDE)]),
        ("a thing", [("a thing", INCLUDE), ("rain", INCLUDE), ("wind", INCLUDE)]),
        ("without a thing", [("a thing", EXCLUDE), ("rain", EXCLUDE), ("wind", EXCLUDE)]),
        ("guitar and drums", [("guitar", INCLUDE), ("drums", INCLUDE)]),
        # More parts than the maximum.
        ("drums, bass, drums, bass, drums", [("drums, bass, drums, bass, drums", INCLUDE)]),
    ],
)
def test_understood_sounds_become_parts(text, parts):
    assert query_parts.split_query(text, analyse) == parts


def test_combined_mask_is_the_largest_gain_below_the_limits():
    first, second = np.array([0.2, 0.9, 0.5]), np.array([0.6, 0.1, 0.5])
    assert query_parts.combine_masks([first, second], [INCLUDE, INCLUDE]).tolist() == [0.6, 0.9, 0.5]
    assert query_parts.combine_masks([first, second], [INCLUDE, EXCLUDE]).tolist() == [0.2, 0.9, 0.5]
    assert query_parts.combine_masks([first, second], [EXCLUDE, EXCLUDE]) == pytest.approx([0.4, 0.1, 0.5])


def test_committed_package_has_the_doubt():
    table = json.loads((configuration.PACKAGE / concepts.CONCEPTS_FILE).read_text(encoding="utf-8"))
    assert table["doubt"] == query_parts.DOUBT


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("drums and bass", [INCLUDE, INCLUDE]),
        ("a person speaking, rain and a dog barking", [INCLUDE, INCLUDE, INCLUDE]),
        ("everything but the drums", [EXCLUDE]),
        ("everything but the drums and the bass", [EXCLUDE, EXCLUDE]),
        ("피아노하고 바이올린", [INCLUDE, INCLUDE]),
        ("speech without music", [INCLUDE, EXCLUDE]),
        ("speech, but no music", [INCLUDE, EXCLUDE]),
        ("rock and roll", [INCLUDE]),
        ("thunder and lightning", [INCLUDE]),
        ("말하고 있는 사람", [INCLUDE]),
    ],
)
def test_committed_package_splits_understood_sounds(package, text, roles):
    assert [role for _, role in package.split_query(text)] == roles


GUITARS = ["electric guitar", "acoustic guitar", "distorted guitar"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("guitar", [(name, INCLUDE) for name in GUITARS]),
        ("no guitar", [(name, EXCLUDE) for name in GUITARS]),
        ("기타 소리", [(name, INCLUDE) for name in GUITARS]),
        ("vocals", [("speech", INCLUDE), ("choir", INCLUDE)]),
        ("clicks", [(name, INCLUDE) for name in ("clicks", "finger snapping", "keyboard typing")]),
        ("an acoustic guitar", [("an acoustic guitar", INCLUDE)]),
        ("drums", [("drums", INCLUDE)]),
        ("no drums", [("drums", EXCLUDE)]),
    ],
)
def test_ambiguous_text_has_a_part_per_concept(package, text, parts):
    assert package.split_query(text) == parts
