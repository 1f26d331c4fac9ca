"""Measures the effect of single changes of the configuration: `python -m sift_train.ablate [--card] [VARIANT ...]`.

Trains the configuration and its variants (`ablations.toml`, one change each) from the same random weights for the same
number of steps, and measures all of them on the same cases of the validation list. Each variant is a run in the cache
folder: finished runs are not repeated, and several processes can train different variants. Short runs favour changes
that help early, and undervalue those that help late, such as augmentation.
"""

import argparse
import copy
import hashlib
import json
import tomllib

import torch

from . import config as configuration
from . import report
from .train import TrainingRun, read_training_inputs

VARIANTS = configuration.TRAIN_FOLDER / "ablations.toml"
FIGURES = configuration.DEFAULT_WEIGHTS.with_name("ablations.json")
CARD_MARKS = ("<!-- ablations -->", "<!-- end of ablations -->")


def read_variants(path=VARIANTS):
    """Reads the changes of each variant, including the shared ones: {variant: {table: {key: value}}}."""
    with open(path, "rb") as file:
        tables = tomllib.load(file)
    shared = tables.pop("shared")

    def with_shared(changes):
        return {table: shared.get(table, {}) | changes.get(table, {}) for table in shared | changes}

    return {name: with_shared(changes) for name, changes in tables.items()}


def apply_changes(config, changes):
    """Returns a copy of the configuration with these changes.

    Raises KeyError for a key that the configuration does not have.
    """
    config = copy.deepcopy(config)
    for table, values in changes.items():
        for key, value in values.items():
            if key not in config[table]:
                raise KeyError(f"ablations.toml: unknown key [{table}] {key}; expected a key of the configuration")
            config[table][key] = value
    return config


def train_variant(config, folder):
    """Trains or resumes one variant and returns its figures; if it is finished, reads them."""
    done = folder / "figures.json"
    if not done.is_file():
        generator, captions, sentences, validate = read_training_inputs(config)
        run = TrainingRun(config, folder, generator, captions, sentences)
        run.train()
        figures = validate(run.averaged_model())
        figures |= {"steps": run.step, "minutes": run.seconds / 60}
        done.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def make_markdown(rows):
    """Formats {variant: figures} as a table."""
    lines = [
        "| variant | SDRi | SI-SDR | SI-SDR 10th percentile | SI-SDR of instruments | absent, output level |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['sdri']:.2f} | {row['si_sdr']:.2f} | {row['si_sdr_10th_percentile']:.2f} | "
            f"{row['instruments_si_sdr']:.2f} | {row['absent']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="a name in ablations.toml (default: all)")
    parser.add_argument("--card", action="store_true", help="write the table into the model card")
    arguments = parser.parse_args()
    known = read_variants()
    for name in arguments.variants:
        if name not in known:
            parser.error(f"{VARIANTS}: unknown variant {name!r}; expected one of: {', '.join(known)}")
    base = configuration.load()
    torch.set_num_threads(base["training"]["threads"])
    rows = {}
    for name in arguments.variants or known:
        config = apply_changes(base, known[name])
        # Each configuration has its own run.
        settings = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        folder = configuration.cache_folder() / "ablations" / settings[:12]
        print(f"{name}: {folder}", flush=True)
        rows[name] = train_variant(config, folder)
        print(rows[name], flush=True)
    table = make_markdown(rows)
    print(table)
    if arguments.card:
        FIGURES.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        report.write_into_card(configuration.PACKAGE / "MODEL_CARD.md", CARD_MARKS, table)


if __name__ == "__main__":
    main()
