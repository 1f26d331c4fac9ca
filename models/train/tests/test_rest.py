"""The rest of a text: selection, competition and candidates, and the file of cases that the plugin shares."""

import json

import numpy as np
import pytest

from sift_train import rest
from sift_train.rest import RestOptions, RestSelection, compete


def test_committed_cases_are_those_of_this_implementation():
    committed = json.loads(rest.CASES.read_text(encoding="utf-8"))
    made = json.loads(rest.format_cases(rest.make_cases()))
    assert committed["candidates"] == made["candidates"]
    for kind in ("selection", "competition"):
        assert [set(case) for case in committed[kind]] == [set(case) for case in made[kind]]
    for old, new in zip(committed["selection"], made["selection"]):
        assert old["name"] == new["name"] and old["rest"] == new["rest"]
        for old_segment, new_segment in zip(old["segments"], new["segments"]):
            for (concept, weight), (other, expected) in zip(old_segment["expected"], new_segment["expected"]):
                assert concept == other and weight == pytest.approx(expected, abs=1e-5), old["name"]
    for old, new in zip(committed["competition"], made["competition"]):
        assert old["expected"] == pytest.approx(new["expected"], abs=1e-5)


def test_competition_equals_its_formula_between_the_limits():
    wanted, other = (gains.ravel() for gains in np.meshgrid(np.linspace(0.01, 0.99, 9), np.linspace(0.01, 0.99, 7)))

    def logit(gains):
        return np.log(gains / (1 - gains))

    for weight in (0.3, 0.7, 1.0):
        expected = (1 - weight / 2) * logit(wanted) - weight / 2 * logit(other)
        assert logit(compete(wanted, other, weight).astype(float)) == pytest.approx(expected, abs=1e-3)


def test_competition_of_weight_zero_keeps_all_bits():
    gains = np.random.default_rng(0).uniform(0, 1, 1000).astype(np.float32)
    assert np.array_equal(compete(gains, gains[::-1], 0), gains)


def test_competition_keeps_gains_of_zero_and_one():
    gains = np.array([0, 1, 0, 1], np.float32)
    assert np.array_equal(compete(gains, np.array([0, 0, 1, 1], np.float32), 1.0), gains)


def test_competition_lowers_what_the_rest_claims():
    wanted = np.linspace(0.05, 0.95, 10, dtype=np.float32)
    strong, weak = (compete(wanted, np.full(10, gain, np.float32), 0.7) for gain in (0.9, 0.1))
    assert np.all(np.diff(strong) > 0) and np.all(strong < weak)


def test_weight_never_moves_faster_than_its_fade():
    options = RestOptions(from_=0.4, full=0.8, strength=0.6, fade=0.2, switch=0.1, margin=0.05)
    selection = RestSelection(options, 0.016)
    rng = np.random.default_rng(1)
    last = rest.Rest(None, 0.0)
    for hop in range(600):
        if hop % 8 == 0:
            heard = rng.uniform(0, 1, 5).astype(np.float32)
        step = selection.step(heard, [0, 2, 3] if hop // 90 % 2 else [1, 2, 4])
        assert abs(step.weight - last.weight) <= 0.6 / 12 + 1e-6
        assert step.concept == last.concept or min(step.weight, last.weight) < 0.6 / 12 + 1e-6
        last = step
