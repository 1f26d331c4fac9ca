"""The table of speeds is read off what `sift doctor` says."""

import pytest

from sift_export.fault import Fault
from sift_export.speed import factor


@pytest.fixture
def doctor(tmp_path):
    """A stand-in for `sift` that says `text` and fails, as the real one does on a machine that is too slow."""

    def make(text):
        program = tmp_path / "sift"
        program.write_text(f"#!/bin/sh\necho '{text}'\nexit 1\n")
        program.chmod(0o755)
        return program

    return make


def test_the_factor_is_the_share_of_a_hop_that_the_separator_takes(doctor):
    sift = doctor("FAIL  speed         1 s in 4.1 s; separator 31.00 ms of the 10.00 ms a hop has: 3.1 times slower")
    assert factor(sift, "--model", "there") == pytest.approx(3.1)


def test_a_doctor_that_measured_nothing_is_quoted(doctor):
    with pytest.raises(Fault, match="separator.onnx is missing"):
        factor(doctor("FAIL  model         separator.onnx is missing"))
