"""Several sounds in one text, or several that it may mean, each of which is separated by itself."""

import json

import numpy as np
import pytest

from sift_train import concepts, compounds
from sift_train import config as configuration
from sift_train.compounds import Heard, Role
from sift_train.evaluate import Package

KEPT, LEFT_OUT, TURNED = Role.KEPT, Role.LEFT_OUT, Role.TURNED


def cut(text):
    return [text[begin:end].strip() for begin, end in compounds.pieces(text)]


def test_a_text_is_cut_at_its_conjunctions():
    assert cut("drums and bass") == ["drums", "bass"]
    assert cut("Drums AND Bass") == ["Drums", "Bass"]
    assert cut("drums, bass, and a piano") == ["drums", "bass", "a piano"]
    assert cut("sand and island") == ["sand", "island"]
    assert cut("and drums and") == ["and drums and"]
    assert cut(" , ,") == []
    assert cut("베이스랑 드럼하고 바람이랑 비") == ["베이스", "드럼", "바람", "비"]
    assert cut("말하고 있는 사람하고 비") == ["말하고 있는 사람", "비"]


def hear(words):
    known = {"drums": "drums", "a drum kit": "drums", "bass": "bass guitar", "salt and pepper": "shakers"}
    negated = words.startswith("no ")
    name = known.get(words.removeprefix("no "))
    if words.endswith("guitar"):
        return Heard(("electric guitar", "acoustic guitar"), 0.7, negated)
    if words == "a thing":
        return Heard(("rain", "wind"), 0.2, negated)
    return Heard((name,), 0.9, negated) if name else Heard(("rain",), 0.2, negated)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("drums", [("drums", KEPT)]),
        ("drums and bass", [("drums", KEPT), ("bass", KEPT)]),
        ("no drums and bass", [("no drums", LEFT_OUT), ("bass", TURNED)]),
        ("drums and no bass", [("drums", KEPT), ("no bass", LEFT_OUT)]),
        (", drums and bass,", [("drums", KEPT), ("bass", KEPT)]),
        # One sound by two names.
        ("drums and a drum kit", [("drums and a drum kit", KEPT)]),
        ("drums, a drum kit and bass", [("drums", KEPT), ("bass", KEPT)]),
        # Understood only together with what follows, or not at all.
        ("salt and pepper and bass", [("salt and pepper", KEPT), ("bass", KEPT)]),
        ("drums and roll", [("drums and roll", KEPT)]),
        ("rock and bass", [("rock and bass", KEPT)]),
        # What is in doubt may be any of these, but is one of several sounds by its own words.
        ("guitar", [("electric guitar", KEPT), ("acoustic guitar", KEPT)]),
        ("no guitar", [("no guitar", LEFT_OUT), ("electric guitar", TURNED), ("acoustic guitar", TURNED)]),
        ("a thing", [("a thing", KEPT), ("rain", KEPT), ("wind", KEPT)]),
        ("guitar and drums", [("guitar", KEPT), ("drums", KEPT)]),
        # More than are separated at once.
        ("drums, bass, drums, bass, drums", [("drums, bass, drums, bass, drums", KEPT)]),
    ],
)
def test_sounds_that_are_understood_are_parted(text, parts):
    assert compounds.parts(text, hear) == parts


def test_korean_negates_at_the_end():
    assert compounds.roles("드럼하고 베이스 빼고 전부", [False, True]) == [TURNED, LEFT_OUT]


def test_a_bin_passes_that_one_of_the_sounds_has_and_none_that_is_left_out():
    first, second = np.array([0.2, 0.9, 0.5]), np.array([0.6, 0.1, 0.5])
    assert compounds.combined([first, second], [KEPT, KEPT]).tolist() == [0.6, 0.9, 0.5]
    assert compounds.combined([first, second], [LEFT_OUT, LEFT_OUT]).tolist() == [0.2, 0.1, 0.5]
    assert compounds.combined([first, second], [LEFT_OUT, TURNED]).tolist() == [0.2, 0.9, 0.5]
    assert compounds.combined([first, second], [LEFT_OUT, KEPT]).tolist() == [0.2, 0.1, 0.5]


def test_the_committed_package_names_the_conjunctions_and_the_doubt():
    table = json.loads((configuration.PACKAGE / concepts.FILE).read_text(encoding="utf-8"))
    assert table["doubt"] == compounds.DOUBT
    assert table["conjunctions"] == list(compounds.CONJUNCTIONS)
    assert table["no_conjunctions"] == list(compounds.NO_CONJUNCTIONS)


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


# The plugin's tests have the same table (plugin/engine/tests/packages.rs).
@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("drums and bass", [KEPT, KEPT]),
        ("a person speaking, rain and a dog barking", [KEPT, KEPT, KEPT]),
        ("everything but the drums and the bass", [LEFT_OUT, TURNED]),
        ("피아노하고 바이올린", [KEPT, KEPT]),
        ("드럼하고 피아노 빼고 전부", [TURNED, LEFT_OUT]),
        ("rock and roll", [KEPT]),
        ("thunder and lightning", [KEPT]),
        ("말하고 있는 사람", [KEPT]),
    ],
)
def test_the_committed_package_parts_what_it_understands(package, text, roles):
    assert [role for _, role in package.parts(text)] == roles


GUITARS = ["electric guitar", "acoustic guitar", "distorted guitar"]


# And this one.
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("guitar", [(name, KEPT) for name in GUITARS]),
        ("no guitar", [("no guitar", LEFT_OUT), *((name, TURNED) for name in GUITARS)]),
        ("기타 소리", [(name, KEPT) for name in GUITARS]),
        ("vocals", [("speech", KEPT), ("choir", KEPT)]),
        ("clicks", [(name, KEPT) for name in ("clicks", "finger snapping", "keyboard typing")]),
        ("an acoustic guitar", [("an acoustic guitar", KEPT)]),
        ("drums", [("drums", KEPT)]),
        ("no drums", [("no drums", KEPT)]),
    ],
)
def test_a_text_in_doubt_stands_for_all_that_it_may_mean(package, text, parts):
    assert package.parts(text) == parts
