"""What context, advance and lookahead cost: how far the engine's output is from what the published code gives.

    python -m sift_export.agreement audiosep CHECKPOINT --context 64 128 256 512 --advance 32 --lookahead 32

The published code sees a whole clip at once; the engine runs a window model on the last `context` frames. Both are done
here, in PyTorch, on the reference data's mixture and condition, and the signal-to-noise ratio of the second output
against the first is printed, over a part of the clip.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy
import torch

from . import audiosep, checkpoint, golden, window
from .fault import Fault


def whole_clip(architecture, model, samples, condition):
    """What the published code gives for a clip: `samples` [N] → [N]."""
    hann = torch.hann_window(architecture.N_FFT)
    clip = torch.from_numpy(samples)
    spectrum = torch.stft(clip, architecture.N_FFT, architecture.HOP, window=hann, return_complex=True)
    mask = model.separator(spectrum.abs().T[None], model.shifts(condition))[0]
    gain = mask[0] if len(mask) == 1 else torch.complex(mask[0], mask[1])
    masked = spectrum * gain.T
    return torch.istft(masked, architecture.N_FFT, architecture.HOP, window=hann, length=len(samples)).numpy()


def windowed(architecture, model, samples, condition, setting, span):
    """What the engine gives for `span` (a range of samples) of a stream."""
    size, hop = architecture.N_FFT, architecture.HOP
    shifts = model.shifts(condition)

    def network(magnitude):
        return model.separator(torch.from_numpy(magnitude)[None], shifts)[0].numpy()

    spectra = window.analyse(samples, size, hop)
    # Frame i ends with hop i: a sample is in the frame of its own hop and in the following ones.
    frames = range(span.start // hop, min((span.stop - 1 + size - hop) // hop + 1, len(spectra)))
    masks = window.masks(network, numpy.abs(spectra), setting, frames)
    found, start = window.synthesise(masks * spectra[frames.start : frames.stop], frames.start, size, hop)
    return found[span.start - start : span.stop - start]


def signal_to_noise(reference, found):
    """In dB."""
    return 10 * numpy.log10(numpy.square(reference).sum() / numpy.square(reference - found).sum())


def alignment(architecture):
    """Silence, in samples, after which the engine's frames lie where the published code's do, and the networks' halved
    frame rates count from the same frame.

    The engine's frames end with a hop, those of the published code have their middle at the hops' multiples.
    """
    return (architecture.HOP - architecture.N_FFT // 2) % (architecture.HOP * architecture.FRAME_MULTIPLE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=golden.ARCHITECTURES)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clap", type=Path)
    parser.add_argument("--context", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--advance", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--lookahead", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--repeat", type=int, default=1, help="times that the mixture is played (%(default)s)")
    parser.add_argument("--span", type=float, nargs=2, metavar="SECONDS", help="(all but the first and last second)")
    parser.add_argument(
        "--silence", type=int, nargs="+", help="samples before the mixture (0, and as many as align the frames)"
    )
    arguments = parser.parse_args()
    if arguments.clap and arguments.architecture != "audiosep":
        parser.error("--clap is for audiosep")
    settings = [
        window.Window(*values)
        for values in itertools.product(arguments.context, arguments.advance, arguments.lookahead)
    ]
    try:
        for setting in settings:
            setting.check()
        print_table(arguments, settings)
    except Fault as fault:
        sys.exit(f"error: {fault}")


def print_table(arguments, settings):
    """One row for each of `settings` and of the silences that are asked for."""
    architecture = golden.ARCHITECTURES[arguments.architecture]
    clap = (arguments.clap,) if architecture is audiosep else ()
    tensors = architecture.tensors(arguments.checkpoint, *clap)
    model = checkpoint.load(architecture, tensors)

    data = golden.arrays(arguments.architecture)
    condition = torch.from_numpy(data["condition" if "condition" in data else "text_embedding"])
    samples = numpy.tile(data["mixture"], arguments.repeat)
    rate = architecture.SAMPLE_RATE
    start, stop = arguments.span or (1.0, len(samples) / rate - 1.0)
    span = range(round(start * rate), round(stop * rate))
    reference = whole_clip(architecture, model, samples, condition)[span.start : span.stop]
    silences = arguments.silence if arguments.silence is not None else sorted({0, alignment(architecture)})

    print(f"{len(samples) / rate:.2f} s of mixture, compared from {start:.2f} to {stop:.2f} s")
    print("| context | advance | lookahead | silence before, samples | SNR, dB | seconds to compute |")
    print("|---|---|---|---|---|---|", flush=True)
    for setting, silence in itertools.product(settings, silences):
        stream = numpy.concatenate([numpy.zeros(silence, numpy.float32), samples])
        delayed = range(span.start + silence, span.stop + silence)
        before = time.monotonic()
        found = windowed(architecture, model, stream, condition, setting, delayed)
        seconds = time.monotonic() - before
        frames = f"{setting.context} | {setting.advance} | {setting.lookahead}"
        print(f"| {frames} | {silence} | {signal_to_noise(reference, found):.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
