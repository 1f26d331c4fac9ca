"""The dictionary of names of a package."""

import json
import tomllib

import pytest

from sift_train import config as configuration
from sift_train import names
from sift_train.captions import LABELS
from sift_train.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(configuration.TRAIN_FOLDER / "vocabulary")


@pytest.fixture(scope="module")
def committed():
    return json.loads((configuration.PACKAGE / names.NAMES_FILE).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def meanings(committed):
    """Returns {name: concepts that it means} of the committed package."""
    found = {}
    for row in committed["concepts"]:
        for name in row["names"]:
            found.setdefault(name, []).append(row["name"])
    return found


@pytest.fixture(scope="module")
def plugin_file():
    return tomllib.loads(names.PLUGIN_NAMES.read_text(encoding="utf-8"))


def test_committed_file_is_what_the_module_writes(vocabulary):
    contents = names.table(LABELS, vocabulary, names.plugin_names())
    assert (configuration.PACKAGE / names.NAMES_FILE).read_text(encoding="utf-8") == names.format_table(contents)


def test_every_concept_has_its_own_name_and_a_subject(committed):
    subjects = {*names.GROUPS_OF_UMBRELLAS.values(), *(group for row in names.GROUPS.values() for group in row)}
    with open(configuration.PACKAGE / "concepts.json", encoding="utf-8") as file:
        assert [row["name"] for row in committed["concepts"]] == [row["name"] for row in json.load(file)["concepts"]]
    for row in committed["concepts"]:
        assert row["name"] in row["names"]
        assert row["groups"] and set(row["groups"]) <= subjects | {names.OBJECT}


@pytest.mark.parametrize(
    ("name", "concepts"),
    [
        ("말소리", ["speech"]),
        ("voice", ["speech"]),
        ("female speech", ["speech"]),
        ("cymbals", ["drums"]),
        ("hi-hat", ["drums"]),
        ("kick drum", ["drums"]),
        ("guitar", ["acoustic guitar", "distorted guitar", "electric guitar"]),
        ("classical guitar", ["acoustic guitar"]),
        ("trombone", ["brass"]),
        ("violins", ["violin"]),
        ("goat", ["sheep bleating"]),
        ("musical instrument", ["music"]),
        ("white noise", ["noise"]),
    ],
)
def test_name_means_concepts(meanings, name, concepts):
    assert meanings[name] == concepts


@pytest.mark.parametrize("name", ["accordion", "phone ringing", "blender", "hand saw", "cat meowing", "아코디언"])
def test_sound_that_the_package_lacks_is_unknown(committed, meanings, name):
    assert name in committed["unknown"] and name not in meanings


@pytest.mark.parametrize("name", ["singing", "vocals", "singer", "lead singer", "rapper", "노랫소리", "보컬", "랩"])
def test_words_for_singing_are_left_to_the_plugin(committed, meanings, name):
    assert name not in meanings and name not in committed["unknown"]


def test_known_names_are_not_unknown(committed, meanings):
    assert not meanings.keys() & set(committed["unknown"])


def test_names_are_normalised_sorted_and_unique(committed):
    for phrases in (*(row["names"] for row in committed["concepts"]), committed["unknown"]):
        assert phrases == sorted(set(phrases))
        assert all(phrase == names.normalise(phrase) for phrase in phrases)


def test_held_out_phrases_are_not_names(committed, meanings, vocabulary):
    held_out = names.held_out_names(vocabulary)
    assert len(held_out) > 8_000
    assert not held_out & (meanings.keys() | set(committed["unknown"]))


def test_names_of_the_plugin_are_left_to_it(meanings, committed):
    shared = names.plugin_names() & (meanings.keys() | set(committed["unknown"]))
    # A concept keeps its own name.
    assert shared <= {concept for concept in LABELS if concept in meanings[concept]}


def test_own_name_precedes_other_meanings(vocabulary):
    concepts = {"birds chirping", "bird", "drums", "snare drum"}
    assert names.resolve("bird", concepts, vocabulary) == ["bird"]
    assert names.resolve("snare drum", concepts, vocabulary) == ["snare drum"]
    assert names.resolve("hi-hat", concepts, vocabulary) == ["drums"]


def test_label_of_the_corpus_is_an_own_name(vocabulary):
    assert names.resolve("bell", {"ding"}, vocabulary) == ["ding"]


def test_general_concept_does_not_stand_for_its_kinds(vocabulary):
    assert names.resolve("accordion", {"music"}, vocabulary) == []
    assert names.resolve("music", {"music"}, vocabulary) == ["music"]


def test_meanings_are_names_of_vocabulary_and_package(vocabulary):
    assert names.MEANS.keys() | names.LEFT_OUT <= set(vocabulary.names)
    assert set().union(*names.MEANS.values()) | names.GENERAL <= set(LABELS)


@pytest.mark.parametrize(
    ("phrase", "expected"), [("The  Drums", "drums"), ("an Organ", "organ"), ("theremin", "theremin")]
)
def test_normalised_phrase_has_no_case_and_article(phrase, expected):
    assert names.normalise(phrase) == expected


@pytest.mark.parametrize(
    ("phrase", "alone"), [("부드러운 통기타", True), ("개 짖는", False), ("쾅", False), ("소", True)]
)
def test_word_for_sound_is_dropped_after_names_only(phrase, alone):
    assert names.stands_alone(phrase) == alone


def test_plugin_names_are_normalised_and_mean_one_thing(plugin_file):
    listed = [name for kind in ("set", "meaning") for entry in plugin_file[kind] for name in entry["names"]]
    assert len(listed) == len(set(listed)) and len(listed) > 1500
    for name in listed:
        assert name == " ".join(name.lower().split())


def test_plugin_entries_have_the_fields_of_their_kind(plugin_file):
    assert plugin_file.keys() == {"set", "meaning", "kind"}
    for entry in plugin_file["set"]:
        assert entry.keys() in ({"names", "sounds"}, {"names", "without"})
    for entry in plugin_file["meaning"]:
        assert entry.keys() == {"names", "sounds"} and len(entry["sounds"]) > 1
    for entry in plugin_file["kind"]:
        assert entry.keys() == {"words"} and len(entry["words"]) == len(set(entry["words"]))


def test_sounds_of_the_plugin_are_names_of_the_vocabulary(plugin_file, vocabulary):
    known = {phrase for name in vocabulary.names for phrase in names.trained_phrases(name, vocabulary)}
    sounds = {
        sound
        for kind in ("set", "meaning")
        for entry in plugin_file[kind]
        for sound in entry.get("sounds", entry.get("without"))
    }
    # What no model of the project knows yet.
    assert sounds - known <= {"baritone sax", "bass singer", "click track", "drill music", "tap dance"}
