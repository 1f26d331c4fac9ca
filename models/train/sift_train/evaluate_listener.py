"""Measures the listener: `python -m sift_train.evaluate_listener [--weights FILE] [--card]`.

A name is there at the end of a mixture if one of its members' energy in the last second is above the limit of
`[hearing] present`; names that the mixture says nothing about do not count. The average precision of a name is over all
mixtures of a list; means are over the names that are there in at least one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from . import config as configuration
from .captions import LABELS
from .data import spectrogram
from .listener_data import ListenerMixtures, coloured_noise
from .listener_lists import ListenerLists, merge, validation_pools
from .listener_package import load_listener
from .report import write_into_card
from .train import read_corpus
from .vocabulary import Vocabulary

CARD_MARKS = ("<!-- listener -->", "<!-- end of listener -->")
CASES = 600
"""Mixtures per list."""
SURE = 0.8
"""Probability from which a name counts as said."""


def average_precision(scores, targets):
    """Returns the average precision of scores [n] for targets [n], bools. NaN without targets."""
    if not targets.any():
        return float("nan")
    ordered = targets[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1))[ordered].mean())


@torch.no_grad()
def hear(listener, scale, offset, mixture, audio):
    """Hears a whole mixture [N]: probabilities at the end of each run, [K, C]."""
    magnitude = spectrogram(torch.from_numpy(mixture)[None], audio).abs()
    frames = magnitude.shape[1] // listener.frames * listener.frames
    logits, _ = listener(magnitude[:, :frames])
    return torch.sigmoid(scale * logits[0] + offset).numpy()


def summarise(scores, targets, weights, groups):
    """Computes figures of a list from probabilities, targets and weights, each [n, C]. `groups`: {group: columns}."""
    figures = {}
    for group, columns in groups.items():
        precisions = [
            average_precision(scores[judged, column], targets[judged, column] > 0)
            for column in columns
            if (judged := weights[:, column] > 0).any()
        ]
        judged = weights[:, columns] > 0
        said = (scores[:, columns] >= SURE) & judged
        there = (targets[:, columns] > 0) & judged
        figures[group] = {
            "names": int(np.isfinite(precisions).sum()),
            "mean_average_precision": float(np.nanmean(precisions)) if np.isfinite(precisions).any() else None,
            "said_per_mixture": float(said.sum() / len(scores)),
            "of_said_there": float(targets[:, columns][said].mean()) if said.any() else None,
            "of_there_said": float((said & there).sum() / max(1, there.sum())),
        }
    return figures


def measure_lists(listener, names, scale, offset, lists, mixtures, audio, groups):
    """Measures all lists of a ListenerLists: {list: {group: figures}}."""
    found = {}
    for name, cases in lists.lists.items():
        rows = []
        for case in cases:
            targets, weights = mixtures.judge(case.mixture, case.parts)
            rows.append((hear(listener, scale, offset, case.mixture, audio)[-1], targets[-1], weights[-1]))
        found[name] = summarise(*(np.stack(part) for part in zip(*rows)), groups)
    return found


def measure_noise(listener, scale, offset, names, audio, rules):
    """Says what is heard at 0.5 or more in silence and in noise of several levels: {case: {name: highest probability}}."""
    rng = np.random.default_rng(3)
    length = 10 * audio["sample_rate"]
    sounds = {"silence": np.zeros(length, np.float32)}
    for level in (-90, -70, -50, -30):
        for _ in range(4):
            sounds.setdefault(f"noise at {level} dBFS", []).append(
                coloured_noise(rng, length) * np.float32(10 ** (level / 20))
            )
    heard = {}
    for case, variants in sounds.items():
        variants = variants if isinstance(variants, list) else [variants]
        highest = np.max([hear(listener, scale, offset, samples, audio).max(axis=0) for samples in variants], axis=0)
        heard[case] = {names[column]: round(float(highest[column]), 2) for column in np.flatnonzero(highest >= 0.5)}
    return heard


def evaluate(config, weights_path, cases=CASES):
    """Measures the listener on all lists."""
    listener, names, scale, offset = load_listener(config, weights_path)
    vocabulary = Vocabulary(config["query"]["vocabulary"])
    audio = config["audio"]
    concepts = [column for column, name in enumerate(names) if name in vocabulary.umbrellas_of]
    umbrellas = [column for column, name in enumerate(names) if len(vocabulary.members[name]) > 1]
    known = [names.index(label) for label in LABELS]
    groups = {"concepts": concepts, "umbrellas": umbrellas, "names of the first model": known}
    mixtures = ListenerMixtures(read_corpus(config), vocabulary, config)
    pools = validation_pools(config, vocabulary)
    figures = {}
    for title, pool in {
        "recordings of the first corpus": pools["first"],
        "recordings of both corpora": merge(pools["first"], pools["second"]),
        "other recordings": pools["other"],
    }.items():
        lists = ListenerLists(pool, vocabulary, audio["sample_rate"], cases)
        figures[title] = measure_lists(listener, names, scale, offset, lists, mixtures, audio, groups)
    return {
        "cases": cases,
        "lists": figures,
        "noise": measure_noise(listener, scale, offset, names, audio, mixtures.rules),
    }


def make_markdown(figures):
    """Formats the figures as tables."""

    def percent(value):
        return "–" if value is None else f"{100 * value:.0f} %"

    groups = list(next(iter(next(iter(figures["lists"].values())).values())))
    lines = [
        f"Mean average precision, over the names that are there at least once in {figures['cases']} mixtures of 4 s "
        f"({figures['cases'] // 2} bands):",
        "",
        "| recordings | list | " + " | ".join(groups) + " |",
        "|---|---|" + "---|" * len(groups),
    ]
    for title, lists in figures["lists"].items():
        for name, entry in lists.items():
            cells = [
                "–"
                if entry[group]["mean_average_precision"] is None
                else f"{entry[group]['mean_average_precision']:.2f} ({entry[group]['names']})"
                for group in groups
            ]
            lines.append(f"| {title} | {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Of the names of the first model that it says at {SURE} or more, how many per mixture, how many of them are there, "
        "and how many of those that are there it says:",
        "",
        "| recordings | list | said per mixture | of these there | of those there said |",
        "|---|---|---|---|---|",
    ]
    for title, lists in figures["lists"].items():
        for name, entry in lists.items():
            known = entry[groups[-1]]
            lines.append(
                f"| {title} | {name} | {known['said_per_mixture']:.2f} | {percent(known['of_said_there'])} | "
                f"{percent(known['of_there_said'])} |"
            )
    heard = "; ".join(
        f"{case}: {', '.join(f'{name} {value:.2f}' for name, value in names.items()) or 'nothing'}"
        for case, names in figures["noise"].items()
    )
    lines += ["", f"Heard at 0.5 or more in ten seconds of silence and of coloured noise, at most: {heard}."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.LISTENER_CONFIG)
    parser.add_argument("--weights", type=Path, default=configuration.LISTENER_WEIGHTS)
    parser.add_argument("--card", action="store_true", help="write the figures into the model card of models/default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = evaluate(configuration.load_listener(arguments.config), arguments.weights)
    text = make_markdown(figures)
    if arguments.card:
        path = configuration.LISTENER_WEIGHTS.with_suffix(".json")
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_into_card(configuration.PACKAGE / "MODEL_CARD.md", CARD_MARKS, text)
    print(text)


if __name__ == "__main__":
    main()
