"""Mixing: configured levels, interferers that do not match the caption, reproducible batches."""

import numpy as np
import pytest
import soundfile
import torch

from sift_train import captions
from sift_train.data import (
    CAPTION_KINDS,
    FAMILIES,
    INSTRUMENTS,
    Corpus,
    MixtureGenerator,
    conflicts,
    energy,
    scale_to_snr,
    spectrogram,
    waveform,
)


@pytest.fixture(scope="module")
def generator(corpus, config):
    return MixtureGenerator(corpus, config)


@pytest.mark.parametrize("snr", [-15.0, -3.0, 0.0, 7.5, 15.0])
def test_scaled_interference_has_the_requested_snr(snr):
    rng = np.random.default_rng(0)
    target, interference = rng.normal(size=(2, 32_000)).astype(np.float32)
    scaled = scale_to_snr(target, 0.01 * interference, snr)
    assert 10 * np.log10(energy(target) / energy(scaled)) == pytest.approx(snr, abs=0.01)


def test_silent_interference_stays_silent():
    assert not scale_to_snr(np.ones(8, np.float32), np.zeros(8, np.float32), 0.0).any()


def test_families_name_labels_of_the_corpus():
    assert set().union(*FAMILIES) | set(INSTRUMENTS) <= set(captions.LABELS)


def test_interferers_are_not_of_the_targets_families(generator):
    rng = np.random.default_rng(0)
    for label in captions.LABELS:
        forbidden = conflicts(label)
        if label not in generator._conflicts:
            continue
        drawn = {generator.draw_interferer_label(rng, label) for _ in range(60)}
        assert not drawn & forbidden, label


def test_music_excludes_the_family_of_the_target_instrument(generator, monkeypatch):
    rng = np.random.default_rng(0)
    drawn = set()
    original = generator.draw_segment

    def record(rng, label, forbidden):
        drawn.add(label)
        return original(rng, label, forbidden)

    monkeypatch.setattr(generator, "draw_segment", record)
    for _ in range(10):
        generator._draw_music(rng, conflicts("violin"))
    assert len(drawn) > 5 and not drawn & conflicts("violin")


@pytest.fixture(scope="module")
def arrangement_generator(corpus, tmp_path_factory, config):
    """A generator whose corpus has one arrangement of three stems with the same samples, to compare their timing."""
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


def test_stems_are_synchronous_and_exclude_the_targets_family(arrangement_generator):
    stems = arrangement_generator._draw_stems(np.random.default_rng(0), conflicts("piano"), 2, "piano")
    assert set(stems) == {"piano", "drums"}
    correlation = np.corrcoef(stems["piano"], stems["drums"])[0, 1]
    assert correlation == pytest.approx(1, abs=1e-4)


def test_arrangement_with_too_few_allowed_stems_is_skipped(arrangement_generator):
    rng = np.random.default_rng(0)
    assert arrangement_generator._draw_stems(rng, conflicts("piano") | {"drums"}, 2, "piano") == {}
    assert arrangement_generator._draw_stems(rng, set(), 2, "violin") == {}


def test_target_instrument_has_its_arrangement_as_interferer(arrangement_generator, monkeypatch):
    monkeypatch.setattr(arrangement_generator, "_draw_label", lambda *_: "drums")
    monkeypatch.setitem(arrangement_generator.options, "korean_probability", 0.0)
    only = {"one": 1.0, "absent": 0.0, "both": 0.0}
    monkeypatch.setitem(arrangement_generator.options, "questions", only)
    mixture, target, caption, _ = arrangement_generator.draw_example(np.random.default_rng(5))
    assert list(captions.trained_captions())[caption] in captions.captions_of("drums", "train")
    # All stems of this arrangement have the same samples.
    assert abs(np.corrcoef(target, mixture - target)[0, 1]) == pytest.approx(1, abs=1e-3)


def test_same_step_gives_the_same_batch(generator):
    for first, second in zip(generator.batch(7), generator.batch(7)):
        assert torch.equal(first, second)
    assert not torch.equal(generator.batch(7)[0], generator.batch(8)[0])


def test_examples_have_the_configured_levels(generator, config):
    limit = config["mixing"]["snr_limit"]
    low, high = config["mixing"]["peak_range"]
    rng = np.random.default_rng(1)
    for _ in range(20):
        mixture, target, caption, absent = generator.draw_example(rng)
        assert np.isfinite(mixture).all()
        assert low - 0.1 <= 20 * np.log10(np.abs(mixture).max()) <= high + 0.1
        assert target.any() != absent
        if list(captions.trained_captions().values())[caption].kind == "one" and not absent:
            assert abs(10 * np.log10(energy(target) / energy(mixture - target))) < limit + 0.2


def test_caption_kinds_have_the_configured_shares(generator, config, monkeypatch):
    drawn = []
    monkeypatch.setattr(generator, "_draw_parts", lambda *_: [("drums", np.ones(4)), ("speech", np.ones(4))])
    monkeypatch.setattr(
        generator, "_draw_caption", lambda rng, parts, kind: drawn.append(kind) or ("drums", np.ones(4), False)
    )
    monkeypatch.setattr("sift_train.data.caption_indices", lambda: {"drums": 0})
    rng = np.random.default_rng(4)
    for _ in range(2000):
        generator.draw_example(rng)
    for kind, share in config["mixing"]["questions"].items():
        assert drawn.count(kind) / 2000 == pytest.approx(share, abs=0.03), kind


