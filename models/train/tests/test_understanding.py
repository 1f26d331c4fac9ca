"""What a text is understood as: names, sets, several meanings, the dictionary, and the parts that are separated."""

import json

import numpy as np
import pytest

from sift_train import config as configuration
from sift_train import sound_names
from sift_train.evaluate import Package
from sift_train.requests import parse
from sift_train.sound_names import find_sounds
from sift_train.understanding import Dictionary, KnownConcepts, PartRole, QueryReader, combine_masks

CASES = configuration.REPOSITORY / "tests" / "cases" / "understood.jsonl"
INCLUDE, EXCLUDE = PartRole.INCLUDE, PartRole.EXCLUDE

NAMES = """
[[set]]
names = ["vocals"]
sounds = ["singing", "speech"]

[[set]]
names = ["karaoke"]
without = ["singing", "speech"]

[[meaning]]
names = ["keys"]
sounds = ["piano", "typing"]

[[kind]]
words = ["lead"]
"""

CONCEPTS = {
    "closeness": {"slope": 10.0, "offset": -5.0},
    "doubt": 0.25,
    "concepts": [
        {"name": "speech", "direction": [1.0, 0.0, 0.0]},
        {"name": "drums", "direction": [0.0, 1.0, 0.0]},
        {"name": "congas", "direction": [0.0, 0.8, 0.6]},
        {"name": "piano", "direction": [0.0, 0.0, 1.0]},
        {"name": "typing", "direction": [0.6, 0.0, -0.8]},
    ],
}

VECTORS = {
    "speech": [1.0, 0.0, 0.0],
    "drums": [0.0, 1.0, 0.0],
    "the drums": [0.0, 1.0, 0.0],
    "gong": [0.0, 1.0, 0.0],
    "congas": [0.0, 0.8, 0.6],
    "percussion": [0.0, 0.95, 0.31],
    "something struck": [0.45, 0.35, 0.2],
    "piano": [0.0, 0.0, 1.0],
    "typing": [0.6, 0.0, -0.8],
    "salt and pepper": [0.0, 0.0, 1.0],
    "piano with felt": [0.05, 0.0, 0.99],
    "felt": [0.0, 0.0, 0.7],
    "mouse": [0.6, 0.0, -0.8],
}
"""Outputs of the query network; those of other texts are far from all concepts."""

DICTIONARY = {
    "concepts": [
        {"name": "drums", "groups": ["music"], "names": ["tubs"]},
        {"name": "piano", "groups": ["music"], "names": ["felt piano", "salt shaker"]},
        {"name": "typing", "groups": ["office"], "names": ["tapping"]},
        {"name": "congas", "groups": ["music"], "names": ["tapping"]},
    ],
    "unknown": ["gong"],
}

