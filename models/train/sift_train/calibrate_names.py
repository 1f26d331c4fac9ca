"""Calibrates the closeness that a package tells: `python -m sift_train.calibrate_names [--package FOLDER]`.

The closeness of a text to a concept shall be the probability that the text means it, for captions and for sounds that the
package does not know. It is fitted to every other text of `names_lists.py`, measured on the others, and written into the
weights of the concepts and the package's `concepts.json`.
"""

import argparse
from pathlib import Path

import torch

from . import concepts
from . import config as configuration
from .evaluate import Package
from .names_lists import GROUPS, collect_texts, measure_shares, recalibrate
from .vocabulary import Vocabulary


def split_texts(groups):
    """Splits {group: {text: ...}} into two of the same form, with every other text of each group."""
    return [{group: dict(list(texts.items())[half::2]) for group, texts in groups.items()} for half in (0, 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reader = Package(arguments.package, configuration.load(arguments.config)).reader
    groups = collect_texts(reader.concepts.names, Vocabulary(configuration.VOCABULARY))
    fit, judge = split_texts(groups)
    calibrated = recalibrate(reader, fit.values())
    known = concepts.load()
    known.told_closeness = torch.tensor(list(calibrated.concepts.closeness.values()))
    concepts.save(known)
    concepts.write(known, arguments.package / concepts.CONCEPTS_FILE)
    print(f"closeness: {reader.concepts.closeness} -> {calibrated.concepts.closeness}")
    before, after = (measure_shares(one, judge) for one in (reader, calibrated))
    for group in GROUPS:
        print(group)
        for outcome in before[group]:
            print(f"  {outcome:20} {100 * before[group][outcome]:5.1f} % -> {100 * after[group][outcome]:5.1f} %")


if __name__ == "__main__":
    main()
