"""The standalone program on a desktop: a typed query takes effect, and the spectrogram shows it."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

import screenshot
import support

ROWS = 160
COLUMNS = 512
LOWEST, HIGHEST = 50.0, 16_000.0
"""Ends of the spectrogram's logarithmic frequency axis, in Hz."""
HOP = 768
FRAME = 1536
"""Hop and frame of the default model at the demo's 48 kHz, in samples."""


def standalone() -> Path:
    """The program `sift-standalone`: SIFT_STANDALONE, else the debug build."""
    path = Path(os.environ.get("SIFT_STANDALONE", support.REPOSITORY / "target" / "debug" / "sift-standalone"))
    assert path.exists(), f"{path} is missing: build it with `cargo xtask bundle`, or set SIFT_STANDALONE"
    return path


@pytest.fixture(scope="module")
def captures(tmp_path_factory) -> list[screenshot.Capture]:
    """Captures with the query "a person speaking", and with "the music"."""
    return screenshot.take(standalone(), tmp_path_factory.mktemp("window"))


@pytest.fixture(scope="module")
def stems() -> dict[str, np.ndarray]:
    """The demo's speech and music, mono."""
    return {name: support.read(support.DEMO / f"{name}.wav")[0].mean(axis=0) for name in ("speech", "music")}


def share(sound: np.ndarray, stem: np.ndarray) -> float:
    """Largest normalised circular cross-correlation of `sound` and `stem`, which plays in a loop: 0 to 1."""
    window = np.zeros(len(stem))
    window[: len(sound)] = sound[: len(stem)]
    product = np.fft.irfft(np.conj(np.fft.rfft(window)) * np.fft.rfft(stem), len(stem))
    # Mean energy of a part of the loop that is as long as the sound.
    energy = np.sum(stem**2) * len(sound) / len(stem)
    return float(np.max(np.abs(product)) / np.sqrt(np.sum(window**2) * energy))


def test_output_is_the_sound_that_the_query_names(captures, stems):
    for capture, kept, lost in [(captures[0], "speech", "music"), (captures[1], "music", "speech")]:
        sound = capture.sound.mean(axis=0)
        assert np.max(np.abs(sound)) > 0.01, "the output is silent"
        assert share(sound, stems[kept]) > 1.5 * share(sound, stems[lost]), f"the output is not closer to the {kept}"


def levels(stem: np.ndarray) -> np.ndarray:
    """Power of each point of the spectrogram: [ROWS, hops of the loop], the lowest frequency first."""
    frames = np.lib.stride_tricks.sliding_window_view(np.concatenate((stem, stem[:FRAME])), FRAME)[: len(stem) : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    bins = np.fft.rfftfreq(FRAME, 1 / 48_000)
    edges = np.searchsorted(bins, LOWEST * (HIGHEST / LOWEST) ** (np.arange(ROWS + 1) / ROWS))
    return np.stack([power[:, low : max(high, low + 1)].sum(axis=1) for low, high in itertools.pairwise(edges)])


def cells(pixels: np.ndarray) -> np.ndarray:
    """Colours of the spectrogram's points: [ROWS, COLUMNS, 3], the lowest frequency first."""
    picture = pixels[screenshot.PICTURE].astype(float)
    rows = ((np.arange(ROWS)[::-1] + 0.5) / ROWS * picture.shape[0]).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) / COLUMNS * picture.shape[1]).astype(int)
    return picture[rows][:, columns]


def test_spectrogram_is_brighter_where_sound_is_kept(captures, stems):
    power = {name: levels(stem) for name, stem in stems.items()}
    length = power["speech"].shape[1]
    loudness = np.log(power["speech"] + power["music"] + 1e-6)
    for capture, kept, lost in [(captures[0], "speech", "music"), (captures[1], "music", "speech")]:
        brightness = cells(capture.pixels).max(axis=2)
        # The position in the loop is where the mixture agrees best with the picture.
        agreement = [
            np.corrcoef(brightness.ravel(), np.take(loudness, range(at, at + COLUMNS), 1, mode="wrap").ravel())[0, 1]
            for at in range(length)
        ]
        assert np.max(agreement) > 0.4, "the spectrogram does not show the demo mixture"
        at = range(int(np.argmax(agreement)), int(np.argmax(agreement)) + COLUMNS)
        mine, other, loud = (np.take(what, at, 1, mode="wrap") for what in (power[kept], power[lost], loudness))
        # Among equally loud points, those of the kept sound are brighter.
        edges = np.quantile(loud, np.linspace(0.5, 1, 9))
        contrasts = []
        for low, high in itertools.pairwise(edges):
            here = (loud >= low) & (loud < high)
            lit, dim = here & (mine > 10 * other), here & (other > 10 * mine)
            if lit.sum() > 50 and dim.sum() > 50:
                contrasts.append(brightness[lit].mean() - brightness[dim].mean())
        assert len(contrasts) >= 3 and np.mean(contrasts) > 10, f"{kept} against {lost}: {contrasts}"
