"""Trains the query network's `concept` output and the `concepts.json` that it is compared with.

    python -m sift_train.concepts

trains a linear map from sentence vectors to a smaller space. There the captions of a label lie around one direction,
its concept, and texts that mean no label are far from all concepts. The closeness of a text to a concept is a
probability: the share of texts with this cosine whose nearest concept is the right one. Training uses the trained
captions and `unknown.toml`; calibration uses one half of the held-out captions, the measurement the other half. The
result is written to `checkpoints/concepts.safetensors`.
"""

import argparse
import json
import random
import tomllib
from pathlib import Path

import numpy as np
import scipy.optimize
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from . import config as configuration
from .captions import LABELS, all_captions, captions_of, usual_caption
from .encoder import SIZE, TextEncoder, encode, load_tokenizer

CONCEPTS_FILE = "concepts.json"
DOUBT = 0.15
"""The cosine distance from the nearest concept below which a text may mean another one too.

This does not apply to texts that contain the name of the nearest concept.
"""
CALIBRATION_BINS = 5
"""The number of ranges of closeness in which it is compared with the share of understood texts."""

with open(Path(__file__).with_name("unknown.toml"), "rb") as _file:
    UNKNOWN = tomllib.load(_file)


class Concepts(nn.Module):
    """The map from sentence vectors to the space of concepts, and the directions of `LABELS` in it."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(SIZE, size)
        self.directions = nn.Parameter(torch.zeros(len(LABELS), size))
        self.closeness = nn.Parameter(torch.zeros(2), requires_grad=False)
        """Slope and offset of the weight with which the query network interpolates embeddings, see `compute_closeness`."""
        self.told_closeness = torch.zeros(2)
        """Slope and offset of the closeness that the package tells, see `calibrate_names.py`. No part of the network."""
        self.usual = nn.Parameter(torch.zeros(len(LABELS), SIZE), requires_grad=False)
        """Sentence vectors of the labels' usual captions, [labels, 384]."""

    def forward(self, sentences):
        """`sentences` [B, 384] of the text encoder → [B, S], unit length."""
        # The length of the encoder's vectors is the square root of their size.
        return functional.normalize(self.linear(sentences / SIZE**0.5), dim=1)

    def cosines(self, sentences):
        """Sentence vectors [B, 384] → cosines with all labels [B, labels]."""
        return self(sentences) @ functional.normalize(self.directions, dim=1).T


def load(path=configuration.CONCEPTS):
    """Loads the trained `Concepts`."""
    weights = load_file(path)
    concepts = Concepts(len(weights["linear.bias"]))
    concepts.told_closeness = weights.pop("told_closeness")
    concepts.load_state_dict(weights)
    return concepts.eval().requires_grad_(False)


def save(concepts, path=configuration.CONCEPTS):
    """Saves trained `Concepts`."""
    save_file(concepts.state_dict() | {"told_closeness": concepts.told_closeness}, path)


def random_texts(count, max_tokens, seed):
    """Draws texts of random English words that do not occur in any caption."""
    rng = random.Random(seed)
    known = {word for part in ("train", "held_out") for text in all_captions(part) for word in text.lower().split()}
    vocabulary = sorted(load_tokenizer(max_tokens).get_vocab())
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2 and word not in known]
    return [" ".join(rng.sample(words, rng.randint(1, 4))) for _ in range(count)]


