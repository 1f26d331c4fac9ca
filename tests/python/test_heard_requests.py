"""Requests in ten languages, heard: which of two sounds `sift render` leaves, with the built-in model."""

import json

import numpy as np
import pytest

import support

CASES = [
    json.loads(line)
    for line in (support.REPOSITORY / "tests" / "cases" / "heard.jsonl").read_text(encoding="utf-8").splitlines()
]
BEGIN = 2
"""Start of the excerpt of the demo, in seconds."""
SECONDS = 6


@pytest.fixture(scope="module")
def stems() -> tuple[np.ndarray, int]:
    """Speech and music of the demo at the same level, [2, channels, frames], and their rate."""
    speech, rate = support.read(support.DEMO / "speech.wav")
    music, _ = support.read(support.DEMO / "music.wav")
    speech, music = (stem[:, BEGIN * rate : (BEGIN + SECONDS) * rate] for stem in (speech, music))
    music = music * np.float32(np.linalg.norm(speech) / np.linalg.norm(music))
    return np.stack([speech, music]), rate


def gains(output: np.ndarray, stems: np.ndarray) -> np.ndarray:
    """Gains in dB with which speech and music are in the output, by least squares."""
    found = np.linalg.lstsq(stems.reshape(2, -1).T, output.ravel(), rcond=None)[0]
    return 20 * np.log10(np.maximum(np.abs(found), 1e-6))


@pytest.mark.parametrize("case", CASES, ids=[case["text"] for case in CASES])
def test_kept_sound_is_6_db_above_the_other(tmp_path, stems, case):
    sounds, rate = stems
    source = support.write(tmp_path / "mixture.wav", sounds.sum(axis=0), rate)
    done = support.render(source, "--query", case["text"], "--output", tmp_path / "target.wav")
    assert done.returncode == 0, done.stderr
    output, _ = support.read(tmp_path / "target.wav")
    speech, music = gains(output, sounds)
    advantage = speech - music if case["kept"] == "speech" else music - speech
    assert advantage > 6, f"speech {speech:.1f} dB, music {music:.1f} dB: {done.stderr}"


def test_forty_texts_are_heard_in_both_directions():
    assert len(CASES) >= 40
    assert {case["kept"] for case in CASES} == {"speech", "music"}
