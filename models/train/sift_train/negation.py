"""Trains the negation layer for the current text encoder: `python -m sift_train.negation`.

Negated texts mean all sounds but the named one. The layer is trained together with the separator, but the separator
does not depend on the encoder that detects the negation. So after `adapt_encoder.py` has changed the encoder, this
linear layer is trained alone and replaced in the committed weights.
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
from .weights import read_weights, write_weights


def make_negated_texts(part, rng, each=2):
    """Makes negated texts: all templates of `part` with all labels, with `each` random trained phrases of a label."""
    language = "korean" if part.startswith("korean") else "train"
    return [
        template.format(rng.choice(captions_of(label, language)))
        for label in LABELS
        for template in EXCEPT[part]
        for _ in range(each)
    ]


def make_plain_texts(part, rng):
    """Makes texts without negation: captions of one sound and of two."""
    both = [both_caption(label, other, part) for label in LABELS for other in rng.sample(LABELS, 2)]
    return [*all_captions(part), *both]


def train_negation(encoder, options, max_tokens):
    """Trains the layer, [384] → logit, on sentence vectors with noise.

    `options`: the table [negation] of the configuration.
    """
    torch.manual_seed(options["seed"])
    rng = random.Random(options["seed"])
    kinds = [
        [text for part in ("train", "korean") for text in make_plain_texts(part, rng)] + UNKNOWN["fit"],
        [text for part in ("train", "korean") for text in make_negated_texts(part, rng)],
    ]
    sentences = [encode(encoder, texts, max_tokens) for texts in kinds]
    layer = nn.Linear(SIZE, 1)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=options["learning_rate"], weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, options["steps"])
    counts = [round(share * options["batch"]) for share in (1 - options["negating"], options["negating"])]
    targets = torch.repeat_interleave(torch.tensor([0.0, 1.0]), torch.tensor(counts))
    for _ in range(options["steps"]):
        drawn = torch.cat([vectors[torch.randint(len(vectors), (count,))] for vectors, count in zip(sentences, counts)])
        logits = layer(drawn + options["noise"] * torch.randn_like(drawn))[:, 0]
        loss = functional.binary_cross_entropy_with_logits(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return layer


@torch.no_grad()
def measure(layer, encoder, max_tokens):
    """Measures, for each part of the captions, the shares of negated and of plain texts that count as negated."""
    shares = {}
    for part in EXCEPT:
        rng = random.Random(part)
        for kind, texts in (("negated", make_negated_texts(part, rng, each=1)), ("plain", make_plain_texts(part, rng))):
            is_negated = layer(encode(encoder, texts, max_tokens))[:, 0] >= 0
            shares[f"{kind}, {part}"] = is_negated.float().mean().item()
    return shares


def main():
    parser = argparse.ArgumentParser(description="Trains the negation layer for the current text encoder.")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--weights", type=Path, default=configuration.DEFAULT_WEIGHTS)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    max_tokens = config["query"]["max_tokens"]
    encoder = TextEncoder()
    layer = train_negation(encoder, config["negation"], max_tokens)
    weights = read_weights(arguments.weights)
    weights |= {f"query.negation.{name}": value.detach() for name, value in layer.named_parameters()}
    write_weights(weights, arguments.weights)
    for name, share in measure(layer, encoder, max_tokens).items():
        print(f"counted as negated: {100 * share:5.1f} % of {name}")


if __name__ == "__main__":
    main()
