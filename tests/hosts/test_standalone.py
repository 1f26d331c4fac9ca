"""The standalone program on a desktop: what is typed is separated by, and the window shows it."""

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
"""Of the spectrogram's logarithmic frequency axis, in Hz."""
HOP = 768
FRAME = 1536
"""Of the default model, at the demo's 48 kHz."""


def standalone() -> Path:
    """The program `sift-standalone`: SIFT_STANDALONE, else the debug build."""
    path = Path(os.environ.get("SIFT_STANDALONE", support.REPOSITORY / "target" / "debug" / "sift-standalone"))
    assert path.exists(), f"{path} is missing: build it with `cargo xtask bundle`, or set SIFT_STANDALONE"
    return path


@pytest.fixture(scope="module")
def looks(tmp_path_factory) -> list[screenshot.Look]:
    """At "a person speaking", and at "the music"."""
    return screenshot.take(standalone(), tmp_path_factory.mktemp("window"))


@pytest.fixture(scope="module")
def stems() -> dict[str, np.ndarray]:
    """The demo's two sounds, mono."""
    return {name: support.read(support.DEMO / f"{name}.wav")[0].mean(axis=0) for name in ("speech", "music")}


def share(sound: np.ndarray, stem: np.ndarray) -> float:
    """How much of `sound` is `stem`, played in a loop from anywhere: the largest circular cross-correlation, 0 to 1."""
    window = np.zeros(len(stem))
    window[: len(sound)] = sound[: len(stem)]
    product = np.fft.irfft(np.conj(np.fft.rfft(window)) * np.fft.rfft(stem), len(stem))
    # Of the part of the loop that is as long as the sound, on average.
    energy = np.sum(stem**2) * len(sound) / len(stem)
    return float(np.max(np.abs(product)) / np.sqrt(np.sum(window**2) * energy))


def test_what_was_typed_is_what_is_heard(looks, stems):
    for look, kept, lost in [(looks[0], "speech", "music"), (looks[1], "music", "speech")]:
        sound = look.sound.mean(axis=0)
        assert np.max(np.abs(sound)) > 0.01, "something is heard"
        assert share(sound, stems[kept]) > 1.5 * share(sound, stems[lost]), f"{kept} is kept"


def levels(stem: np.ndarray) -> np.ndarray:
    """[ROWS, hops of the loop]: the power of each place of the picture, the lowest frequency first."""
    frames = np.lib.stride_tricks.sliding_window_view(np.concatenate((stem, stem[:FRAME])), FRAME)[: len(stem) : HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME))) ** 2
    bins = np.fft.rfftfreq(FRAME, 1 / 48_000)
    edges = np.searchsorted(bins, LOWEST * (HIGHEST / LOWEST) ** (np.arange(ROWS + 1) / ROWS))
    return np.stack([power[:, low : max(high, low + 1)].sum(axis=1) for low, high in itertools.pairwise(edges)])


def cells(pixels: np.ndarray) -> np.ndarray:
    """[ROWS, COLUMNS, 3]: the picture's points, the lowest frequency first."""
    picture = pixels[screenshot.PICTURE].astype(float)
    rows = ((np.arange(ROWS)[::-1] + 0.5) / ROWS * picture.shape[0]).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) / COLUMNS * picture.shape[1]).astype(int)
    return picture[rows][:, columns]


def test_the_picture_lights_what_is_kept_and_dims_what_is_taken_away(looks, stems):
    power = {name: levels(stem) for name, stem in stems.items()}
    length = power["speech"].shape[1]
    loudness = np.log(power["speech"] + power["music"] + 1e-6)
    for look, kept, lost in [(looks[0], "speech", "music"), (looks[1], "music", "speech")]:
        brightness = cells(look.pixels).max(axis=2)
        # Where in its loop the mixture was: where the picture is like it.
        agreement = [
            np.corrcoef(brightness.ravel(), np.take(loudness, range(at, at + COLUMNS), 1, mode="wrap").ravel())[0, 1]
            for at in range(length)
        ]
        assert np.max(agreement) > 0.4, "the picture is of the demo mixture"
        at = range(int(np.argmax(agreement)), int(np.argmax(agreement)) + COLUMNS)
        mine, other, loud = (np.take(what, at, 1, mode="wrap") for what in (power[kept], power[lost], loudness))
        # Of places that are equally loud, those of what is kept are brighter.
        edges = np.quantile(loud, np.linspace(0.5, 1, 9))
        contrasts = []
        for low, high in itertools.pairwise(edges):
            here = (loud >= low) & (loud < high)
            lit, dim = here & (mine > 10 * other), here & (other > 10 * mine)
            if lit.sum() > 50 and dim.sum() > 50:
                contrasts.append(brightness[lit].mean() - brightness[dim].mean())
        assert len(contrasts) >= 3 and np.mean(contrasts) > 10, f"{kept} against {lost}: {contrasts}"
