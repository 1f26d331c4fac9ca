"""Mixing: levels as asked, no interferer that could answer the query, the same batch for the same step."""

import numpy as np
import pytest
import soundfile
import torch

from sift_train import captions
from sift_train.data import (
    FAMILIES,
    INSTRUMENTS,
    QUESTIONS,
    Corpus,
    MixtureGenerator,
    conflicts,
    energy,
    scale_to_snr,
    spectrogram,
    waveform,
)


@pytest.fixture(scope="module")
def mixer(corpus, config):
    return MixtureGenerator(corpus, config)


@pytest.mark.parametrize("snr", [-15.0, -3.0, 0.0, 7.5, 15.0])
def test_sources_are_mixed_at_the_ratio_asked(snr):
    rng = np.random.default_rng(0)
    target, interference = rng.normal(size=(2, 32_000)).astype(np.float32)
    scaled = scale_to_snr(target, 0.01 * interference, snr)
    assert 10 * np.log10(energy(target) / energy(scaled)) == pytest.approx(snr, abs=0.01)


def test_silent_interference_stays_silent():
    assert not scale_to_snr(np.ones(8, np.float32), np.zeros(8, np.float32), 0.0).any()


def test_families_name_labels_of_the_corpus():
    assert set().union(*FAMILIES) | set(INSTRUMENTS) <= set(captions.LABELS)


def test_interferers_never_come_from_the_targets_families(mixer):
    rng = np.random.default_rng(0)
    for label in captions.LABELS:
        forbidden = conflicts(label)
        if label not in mixer._conflicts:
            continue
        drawn = {mixer.interferer_label(rng, label) for _ in range(60)}
        assert not drawn & forbidden, label


def test_music_around_an_instrument_leaves_out_its_family(mixer, monkeypatch):
    rng = np.random.default_rng(0)
    heard = set()
    original = mixer.source

    def listen(rng, label, forbidden):
        heard.add(label)
        return original(rng, label, forbidden)

    monkeypatch.setattr(mixer, "source", listen)
    for _ in range(10):
        mixer._music(rng, conflicts("violin"))
    assert len(heard) > 5 and not heard & conflicts("violin")


@pytest.fixture(scope="module")
def bandmates(corpus, tmp_path_factory, config):
    """A mixer whose corpus has one arrangement: three stems with the same sound, so that time can be compared."""
    folder = tmp_path_factory.mktemp("arrangement")
    sound = np.random.default_rng(3).normal(0, 0.1, 6 * 32_000).astype(np.float32)
    rows = ["path,label,source,group,split,licence,author,origin"]
    for label in ["drums", "piano", "organ"]:
        soundfile.write(folder / f"{label}.wav", sound, 32_000)
        rows.append(f"{label}.wav,{label},mine,arrangement:0,val,,,")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    plain = {"equaliser_probability": 0.0, "reverberation_probability": 0.0}
    plain |= {"pairing": config["mixing"]["pairing"] | {"instrument_in_arrangement": 1.0}}
    config = config | {"mixing": config["mixing"] | plain}
    larger = Corpus(config["corpus"]["path"], "val", 32_000, rendered=[folder])
    return MixtureGenerator(larger, config)


def test_stems_are_in_time_and_without_the_targets_family(bandmates):
    stems = bandmates._stems(np.random.default_rng(0), conflicts("piano"), 2, "piano")
    assert set(stems) == {"piano", "drums"}
    correlation = np.corrcoef(stems["piano"], stems["drums"])[0, 1]
    assert correlation == pytest.approx(1, abs=1e-4)


def test_an_arrangement_with_too_few_stems_left_is_passed_over(bandmates):
    rng = np.random.default_rng(0)
    assert bandmates._stems(rng, conflicts("piano") | {"drums"}, 2, "piano") == {}
    assert bandmates._stems(rng, set(), 2, "violin") == {}


def test_an_instrument_is_to_be_taken_out_of_its_arrangement(bandmates, monkeypatch):
    monkeypatch.setattr(bandmates, "_draw", lambda *_: "drums")
    monkeypatch.setitem(bandmates.options, "korean_probability", 0.0)
    only = {"one": 1.0, "absent": 0.0, "but": 0.0, "both": 0.0}
    monkeypatch.setitem(bandmates.options, "questions", only)
    mixture, target, caption, _ = bandmates.example(np.random.default_rng(5))
    assert list(captions.trained_captions())[caption] in captions.captions_of("drums", "train")
    # The stems of this arrangement all have the same sound.
    assert abs(np.corrcoef(target, mixture - target)[0, 1]) == pytest.approx(1, abs=1e-3)


def test_a_step_sees_the_same_batch_again(mixer):
    for first, second in zip(mixer.batch(7), mixer.batch(7)):
        assert torch.equal(first, second)
    assert not torch.equal(mixer.batch(7)[0], mixer.batch(8)[0])


