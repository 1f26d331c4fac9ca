"""The vocabulary: members, conflicts and captions of its names."""

import csv
import re
from pathlib import Path

import pytest

from sift_train import config as configuration
from sift_train.captions import Meaning
from sift_train.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(configuration.TRAIN_FOLDER / "vocabulary")


def make_folder(folder, rows, captions):
    (folder / "captions").mkdir()
    (folder / "concepts.csv").write_text("\n".join(["concept,labels,umbrellas,near", *rows]) + "\n", encoding="utf-8")
    text = "".join(
        f'["{name}"]\nnoun = "a {name}"\nenglish = []\nenglish_held_out = []\nkorean = []\nkorean_held_out = []\n'
        for name in captions
    )
    (folder / "captions" / "all.toml").write_text(text, encoding="utf-8")
    return folder


def test_umbrella_has_its_concepts_as_members(vocabulary):
    assert {"kick drum", "snare drum", "drums"} <= vocabulary.members["drums"]
    assert {"female speech", "speech"} <= vocabulary.members["speech"]
    assert vocabulary.members["dog barking"] == {"dog barking"}


def test_members_conflict_with_their_name(vocabulary):
    for name in vocabulary.names:
        assert vocabulary.members[name] <= vocabulary.conflicts[name], name


def test_near_concepts_conflict_in_both_directions(tmp_path):
    folder = make_folder(tmp_path, ["a,a,,b", "b,b,,", "c,c,,"], "abc")
    conflicts = Vocabulary(folder).conflicts
    assert conflicts["a"] == conflicts["b"] == {"a", "b"} and conflicts["c"] == {"c"}


def test_umbrella_conflicts_with_its_members(vocabulary):
    assert "drums" in vocabulary.conflicts["kick drum"]
    assert "violin" not in vocabulary.conflicts["electric guitar"]


def test_every_corpus_label_has_a_concept(config, vocabulary):
    indexes = [Path(config["corpus"]["path"]) / "index.csv", Path(config["corpus"]["path"] + "2") / "index.csv"]
    if not all(index.is_file() for index in indexes):
        pytest.skip(f"{indexes[0]} or {indexes[1]} is missing")
    for index in indexes:
        with open(index, newline="", encoding="utf-8") as file:
            labels = {row["label"] for row in csv.DictReader(file)}
        assert labels <= vocabulary.concept_of.keys()


def test_captions_describe_one_sound_in_the_language_of_the_part(vocabulary):
    hangul = re.compile(r"[가-힣]")
    for name in vocabulary.names:
        for part in ("train", "held_out", "korean", "korean_held_out"):
            captions = vocabulary.captions(name, part)
            assert len(captions) == len(set(captions)) and captions, (name, part)
            # A comma separates two sounds.
            assert not any("," in caption for caption in captions), (name, part)
            if part.startswith("korean"):
                # Some Korean captions are Latin, such as "BGM".
                assert sum(bool(hangul.search(caption)) for caption in captions) > 0.7 * len(captions), name


def test_held_out_captions_are_never_trained(vocabulary):
    trained = {caption.lower() for caption in vocabulary.caption_set().meanings}
    for name in vocabulary.names:
        for part in ("held_out", "korean_held_out"):
            assert not trained & {caption.lower() for caption in vocabulary.captions(name, part)}, name


def test_every_trained_caption_means_one_name(vocabulary):
    meanings = vocabulary.caption_set().meanings
    assert meanings["drums"] == Meaning("one", frozenset({"drums"}))
    assert all(meaning.kind == "one" and len(meaning.labels) == 1 for meaning in meanings.values())


@pytest.mark.parametrize(
    ("rows", "captions", "message"),
    [
        (["a,x,,", "b,x,,"], "ab", "'x' has two concepts"),
        (["a,a,u,"], "a", "no captions for u"),
        (["a,a,,"], "ab", r"not in concepts\.csv: b"),
    ],
)
def test_error_names_the_fault_of_a_folder(tmp_path, rows, captions, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(make_folder(tmp_path, rows, captions))
