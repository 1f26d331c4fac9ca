"""Turns a published checkpoint into a model package: `python -m sift_export audiosep|lassnet CHECKPOINT ...`."""

import argparse
import signal
import sys
from pathlib import Path

from . import audiosep, lassnet, package
from .fault import Fault
from .window import Window


def parser():
    found = argparse.ArgumentParser(prog="python -m sift_export", description=__doc__.split(":")[0] + ".")
    commands = found.add_subparsers(dest="architecture", required=True, metavar="audiosep|lassnet")
    for command, architecture in (("audiosep", audiosep), ("lassnet", lassnet)):
        options = commands.add_parser(command, help=f"a checkpoint of {architecture.NAME}")
        options.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
        if architecture is audiosep:
            options.add_argument(
                "--clap", type=Path, metavar="CLAP_CHECKPOINT", help="take the text encoder from CLAP's own checkpoint"
            )
        options.add_argument(
            "--tokenizer",
            type=Path,
            required=True,
            metavar="DIR",
            help=f"folder with the tokenizer of {architecture.TOKENIZER.published_as}: tokenizer.json, or "
            + " and ".join(architecture.TOKENIZER.files),
        )
        options.add_argument("--output", type=Path, required=True, metavar="DIR", help="the package; made anew")
        options.add_argument("--name", default=architecture.NAME, help="the package's name (%(default)s)")
        frames = f"in frames of {1000 * architecture.HOP / architecture.SAMPLE_RATE:g} ms (%(default)s)"
        defaults = architecture.DEFAULT_WINDOW
        options.add_argument("--context", type=int, default=defaults.context, help=f"seen at once, {frames}")
        options.add_argument("--advance", type=int, default=defaults.advance, help=f"from run to run, {frames}")
        options.add_argument(
            "--lookahead", type=int, default=defaults.lookahead, help=f"behind the newest frame, {frames}"
        )
    return found


def export(arguments):
    """Writes the package that the command line asks for, and says what it is."""
    window = Window(arguments.context, arguments.advance, arguments.lookahead)
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
    print(f"{progress.seconds():.0f} s, {peak_megabytes():.0f} MB of memory at most; figures are in MODEL_CARD.md")


def peak_megabytes():
    """The most memory this process has held, with what is mapped from files; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main(arguments=None):
    arguments = parser().parse_args(arguments)
    # As Ctrl-C does, so that nothing half-written is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        export(arguments)
    except Fault as fault:
        sys.exit(f"error: {fault}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")


if __name__ == "__main__":
    main()
