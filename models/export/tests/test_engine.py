"""A package of the published size in the engine, by `sift render`: what the published code computes for the clip.

The engine's frames lie beside those of the published code, unless there is some silence before the clip, and it sees a
window of the stream. So the two are compared where a window holds the whole clip, and away from its ends.
"""

import os
import subprocess
from pathlib import Path

import numpy
import pytest
import soundfile
import torch

from sift_export import __main__ as command_line
from sift_export import agreement, audiosep, golden
from sift_export import checkpoint as checkpoints

REPOSITORY = Path(__file__).resolve().parents[3]
MIDDLE = slice(32_000, 33_234)
"""Of the clip's 65,234 samples, at 32 kHz: all but the first and last second."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    if not (golden.REFERENCE / "audiosep").is_dir():
        pytest.skip(f"there is no reference data at {golden.REFERENCE}")
    path = tmp_path_factory.mktemp("engine") / "published.ckpt"
    golden.write("audiosep", path)
    return path


@pytest.fixture(scope="module")
def package(checkpoint):
    folder = checkpoint.with_name("package")
    options = ["--context", "224", "--advance", "128", "--lookahead", "0", "--output", str(folder)]
    command_line.main(["audiosep", str(checkpoint), "--tokenizer", str(golden.tokenizer_folder(checkpoint)), *options])
    return folder


@pytest.fixture
def render(package, tmp_path):
    """What `sift render` makes of a clip, [N] → [N]."""
    sift = Path(os.environ.get("SIFT_CLI", REPOSITORY / "target" / "debug" / "sift"))
    assert sift.is_file(), f"{sift} is missing: build it with `cargo xtask bundle`, or set SIFT_CLI"

    def run(samples):
        silence = numpy.zeros(agreement.alignment(audiosep), numpy.float32)
        clip, output = tmp_path / "clip.wav", tmp_path / "output.wav"
        soundfile.write(clip, numpy.concatenate([silence, samples]), audiosep.SAMPLE_RATE, subtype="FLOAT")
        query = ["--query", golden.TEXTS["audiosep"], "--output", output]
        done = subprocess.run([sift, "render", clip, "--model", package, *query], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return soundfile.read(output, dtype="float32")[0][len(silence) :]

    return run


def test_the_engine_gives_what_the_published_code_gives(render):
    arrays = golden.arrays("audiosep")
    found = render(arrays["mixture"])[MIDDLE]
    snr = agreement.signal_to_noise(arrays["separated_for_text"][MIDDLE], found)
    print(f"\nmeasured: {snr:.1f} dB against the published code's output")
    assert snr > 40


@torch.no_grad()
def test_a_quieter_clip_is_separated_as_pytorch_separates_it(render, checkpoint):
    arrays = golden.arrays("audiosep")
    quiet = 0.1 * arrays["mixture"]
    model = checkpoints.load(audiosep, audiosep.tensors(checkpoint))
    expected = agreement.whole_clip(audiosep, model, quiet, torch.from_numpy(arrays["text_embedding"]))
    snr = agreement.signal_to_noise(expected[MIDDLE], render(quiet)[MIDDLE])
    print(f"\nmeasured: {snr:.1f} dB against PyTorch, 20 dB quieter")
    assert snr > 40
