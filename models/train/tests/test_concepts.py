"""The concept that a text is understood as, and its closeness."""

import json

import numpy as np
import pytest
import torch

from sift_train import concepts
from sift_train import config as configuration
from sift_train.captions import LABELS, captions_of
from sift_train.encoder import TextEncoder
from sift_train.evaluate import Package


def test_calibration_recovers_slope_and_offset():
    rng = np.random.default_rng(0)
    cosines = rng.uniform(0, 1, 20_000)
    right = rng.random(20_000) < concepts.compute_closeness(cosines, 8.0, -4.0)
    slope, offset = concepts.calibrate(cosines, right)
    assert slope == pytest.approx(8.0, abs=0.4) and offset == pytest.approx(-4.0, abs=0.2)


def test_unknown_texts_are_disjoint_from_captions_and_each_other():
    captions = {
        caption.lower()
        for label in LABELS
        for part in ("train", "held_out", "korean", "korean_held_out")
        for caption in captions_of(label, part)
    }
    fit, judge = (set(map(str.lower, concepts.UNKNOWN[part])) for part in ("fit", "judge"))
    assert not captions & (fit | judge) and not fit & judge


def test_committed_package_has_the_doubt():
    table = json.loads((configuration.PACKAGE / concepts.CONCEPTS_FILE).read_text(encoding="utf-8"))
    assert table["doubt"] == concepts.DOUBT


def test_file_has_a_unit_direction_per_label(tmp_path):
    known = concepts.Concepts(16)
    known.directions.data.normal_()
    known.told_closeness = torch.tensor([7.5, -3.25])
    concepts.write(known, tmp_path / "concepts.json")
    table = json.loads((tmp_path / "concepts.json").read_text())
    assert table["closeness"] == {"slope": 7.5, "offset": -3.25}
    assert [row["name"] for row in table["concepts"]] == LABELS
    for row in table["concepts"]:
        assert np.linalg.norm(row["direction"]) == pytest.approx(1, abs=1e-2)


@pytest.fixture(scope="module")
def understand(config):
    """Returns a text's nearest concept and closeness in the committed package."""
    package = Package(configuration.PACKAGE, config)

    def of(text):
        _, concept = package.query(text)
        assert np.linalg.norm(concept) == pytest.approx(1, abs=1e-3)
        nearest, closeness = package.reader.concepts.match(text, concept[0])
        assert nearest[0].closeness == max(closeness.values())
        return nearest[0].name, nearest[0].closeness

    return of


@pytest.mark.parametrize(
    ("text", "label"),
    [("my dog is barking", "dog barking"), ("the drummer", "drums"), ("피아노 소리", "piano"), ("빗소리", "rain")],
)
def test_known_sounds_are_understood(understand, text, label):
    name, close = understand(text)
    assert name == label and close > 0.6


@pytest.mark.parametrize("text", ["a contract with the bank", "photosynthesis", "세금 보고서"])
def test_unknown_sounds_have_low_closeness(understand, text):
    assert understand(text)[1] < 0.4


def test_closeness_is_calibrated_on_unseen_texts(config):
    figures = concepts.measure(concepts.load(), TextEncoder(), config["query"]["max_tokens"])
    assert figures["calibration error"] < 0.08
    assert (
        figures["closeness of held-out captions, median"] > 0.8 and figures["closeness of unknown texts, median"] < 0.2
    )
    assert figures["share of unknown texts above 0.5"] < 0.2
