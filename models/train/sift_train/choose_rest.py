"""Chooses the table `[rest]` of the listener's configuration: `python -m sift_train.choose_rest`.

Uses recordings of the second corpus's validation split, which the first model never saw and which the report does not use.
Masks are computed once per case, for the text and for every concept that is heard; then each combination of options
only selects and competes.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from . import config as configuration
from .data import spectrogram, waveform
from .evaluate import Package, map_cases, relative_level
from .listener_lists import validation_pools
from .metrics import si_sdr
from .rest import RestSelection, compete
from .rest_lists import RestLists
from .vocabulary import Vocabulary

PAIRS = 200
LEAST_HEARD = 0.15
MAX_CONCEPTS = 6
GRID = {
    "from_": (0.2, 0.3, 0.4, 0.5),
    "full": (0.5, 0.7, 0.9),
    "strength": (0.5, 0.7, 0.9),
    "margin": (0.1,),
}


class Prepared(NamedTuple):
    """A case with all masks that a selection may need."""

    case: object
    spectrum: torch.Tensor
    gains: np.ndarray
    heard: np.ndarray
    candidates: list
    masks: dict
    """Gains [T, F] of the concepts that can become the rest."""


def prepare(package, case):
    """Computes the masks of a case."""
    spectrum = spectrogram(torch.from_numpy(case.mixture)[None], package.audio)
    magnitude = spectrum[0].abs().numpy()
    _, gains = package.gains(magnitude, case.text, None)
    heard = package.listener.hear(magnitude)
    candidates = package.rest_candidates(case.text)
    highest = heard.max(axis=0)
    likely = sorted((c for c in candidates if highest[c] >= LEAST_HEARD), key=lambda c: -highest[c])[:MAX_CONCEPTS]
    masks = {c: package.run(magnitude, package.listener.embeddings[c][None])[0].astype(np.float16) for c in likely}
    return Prepared(case, spectrum, gains, heard, [c for c in candidates if c in masks], masks)


def apply_rest(prepared, options, hop_seconds):
    """Returns the gains [T, F] with the rest that `options` select."""
    selection = RestSelection(options, hop_seconds)
    steps = [selection.step(heard, prepared.candidates) for heard in prepared.heard]
    gains = prepared.gains.copy()
    for hop, (concept, weight) in enumerate(steps):
        if concept is not None:
            gains[hop] = compete(gains[hop], prepared.masks[concept][hop], weight)
    return gains


def score(prepared, gains, audio):
    """Returns the SI-SDR of a case, or its output level in dB if the sound is absent."""
    case = prepared.case
    estimate = waveform(torch.from_numpy(gains) * prepared.spectrum, audio, len(case.mixture))[0].numpy()
    return relative_level(estimate, case.mixture) if case.target is None else si_sdr(case.target, estimate)


def choice_lists(config, vocabulary, pairs=PAIRS):
    """Makes the lists on which the options are chosen."""
    pools = validation_pools(config, vocabulary)
    lists = RestLists(pools["second"], vocabulary, config["audio"]["sample_rate"], pairs)
    lists.add_bands(pools["second"], pairs // 4)
    return lists.lists


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration.load_listener()
    package = Package(arguments.package, configuration.load())
    audio = package.audio
    hop_seconds = audio["hop"] / audio["sample_rate"]
    vocabulary = Vocabulary(config["query"]["vocabulary"])
    prepared = {
        name: map_cases(lambda case: prepare(package, case), cases, name)
        for name, cases in choice_lists(config, vocabulary, arguments.pairs).items()
    }

    def mean(name, options):
        values = [
            score(one, one.gains if options is None else apply_rest(one, options, hop_seconds), audio)
            for one in prepared[name]
        ]
        return float(np.median(values) if name == "absent" else np.mean(values))

    before = {name: mean(name, None) for name in prepared}
    print("no rest:", {name: round(value, 2) for name, value in before.items()}, flush=True)
    for values in itertools.product(*GRID.values()):
        options = replace(package.listener.rest, **dict(zip(GRID, values)))
        if options.full <= options.from_:
            continue
        gained = {name: round(mean(name, options) - value, 2) for name, value in before.items()}
        print(dict(zip(GRID, values)), gained, flush=True)


if __name__ == "__main__":
    main()
