"""Measures how close the engine's windowed output is to that of the published code, by window settings.

    python -m sift_export.window_fidelity audiosep CHECKPOINT --context 64 128 256 512 --advance 32 --lookahead 32

The published code separates a whole clip at once; the engine runs a window model on the last `context` frames. This
module computes both in PyTorch, for the mixture and the condition of the reference data. It prints the signal-to-noise
ratio of the second output against the first, over a part of the clip.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy
import torch

from . import audiosep, checkpoint, reference_weights, window
from .user_error import UserError


def separate_whole_clip(architecture, model, samples, condition):
    """Separates a clip as the published code does: `samples` [N] → [N]."""
    hann = torch.hann_window(architecture.N_FFT)
    clip = torch.from_numpy(samples)
    spectrum = torch.stft(clip, architecture.N_FFT, architecture.HOP, window=hann, return_complex=True)
    mask = model.separator(spectrum.abs().T[None], model.shifts(condition))[0]
    gain = mask[0] if len(mask) == 1 else torch.complex(mask[0], mask[1])
    masked = spectrum * gain.T
    return torch.istft(masked, architecture.N_FFT, architecture.HOP, window=hann, length=len(samples)).numpy()


def separate_in_windows(architecture, model, samples, condition, setting, span):
    """Separates `span` (a range of samples) of a stream as the engine does."""
    size, hop = architecture.N_FFT, architecture.HOP
    shifts = model.shifts(condition)

    def network(magnitude):
        return model.separator(torch.from_numpy(magnitude)[None], shifts)[0].numpy()

    spectra = window.analyse(samples, size, hop)
    # Frame i ends with hop i: a sample is part of the frame of its own hop and of the following ones.
    frames = range(span.start // hop, min((span.stop - 1 + size - hop) // hop + 1, len(spectra)))
    masks = window.compute_masks(network, numpy.abs(spectra), setting, frames)
    found, start = window.synthesise(masks * spectra[frames.start : frames.stop], frames.start, size, hop)
    return found[span.start - start : span.stop - start]


def snr_db(reference, found):
    """The signal-to-noise ratio of `found` against `reference`, in dB."""
    return 10 * numpy.log10(numpy.square(reference).sum() / numpy.square(reference - found).sum())


def alignment_silence(architecture):
    """The length of the silence, in samples, that aligns the engine's frames with those of the published code.

    The engine's frames end at a multiple of the hop; those of the published code have their centre there. The networks
    halve the frame rate several times, so the frames are aligned to `FRAME_MULTIPLE` too.
    """
    return (architecture.HOP - architecture.N_FFT // 2) % (architecture.HOP * architecture.FRAME_MULTIPLE)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=reference_weights.ARCHITECTURES)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--clap", type=Path)
    parser.add_argument("--context", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--advance", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--lookahead", type=int, nargs="+", required=True, help="in frames")
    parser.add_argument("--repeat", type=int, default=1, help="number of repetitions of the mixture (%(default)s)")
    parser.add_argument(
        "--span",
        type=float,
        nargs=2,
        metavar="SECONDS",
        help="compared part (default: all but the first and last second)",
    )
    parser.add_argument(
        "--silence", type=int, nargs="+", help="samples before the mixture (default: 0, and what aligns the frames)"
    )
    arguments = parser.parse_args()
    if arguments.clap and arguments.architecture != "audiosep":
        parser.error("--clap applies to audiosep only")
    settings = [
        window.WindowSettings(*values)
        for values in itertools.product(arguments.context, arguments.advance, arguments.lookahead)
    ]
    try:
        for setting in settings:
            setting.check()
        print_table(arguments, settings)
    except UserError as error:
        sys.exit(f"error: {error}")


def print_table(arguments, settings):
    """Prints one row per setting and length of silence."""
    architecture = reference_weights.ARCHITECTURES[arguments.architecture]
    clap = (arguments.clap,) if architecture is audiosep else ()
    tensors = architecture.tensors(arguments.checkpoint, *clap)
    model = checkpoint.load(architecture, tensors)

    data = reference_weights.read_arrays(arguments.architecture)
    condition = torch.from_numpy(data["condition" if "condition" in data else "text_embedding"])
    samples = numpy.tile(data["mixture"], arguments.repeat)
    rate = architecture.SAMPLE_RATE
    start, stop = arguments.span or (1.0, len(samples) / rate - 1.0)
    span = range(round(start * rate), round(stop * rate))
    reference = separate_whole_clip(architecture, model, samples, condition)[span.start : span.stop]
    silences = arguments.silence if arguments.silence is not None else sorted({0, alignment_silence(architecture)})

    print(f"{len(samples) / rate:.2f} s of mixture, compared from {start:.2f} to {stop:.2f} s")
    print("| context | advance | lookahead | silence before, samples | SNR, dB | computing time, s |")
    print("|---|---|---|---|---|---|", flush=True)
    for setting, silence in itertools.product(settings, silences):
        stream = numpy.concatenate([numpy.zeros(silence, numpy.float32), samples])
        delayed = range(span.start + silence, span.stop + silence)
        began = time.monotonic()
        found = separate_in_windows(architecture, model, stream, condition, setting, delayed)
        seconds = time.monotonic() - began
        frames = f"{setting.context} | {setting.advance} | {setting.lookahead}"
        print(f"| {frames} | {silence} | {snr_db(reference, found):.1f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
