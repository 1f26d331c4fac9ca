"""The measurement of names: which texts it has, what counts as right, and its report."""

from types import SimpleNamespace

import pytest

from sift_train import concepts, names_lists
from sift_train import config as configuration
from sift_train.captions import LABELS, captions_of
from sift_train.names_lists import CAPTIONS, GROUPS, KINDS, OTHER, OUTCOMES, UNKNOWN_SOUNDS, classify, collect_texts
from sift_train.understanding import ConceptMatch, Understanding, UnderstoodSound
from sift_train.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(configuration.VOCABULARY)


@pytest.fixture(scope="module")
def groups(vocabulary):
    return collect_texts(LABELS, vocabulary)


def test_texts_are_those_that_training_does_not_use(groups, vocabulary):
    for group, part in zip(CAPTIONS, ("held_out", "korean_held_out")):
        assert set(groups[group]) == {text for label in LABELS for text in captions_of(label, part)}
    assert set(groups[OTHER]) == set(concepts.UNKNOWN["judge"])
    held_out = {
        text for name in vocabulary.names for part in names_lists.PARTS for text in vocabulary.captions(name, part)
    }
    assert set(groups[KINDS]) | set(groups[UNKNOWN_SOUNDS]) <= held_out
    captions = set(groups[CAPTIONS[0]]) | set(groups[CAPTIONS[1]])
    others = [set(groups[group]) for group in (KINDS, UNKNOWN_SOUNDS, OTHER)]
    assert sum(map(len, [captions, *others])) == len(captions.union(*others)), "a text is in two groups"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("kick drum", {"drums", "music"}),
        ("viola", {"violin", "strings", "music"}),
        ("guitar", {"acoustic guitar", "electric guitar", "distorted guitar"}),
        ("singing", {"speech", "choir"}),
        ("accordion", {"music"}),
        ("vacuum cleaner", set()),
    ],
)
def test_kinds_may_be_taken_for_their_umbrellas(name, allowed, vocabulary):
    found = names_lists.allowed_concepts(name, set(LABELS), vocabulary)
    assert allowed <= found and (allowed or not found)


def understood(*matches, left_out=(), unknown=()):
    understanding = Understanding()
    for name, closeness in matches:
        understanding.keep.append(UnderstoodSound(name, [ConceptMatch(name, closeness, True)], [name], {}))
    for name, closeness in left_out:
        understanding.leave_out.append(UnderstoodSound(name, [ConceptMatch(name, closeness, True)], [name], {}))
    understanding.unknown += unknown
    return understanding


@pytest.mark.parametrize(
    ("understanding", "outcome"),
    [
        (understood(("drums", 0.9)), "right"),
        (understood(("drums", 0.4)), "right, in doubt"),
        (understood(("rain", 0.5)), "wrong, yet sure"),
        (understood(("rain", 0.49)), "wrong, in doubt"),
        (understood(("drums", 0.9), ("rain", 0.6)), "wrong, yet sure"),
        (understood(left_out=[("drums", 0.9)]), "wrong, yet sure"),
        (understood(unknown=["florble"]), "everything passes"),
    ],
)
def test_outcomes(understanding, outcome):
    assert classify(understanding, {"drums"}) == outcome
    assert outcome in OUTCOMES


class FakeReader:
    """Takes every text for drums with a closeness of 0.5, or for nothing with a higher floor."""

    def __init__(self, floor=0.25):
        self.concepts = SimpleNamespace(names=LABELS, closeness={"slope": 1.0, "offset": 0.0})
        self.floor = floor

    def vary(self, dictionary=None, understood=0.5, floor=0.25):
        return FakeReader(floor)

    def nearest(self, text):
        return (0.9, "drums") if "drum" in text else (len(text) % 10 / 10, "drums")

    def read(self, text):
        return understood(("drums", 0.5)) if self.floor < 0.4 else Understanding()


def test_figures_have_thresholds_and_calibrations(vocabulary):
    figures = names_lists.measure_names(FakeReader(), vocabulary)
    captions = figures["shares"]["with the dictionary"][CAPTIONS[0]]
    assert captions["right"] + captions["wrong, yet sure"] == pytest.approx(1) and captions["right"] < 0.1
    stricter = figures["understood"]["0.6"][OTHER]
    assert stricter["right, in doubt"] + stricter["wrong, in doubt"] == pytest.approx(1)
    assert figures["floor"]["0.45"][UNKNOWN_SOUNDS]["everything passes"] == 1
    fitted = figures["calibrations"]["fitted to all groups"]
    assert (fitted["slope"], fitted["offset"]) != (1.0, 0.0) and figures["calibrations"]["of the package"][
        "slope"
    ] == 1.0
    text = "\n".join(names_lists.make_names_markdown(figures))
    assert all(f"{group}, {count}" in text for group, count in figures["texts"].items()) and set(GROUPS) == set(
        figures["texts"]
    )
