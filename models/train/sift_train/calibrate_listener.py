"""Calibrates a trained listener: `python -m sift_train.calibrate_listener [RUN_FOLDER]`.

Probabilities are sigmoid(scale · logit + offset), with one scale for all names and an offset for each, which stays near
their mean unless the material says otherwise. Fitted to mixtures of the second corpus's validation split, drawn as in
training. Writes the calibrated weights to `checkpoints/listener.safetensors`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from . import config as configuration
from .captions import LABELS
from .data import Corpus
from .listener import Listener
from .listener_data import ListenerMixtures
from .vocabulary import Vocabulary
from .weights import read_weights, write_weights

BATCHES = 160
FIRST_STEP = 1 << 30
"""Step of the first batch, which training never reaches."""
OFFSET_PENALTY = 2.0
"""Weight of the squared distance of an offset from the common one, in moments."""


def fit(logits, targets, weights, iterations=60):
    """Fits the scale and the offsets [C] to logits, targets and weights, each [n, C].

    The penalty acts as if each name were judged `OFFSET_PENALTY` times more, at the common offset.
    """
    slope = torch.zeros((), requires_grad=True)
    common = torch.zeros((), requires_grad=True)
    own = torch.zeros(logits.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([slope, common, own], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        calibrated = slope.exp() * logits + common + own
        entropy = functional.binary_cross_entropy_with_logits(calibrated, targets, weights, reduction="sum")
        total = entropy + OFFSET_PENALTY * own.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    # The scale is positive by construction, so a larger logit is always a larger probability.
    return slope.exp().detach().expand(logits.shape[1]).clone(), (common + own).detach()


@torch.no_grad()
def collect(listener, mixtures, batches=BATCHES):
    """Returns logits, targets and weights [n, C] of two moments per mixture that share no second."""
    rows = []
    for number in range(batches):
        magnitude, targets, weights = mixtures.batch(FIRST_STEP + number)
        logits, _ = listener(magnitude)
        moments = [logits.shape[1] // 2, logits.shape[1] - 1]
        rows.append([part[:, moments].flatten(0, 1) for part in (logits, targets, weights)])
    return tuple(torch.cat(part) for part in zip(*rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=configuration.cache_folder() / "listener")
    parser.add_argument("--config", type=Path, default=configuration.LISTENER_CONFIG)
    parser.add_argument("--out", type=Path, default=configuration.LISTENER_WEIGHTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = configuration.load_listener(arguments.config)
    vocabulary = Vocabulary(config["query"]["vocabulary"])
    stored = read_weights(arguments.folder / "listener.safetensors")
    listener = Listener(config["listener"], config["audio"], len(vocabulary.names))
    listener.load_state_dict(stored)
    corpus = Corpus(config["corpus"]["further"][0], "val", config["audio"]["sample_rate"])
    mixtures = ListenerMixtures(corpus, vocabulary, config, LABELS)
    logits, targets, weights = collect(listener.eval(), mixtures)
    scale, offset = fit(logits, targets, weights)
    before, after = (
        float(functional.binary_cross_entropy_with_logits(values, targets, weights, reduction="sum") / len(values))
        for values in (logits, scale * logits + offset)
    )
    print(f"{len(logits)} moments; cross entropy {before:.3f} before, {after:.3f} after; scale {scale[0]:.3f}")
    probabilities = torch.sigmoid(scale * logits + offset)
    for low, high in zip(np.arange(0, 1, 0.2), np.arange(0.2, 1.1, 0.2)):
        chosen = (probabilities >= low) & (probabilities < high)
        mass = weights[chosen].sum()
        said, there = ((values[chosen] * weights[chosen]).sum() / mass for values in (probabilities, targets))
        print(f"{low:.1f} to {high:.1f}: mean {said:.2f}, there {there:.2f}")
    write_weights(stored | {"calibration.scale": scale, "calibration.offset": offset}, arguments.out)


if __name__ == "__main__":
    main()
