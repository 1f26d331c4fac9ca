"""The evaluation separates as `sift render` does: the same samples for the same file, text and rest."""

import os
import subprocess

import numpy as np
import pytest
import scipy.signal
import soundfile

from sift_train import config as configuration
from sift_train.evaluate import AUTOMATIC, Package
from sift_train.metrics import si_sdr

SECONDS = 8


@pytest.fixture(scope="module")
def program():
    program = os.environ.get("SIFT_CLI")
    if not program:
        pytest.skip("SIFT_CLI is not set: `cargo xtask test` sets it")
    return program


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


@pytest.fixture(scope="module")
def demo(config):
    """The beginning of the demo at the model's rate: mixture and speech [N]."""
    sounds = []
    for name in ("mixture", "speech"):
        samples, rate = soundfile.read(configuration.REPOSITORY / "assets" / "demo" / f"{name}.wav", dtype="float32")
        samples = samples.mean(axis=1) if samples.ndim == 2 else samples
        divisor = np.gcd(rate, config["audio"]["sample_rate"])
        samples = scipy.signal.resample_poly(samples, config["audio"]["sample_rate"] // divisor, rate // divisor)
        sounds.append(samples[: SECONDS * config["audio"]["sample_rate"]].astype(np.float32))
    return sounds


@pytest.mark.parametrize(
    ("text", "option", "rest"),
    [
        ("a person speaking", "off", None),
        ("a person speaking", "auto", AUTOMATIC),
        ("a person speaking", "music", ("music",)),
        ("drums and a person speaking", "auto", AUTOMATIC),
        ("only the speech without music", "off", None),
        ("only the speech without music", "auto", AUTOMATIC),
        ("everything but music", "auto", AUTOMATIC),
    ],
)
def test_evaluation_gives_the_samples_of_the_program(program, package, demo, config, tmp_path, text, option, rest):
    mixture, speech = demo
    rate = config["audio"]["sample_rate"]
    soundfile.write(tmp_path / "in.wav", mixture, rate, subtype="FLOAT")
    command = [program, "render", "in.wav", "--query", text, "--rest", option, "--output", "out.wav"]
    subprocess.run(command, cwd=tmp_path, check=True)
    rendered, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    evaluated, _ = package.separate(mixture, text, rest)
    assert np.abs(rendered - evaluated).max() < 1e-3
    assert abs(si_sdr(speech, rendered) - si_sdr(speech, evaluated)) < 0.02
