"""Rendered material: composed within the instruments' means, rendered once, never taken half-finished."""

import csv
import random

import pytest

from sift_train import arrangements, captions, rendered, voices
from sift_train import config as configuration


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SIFT_CACHE", str(tmp_path))


def one_clip(folder):
    (folder / "a.wav").write_bytes(b"sound")
    yield "a.wav", "speech", "somebody", "somebody:a"


def test_a_folder_is_rendered_once_with_an_index_like_the_corpus(monkeypatch):
    folder = rendered.rendered_folder("clips", __file__, {}, one_clip)
    with open(folder / "index.csv", newline="") as file:
        assert next(csv.DictReader(file))["label"] == "speech"

    def never(_):
        raise AssertionError("rendered again")

    assert rendered.rendered_folder("clips", __file__, {}, never) == folder


def test_an_interrupted_rendering_is_begun_anew():
    def interrupted(folder):
        yield from one_clip(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rendered.rendered_folder("clips", __file__, {}, interrupted)
    assert rendered.rendered_folder("clips", __file__, {}, one_clip).is_dir()


def test_what_is_missing_is_named_by_its_package():
    needs = {"/no/such/font.sf2": "some-soundfont", "no-such-program": "some-program", "sh": "dash"}
    with pytest.raises(FileNotFoundError, match="apt-get install some-program some-soundfont$"):
        rendered.rendered_folder("clips", __file__, needs, one_clip)
    assert not list(configuration.cache_folder().iterdir())


def test_arrangements_are_of_three_or_more_different_instruments_that_the_corpus_knows():
    labels = [[label for label, _ in arrangements.parts(random.Random(seed))] for seed in range(50)]
    assert all(len(set(band)) == len(band) >= 3 for band in labels)
    assert set().union(*labels) <= set(arrangements.PROGRAMS) <= set(captions.LABELS)


@pytest.mark.parametrize("label", ["bass guitar", "piano", "strings", "cello", "drums"])
def test_parts_fill_the_arrangement_with_notes_that_midi_has(label):
    compose = {"bass guitar": arrangements.bass, "piano": arrangements.chords, "strings": arrangements.pad,
               "cello": lambda h: arrangements.lead(h, 40, 64), "drums": arrangements.drums}[label]
    for seed in range(20):
        harmony = arrangements.Harmony(random.Random(seed))
        notes = list(compose(harmony))
        assert all(0 <= key <= 127 and 1 <= velocity <= 127 and length > 0 for _, key, length, velocity in notes)
        file = arrangements.midi(label, notes, harmony, 0)
        assert file.length > 0.6 * arrangements.SECONDS


def test_the_same_number_is_composed_the_same():
    def stem():
        harmony = arrangements.Harmony(random.Random("arrangement 7"))
        return arrangements.midi("piano", arrangements.chords(harmony), harmony, 0).tracks[0]

    assert stem() == stem()


def test_no_voice_of_the_demo_is_rendered_for_training():
    assert not {"en-us"} & {voice.split("+")[0] for voice in voices.VOICES}