def test_examples_have_the_levels_of_the_configuration(mixer, config):
    limit = config["mixing"]["snr_limit"]
    low, high = config["mixing"]["peak_range"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        mixture, target, caption, absent = mixer.example(rng)
        assert np.isfinite(mixture).all()
        assert low - 0.1 <= 20 * np.log10(np.abs(mixture).max()) <= high + 0.1
        assert target.any() != absent
        if list(captions.trained_captions().values())[caption].kind == "one" and not absent:
            assert abs(10 * np.log10(energy(target) / energy(mixture - target))) < limit + 0.2


def test_questions_are_drawn_in_the_shares_of_the_configuration(mixer, config, monkeypatch):
    drawn = []
    monkeypatch.setattr(mixer, "_parts", lambda *_: [("drums", np.ones(4)), ("speech", np.ones(4))])
    monkeypatch.setattr(mixer, "_ask", lambda rng, parts, kind: drawn.append(kind) or ("drums", np.ones(4), False))
    monkeypatch.setattr("sift_train.data.caption_numbers", lambda: {"drums": 0})
    rng = np.random.default_rng(4)
    for _ in range(2000):
        mixer.example(rng)
    for kind, share in config["mixing"]["questions"].items():
        assert drawn.count(kind) / 2000 == pytest.approx(share, abs=0.03), kind


def test_mixtures_for_two_sounds_mostly_have_a_third(mixer, monkeypatch):
    def sounds(kind):
        """Share of mixtures with three sounds or more, among 40 with such a question."""
        counts = []
        monkeypatch.setitem(mixer.options, "questions", {other: float(other == kind) for other in QUESTIONS})
        ask = mixer._ask
        monkeypatch.setattr(mixer, "_ask", lambda rng, parts, kind: counts.append(len(parts)) or ask(rng, parts, kind))
        for seed in range(40):
            mixer.example(np.random.default_rng(seed))
        return np.mean([count > 2 for count in counts])

    assert sounds("both") > 0.6
    assert sounds("one") < 0.6


def test_rendered_clips_have_the_configured_share(bandmates, config):
    rng = np.random.default_rng(0)
    drawn = [bandmates._clips(rng, "organ")[0].rendered for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(config["mixing"]["rendered_share"], abs=0.08)
    assert not any(clip.rendered for clip in bandmates._clips(rng, "violin"))


@pytest.fixture
def ask(mixer, monkeypatch):
    """A question of a kind about a mixture of these labels: (caption, a sample of the answer, absent)."""
    monkeypatch.setitem(mixer.options, "korean_probability", 0.0)

    def of(kind, *labels, seed=2):
        parts = [(label, np.full(mixer.length, 2.0**number, np.float32)) for number, label in enumerate(labels)]
        caption, samples, absent = mixer._ask(np.random.default_rng(seed), parts, kind)
        return caption, samples[0], absent

    return of


def test_the_first_source_is_asked_for_by_its_label(ask):
    caption, answer, absent = ask("one", "drums", "speech", "rain")
    assert caption in captions.captions_of("drums", "train") and answer == 1.0 and not absent


def test_everything_but_a_source_is_the_others(ask):
    caption, rest, absent = ask("but", "drums", "speech", "rain")
    assert caption in captions.except_captions("drums", "train") and rest == 6.0 and not absent


@pytest.mark.parametrize("seed", range(4))
def test_two_of_three_sources_are_asked_for_together(ask, seed):
    caption, answer, absent = ask("both", "drums", "speech", "rain", seed=seed)
    there = captions.trained_captions()[caption]
    assert there.kind == "both" and not absent
    assert answer == {frozenset({"drums", "speech"}): 3.0, frozenset({"drums", "rain"}): 5.0}[there.labels]


@pytest.mark.parametrize("labels", [("drums", "speech"), ("drums", "stream", "rain")])
def test_of_two_sounds_the_one_that_is_there_is_meant(ask, labels):
    caption, answer, absent = ask("both", *labels)
    found = captions.trained_captions()[caption]
    assert found.kind == "both" and (answer, absent) == (1.0, False)
    (stranger,) = found.labels - {"drums"}
    assert stranger not in set().union(*map(conflicts, labels))


def test_an_absent_sound_could_be_taken_for_none_that_is_there(ask):
    caption, answer, absent = ask("absent", "acoustic guitar", "rain")
    assert absent and answer == 0.0
    strangers = {label for label in captions.LABELS if caption in captions.captions_of(label, "train")}
    assert strangers and not any(strangers & conflicts(label) for label in ("acoustic guitar", "rain"))


def test_spectrograms_invert(config):
    samples = torch.randn(2, 5000)
    spectrum = spectrogram(samples, config["audio"])
    assert (waveform(spectrum, config["audio"], 5000) - samples).abs().max() < 1e-5
    # The loss takes energies of spectrograms for energies of signals.
    one_sided = spectrum.abs().square()
    total = (2 * one_sided.sum(dim=(1, 2)) - one_sided[:, :, [0, -1]].sum(dim=(1, 2))) / config["audio"]["n_fft"]
    assert torch.allclose(total, samples.square().sum(dim=1), rtol=1e-3)


def test_a_missing_corpus_is_named_with_its_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*config.toml"):
        Corpus(tmp_path / "nowhere", "train", 32_000)


def test_error_names_a_label_without_captions(corpus, config, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(3200, np.float32), 32_000)
    (tmp_path / "index.csv").write_text("path,label,source,group,split\na.wav,theremin,mine,mine:a,val\n")
    larger = Corpus(config["corpus"]["path"], "val", 32_000, further=[tmp_path])
    with pytest.raises(ValueError, match=r"captions\.toml.*theremin"):
        MixtureGenerator(larger, config)


def test_a_further_folder_adds_its_clips(corpus, config, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(3200, np.float32), 32_000)
    columns = "path,label,source,group,split,licence,author,origin"
    (tmp_path / "index.csv").write_text(f"{columns}\na.wav,rain,mine,mine:a,val,CC0,,\n")
    larger = Corpus(config["corpus"]["path"], "val", 32_000, further=[tmp_path])
    assert len(larger.clips) == len(corpus.clips) + 1
    added = next(clip for clip in larger.by_label["rain"] if clip.group == "mine:a")
    assert np.allclose(larger.samples(added), 0.1, atol=1e-4)
    first = corpus.clips[0]
    assert np.array_equal(larger.samples(larger.clips[0]), corpus.samples(first))
