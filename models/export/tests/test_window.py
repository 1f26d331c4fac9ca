"""The window kind, as the engine runs it: which frames a run sees, and which of its masks are used."""

import numpy
import pytest

from sift_export.window import Window, analyse, masks, synthesise

FRAMES = 50
BINS = 3


@pytest.fixture
def magnitude():
    """Every frame tells its number, from 1: silence is 0."""
    return numpy.arange(1.0, FRAMES + 1, dtype=numpy.float32)[:, None] * numpy.ones(BINS, numpy.float32)


SETTINGS = [Window(8, 1, 0), Window(8, 3, 2), Window(8, 4, 4), Window(16, 5, 0), Window(9, 9, 0)]


@pytest.mark.parametrize("window", SETTINGS)
def test_every_mask_is_that_of_its_own_frame(magnitude, window):
    found = masks(lambda ring: ring[None], magnitude, window, range(FRAMES))
    assert numpy.array_equal(found, magnitude)


@pytest.mark.parametrize("window", SETTINGS)
def test_masks_lie_lookahead_behind_the_newest_frame_and_less_than_an_advance_further(magnitude, window):
    newest_first = numpy.arange(window.context)[::-1, None] * numpy.ones(BINS)
    behind = masks(lambda ring: newest_first[None], magnitude, window, range(FRAMES)).real[:, 0]
    assert behind.min() == window.lookahead
    assert behind.max() == window.lookahead + window.advance - 1


def test_runs_follow_every_advance_frames_on_the_last_context_frames(magnitude):
    seen = []
    masks(lambda ring: (seen.append(ring[:, 0]), ring[None])[1], magnitude, Window(6, 4, 1), range(8))
    assert [list(ring) for ring in seen] == [[0, 0, 1, 2, 3, 4], [3, 4, 5, 6, 7, 8], [7, 8, 9, 10, 11, 12]]


def test_the_stream_is_followed_by_silence(magnitude):
    seen = []
    masks(lambda ring: (seen.append(ring[:, 0]), ring[None])[1], magnitude, Window(6, 4, 1), range(48, 50))
    assert list(seen[-1]) == [47, 48, 49, 50, 0, 0]


def test_only_the_runs_that_are_asked_for_are_run(magnitude):
    whole = masks(lambda ring: ring[None] ** 2, magnitude, Window(8, 3, 2), range(FRAMES))
    part = masks(lambda ring: ring[None] ** 2, magnitude, Window(8, 3, 2), range(20, 27))
    assert numpy.array_equal(part, whole[20:27])


def test_two_channels_are_a_complex_gain(magnitude):
    found = masks(lambda ring: numpy.stack([ring, -ring]), magnitude, Window(4, 2, 0), range(FRAMES))
    assert numpy.array_equal(found, magnitude * (1 - 1j))


@pytest.mark.parametrize("size, hop", [(2048, 320), (1024, 512)])
def test_what_is_not_masked_comes_back(size, hop):
    samples = numpy.random.default_rng(0).normal(size=9000)
    spectra = analyse(samples, size, hop)
    found, start = synthesise(spectra[4:], 4, size, hop)
    assert start == 4 * hop
    assert numpy.abs(found[: len(samples) - start] - samples[start:]).max() < 1e-5


def test_frames_end_with_a_hop():
    """An impulse in hop 7 is in frame 7, the first that ends with it, and in none before."""
    samples = numpy.zeros(4096)
    samples[7 * 320 + 300] = 1
    loud = numpy.abs(analyse(samples, 2048, 320)).max(axis=1) > 0
    assert loud.nonzero()[0][0] == 7
    assert loud.sum() == 7  # 2048 / 320, rounded up
