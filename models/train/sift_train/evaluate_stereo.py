"""Measures what the places of sounds are worth: `python -m sift_train.evaluate_stereo --program sift [--card]`.

The program renders each mixture with the mask alone (`--stereo 0`) and with the filter by place (`--stereo 1`), so that the
figures are of the filter that users have. Lists: recordings of the validation split and of held-out sources.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from . import config as configuration
from .data import Corpus, energy, spectrogram
from .evaluate import map_cases
from .listener_lists import validation_pools
from .metrics import si_sdr
from .report import write_into_card
from .stereo_lists import StereoLists
from .vocabulary import Vocabulary

CARD_MARKS = ("<!-- stereo -->", "<!-- end of stereo -->")
CASES = 24
"""Mixtures of each list; half as many of bands and songs."""
SILENT = -40.0
"""Level of a frame of the target below its loudest one in dB, from which it counts as silent."""
MODES = ("mask alone", "with the filter")


def collect_lists(config, package_config, cases):
    """Makes all lists: {list: [StereoCase]}."""
    vocabulary = Vocabulary(config["query"]["vocabulary"])
    pools = validation_pools(config, vocabulary)
    rate = package_config["audio"]["sample_rate"]
    validation = StereoLists(pools["first"], vocabulary, rate, cases)
    validation.add_bands(pools["second"], cases // 2)
    validation.add_songs([Corpus(folder, "val", rate) for folder in config["corpus"]["further"]], cases // 2)
    other = StereoLists(pools["other"], vocabulary, rate, cases)
    return validation.lists | {f"other recordings: {name}": found for name, found in other.lists.items()}


def render(program, case, rate, rest, stereo):
    """Separates a case by the program: → [2, N]."""
    with tempfile.TemporaryDirectory() as folder:
        mixture, output = Path(folder, "mixture.wav"), Path(folder, "target.wav")
        soundfile.write(mixture, case.mixture.T, rate, subtype="FLOAT")
        command = [program, "render", mixture, "--query", case.text, "--rest", rest, "--stereo", stereo]
        done = subprocess.run([*map(str, command), "--output", str(output)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: cannot render: {done.stderr.strip()}")
        return soundfile.read(output, dtype="float32", always_2d=True)[0].T


def level_difference_error(target, estimate):
    """How far the target's level difference of the channels moves in an estimate [2, N], in dB; None for one channel.

    The level of the target in a channel of the estimate is that of its projection.
    """
    powers = [energy(channel) for channel in target]
    if min(powers) < 1e-3 * max(powers):
        return None
    gains = [abs(np.dot(*pair)) / power + 1e-9 for *pair, power in zip(target, estimate, powers)]
    return abs(20 * np.log10(gains[0] / gains[1]))


def flatness_in_silence(target, estimate, audio):
    """Mean spectral flatness of an estimate [2, N] in frames in which the target is silent; None without such frames.

    Flatness: the geometric over the arithmetic mean of the power spectrum, 0 to 1. Musical noise is far from flat.
    """
    target, estimate = (
        spectrogram(torch.from_numpy(samples), audio).abs().square().numpy() for samples in (target, estimate)
    )
    level = target.sum(axis=(0, 2))
    power = estimate.sum(axis=0)[level < 10 ** (SILENT / 10) * level.max()] + 1e-12
    if len(power) == 0:
        return None
    return float(np.mean(np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)))


def measure_case(program, case, audio, rest):
    """Measures a case in both modes: {figure: [mask alone, with the filter]}."""
    rows = []
    for stereo in (0, 1):
        estimate = render(program, case, audio["sample_rate"], rest, stereo)
        channels = [
            si_sdr(*pair) for pair in zip(case.target, estimate) if energy(pair[0]) > 1e-3 * energy(case.target.ravel())
        ]
        rows.append(
            {
                "both": si_sdr(case.target.ravel(), estimate.ravel()),
                "channels": float(np.mean(channels)),
                "picture": level_difference_error(case.target, estimate),
                "flatness": flatness_in_silence(case.target, estimate, audio),
            }
        )
    return {name: [row[name] for row in rows] for name in rows[0]}


def summarise(rows):
    """Means over the cases in which a figure is defined: {figure: [mask alone, with the filter]}."""
    summary = {"cases": len(rows)}
    for name in rows[0]:
        values = np.array([row[name] for row in rows if None not in row[name]], float)
        summary[name] = values.mean(axis=0).tolist() if len(values) else None
    both = np.array([row["both"] for row in rows])
    summary["worse"] = float((both[:, 1] < both[:, 0] - 0.5).mean())
    return summary


def make_markdown(figures):
    """Formats the figures as a table."""
    lines = [
        "SI-SDR over both channels, and the mean of each, in dB; how far the level difference of the target's channels moves, "
        "in dB; spectral flatness of what is left while the target is silent (0 to 1); by the mask alone, and with the "
        "filter. Last: share of mixtures that lose more than 0.5 dB.",
        "",
        "| list | cases | SI-SDR | of each channel | picture | flatness | worse |",
        "|---|---|---|---|---|---|---|",
    ]

    def cell(values, digits):
        return "–" if values is None else ", ".join(f"{value:.{digits}f}" for value in values)

    for name, row in figures.items():
        cells = [cell(row["both"], 2), cell(row["channels"], 2), cell(row["picture"], 1), cell(row["flatness"], 3)]
        lines.append(f"| {name} | {row['cases']} | {' | '.join(cells)} | {100 * row['worse']:.0f} % |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, required=True, help="the program `sift`")
    parser.add_argument("--rest", default="off", help="what competes with the text, as for `sift render`")
    parser.add_argument("--cases", type=int, default=CASES, help="mixtures of each list")
    parser.add_argument(
        "--card", action="store_true", help="write the figures into the model card of the default package"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    package_config = configuration.load()
    audio = package_config["audio"]
    figures = {}
    for name, cases in collect_lists(configuration.load_listener(), package_config, arguments.cases).items():
        rows = map_cases(lambda case: measure_case(arguments.program, case, audio, arguments.rest), cases, name)
        figures[name] = summarise(rows)
    text = make_markdown(figures)
    if arguments.card:
        path = configuration.DEFAULT_WEIGHTS.with_name("stereo.json")
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        write_into_card(configuration.PACKAGE / "MODEL_CARD.md", CARD_MARKS, text)
    print(text)


if __name__ == "__main__":
    main()
