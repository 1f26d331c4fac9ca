"""Lists of stereo mixtures: where the sounds stand, and what the figures say of known estimates."""

import numpy as np
import pytest

from sift_train.evaluate_stereo import flatness_in_silence, level_difference_error
from sift_train.stereo_lists import add_room, place_by_delay, place_by_level

RATE = 32_000


@pytest.fixture
def noise():
    return np.random.default_rng(1).standard_normal(RATE).astype(np.float32)


@pytest.mark.parametrize("place", [0.0, 0.2, 0.5, 1.0])
def test_level_keeps_the_power_and_moves_from_left_to_right(noise, place):
    placed = place_by_level(noise, place)
    assert np.sum(placed**2) == pytest.approx(np.sum(noise**2), rel=1e-4)
    left, right = np.sum(placed**2, axis=1)
    assert right / (left + right) == pytest.approx(np.sin(place * np.pi / 2) ** 2, abs=1e-3)


def test_centre_is_the_same_in_both_channels_bit_for_bit(noise):
    left, right = place_by_level(noise, 0.5)
    assert np.array_equal(left, right)


@pytest.mark.parametrize(("place", "later"), [(0.0, 1), (1.0, 0)])
def test_delayed_sound_is_later_and_softer_in_the_far_channel(noise, place, later):
    placed = place_by_delay(noise, place, RATE)
    shift = round(0.0006 * RATE)
    near, far = placed[1 - later], placed[later]
    assert np.corrcoef(near[:-shift], far[shift:])[0, 1] > 0.999
    assert np.sum(near**2) > 1.3 * np.sum(far**2)


def test_room_has_the_ratio_and_differs_between_the_channels(noise):
    dry = place_by_level(noise, 0.5)
    reverberation = add_room(np.random.default_rng(2), dry, RATE, 0.5, 6.0) - dry
    ratio = 10 * np.log10(np.sum(dry**2) / np.sum(reverberation**2))
    assert ratio == pytest.approx(6.0, abs=0.1)
    assert abs(np.corrcoef(reverberation)[0, 1]) < 0.3


def test_picture_moves_by_the_gains_of_the_channels(noise):
    target = place_by_level(noise, 0.4)
    louder_left = target * np.array([[2.0], [1.0]], np.float32)
    assert level_difference_error(target, louder_left) == pytest.approx(6.02, abs=0.01)
    assert level_difference_error(target, 0.5 * target) == pytest.approx(0, abs=1e-3)
    assert level_difference_error(place_by_level(noise, 0.0), target) is None


def test_flatness_tells_noise_from_a_tone(noise, config):
    target = np.zeros((2, RATE), np.float32)
    target[:, : RATE // 4] = noise[: RATE // 4]
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    flat, tonal = (flatness_in_silence(target, np.stack([left] * 2), config["audio"]) for left in (noise, tone))
    assert flat > 0.3
    assert tonal < 0.1 * flat
    assert flatness_in_silence(np.stack([noise] * 2), np.stack([noise] * 2), config["audio"]) is None
