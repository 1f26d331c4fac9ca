"""Every label can be asked for in many ways, some of which training never sees."""

import csv
from pathlib import Path

import pytest

from sift_train import captions

FACTORY_QUERIES = {
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
        pytest.skip(f"there is no corpus at {index.parent}")
    with open(index, newline="", encoding="utf-8") as file:
        labels = {row["label"] for row in csv.DictReader(file)}
    assert labels | {captions.MUSIC} == set(captions.LABELS)


@pytest.mark.parametrize("label", captions.LABELS)
def test_every_label_has_twenty_captions_in_english_of_which_a_third_is_held_out(label):
    trained, held_out = captions.captions_of(label, "train"), captions.captions_of(label, "held_out")
    assert len(trained) + len(held_out) >= 20
    assert len(held_out) >= 7
    assert len(captions.captions_of(label, "korean")) >= 8
    assert len(captions.captions_of(label, "korean_held_out")) >= 4
    assert captions.usual_caption(label) in trained


@pytest.mark.parametrize(("trained", "held_out"), [("train", "held_out"), ("korean", "korean_held_out")])
def test_held_out_captions_are_never_trained(trained, held_out):
    trained = {caption.lower().replace(" ", "") for caption in captions.all_captions(trained)}
    held_out = {caption.lower().replace(" ", "") for caption in captions.all_captions(held_out)}
    assert not trained & held_out


def test_the_plugins_factory_queries_are_trained():
    for label, query in FACTORY_QUERIES.items():
        assert query in captions.captions_of(label, "train")
