"""Window models: the input frames of each run, and the masks that are used."""

import numpy
import pytest

from sift_export.window import WindowSettings, analyse, compute_masks, synthesise

FRAMES = 50
BINS = 3


@pytest.fixture
def magnitude():
    """Each frame holds its number, counted from 1; silence is 0."""
    return numpy.arange(1.0, FRAMES + 1, dtype=numpy.float32)[:, None] * numpy.ones(BINS, numpy.float32)


SETTINGS = [
    WindowSettings(8, 1, 0),
    WindowSettings(8, 3, 2),
    WindowSettings(8, 4, 4),
    WindowSettings(16, 5, 0),
    WindowSettings(9, 9, 0),
]


@pytest.mark.parametrize("window", SETTINGS)
def test_each_mask_belongs_to_its_frame(magnitude, window):
    found = compute_masks(lambda ring: ring[None], magnitude, window, range(FRAMES))
    assert numpy.array_equal(found, magnitude)


@pytest.mark.parametrize("window", SETTINGS)
def test_masks_are_lookahead_to_lookahead_plus_advance_late(magnitude, window):
    newest_first = numpy.arange(window.context)[::-1, None] * numpy.ones(BINS)
    behind = compute_masks(lambda ring: newest_first[None], magnitude, window, range(FRAMES)).real[:, 0]
    assert behind.min() == window.lookahead
    assert behind.max() == window.lookahead + window.advance - 1


def test_runs_take_the_last_context_frames_every_advance(magnitude):
    seen = []
    compute_masks(lambda ring: (seen.append(ring[:, 0]), ring[None])[1], magnitude, WindowSettings(6, 4, 1), range(8))
    assert [list(ring) for ring in seen] == [[0, 0, 1, 2, 3, 4], [3, 4, 5, 6, 7, 8], [7, 8, 9, 10, 11, 12]]


def test_silence_follows_the_stream(magnitude):
    seen = []
    compute_masks(
        lambda ring: (seen.append(ring[:, 0]), ring[None])[1], magnitude, WindowSettings(6, 4, 1), range(48, 50)
    )
    assert list(seen[-1]) == [47, 48, 49, 50, 0, 0]


def test_partial_range_equals_part_of_the_whole(magnitude):
    whole = compute_masks(lambda ring: ring[None] ** 2, magnitude, WindowSettings(8, 3, 2), range(FRAMES))
    part = compute_masks(lambda ring: ring[None] ** 2, magnitude, WindowSettings(8, 3, 2), range(20, 27))
    assert numpy.array_equal(part, whole[20:27])


def test_two_channels_form_a_complex_gain(magnitude):
    found = compute_masks(lambda ring: numpy.stack([ring, -ring]), magnitude, WindowSettings(4, 2, 0), range(FRAMES))
    assert numpy.array_equal(found, magnitude * (1 - 1j))


@pytest.mark.parametrize("size, hop", [(2048, 320), (1024, 512)])
def test_synthesis_inverts_analysis(size, hop):
    samples = numpy.random.default_rng(0).normal(size=9000)
    spectra = analyse(samples, size, hop)
    found, start = synthesise(spectra[4:], 4, size, hop)
    assert start == 4 * hop
    assert numpy.abs(found[: len(samples) - start] - samples[start:]).max() < 1e-5


def test_frames_end_with_their_hop():
    """Frame 7, which ends with hop 7, is the first with an impulse of that hop."""
    samples = numpy.zeros(4096)
    samples[7 * 320 + 300] = 1
    loud = numpy.abs(analyse(samples, 2048, 320)).max(axis=1) > 0
    assert loud.nonzero()[0][0] == 7
    assert loud.sum() == 7  # 2048 / 320, rounded up
