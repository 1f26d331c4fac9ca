"""Captions: many per label, some of them held out from training."""

import csv
from pathlib import Path

import pytest

from sift_train import captions

DEFAULT_QUERIES = {
    "speech": "a person speaking",
    "drums": "drums",
    "piano": "piano",
    "acoustic guitar": "guitar",
    "rain": "rain",
    "wind": "wind",
    "dog barking": "a dog barking",
    "crowd chatter": "crowd chatter",
}


def test_captions_cover_every_label_of_the_corpus(config):
    index = Path(config["corpus"]["path"]) / "index.csv"
    if not index.is_file():
        pytest.skip(f"no corpus at {index.parent}")
    with open(index, newline="", encoding="utf-8") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels | {captions.MUSIC} == set(captions.LABELS)


@pytest.mark.parametrize("label", captions.LABELS)
def test_labels_have_many_captions_a_third_of_them_held_out(label):
    for minimum, parts in [(20, ("train", "held_out")), (10, ("korean", "korean_held_out"))]:
        trained, held_out = (captions.captions_of(label, part) for part in parts)
        assert len(trained) + len(held_out) >= minimum
        assert len(held_out) >= (len(trained) + len(held_out)) / 3
    assert captions.usual_caption(label) in captions.captions_of(label, "train")


@pytest.mark.parametrize(("trained", "held_out"), [("train", "held_out"), ("korean", "korean_held_out")])
def test_held_out_captions_are_never_trained(trained, held_out):
    trained = {caption.lower().replace(" ", "") for caption in captions.all_captions(trained)}
    held_out = {caption.lower().replace(" ", "") for caption in captions.all_captions(held_out)}
    assert not trained & held_out


@pytest.mark.parametrize("part", ["train", "held_out", "korean", "korean_held_out"])
def test_caption_of_two_labels_contains_both(part):
    both = captions.both_caption("drums", "rain", part)
    for label in ("drums", "rain"):
        assert any(phrase in both for phrase in captions.captions_of(label, part)), both
    assert both == captions.both_caption("drums", "rain", part), "the same in every call"


def test_trained_captions_include_all_kinds():
    trained = set(captions.trained_captions())
    assert trained >= set(captions.all_captions("train")) | set(captions.all_captions("korean"))
    for language in ("train", "korean"):
        assert captions.both_caption("speech", "piano", language) in trained


def test_trained_captions_have_meanings():
    meanings = captions.trained_captions()
    assert meanings["drums"] == captions.Meaning("one", frozenset({"drums"}))
    assert {"acoustic guitar", "electric guitar"} <= meanings["guitar"].labels, "an ambiguous name"
    assert meanings[captions.both_caption("rain", "piano", "train")].labels == {"rain", "piano"}


def test_default_queries_of_the_plugin_are_trained():
    for label, query in DEFAULT_QUERIES.items():
        assert query in captions.captions_of(label, "train")
