"""The speed measurement reads the output of `sift doctor`."""

import pytest

from sift_export.speed import real_time_factor
from sift_export.user_error import UserError


@pytest.fixture
def doctor(tmp_path):
    """A fake `sift` that prints `text` and fails, as the real one does on a machine that is too slow."""

    def make(text):
        program = tmp_path / "sift"
        program.write_text(f"#!/bin/sh\necho '{text}'\nexit 1\n")
        program.chmod(0o755)
        return program

    return make


def test_factor_is_separator_time_per_hop_time(doctor):
    sift = doctor("FAIL  speed         1 s in 4.1 s; separator 31.00 ms of the 10.00 ms a hop has: 3.1 times slower")
    assert real_time_factor(sift, "--model", "there") == pytest.approx(3.1)


def test_error_quotes_the_output_without_a_measurement(doctor):
    with pytest.raises(UserError, match=r"separator\.onnx is missing"):
        real_time_factor(doctor("FAIL  model         separator.onnx is missing"))