def test_mixtures_for_two_sounds_mostly_have_a_third_sound(generator, monkeypatch):
    def share_of_three(kind):
        """Returns the share of mixtures with three sounds or more, among 40 with a caption of this kind."""
        counts = []
        monkeypatch.setitem(generator.options, "questions", {other: float(other == kind) for other in CAPTION_KINDS})
        original = generator._draw_caption
        monkeypatch.setattr(
            generator, "_draw_caption", lambda rng, parts, kind: counts.append(len(parts)) or original(rng, parts, kind)
        )
        for seed in range(40):
            generator.draw_example(np.random.default_rng(seed))
        return np.mean([count > 2 for count in counts])

    assert share_of_three("both") > 0.6
    assert share_of_three("one") < 0.6


def test_rendered_clips_have_the_configured_share(arrangement_generator, config):
    rng = np.random.default_rng(0)
    drawn = [arrangement_generator._draw_clips(rng, "organ")[0].is_rendered for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(config["mixing"]["rendered_share"], abs=0.08)
    assert not any(clip.is_rendered for clip in arrangement_generator._draw_clips(rng, "violin"))


@pytest.fixture
def draw_caption(generator, monkeypatch):
    """Draws a caption of a kind for a mixture of these labels: (caption, a sample of the target, absent)."""
    monkeypatch.setitem(generator.options, "korean_probability", 0.0)

    def draw(kind, *labels, seed=2):
        parts = [(label, np.full(generator.length, 2.0**number, np.float32)) for number, label in enumerate(labels)]
        caption, samples, absent = generator._draw_caption(np.random.default_rng(seed), parts, kind)
        return caption, samples[0], absent

    return draw


def test_caption_of_one_sound_describes_the_first_part(draw_caption):
    caption, sample, absent = draw_caption("one", "drums", "speech", "rain")
    assert caption in captions.captions_of("drums", "train") and sample == 1.0 and not absent


@pytest.mark.parametrize("seed", range(4))
def test_target_of_two_sounds_is_their_sum(draw_caption, seed):
    caption, sample, absent = draw_caption("both", "drums", "speech", "rain", seed=seed)
    meaning = captions.trained_captions()[caption]
    assert meaning.kind == "both" and not absent
    assert sample == {frozenset({"drums", "speech"}): 3.0, frozenset({"drums", "rain"}): 5.0}[meaning.labels]


@pytest.mark.parametrize("labels", [("drums", "speech"), ("drums", "stream", "rain")])
def test_target_of_two_sounds_excludes_an_absent_one(draw_caption, labels):
    caption, sample, absent = draw_caption("both", *labels)
    meaning = captions.trained_captions()[caption]
    assert meaning.kind == "both" and (sample, absent) == (1.0, False)
    (absent_label,) = meaning.labels - {"drums"}
    assert absent_label not in set().union(*map(conflicts, labels))


def test_absent_sound_conflicts_with_no_part(draw_caption):
    caption, sample, absent = draw_caption("absent", "acoustic guitar", "rain")
    assert absent and sample == 0.0
    absent_labels = {label for label in captions.LABELS if caption in captions.captions_of(label, "train")}
    assert absent_labels and not any(absent_labels & conflicts(label) for label in ("acoustic guitar", "rain"))


def test_waveform_inverts_spectrogram(config):
    samples = torch.randn(2, 5000)
    spectrum = spectrogram(samples, config["audio"])
    assert (waveform(spectrum, config["audio"], 5000) - samples).abs().max() < 1e-5
    # The loss assumes that a spectrogram has the energy of its signal.
    one_sided = spectrum.abs().square()
    total = (2 * one_sided.sum(dim=(1, 2)) - one_sided[:, :, [0, -1]].sum(dim=(1, 2))) / config["audio"]["n_fft"]
    assert torch.allclose(total, samples.square().sum(dim=1), rtol=1e-3)


def test_error_for_a_missing_corpus_has_path_and_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*config.toml"):
        Corpus(tmp_path / "nowhere", "train", 32_000)


def test_error_names_a_label_without_captions(corpus, config, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(3200, np.float32), 32_000)
    (tmp_path / "index.csv").write_text("path,label,source,group,split\na.wav,theremin,mine,mine:a,val\n")
    larger = Corpus(config["corpus"]["path"], "val", 32_000, further=[tmp_path])
    with pytest.raises(ValueError, match=r"captions\.toml.*theremin"):
        MixtureGenerator(larger, config)


def test_further_folder_adds_its_clips(corpus, config, tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(3200, np.float32), 32_000)
    columns = "path,label,source,group,split,licence,author,origin"
    (tmp_path / "index.csv").write_text(f"{columns}\na.wav,rain,mine,mine:a,val,CC0,,\n")
    larger = Corpus(config["corpus"]["path"], "val", 32_000, further=[tmp_path])
    assert len(larger.clips) == len(corpus.clips) + 1
    added = next(clip for clip in larger.by_label["rain"] if clip.group == "mine:a")
    assert np.allclose(larger.samples(added), 0.1, atol=1e-4)
    first = corpus.clips[0]
    assert np.array_equal(larger.samples(larger.clips[0]), corpus.samples(first))