NINE_NAMES = ("kick", "snare", "toms", "bass", "guitar", "strings", "brass", "flute", "harp")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Names of the plugin that do not depend on its file."""
    path = tmp_path / "names.toml"
    path.write_text(NAMES, encoding="utf-8")
    monkeypatch.setattr(sound_names, "PLUGIN_NAMES", path)
    sound_names._entries.cache_clear()
    yield
    sound_names._entries.cache_clear()


@pytest.fixture
def reader(names):
    concepts = KnownConcepts(CONCEPTS)
    return QueryReader(
        concepts,
        Dictionary(concepts.names, DICTIONARY),
        lambda text: np.array(VECTORS.get(text.lower(), [-0.6, -0.6, -0.5])),
    )


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("drums", [("drums", INCLUDE)]),
        ("The Drums", [("The Drums", INCLUDE)]),
        ("only the drums", [("drums", INCLUDE)]),
        ("no drums", [("drums", EXCLUDE)]),
        ("drums and speech", [("drums", INCLUDE), ("speech", INCLUDE)]),
        ("speech without drums", [("speech", INCLUDE), ("drums", EXCLUDE)]),
        ("everything but drums and piano", [("drums", EXCLUDE), ("piano", EXCLUDE)]),
        # A list of names that is one name.
        ("salt and pepper", [("salt and pepper", INCLUDE)]),
        ("piano with felt", [("piano with felt", INCLUDE)]),
        # An ambiguous name has a part for each concept, and one for itself if it is not understood.
        ("percussion", [("drums", INCLUDE), ("congas", INCLUDE)]),
        ("no percussion", [("drums", EXCLUDE), ("congas", EXCLUDE)]),
        (
            "something struck",
            [("something struck", INCLUDE), ("speech", INCLUDE), ("congas", INCLUDE), ("drums", INCLUDE)],
        ),
        # Sets, without the sounds that the package does not know, and their opposites.
        ("vocals", [("speech", INCLUDE)]),
        ("karaoke", [("speech", EXCLUDE)]),
        ("no karaoke", [("speech", INCLUDE)]),
        ("speech and karaoke", []),
        # Several meanings, alone and beside a name that has the same subject as one of them.
        ("keys", [("piano", INCLUDE), ("typing", INCLUDE)]),
        ("keys and drums", [("piano", INCLUDE), ("drums", INCLUDE)]),
        ("keys and mouse", [("typing", INCLUDE)]),
        # Names of the dictionary, of which the network does not know these.
        ("tubs", [("drums", INCLUDE)]),
        ("tapping", [("typing", INCLUDE), ("congas", INCLUDE)]),
        # Nothing that is known.
        ("florble", []),
        ("only a gong", []),
        ("florble and drums", [("drums", INCLUDE)]),
        ("everything else", []),
        ("", []),
    ],
)
def test_texts_have_parts(reader, text, parts):
    assert reader.read(text).parts == parts


def test_text_without_effect_says_why(reader):
    assert reader.read("").problem == "the text names no sound"
    assert reader.read("everything else").problem == "no other slot names a sound"
    assert reader.read(", ".join(NINE_NAMES)).problem.startswith("the text names 9 sounds")
    florble = reader.read("florble")
    assert florble.passes_everything and florble.problem is None and florble.unknown == ["florble"]


def test_other_slots_decide_what_a_text_means(reader):
    assert reader.read("everything else", ["only the drums", "karaoke", ""]).parts == [("drums", EXCLUDE)]
    assert reader.read("no other sounds", ["drums"]).parts == [("drums", INCLUDE)]
    assert reader.read("keys", ["mouse"]).parts == [("typing", INCLUDE)]


def test_parts_beyond_the_first_of_each_name_have_the_places_left(reader):
    parts = reader.read("percussion, keys, speech, piano, typing, tubs, congas").parts
    assert [words for words, _ in parts] == [
        "drums", "congas", "piano", "speech", "piano", "typing", "drums", "congas",
    ]  # fmt: skip


def test_floor_and_understanding_decide_what_is_known(reader):
    concepts, dictionary = reader.concepts, Dictionary(reader.concepts.names)

    def read(text, **thresholds):
        return QueryReader(concepts, dictionary, lambda _: np.array(VECTORS[text]), **thresholds).read(text)

    assert read("something struck", floor=0.39).unknown == ["something struck"]
    assert len(read("something struck", floor=0.37, understood=0.37).parts) == 3
    assert len(read("something struck", floor=0.37, understood=0.5).parts) == 4


def test_meaning_is_of_all_that_the_text_names(reader):
    assert reader.read("drums").means({"drums"}) and not reader.read("drums").means({"piano"})
    assert reader.read("tapping").means({"congas"}), "equally near"
    assert reader.read("only drums and piano").means({"drums", "piano"})
    for text in ("drums and piano", "drums without piano", "no drums", "drums and florble", "florble"):
        assert not reader.read(text).means({"drums"}), text


def test_sentence_without_a_known_word_names_nothing(reader):
    dictionary = Dictionary(reader.concepts.names, DICTIONARY)
    assert dictionary.is_sentence("see you tomorrow") and dictionary.is_sentence("내일 몇 시에 만날까요")
    assert not dictionary.is_sentence("the old felt piano") and not dictionary.is_sentence("tomorrow")
    assert reader.read("see you tomorrow").passes_everything


def test_set_without_a_known_sound_is_unknown(names):
    concepts = KnownConcepts(CONCEPTS | {"concepts": CONCEPTS["concepts"][1:2]})
    reader = QueryReader(concepts, Dictionary(concepts.names), lambda text: np.array([0.0, 0.0, 1.0]))
    assert reader.read("vocals").unknown == ["vocals"] and reader.read("keys").unknown == ["keys"]


def test_sounds_beside_everything_but_a_set_are_all_but_both(names):
    keep, leave_out = find_sounds(parse("karaoke without drums"))
    assert keep == [] and [named.name for named in leave_out] == ["drums", "karaoke"]
    keep, leave_out = find_sounds(parse("drums without karaoke"))
    assert [named.name for named in keep] == ["drums"] and leave_out == []
    keep, leave_out = find_sounds(parse("speech and karaoke"))
    assert keep == [] and leave_out[0].all_of == ("singing",)


def test_names_of_the_plugin_are_sets_or_have_several_meanings():
    keep, _ = find_sounds(parse("only the vocals"))
    assert len(keep[0].all_of) > 1 and not keep[0].one_of
    keep, _ = find_sounds(parse("keyboard"))
    assert len(keep[0].one_of) > 1 and not keep[0].all_of


def test_combined_mask_is_the_largest_gain_below_the_limits():
    first, second = np.array([0.2, 0.9, 0.5]), np.array([0.6, 0.1, 0.5])
    assert combine_masks([first, second], [INCLUDE, INCLUDE]).tolist() == [0.6, 0.9, 0.5]
    assert combine_masks([first, second], [INCLUDE, EXCLUDE]).tolist() == [0.2, 0.9, 0.5]
    assert combine_masks([first, second], [EXCLUDE, EXCLUDE]) == pytest.approx([0.4, 0.1, 0.5])


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("drums and bass", [INCLUDE, INCLUDE]),
        ("a person speaking, rain and a dog barking", [INCLUDE, INCLUDE, INCLUDE]),
        ("everything but the drums", [EXCLUDE]),
        ("everything but the drums and the bass", [EXCLUDE, EXCLUDE]),
        ("바이올린하고 드럼", [INCLUDE, INCLUDE]),
        ("드럼 빼고", [EXCLUDE]),
        ("speech without music", [INCLUDE, EXCLUDE]),
        ("only speech", [INCLUDE]),
        ("rock and roll", [INCLUDE]),
        ("말하고 있는 사람", [INCLUDE]),
        ("photosynthesis", []),
    ],
)
def test_committed_package_understands_requests(package, text, roles):
    assert [role for _, role in package.parts(text)] == roles


def test_committed_package_understands_the_shared_cases(package):
    missed = []
    for line in CASES.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        understanding = package.reader.read(case["text"])
        for side in ("keep", "leave_out"):
            found = {name for sound in getattr(understanding, side) for name in sound.selected}
            if found != set(case[side]):
                missed.append((case["text"], side, found))
    assert missed == []


@pytest.mark.parametrize("text", ["an acoustic guitar", "a dog barking", "a person speaking", "drums"])
def test_caption_of_one_sound_is_encoded_as_it_stands(package, text):
    assert package.parts(text) == [(text, INCLUDE)]


def test_text_that_names_nothing_passes_everything(package):
    magnitude = np.ones((5, package.audio["n_fft"] // 2 + 1), np.float32)
    presence, gains, with_rest = package.gains(magnitude, "photosynthesis", None, ("rain",))
    assert np.array_equal(gains, magnitude) and np.array_equal(with_rest, magnitude) and presence.tolist() == [1] * 5


def test_excluded_sound_limits_or_competes_beside_a_rest(package):
    magnitude = np.random.default_rng(0).uniform(0, 1, (5, package.audio["n_fft"] // 2 + 1)).astype(np.float32)
    drums, speech = (package.gains(magnitude, text, None)[1] for text in ("drums", "speech"))
    _, limited, said = package.gains(magnitude, "drums without speech", None, ("rain",))
    assert np.array_equal(limited, np.minimum(drums, 1 - speech))
    assert np.array_equal(said, package.gains(magnitude, "drums", ("speech", "rain"))[1])
