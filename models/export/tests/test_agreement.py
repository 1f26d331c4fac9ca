"""What the table of agreement is made of."""

import numpy
import pytest
import torch

from sift_export import agreement, audiosep, lassnet
from sift_export.window import Window


@pytest.fixture
def samples():
    return numpy.random.default_rng(0).normal(size=40000).astype(numpy.float32)


class Passing:
    """A model whose mask lets everything through."""

    def shifts(self, condition):
        return condition

    def separator(self, magnitude, shifts):
        return torch.ones(1, 1, *magnitude.shape[1:])


@pytest.mark.parametrize("architecture", [audiosep, lassnet])
def test_a_mask_of_ones_gives_the_samples_either_way(architecture, samples):
    whole = agreement.whole_clip(architecture, Passing(), samples, None)
    assert numpy.abs(whole - samples).max() < 1e-5
    part = agreement.windowed(architecture, Passing(), samples, None, Window(32, 8, 8), range(9000, 30000))
    assert numpy.abs(part - samples[9000:30000]).max() < 1e-5


@torch.no_grad()
def test_a_window_that_sees_the_whole_aligned_clip_agrees_and_a_short_one_does_less(small, samples):
    architecture = small.architecture
    condition = torch.linspace(-1, 1, small.model.condition_size)[None]
    whole = agreement.whole_clip(architecture, small.model, samples, condition)
    silence = agreement.alignment(architecture)
    stream = numpy.concatenate([numpy.zeros(silence, numpy.float32), samples])

    def agreed(window):
        span = range(silence + 16000, silence + 24000)
        found = agreement.windowed(architecture, small.model, stream, condition, window, span)
        return agreement.signal_to_noise(whole[16000:24000], found)

    multiple = architecture.FRAME_MULTIPLE
    assert agreed(Window(6 * multiple, 5 * multiple, 0)) > agreed(Window(multiple, 5, 0)) + 6


@pytest.mark.parametrize("architecture", [audiosep, lassnet])
def test_alignment_puts_frames_where_the_published_code_has_them(architecture):
    """The middle of the engine's frame `first`, ending with hop `first`, is the clip's first sample."""
    silence = agreement.alignment(architecture)
    first, rest = divmod(silence + architecture.N_FFT // 2 - architecture.HOP, architecture.HOP)
    assert rest == 0 and first % architecture.FRAME_MULTIPLE == 0


def test_signal_to_noise_is_in_db():
    reference = numpy.ones(100)
    assert agreement.signal_to_noise(reference, 1.1 * reference) == pytest.approx(20)
