"""The mean of the weights of several runs: `python -m sift_train.average --out WEIGHTS WEIGHTS WEIGHTS [...]`.

Runs that began from the same weights lie in one basin of the loss, and their mean is better than each of them, and
better still on what none was trained on (Wortsman et al., "Model soups", ICML 2022).
"""

import argparse
from pathlib import Path

from . import config as configuration
from .train import keep, kept


def average(paths):
    """The mean of the weights in files of one architecture; counters, which are no numbers to average, are the first's.

    Raises:
        ValueError: a file has other weights than the first one.
    """
    first, *others = [kept(path) for path in paths]
    shapes = {name: value.shape for name, value in first.items()}
    for path, weights in zip(paths[1:], others):
        differing = shapes.items() ^ {name: value.shape for name, value in weights.items()}.items()
        if differing:
            names = ", ".join(sorted({name for name, _ in differing}))
            raise ValueError(f"{path}: {names} are not those of {paths[0]}. Average runs of one configuration")
    return {
        name: sum((weights[name] for weights in others), value) / len(paths) if value.is_floating_point() else value
        for name, value in first.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="+", help="such as best.safetensors of a run")
    parser.add_argument("--out", type=Path, default=configuration.DEFAULT_WEIGHTS)
    arguments = parser.parse_args()
    try:
        mean = average(arguments.weights)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{error}\n")
    keep(mean, arguments.out)


if __name__ == "__main__":
    main()
