"""`sift render` with a package of the published size gives the output of the published code.

The engine runs on a window of the stream, and its frames match those of the published code only with some silence
before the clip. So the outputs are compared with a window that holds the whole clip, and away from its ends.
"""

import os
import subprocess
from pathlib import Path

import numpy
import pytest
import soundfile
import torch

from sift_export import __main__ as command_line
from sift_export import audiosep, reference_weights, window_fidelity
from sift_export import checkpoint as checkpoints

REPOSITORY = Path(__file__).resolve().parents[3]
MIDDLE = slice(32_000, 33_234)
"""All but the first and last second of the clip's 65,234 samples at 32 kHz."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    if not (reference_weights.REFERENCE / "audiosep").is_dir():
        pytest.skip(f"no reference data in {reference_weights.REFERENCE}")
    path = tmp_path_factory.mktemp("engine") / "published.ckpt"
    reference_weights.write_checkpoint("audiosep", path)
    return path


@pytest.fixture(scope="module")
def package(checkpoint):
    folder = checkpoint.with_name("package")
    options = ["--context", "224", "--advance", "128", "--lookahead", "0", "--output", str(folder)]
    command_line.main(
        [
            "audiosep",
            str(checkpoint),
            "--tokenizer",
            str(reference_weights.placeholder_tokenizer_folder(checkpoint)),
            *options,
        ]
    )
    return folder


@pytest.fixture
def render(package, tmp_path):
    """Runs `sift render` on a clip, [N] → [N]."""
    sift = Path(os.environ.get("SIFT_CLI", REPOSITORY / "target" / "debug" / "sift"))
    assert sift.is_file(), f"{sift}: file not found. Build it with `cargo xtask bundle`, or set SIFT_CLI."

    def run(samples):
        silence = numpy.zeros(window_fidelity.alignment_silence(audiosep), numpy.float32)
        clip, output = tmp_path / "clip.wav", tmp_path / "output.wav"
        soundfile.write(clip, numpy.concatenate([silence, samples]), audiosep.SAMPLE_RATE, subtype="FLOAT")
        query = ["--query", reference_weights.TEXTS["audiosep"], "--output", output, "--overwrite"]
        done = subprocess.run([sift, "render", clip, "--model", package, *query], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return soundfile.read(output, dtype="float32")[0][len(silence) :]

    return run


def test_render_equals_the_published_code(render):
    arrays = reference_weights.read_arrays("audiosep")
    found = render(arrays["mixture"])[MIDDLE]
    snr = window_fidelity.snr_db(arrays["separated_for_text"][MIDDLE], found)
    print(f"\nmeasured: {snr:.1f} dB against the published code's output")
    assert snr > 40


@torch.no_grad()
def test_render_of_a_quiet_clip_equals_pytorch(render, checkpoint):
    arrays = reference_weights.read_arrays("audiosep")
    quiet = 0.1 * arrays["mixture"]
    model = checkpoints.load(audiosep, audiosep.tensors(checkpoint))
    expected = window_fidelity.separate_whole_clip(audiosep, model, quiet, torch.from_numpy(arrays["text_embedding"]))
    snr = window_fidelity.snr_db(expected[MIDDLE], render(quiet)[MIDDLE])
    print(f"\nmeasured: {snr:.1f} dB against PyTorch, 20 dB quieter")
    assert snr > 40
