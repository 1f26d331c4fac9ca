"""Calibrates the closeness that a package tells: `python -m sift_train.calibrate_names [--package FOLDER]`.

The closeness of a text to a concept shall be the probability that the text means it, for captions and for sounds that the
package does not know. It is fitted to every other text of `names_lists.py`, measured on the others, and written into
`concepts.json`. The weight with which the query network interpolates between embeddings is another, from `concepts.py`.
"""

import argparse
import json
from pathlib import Path

import torch

from . import config as configuration
from .concepts import CONCEPTS_FILE
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
    path = arguments.package / CONCEPTS_FILE
    table = json.loads(path.read_text(encoding="utf-8"))
    table["closeness"] = calibrated.concepts.closeness
    path.write_text(f"{json.dumps(table, separators=(',', ':'), ensure_ascii=False)}\n", encoding="utf-8")
    print(f"closeness: {reader.concepts.closeness} -> {calibrated.concepts.closeness}")
    before, after = (measure_shares(one, judge) for one in (reader, calibrated))
    for group in GROUPS:
        print(group)
        for outcome in before[group]:
            print(f"  {outcome:20} {100 * before[group][outcome]:5.1f} % -> {100 * after[group][outcome]:5.1f} %")


if __name__ == "__main__":
    main()
