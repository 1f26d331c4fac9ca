"""Mixtures of the second model: the target is the sum of all parts that match the caption."""

import numpy as np
import pytest
import soundfile

from sift_train import config as configuration
from sift_train.data import Corpus, energy
from sift_train.mixtures import VocabularyMixtureGenerator
from sift_train.vocabulary import Vocabulary

RATE = 48_000
CONCEPTS = {
    "vocals": 300,
    "singing": 400,
    "drums": 500,
    "bass guitar": 600,
    "piano": 700,
    "violin": 800,
    "flute": 900,
    "trumpet": 1000,
    "speech": 1100,
    "dog barking": 1200,
    "rain": 1300,
    "car horn": 1400,
    "humming": 1500,
}
"""Concepts, each a sine of a different frequency in Hz."""


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(configuration.TRAIN_FOLDER / "vocabulary")


@pytest.fixture(scope="module")
def generator(vocabulary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    time = np.arange(4 * RATE) / RATE
    rows = ["path,label,source,group,split,licence,author,origin,song"]
    for name, frequency in CONCEPTS.items():
        soundfile.write(folder / f"{name}.wav", 0.3 * np.sin(2 * np.pi * frequency * time), RATE)
        rows.append(f"{name}.wav,{name},recorded,{name},train,,,,")
    for name in ("drums", "vocals"):
        path = f"{name}-007s-01.wav"
        soundfile.write(folder / path, 0.3 * np.sin(2 * np.pi * CONCEPTS[name] * time), RATE)
        rows.append(f"{path},{name},album,a song,train,,,,a song")
    soundfile.write(folder / "held.wav", 0.3 * np.sin(2 * np.pi * 2000 * time), RATE)
    rows.append("held.wav,rain,gcompris,held,train,,,,")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    config = configuration.load(configuration.TRAIN_FOLDER / "wide.toml")
    plain = {"equaliser_probability": 0.0, "reverberation_probability": 0.0, "speed_probability": 0.0}
    config["mixing"] |= plain | {"segment_seconds": 1.0}
    config["training"] |= {"batch": 2}
    return VocabularyMixtureGenerator(Corpus(folder, "train", RATE), vocabulary, config)


def concepts_in(samples):
    """Returns the concepts whose frequencies a signal contains."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    hertz = RATE / len(samples)
    strong = 0.02 * spectrum.max()
    return {name for name, frequency in CONCEPTS.items() if spectrum[round(frequency / hertz)] > strong}


def draw(generator, count):
    rng = np.random.default_rng(3)
    meanings = list(generator.vocabulary.caption_set().meanings.values())
    for _ in range(count):
        mixture, target, position, absent = generator.draw_example(rng)
        yield mixture, target, meanings[position], absent


def test_target_is_the_sum_of_all_parts_that_match(generator, vocabulary):
    absences = set()
    for mixture, target, meaning, absent in draw(generator, 150):
        (name,) = meaning.labels
        absences.add(absent)
        mixed = concepts_in(mixture)
        if absent:
            assert not target.any() and not mixed & vocabulary.members[name]
        else:
            assert concepts_in(target) <= vocabulary.members[name]
            assert not concepts_in(mixture - target) & vocabulary.members[name]
    assert absences == {False, True}


def test_target_of_an_umbrella_can_have_several_members(generator, vocabulary):
    several = 0
    for _, target, meaning, absent in draw(generator, 300):
        if not absent and len(concepts_in(target)) > 1:
            (name,) = meaning.labels
            assert len(vocabulary.members[name]) > 1
            several += 1
    assert several > 0


def test_interferers_do_not_conflict_with_the_target(generator, vocabulary):
    rng = np.random.default_rng(1)
    for _ in range(100):
        (target, _), *others = generator.draw_pair(rng)
        assert not vocabulary.conflicts[target] & {concept for concept, _ in others}


def test_stems_of_a_passage_are_grouped(generator):
    assert [sorted(stems) for stems in generator._passages] == [["drums", "vocals"]]


def test_held_out_source_is_not_trained_if_there_is_another(generator):
    groups = generator.recordings["rain"].groups
    assert [clip.source for group in groups for clip in group] == ["recorded"]


def test_bus_compressor_applies_one_gain_to_all_parts(generator):
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1, (2, RATE)).astype(np.float32)
    noise[:, : RATE // 2] *= 0.05
    options = generator.options["band"] | {"compressor_probability": 1.0}
    generator.options = generator.options | {"band": options}
    parts = generator._compress(rng, [("drums", noise[0]), ("vocals", noise[1])])
    ratio = parts[0][1] / noise[0]
    assert np.allclose(ratio, parts[1][1] / noise[1], rtol=1e-3)
    # Only the loud half is attenuated.
    assert energy(parts[0][1][-RATE // 4 :]) < 0.7 * energy(noise[0][-RATE // 4 :])
    assert np.allclose(ratio[: RATE // 4], 1, atol=1e-3)


def test_same_step_gives_the_same_batch(generator):
    first, second = generator.batch(5), generator.batch(5)
    assert all((one == other).all() for one, other in zip(first, second))
    assert not (generator.batch(6)[0] == first[0]).all()


def test_error_names_a_label_without_a_concept(vocabulary, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(RATE) * 0.1, RATE)
    (tmp_path / "index.csv").write_text(
        "path,label,source,group,split,licence,author,origin\na.wav,unheard of,mine,a,train,,,\n"
    )
    config = configuration.load(configuration.TRAIN_FOLDER / "wide.toml")
    with pytest.raises(ValueError, match=r"concepts\.csv: no concept for the corpus labels unheard of;"):
        VocabularyMixtureGenerator(Corpus(tmp_path, "train", RATE), vocabulary, config)
