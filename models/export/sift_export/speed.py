"""Measures the engine's speed with the networks by context: `python -m sift_export.speed --sift SIFT`.

Exports packages of the published sizes with reference weights and measures each with `sift doctor`, after the default
model. The speed does not depend on the weights.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import __main__ as command_line
from . import reference_weights
from .user_error import UserError


def real_time_factor(sift, *options):
    """Reads from `sift doctor` the separator's computing time divided by the duration of the sound."""
    output = subprocess.run([sift, "doctor", *map(str, options)], capture_output=True, text=True).stdout
    # The command fails for a model that is too slow for live use, but prints the same line.
    found = re.search(r"separator ([\d.]+) ms of the ([\d.]+) ms a hop has", output)
    if not found:
        raise UserError(sift, f"no measurement in its output:\n{output}", "Fix the problem that it names")
    return float(found[1]) / float(found[2])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":")[0])
    parser.add_argument("--sift", type=Path, required=True, help="the `sift` program, built with --release")
    parser.add_argument("--context", type=float, nargs="+", default=[0.64, 1.28, 2.56, 5.12], help="in seconds")
    arguments = parser.parse_args(arguments)
    try:
        print("| model | context | advance, lookahead | real-time factor |\n|---|---|---|---|")
        print(f"| Sift default | | | {real_time_factor(arguments.sift):.3f} |", flush=True)
        for name, architecture in reference_weights.ARCHITECTURES.items():
            print_rows(name, architecture, arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


def print_rows(name, architecture, arguments):
    """Measures one architecture in all contexts and prints a row for each."""

    def frames(seconds):
        return round(seconds * architecture.SAMPLE_RATE / architecture.HOP)

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch, "reference.ckpt")
        reference_weights.write_checkpoint(name, checkpoint)
        for context in arguments.context:
            package = Path(scratch, f"{context}")
            options = ["--context", frames(context), "--advance", frames(0.32), "--lookahead", frames(0.32)]
            options += ["--tokenizer", reference_weights.placeholder_tokenizer_folder(checkpoint), "--output", package]
            export = command_line.make_parser().parse_args([name, str(checkpoint), *map(str, options)])
            with contextlib.redirect_stdout(sys.stderr):
                command_line.export(export)
            factor = real_time_factor(arguments.sift, "--model", package)
            print(f"| {architecture.NAME} | {context:.2f} s | 0.32 s | {factor:.3f} |", flush=True)


if __name__ == "__main__":
    main()
