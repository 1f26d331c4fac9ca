"""What a text was understood as: the query network's `concept`, and the `concepts.json` it is compared with.

    python -m sift_train.concepts

learns a linear map from sentence vectors to a smaller space in which the captions of a label lie around one direction,
its concept, and texts that mean no label lie near none. How close a text is to a concept is a probability: the share of
texts with this cosine whose nearest concept is the right one. Learned from trained captions and from `unknown.toml`,
calibrated on half of the held-out captions, judged on the other half. Kept in `checkpoints/concepts.safetensors`.
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
from .compounds import CONJUNCTIONS, DOUBT, NO_CONJUNCTIONS
from .encoder import SIZE, TextEncoder, encode, tokenizer

FILE = "concepts.json"
BINS = 5
"""In which closeness is held against the share of texts that were understood."""

with open(Path(__file__).with_name("unknown.toml"), "rb") as _file:
    UNKNOWN = tomllib.load(_file)


class Concepts(nn.Module):
    """Sentence vectors → concepts; and the directions of `LABELS` among them."""

    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(SIZE, size)
        self.directions = nn.Parameter(torch.zeros(len(LABELS), size))
        self.closeness = nn.Parameter(torch.zeros(2), requires_grad=False)
        """Slope and offset, see `closeness_of`."""
        self.usual = nn.Parameter(torch.zeros(len(LABELS), SIZE), requires_grad=False)
        """Sentence vectors of the labels' usual captions."""

    def forward(self, sentences):
        """`sentences` [B, 384] of the text encoder → [B, S], unit length."""
        # The encoder's vectors are as long as the square root of their size.
        return functional.normalize(self.linear(sentences / SIZE**0.5), dim=1)

    def cosines(self, sentences):
        """[B, 384] → [B, labels]."""
        return self(sentences) @ functional.normalize(self.directions, dim=1).T


def load(path=configuration.CONCEPTS):
    """What was learned."""
    weights = load_file(path)
    concepts = Concepts(len(weights["linear.bias"]))
    concepts.load_state_dict(weights)
    return concepts.eval().requires_grad_(False)


def strangers(count, max_tokens, seed):
    """Words drawn at random that no caption has: texts that mean nothing the model knows."""
    rng = random.Random(seed)
    known = {word for part in ("train", "held_out") for text in all_captions(part) for word in text.lower().split()}
    vocabulary = sorted(tokenizer(max_tokens).get_vocab())
    words = [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2 and word not in known]
    return [" ".join(rng.sample(words, rng.randint(1, 4))) for _ in range(count)]


def learn(encoder, options, max_tokens):
    """The map and the directions, by telling each caption's label, or that it has none, from noisy sentence vectors."""
    torch.manual_seed(options["seed"])
    texts, labels = [], []
    for number, label in enumerate(LABELS):
        for part in ("train", "korean"):
            texts += captions_of(label, part)
            labels += [number] * len(captions_of(label, part))
    none = len(LABELS)
    unknown, strange = UNKNOWN["fit"], strangers(options["strangers"], max_tokens, options["seed"])
    sentences = encode(encoder, texts + unknown + strange, max_tokens)
    weights = torch.tensor([1.0] * len(texts) + [options["unknown_weight"]] * len(unknown) + [0.5] * len(strange))
    labels = torch.tensor(labels + [none] * (len(unknown) + len(strange)))

    concepts = Concepts(options["size"])
    with torch.no_grad():
        concepts.usual.copy_(encode(encoder, [usual_caption(label) for label in LABELS], max_tokens))
        known = sentences[: len(texts)]
        # Begins around the middle of all captions, with every label at the middle of its own.
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


def nearest(concepts, encoder, part, max_tokens):
    """Of held-out captions and unknown texts: the nearest concept's cosine, whether it is right, who is unknown.

    `part`: "fit" or "judge". Each has every other of the held-out captions.
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
    """Slope and offset with which `closeness_of` gives the probability of being right."""

    def cost(parameters):
        logits = parameters[0] * cosines + parameters[1]
        return np.logaddexp(0, logits).mean() - (logits * right).mean()

    return scipy.optimize.minimize(cost, (5.0, -2.0), method="BFGS").x


def closeness_of(cosines, slope, offset):
    """The logistic function 1 / (1 + exp(−(slope·cosine + offset)))."""
    return 1 / (1 + np.exp(-(slope * cosines + offset)))


def write(concepts, path):
    """`concepts.json`: each concept's name and direction, how closeness comes of a cosine, when a text means several, and
    what stands between two."""
    directions = functional.normalize(concepts.directions.detach().double(), dim=1)
    slope, offset = (round(float(value), 4) for value in concepts.closeness)
    rows = [
        {"name": label, "direction": [round(float(value), 4) for value in row]}
        for label, row in zip(LABELS, directions)
    ]
    table = {
        "closeness": {"slope": slope, "offset": offset},
        "doubt": DOUBT,
        "conjunctions": CONJUNCTIONS,
        "no_conjunctions": NO_CONJUNCTIONS,
        "concepts": rows,
    }
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    Path(path).write_text(f"{text}\n", encoding="utf-8")


def figures(concepts, encoder, max_tokens):
    """On texts that were not calibrated on: shares understood, closeness of known and unknown, calibration error.

    The error: between closeness and the share that is right, the mean over `BINS` ranges of closeness.
    """
    cosines, right, unknown = nearest(concepts, encoder, "judge", max_tokens)
    close = closeness_of(cosines, *concepts.closeness.numpy())
    places = np.minimum((close * BINS).astype(int), BINS - 1)
    gaps = [
        abs(close[places == place].mean() - right[places == place].mean()) * (places == place).mean()
        for place in np.unique(places)
    ]
    return {
        "held-out captions understood": float(right[~unknown].mean()),
        "their closeness, median": float(np.median(close[~unknown])),
        "closeness of unknown texts, median": float(np.median(close[unknown])),
        "share of those above 0.5": float((close[unknown] > 0.5).mean()),
        "calibration error": float(np.sum(gaps)),
    }


def main():
    parser = argparse.ArgumentParser(description="Learns what the query network's `concept` is.")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--out", type=Path, default=configuration.CONCEPTS)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    max_tokens = config["query"]["max_tokens"]
    encoder = TextEncoder()
    concepts = learn(encoder, config["concepts"], max_tokens)
    fitted = calibrate(*nearest(concepts, encoder, "fit", max_tokens)[:2])
    concepts.closeness.copy_(torch.from_numpy(fitted))
    save_file(concepts.state_dict(), arguments.out)
    for name, value in figures(concepts, encoder, max_tokens).items():
        print(f"{name:36} {value:.2f}")


if __name__ == "__main__":
    main()
