"""Measures what the rest of a text is worth: `python -m sift_train.evaluate_rest [--card]`.

Every list is separated without a rest, with the rest that the listener selects, with the right names said, and with a name
that is not there in place of what the listener selected, by its weight. The lists are the validation list, whose recordings
neither the networks nor the options of the rest know, and recordings of held-out sources. A band's singers are of the
second corpus's validation split, on which the listener was calibrated.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from . import config as configuration
from .captions import LABELS
from .data import Corpus, spectrogram, waveform
from .evaluate import AUTOMATIC, Package, map_cases, relative_level
from .listener_lists import validation_pools
from .metrics import si_sdr
from .package_streams import HeardRest
from .report import write_into_card
from .rest_lists import RestLists, from_validation_case
from .validation_list import ValidationList
from .vocabulary import Vocabulary

CARD_MARKS = ("<!-- rest -->", "<!-- end of rest -->")
MODES = ("no rest", "the listener's", "right names said", "a wrong one, by the listener's weight")
PAIRS = 128
"""Pairs of held-out sources; half as many for its other lists, and for the bands."""


class WrongRest(HeardRest):
    """Competes with a sound that is not there, whenever and as much as the listener would with its own choice."""

    def __init__(self, *arguments, wrong):
        super().__init__(*arguments)
        self._wrong = wrong

    def embedding(self, concept):
        return self._listener.embeddings[self._wrong]


def collect_cases(config, package_config):
    """Makes all lists: {list: [RestCase]}."""
    rng = np.random.default_rng(0)
    corpus = Corpus(package_config["corpus"]["path"], "val", package_config["audio"]["sample_rate"])
    validation = ValidationList(corpus, package_config)

    def convert(cases):
        return [from_validation_case(case, rng) for case in cases]

    vocabulary = Vocabulary(config["query"]["vocabulary"])
    pools = validation_pools(config, vocabulary)
    rate = config["audio"]["sample_rate"]
    bands = RestLists(pools["first"], vocabulary, rate, 0)
    bands.add_bands(pools["second"], PAIRS // 2)
    other = RestLists(pools["other"], vocabulary, rate, PAIRS)
    return {
        "validation list: pairs": convert(validation.present),
        "validation list: three sounds": convert(validation.further["three sources of equal energy"]),
        "validation list: -10 to 10 dB": convert(validation.further["two sources, -10 to 10 dB"]),
        "validation list: absent": convert(validation.absent),
        "vocals in a band": bands.lists["vocals in a band"],
        "drums in a band": bands.lists["drums in a band"],
        **{f"other recordings: {name}": cases for name, cases in other.lists.items()},
    }


def measure_case(package, case):
    """Measures a case in each mode: SI-SDR, or for an absent sound the level of the output, in dB."""
    spectrum = spectrogram(torch.from_numpy(case.mixture)[None], package.audio)
    magnitude = spectrum[0].abs().numpy()

    def measure(gains):
        estimate = waveform(torch.from_numpy(gains) * spectrum, package.audio, len(case.mixture))[0].numpy()
        return relative_level(estimate, case.mixture) if case.target is None else si_sdr(case.target, estimate)

    wrong = LABELS.index(case.wrong)
    modes = (None, AUTOMATIC, case.others, lambda *inputs: WrongRest(*inputs, wrong=wrong))
    _, *gains = package.gains(magnitude, case.text, *modes)
    return [measure(mode_gains) for mode_gains in gains]


def summarise(values, is_absent):
    """Summarises the values [n, modes] of a list."""
    values = np.array(values)
    rows = {}
    for mode, column in zip(MODES, values.T):
        if is_absent:
            rows[mode] = {"median_db": float(np.median(column)), "20_db_below": float((column <= -20).mean())}
        else:
            rows[mode] = {
                "si_sdr": float(column.mean()),
                "si_sdr_10th_percentile": float(np.percentile(column, 10)),
                "worse_than_none": float((column < values[:, 0] - 0.5).mean()),
            }
    return {"cases": len(values), "modes": rows}


def make_markdown(figures):
    """Formats the figures as tables."""
    lines = [
        "SI-SDR, mean · 10th percentile, in dB. For absent sounds the level of the output relative to the input in dB "
        "(median), and the share of mixtures in which it is -20 dB or less.",
        "",
        "| list | cases | " + " | ".join(MODES) + " |",
        "|---|---|" + "---|" * len(MODES),
    ]
    for name, entry in figures.items():
        cells = [
            f"{row['median_db']:.1f} · {100 * row['20_db_below']:.0f} %"
            if "median_db" in row
            else f"{row['si_sdr']:.2f} · {row['si_sdr_10th_percentile']:.1f}"
            for row in entry["modes"].values()
        ]
        lines.append(f"| {name} | {entry['cases']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--first", type=int, help="measure only this many cases of each list")
    parser.add_argument("--card", action="store_true", help="write the figures into the package's model card")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    package_config = configuration.load()
    package = Package(arguments.package, package_config)
    figures = {}
    for name, cases in collect_cases(configuration.load_listener(), package_config).items():
        values = map_cases(lambda case: measure_case(package, case), cases[: arguments.first], name)
        figures[name] = summarise(values, cases[0].target is None)
    text = make_markdown(figures)
    if arguments.card:
        path = configuration.DEFAULT_WEIGHTS.with_name("rest.json")
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_into_card(arguments.package / "MODEL_CARD.md", CARD_MARKS, text)
    print(text)


if __name__ == "__main__":
    main()
