"""The evaluation: figures as AudioSep defines them, on fixed lists of mixtures."""

from itertools import chain

import numpy as np
import pytest

from sift_train import captions, evaluate, metrics, names_lists, report
from sift_train import config as configuration
from sift_train.data import conflicts, energy
from sift_train.validation_list import ValidationList


def _sounds():
    """Two uncorrelated sounds of equal energy."""
    time = np.arange(32_000) / 32_000
    return (np.sin(2 * np.pi * frequency * time).astype(np.float32) for frequency in (500, 900))


def test_half_the_mixture_improves_sdr_only():
    target, rest = _sounds()
    mixture = target + rest
    assert metrics.sdr(target, mixture) == pytest.approx(0, abs=0.01)
    assert metrics.sdr(target, mixture / 2) == pytest.approx(3.01, abs=0.01)
    assert metrics.si_sdr(target, mixture / 2) == pytest.approx(0, abs=0.01)


def test_scale_changes_sdr_but_not_si_sdr():
    target, rest = _sounds()
    estimate = target + 0.1 * rest
    assert metrics.sdr(target, estimate) == pytest.approx(20, abs=0.01)
    assert metrics.si_sdr(target, 0.5 * estimate) == pytest.approx(20, abs=0.01)
    assert metrics.sdr(target, 0.5 * estimate) < 7


def test_silence_has_sdr_0_and_si_sdr_minus_100():
    target, _ = _sounds()
    assert metrics.sdr(target, 0 * target) == pytest.approx(0, abs=0.01)
    assert metrics.si_sdr(target, 0 * target) == -100
    assert evaluate.relative_level(0 * target, target) == -100


@pytest.fixture(scope="module")
def validation(corpus, config):
    return ValidationList(corpus, config, present=8, absent=4, further=3)


def test_lists_are_reproducible(validation, corpus, config):
    again = ValidationList(corpus, config, present=8, absent=4, further=3)
    for first, second in zip(validation.present + validation.absent, again.present + again.absent):
        assert first.captions == second.captions and np.array_equal(first.mixture, second.mixture)


def test_mixtures_are_sums_of_parts_without_conflicts(validation):
    cases = [
        *validation.present,
        *validation.absent,
        *validation.both,
        *chain.from_iterable(validation.further.values()),
    ]
    for case in cases:
        assert np.abs(sum(case.parts) - case.mixture).max() < 1e-6
        assert not conflicts(case.label) & set(case.labels[1:])
        assert len(case.parts) == len(case.labels)
        assert case.captions["held_out"] in captions.captions_of(case.label, "held_out")


def test_sources_have_the_levels_of_their_list(validation):
    def ratio(case):
        return 10 * np.log10(energy(case.parts[0]) / energy(case.parts[1]))

    assert all(abs(ratio(case)) < 0.01 for case in validation.present)
    others = [ratio(case) for case in validation.further["two sources, -10 to 10 dB"]]
    assert any(abs(value) > 0.5 for value in others) and all(abs(value) <= 10.01 for value in others)


def test_absent_list_does_not_contain_the_described_sound(validation):
    for case in validation.absent:
        assert case.absent and not case.target.any() and case.label not in case.labels


_SHARES = {group: dict.fromkeys(names_lists.OUTCOMES, 0.2) for group in names_lists.GROUPS}
NAMES = {
    "texts": dict.fromkeys(names_lists.GROUPS, 5),
    "shares": {"with the dictionary": _SHARES, "without": _SHARES},
    "calibrations": {"of the package": {"slope": 1.0, "offset": 0.0, "shares": _SHARES}},
    "understood": {"0.5": _SHARES},
    "floor": {"0.25": _SHARES},
}
"""Figures of names, each outcome as frequent as the others."""


class PerfectPackage:
    """A package whose outputs and presences are exact."""

    def __init__(self, validation, audio):
        self.audio, self.reader = audio, None
        self.cases = [*validation.present, *validation.absent, *validation.everything_but, *validation.both]
        self.cases += chain.from_iterable(validation.further.values())

    def separate(self, mixture, text):
        for case in self.cases:
            same = len(case.mixture) == len(mixture) and np.array_equal(case.mixture, mixture)
            if same and text in case.captions.values():
                return case.target, np.full(250, 0.0 if case.absent else 1.0, np.float32)
            if same and text.startswith("everything but "):
                return sum(case.parts[1:]), np.ones(250, np.float32)
            if same and " and " in text:
                return case.parts[0] + case.parts[1], np.ones(250, np.float32)
        return mixture, np.ones(250, np.float32)

    def query(self, text):
        return np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)

    def understands(self, text, label):
        return any(case.label == label and text in case.captions.values() for case in self.cases)


@pytest.mark.parametrize(
    ("text", "label", "is_understood"),
    [
        ("a dog barking", "dog barking", True),
        ("피아노 소리", "piano", True),
        ("a dog barking", "piano", False),
        ("no piano", "piano", False),
        ("piano and a dog barking", "piano", False),
    ],
)
def test_committed_package_understands_a_text_of_one_sound(config, text, label, is_understood):
    assert evaluate.Package(configuration.PACKAGE, config).understands(text, label) == is_understood


def test_misunderstood_captions_are_summarised_separately(validation, config):
    package = PerfectPackage(validation, config["audio"])
    cases = validation.present[:4]
    rows = [{"sdr": sdri, "sdri": sdri, "si_sdr": sdri, "si_sdri": sdri} for sdri in (1.0, 2.0, 3.0, 6.0)]
    package.understands = lambda text, label: text != cases[3].captions["held_out"]
    shares = evaluate.summarise_by_understanding(package, cases, "held_out", rows)
    assert {name: (share["cases"], share["sdri"]) for name, share in shares.items()} == {
        "understood": (3, 2.0),
        "misunderstood": (1, 6.0),
    }


def test_perfect_package_has_the_best_figures_in_the_report(validation, config, monkeypatch):
    monkeypatch.setattr(evaluate, "measure_drift", lambda *_: [{"label": "rain", "second": 1.0, "last": 1.0}])
    monkeypatch.setattr(evaluate, "measure_names", lambda *_: NAMES)
    package = PerfectPackage(validation, config["audio"])
    figures = evaluate.evaluate(package, validation)
    for name in evaluate.OUTPUTS[:5]:
        assert figures["outputs"][name]["si_sdr_10th_percentile"] == 100
    assert all(row["si_sdr"] == 100 for row in figures["further"].values())
    assert figures["outputs"]["mixture"]["sdri"] == pytest.approx(0, abs=0.01)
    assert figures["absent"]["20_db_below"] == 1 and figures["absent"]["presence_below_0.1"] == 1
    assert figures["present"]["presence_below_0.1"] == 0
    assert all(list(shares) == ["understood"] for shares in figures["held out"].values())
    text = report.make_markdown(figures)
    assert "held-out Korean captions, 8 understood |" in text
    assert "8 mixtures of two sources at 0 dB" in text and "in 100 % of the mixtures it is -20 dB or less" in text
    assert "| wrong, yet sure | 20.0 · 20.0 |" in text
    assert set(figures["labels"]) == {case.label for case in validation.present}
