"""Learns which texts mean all but what they name, for the text encoder as it was last taught:

    python -m sift_train.negation

The projection's negation is trained beside the separator, and the separator does not care by which encoder a text came
to be one or the other. So where `languages.py` taught the encoder anew, this linear layer alone is learned anew, and
replaced in the committed weights.
"""

import argparse
import random
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from . import config as configuration
from .captions import EXCEPT, LABELS, all_captions, both_caption, captions_of
from .concepts import UNKNOWN
from .encoder import SIZE, TextEncoder, encode
from .train import keep, kept


def negating(part, rng, each=2):
    """Every template of `part` around every label, by some `each` of its trained phrases in that language."""
    spoken = "korean" if part.startswith("korean") else "train"
    return [
        template.format(rng.choice(captions_of(label, spoken)))
        for label in LABELS
        for template in EXCEPT[part]
        for _ in range(each)
    ]


def plain(part, rng):
    """Captions of one sound and of two."""
    both = [both_caption(label, other, part) for label in LABELS for other in rng.sample(LABELS, 2)]
    return [*all_captions(part), *both]


def learn(encoder, options, max_tokens):
    """The layer, [384] → logit, from sentence vectors with noise."""
    torch.manual_seed(options["seed"])
    rng = random.Random(options["seed"])
    kinds = [
        [text for part in ("train", "korean") for text in plain(part, rng)] + UNKNOWN["fit"],
        [text for part in ("train", "korean") for text in negating(part, rng)],
    ]
    sentences = [encode(encoder, texts, max_tokens) for texts in kinds]
    layer = nn.Linear(SIZE, 1)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=options["learning_rate"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, options["steps"])
    counts = [round(share * options["batch"]) for share in (1 - options["negating"], options["negating"])]
    wanted = torch.repeat_interleave(torch.tensor([0.0, 1.0]), torch.tensor(counts))
    for _ in range(options["steps"]):
        drawn = torch.cat([vectors[torch.randint(len(vectors), (count,))] for vectors, count in zip(sentences, counts)])
        logits = layer(drawn + options["noise"] * torch.randn_like(drawn))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return layer


@torch.no_grad()
def figures(layer, encoder, max_tokens):
    """By part of the captions: the share of negating texts that are taken for such, and of plain ones that are."""
    shares = {}
    for part in EXCEPT:
        rng = random.Random(part)
        for kind, texts in (("negating", negating(part, rng, each=1)), ("plain", plain(part, rng))):
            taken = layer(encode(encoder, texts, max_tokens))[:, 0] >= 0
            shares[f"{kind}, {part}"] = taken.float().mean().item()
    return shares


def main():
    parser = argparse.ArgumentParser(description="Learns which texts mean all but what they name.")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--weights", type=Path, default=configuration.DEFAULT_WEIGHTS)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    max_tokens = config["query"]["max_tokens"]
    encoder = TextEncoder()
    layer = learn(encoder, config["negation"], max_tokens)
    weights = kept(arguments.weights)
    weights |= {f"query.negation.{name}": value.detach() for name, value in layer.named_parameters()}
    keep(weights, arguments.weights)
    for name, share in figures(layer, encoder, max_tokens).items():
        print(f"taken for negating: {100 * share:5.1f} % of {name}")


if __name__ == "__main__":
    main()
