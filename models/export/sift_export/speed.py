"""How fast the engine runs the networks on this machine, by context: `python -m sift_export.speed --sift SIFT`.

Packages of the published sizes are made, of weights that anyone can make again, and `sift doctor` measures each, and the
default model before them. Speed does not depend on what was learned.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from . import __main__ as command_line
from . import golden
from .fault import Fault


def factor(sift, *options):
    """The real-time factor that `sift doctor` finds: time that the separator takes, over that of the sound."""
    said = subprocess.run([sift, "doctor", *map(str, options)], capture_output=True, text=True).stdout
    # A model that is too slow to play live makes the doctor fail, with the same line.
    found = re.search(r"separator ([\d.]+) ms of the ([\d.]+) ms a hop has", said)
    if not found:
        raise Fault(sift, f"measured nothing:\n{said}", "Mend what it says")
    return float(found[1]) / float(found[2])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0].split(":")[0])
    parser.add_argument("--sift", type=Path, required=True, help="the command line, built with --release")
    parser.add_argument("--context", type=float, nargs="+", default=[0.64, 1.28, 2.56, 5.12], help="in seconds")
    arguments = parser.parse_args(arguments)
    try:
        print("| model | context | advance, lookahead | real-time factor |\n|---|---|---|---|")
        print(f"| Sift default | | | {factor(arguments.sift):.3f} |", flush=True)
        for name, architecture in golden.ARCHITECTURES.items():
            table(name, architecture, arguments)
    except Fault as fault:
        sys.exit(f"error: {fault}")


def table(name, architecture, arguments):
    """The rows of one architecture."""

    def frames(seconds):
        return round(seconds * architecture.SAMPLE_RATE / architecture.HOP)

    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch, "golden.ckpt")
        golden.write(name, checkpoint)
        for context in arguments.context:
            package = Path(scratch, f"{context}")
            options = ["--context", frames(context), "--advance", frames(0.32), "--lookahead", frames(0.32)]
            options += ["--tokenizer", golden.tokenizer_folder(checkpoint), "--output", package]
            export = command_line.parser().parse_args([name, str(checkpoint), *map(str, options)])
            with contextlib.redirect_stdout(sys.stderr):
                command_line.export(export)
            found = factor(arguments.sift, "--model", package)
            print(f"| {architecture.NAME} | {context:.2f} s | 0.32 s | {found:.3f} |", flush=True)


if __name__ == "__main__":
    main()
