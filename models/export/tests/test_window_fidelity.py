"""The measurement of how close the windowed output is to that of the published code."""

import numpy
import pytest
import torch

from sift_export import audiosep, lassnet, window_fidelity
from sift_export.window import WindowSettings


@pytest.fixture
def samples():
    return numpy.random.default_rng(0).normal(size=40000).astype(numpy.float32)


class AllPassModel:
    """A model whose masks are all 1."""

    def shifts(self, condition):
        return condition

    def separator(self, magnitude, shifts):
        return torch.ones(1, 1, *magnitude.shape[1:])


@pytest.mark.parametrize("architecture", [audiosep, lassnet])
def test_masks_of_ones_return_the_samples(architecture, samples):
    whole = window_fidelity.separate_whole_clip(architecture, AllPassModel(), samples, None)
    assert numpy.abs(whole - samples).max() < 1e-5
    part = window_fidelity.separate_in_windows(
        architecture, AllPassModel(), samples, None, WindowSettings(32, 8, 8), range(9000, 30000)
    )
    assert numpy.abs(part - samples[9000:30000]).max() < 1e-5


@torch.no_grad()
def test_longer_context_is_closer_to_the_whole_clip(small, samples):
    architecture = small.architecture
    condition = torch.linspace(-1, 1, small.model.condition_size)[None]
    whole = window_fidelity.separate_whole_clip(architecture, small.model, samples, condition)
    silence = window_fidelity.alignment_silence(architecture)
    stream = numpy.concatenate([numpy.zeros(silence, numpy.float32), samples])

    def fidelity(window):
        span = range(silence + 16000, silence + 24000)
        found = window_fidelity.separate_in_windows(architecture, small.model, stream, condition, window, span)
        return window_fidelity.snr_db(whole[16000:24000], found)

    multiple = architecture.FRAME_MULTIPLE
    assert fidelity(WindowSettings(6 * multiple, 5 * multiple, 0)) > fidelity(WindowSettings(multiple, 5, 0)) + 6


@pytest.mark.parametrize("architecture", [audiosep, lassnet])
def test_alignment_silence_aligns_frames_with_the_published_code(architecture):
    """The centre of the engine's frame `first`, which ends with hop `first`, is the clip's first sample."""
    silence = window_fidelity.alignment_silence(architecture)
    first, rest = divmod(silence + architecture.N_FFT // 2 - architecture.HOP, architecture.HOP)
    assert rest == 0 and first % architecture.FRAME_MULTIPLE == 0


def test_snr_db_of_a_tenth_is_20():
    reference = numpy.ones(100)
    assert window_fidelity.snr_db(reference, 1.1 * reference) == pytest.approx(20)
