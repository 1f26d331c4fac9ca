"""Synthetic speech and music: playable notes, and a cache without incomplete folders."""

import csv
import random

import pytest

from sift_train import captions, render_cache, synthetic_music, synthetic_speech
from sift_train import config as configuration


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIFT_CACHE", str(tmp_path))


def one_clip(folder):
    (folder / "a.wav").write_bytes(b"sound")
    yield "a.wav", "speech", "source", "source:a"


def test_folder_is_rendered_once_with_a_corpus_index(monkeypatch):
    folder = render_cache.rendered_folder("clips", __file__, {}, one_clip)
    with open(folder / "index.csv", newline="") as file:
        assert next(csv.DictReader(file))["label"] == "speech"

    def never(_):
        raise AssertionError("rendered again")

    assert render_cache.rendered_folder("clips", __file__, {}, never) == folder


def test_interrupted_rendering_starts_again():
    def interrupted(folder):
        yield from one_clip(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_cache.rendered_folder("clips", __file__, {}, interrupted)
    assert render_cache.rendered_folder("clips", __file__, {}, one_clip).is_dir()


def test_error_names_the_missing_debian_packages():
    needs = {"/no/such/font.sf2": "some-soundfont", "no-such-program": "some-program", "sh": "dash"}
    with pytest.raises(FileNotFoundError, match=r"apt-get install some-program some-soundfont$"):
        render_cache.rendered_folder("clips", __file__, needs, one_clip)
    assert not list(configuration.cache_folder().iterdir())


def test_arrangements_have_three_or_more_known_instruments():
    labels = [[label for label, _ in synthetic_music.draw_parts(random.Random(seed))] for seed in range(50)]
    assert all(len(set(band)) == len(band) >= 3 for band in labels)
    assert set().union(*labels) <= set(synthetic_music.PROGRAMS) <= set(captions.LABELS)


@pytest.mark.parametrize("label", ["bass guitar", "piano", "strings", "cello", "drums"])
def test_parts_have_valid_midi_notes_to_the_end(label):
    compose = {
        "bass guitar": synthetic_music.bass,
        "piano": synthetic_music.chords,
        "strings": synthetic_music.pad,
        "cello": lambda h: synthetic_music.lead(h, 40, 64),
        "drums": synthetic_music.drums,
    }[label]
    for seed in range(20):
        harmony = synthetic_music.Harmony(random.Random(seed))
        notes = list(compose(harmony))
        assert all(0 <= key <= 127 and 1 <= velocity <= 127 and length > 0 for _, key, length, velocity in notes)
        file = synthetic_music.make_midi(label, notes, harmony, 0)
        assert file.length > 0.6 * synthetic_music.SECONDS


def test_same_number_gives_the_same_arrangement():
    def stem():
        harmony = synthetic_music.Harmony(random.Random("arrangement 7"))
        return synthetic_music.make_midi("piano", synthetic_music.chords(harmony), harmony, 0).tracks[0]

    assert stem() == stem()


def test_synthetic_speech_does_not_use_voices_of_the_demo():
    assert not {"en-us"} & {voice.split("+")[0] for voice in synthetic_speech.VOICES}
