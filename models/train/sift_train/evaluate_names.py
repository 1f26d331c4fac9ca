"""Measures which names a package understands: `python -m sift_train.evaluate_names [--package FOLDER] [--card]`.

`--card` replaces these figures in those of the last evaluation (`evaluate.py`), and writes them into the package's model
card. No audio is separated; `names_lists.py` says what is measured.
"""

import argparse
import json
from pathlib import Path

import torch

from . import config as configuration
from .evaluate import CARD_MARKS, Package
from .names_lists import make_names_markdown, measure_names
from .report import make_markdown, write_into_card
from .vocabulary import Vocabulary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--card", action="store_true", help="write the figures into the package's model card")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    package = Package(arguments.package, configuration.load(arguments.config))
    names = measure_names(package.reader, Vocabulary(configuration.VOCABULARY))
    if arguments.card:
        path = configuration.DEFAULT_WEIGHTS.with_name("evaluation.json")
        figures = json.loads(path.read_text(encoding="utf-8")) | {"names": names}
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_into_card(arguments.package / "MODEL_CARD.md", CARD_MARKS, make_markdown(figures))
    print("\n".join(make_names_markdown(names)))


if __name__ == "__main__":
    main()
