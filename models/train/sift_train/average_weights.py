"""Averages the weights of several runs: `python -m sift_train.average_weights --out WEIGHTS WEIGHTS WEIGHTS [...]`.

Runs that start from the same weights end in one basin of the loss. Their mean is better than each run, in particular on
unseen data (Wortsman et al., "Model soups", ICML 2022).
"""

import argparse
from pathlib import Path

from . import config as configuration
from .weights import read_weights, write_weights


def average(paths):
    """Averages the weights in files of one architecture; integer counters are those of the first file.

    Raises:
        ValueError: the names or shapes of a file differ from those of the first one.
    """
    first, *others = [read_weights(path) for path in paths]
    shapes = {name: value.shape for name, value in first.items()}
    for path, weights in zip(paths[1:], others):
        differing = shapes.items() ^ {name: value.shape for name, value in weights.items()}.items()
        if differing:
            names = ", ".join(sorted({name for name, _ in differing}))
            raise ValueError(
                f"{path}: {names} differ from {paths[0]}; expected equal names and shapes. "
                "Average runs of one configuration."
            )
    return {
        name: sum((weights[name] for weights in others), value) / len(paths) if value.is_floating_point() else value
        for name, value in first.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+", help="a weights file, such as best.safetensors of a run")
    parser.add_argument("--out", type=Path, default=configuration.DEFAULT_WEIGHTS)
    arguments = parser.parse_args()
    try:
        mean = average(arguments.weights)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    write_weights(mean, arguments.out)


if __name__ == "__main__":
    main()