def train_concepts(encoder, options, max_tokens):
    """Trains `Concepts` to classify noisy sentence vectors by label, or as no label.

    `options`: the table [concepts] of the configuration.
    """
    torch.manual_seed(options["seed"])
    texts, labels = [], []
    for number, label in enumerate(LABELS):
        for part in ("train", "korean"):
            texts += captions_of(label, part)
            labels += [number] * len(captions_of(label, part))
    none = len(LABELS)
    unknown, random_ones = UNKNOWN["fit"], random_texts(options["strangers"], max_tokens, options["seed"])
    sentences = encode(encoder, texts + unknown + random_ones, max_tokens)
    weights = torch.tensor([1.0] * len(texts) + [options["unknown_weight"]] * len(unknown) + [0.5] * len(random_ones))
    labels = torch.tensor(labels + [none] * (len(unknown) + len(random_ones)))

    concepts = Concepts(options["size"])
    with torch.no_grad():
        concepts.usual.copy_(encode(encoder, [usual_caption(label) for label in LABELS], max_tokens))
        known = sentences[: len(texts)]
        # Starts at the mean of all captions, with each label at the mean of its captions.
        concepts.linear.weight.normal_(std=SIZE**-0.5)
        concepts.linear.bias.copy_(-concepts.linear.weight @ known.mean(dim=0) / SIZE**0.5)
        for number in range(none):
            concepts.directions[number] = concepts(known[labels[: len(texts)] == number]).mean(dim=0)
    scale, absent = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(5.0))
    optimiser = torch.optim.AdamW(
        [
            {"params": [concepts.linear.weight, concepts.directions], "weight_decay": 0.01},
            {"params": [concepts.linear.bias, scale, absent], "weight_decay": 0.0},
        ],
        lr=options["learning_rate"],
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, options["steps"])
    for _ in range(options["steps"]):
        drawn = torch.randint(len(labels), (options["batch"],))
        noisy = sentences[drawn] + options["noise"] * torch.randn(len(drawn), SIZE)
        logits = torch.cat((scale * concepts.cosines(noisy), absent.expand(len(drawn), 1)), dim=1)
        loss = (functional.cross_entropy(logits, labels[drawn], reduction="none") * weights[drawn]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return concepts.eval().requires_grad_(False)


def nearest_concepts(concepts, encoder, part, max_tokens):
    """For held-out captions and unknown texts: cosine of the nearest concept, whether it is right, whether unknown.

    `part`: "fit" or "judge", which have every other held-out caption each.
    """
    texts, labels = list(UNKNOWN[part]), [-1] * len(UNKNOWN[part])
    for number, label in enumerate(LABELS):
        for kind in ("held_out", "korean_held_out"):
            chosen = captions_of(label, kind)[("fit", "judge").index(part) :: 2]
            texts += chosen
            labels += [number] * len(chosen)
    highest, found = concepts.cosines(encode(encoder, texts, max_tokens)).max(dim=1)
    labels = torch.tensor(labels)
    return highest.numpy(), (found == labels).numpy(), (labels < 0).numpy()


def calibrate(cosines, right):
    """Fits the slope and offset with which `compute_closeness` gives the probability of being right."""

    def cost(parameters):
        logits = parameters[0] * cosines + parameters[1]
        return np.logaddexp(0, logits).mean() - (logits * right).mean()

    return scipy.optimize.minimize(cost, (5.0, -2.0), method="BFGS").x


def compute_closeness(cosines, slope, offset):
    """The logistic function 1 / (1 + exp(−(slope·cosine + offset)))."""
    return 1 / (1 + np.exp(-(slope * cosines + offset)))


def write(concepts, path):
    """Writes `concepts.json`: the concepts' names and directions, the closeness that is told, and `DOUBT`."""
    directions = functional.normalize(concepts.directions.detach().double(), dim=1)
    slope, offset = (round(float(value), 4) for value in concepts.told_closeness)
    rows = [
        {"name": label, "direction": [round(float(value), 4) for value in row]}
        for label, row in zip(LABELS, directions)
    ]
    table = {
        "closeness": {"slope": slope, "offset": offset},
        "doubt": DOUBT,
        "concepts": rows,
    }
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    Path(path).write_text(f"{text}\n", encoding="utf-8")


def measure(concepts, encoder, max_tokens):
    """Measures the concepts on texts that calibration did not use.

    The calibration error is the mean difference of closeness and share of right texts over `CALIBRATION_BINS` ranges.
    """
    cosines, right, unknown = nearest_concepts(concepts, encoder, "judge", max_tokens)
    closeness = compute_closeness(cosines, *concepts.closeness.numpy())
    bins = np.minimum((closeness * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        abs(closeness[bins == number].mean() - right[bins == number].mean()) * (bins == number).mean()
        for number in np.unique(bins)
    ]
    return {
        "held-out captions understood": float(right[~unknown].mean()),
        "closeness of held-out captions, median": float(np.median(closeness[~unknown])),
        "closeness of unknown texts, median": float(np.median(closeness[unknown])),
        "share of unknown texts above 0.5": float((closeness[unknown] > 0.5).mean()),
        "calibration error": float(np.sum(gaps)),
    }


def main():
    parser = argparse.ArgumentParser(description="Trains the query network's `concept` output.")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--out", type=Path, default=configuration.CONCEPTS)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    max_tokens = config["query"]["max_tokens"]
    encoder = TextEncoder()
    concepts = train_concepts(encoder, config["concepts"], max_tokens)
    fitted = calibrate(*nearest_concepts(concepts, encoder, "fit", max_tokens)[:2])
    concepts.closeness.copy_(torch.from_numpy(fitted))
    concepts.told_closeness = concepts.closeness.detach().clone()
    save(concepts, arguments.out)
    for name, value in measure(concepts, encoder, max_tokens).items():
        print(f"{name:40} {value:.2f}")


if __name__ == "__main__":
    main()
