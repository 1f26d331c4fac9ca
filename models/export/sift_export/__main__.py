"""Turns a published checkpoint into a model package: `python -m sift_export audiosep|lassnet CHECKPOINT ...`."""

import argparse
import signal
import sys
from pathlib import Path

from . import audiosep, lassnet, package
from .user_error import UserError
from .window import WindowSettings


def make_parser():
    parser = argparse.ArgumentParser(prog="python -m sift_export", description=__doc__.split(":")[0] + ".")
    commands = parser.add_subparsers(dest="architecture", required=True, metavar="audiosep|lassnet")
    for command, architecture in (("audiosep", audiosep), ("lassnet", lassnet)):
        options = commands.add_parser(command, help=f"a checkpoint of {architecture.NAME}")
        options.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
        if architecture is audiosep:
            options.add_argument(
                "--clap", type=Path, metavar="CLAP_CHECKPOINT", help="read the text encoder from CLAP's own checkpoint"
            )
        options.add_argument(
            "--tokenizer",
            type=Path,
            required=True,
            metavar="DIR",
            help=f"folder with the tokenizer of {architecture.TOKENIZER.published_as}: tokenizer.json, or "
            + " and ".join(architecture.TOKENIZER.files),
        )
        options.add_argument(
            "--output", type=Path, required=True, metavar="DIR", help="folder of the package; must not exist"
        )
        options.add_argument("--name", default=architecture.NAME, help="the package's name (%(default)s)")
        frames = f"in frames of {1000 * architecture.HOP / architecture.SAMPLE_RATE:g} ms (%(default)s)"
        defaults = architecture.DEFAULT_WINDOW
        options.add_argument("--context", type=int, default=defaults.context, help=f"input of one run, {frames}")
        options.add_argument("--advance", type=int, default=defaults.advance, help=f"between two runs, {frames}")
        options.add_argument(
            "--lookahead",
            type=int,
            default=defaults.lookahead,
            help=f"smallest delay of a mask behind the newest frame, {frames}",
        )
    return parser


def export(arguments):
    """Writes the package that the command line describes, and prints its files."""
    window = WindowSettings(arguments.context, arguments.advance, arguments.lookahead)
    sources = {"checkpoint": arguments.checkpoint}
    if arguments.architecture == "audiosep":
        architecture, tensors = audiosep, audiosep.tensors(arguments.checkpoint, arguments.clap)
        if arguments.clap is not None:
            sources["text encoder"] = arguments.clap
    else:
        architecture, tensors = lassnet, lassnet.tensors(arguments.checkpoint)
    progress = package.Progress(steps=6)
    package.write(
        architecture,
        tensors,
        sources,
        arguments.tokenizer,
        window,
        arguments.output,
        name=arguments.name,
        progress=progress,
    )
    for path in sorted(arguments.output.iterdir()):
        print(f"{path.stat().st_size:>10}  {path.name}")
    print(f"{progress.seconds():.0f} s, peak memory {peak_megabytes():.0f} MB; figures are in MODEL_CARD.md")


def peak_megabytes():
    """The peak memory of this process, including mapped files; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(arguments=None):
    arguments = make_parser().parse_args(arguments)
    # Handled like Ctrl-C, so that no incomplete package is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        export(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")


if __name__ == "__main__":
    main()
