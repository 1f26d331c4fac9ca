"""The listener: its network, what counts as heard, its calibration, and its part of the committed package."""

import json
import tomllib

import numpy as np
import onnxruntime
import pytest
import torch

from sift_train import config as configuration
from sift_train.calibrate_listener import fit
from sift_train.captions import LABELS, usual_caption
from sift_train.cost import count_listener_multiply_accumulates
from sift_train.data import conflicts, spectrogram
from sift_train.evaluate import AUTOMATIC, Package
from sift_train.evaluate_listener import average_precision, summarise
from sift_train.listener import Listener, fold_listener
from sift_train.listener_data import LabelRules, coloured_noise, energies_of_last_second
from sift_train.listener_package import load_package_listener
from sift_train.rest import compete
from sift_train.train_listener import ListenerRun
from sift_train.vocabulary import Vocabulary

FRAMES = 8


@pytest.fixture(scope="module")
def listener_config():
    return configuration.load_listener()


@pytest.fixture(scope="module")
def vocabulary(listener_config):
    return Vocabulary(listener_config["query"]["vocabulary"])


@pytest.fixture(scope="module")
def network(listener_config):
    torch.manual_seed(3)
    small = listener_config["listener"] | {"channels": [4, 6, 8], "vector_size": 10, "recurrent_size": 12}
    listener = Listener(small, listener_config["audio"], 5).eval()
    torch.nn.init.normal_(listener.heard.weight)
    for norm in [listener.input_norm, *listener.norms]:
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 2)
    return listener


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


def _magnitude(runs, seed=0, bins=513):
    """Noise bursts as magnitudes [1, runs·FRAMES, bins]."""
    rng = np.random.default_rng(seed)
    loudness = np.repeat(10 ** rng.uniform(-2, 2, 2 * runs), FRAMES // 2)[:, None]
    return torch.from_numpy((loudness * rng.rayleigh(size=(runs * FRAMES, bins))).astype(np.float32))[None]


@torch.no_grad()
def test_streaming_equals_whole_clips(network):
    magnitude = _magnitude(12)
    whole, _ = network(magnitude)
    state, runs = None, []
    for run in magnitude.split(FRAMES, dim=1):
        logits, state = network(run, state)
        runs.append(logits)
    assert (torch.cat(runs, dim=1) - whole).abs().max() < 1e-4


@torch.no_grad()
def test_future_frames_change_nothing(network):
    magnitude = _magnitude(10)
    other = magnitude.clone()
    other[:, 5 * FRAMES :] = _magnitude(5, seed=1)
    before, after = network(magnitude)[0], network(other)[0]
    assert torch.equal(before[:, :5], after[:, :5]) and not torch.equal(before[:, 5], after[:, 5])


@torch.no_grad()
def test_loudness_hardly_changes_what_is_heard(network):
    magnitude = 10 * _magnitude(10)
    assert (network(magnitude)[0] - network(10 * magnitude)[0]).abs().max() < 0.05


@torch.no_grad()
def test_folding_keeps_and_calibrates_the_chosen_outputs(network):
    columns, scale, offset = torch.tensor([3, 0]), torch.tensor([0.5, 2.0]), torch.tensor([-1.0, 0.25])
    folded = fold_listener(network, columns, scale, offset)
    expected = network(_magnitude(6))[0][:, :, columns] * scale + offset
    assert (folded(_magnitude(6))[0] - expected).abs().max() < 1e-4


def test_last_second_has_the_energy_of_its_samples(listener_config):
    audio = listener_config["audio"]
    samples = np.zeros(4 * audio["sample_rate"], np.float32)
    samples[audio["sample_rate"] : audio["sample_rate"] + 10] = 1.0
    energies = energies_of_last_second(samples, audio, FRAMES, 31)
    ends = FRAMES * audio["hop"] * np.arange(1, 32)
    second = round(audio["sample_rate"] / audio["hop"]) * audio["hop"]
    assert np.array_equal(energies > 0, (ends > audio["sample_rate"]) & (ends <= audio["sample_rate"] + second))
    assert energies.max() == pytest.approx(10)


def test_labels_follow_loudness_members_and_similarity(vocabulary):
    rules = LabelRules(vocabulary, related_weight=0.3)
    hearing = {"present": -30.0, "absent": -40.0}
    moments = np.ones(1)
    parts = [("violin", moments), ("rain", 10**-3.5 * moments), ("dog barking", 10**-4.5 * moments)]
    targets, weights = rules.judge(parts, 0 * moments, moments, hearing, np.zeros(1, bool))

    def judged(name):
        column = rules.column_of[name]
        return targets[0, column], pytest.approx(weights[0, column])

    assert judged("violin") == (1, 1) and judged("music") == (1, 1), "the sound and its umbrella are there"
    assert judged("rain") == (0, 0), "too quiet to say, too loud to deny"
    assert judged("dog barking") == (0, 1), "not audible"
    assert judged("cello") == (0, 0.3), "similar to a sound that is there"
    assert judged("strings") == (1, 1) and judged("speech") == (0, 1)


def test_silence_denies_all_but_noise(vocabulary):
    rules = LabelRules(vocabulary, related_weight=0.3)
    nothing = np.zeros(1)
    targets, weights = rules.judge([], nothing, nothing, {"present": -30.0, "absent": -40.0}, np.ones(1, bool))
    assert not targets.any() and weights[0, rules.column_of["rain"]] == 1


def test_calibration_recovers_a_distorted_logit():
    rng = torch.Generator().manual_seed(0)
    true = 2.5 * torch.randn(4000, 3, generator=rng) - 2
    targets = (torch.rand(true.shape, generator=rng) < torch.sigmoid(true)).float()
    scale, offset = fit((true - torch.tensor([1.0, 0.0, -1.0])) / 0.5, targets, torch.ones_like(true))
    assert scale == pytest.approx([0.5] * 3, abs=0.05)
    assert offset == pytest.approx([1.0, 0.0, -1.0], abs=0.2)


def test_calibration_is_monotone():
    logits = torch.tensor([[-1.0], [0.0], [1.0]])
    scale, _ = fit(logits, 1 - (logits > 0).float(), torch.ones_like(logits))
    assert scale[0] > 0, "even where larger logits were wrong"


def test_average_precision_of_known_rankings():
    there = np.array([True, False, True, False])
    assert average_precision(np.array([0.9, 0.8, 0.7, 0.1]), there) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([4.0, 1.0, 3.0, 2.0]), there) == 1
    assert np.isnan(average_precision(np.ones(4), np.zeros(4, bool)))


def test_unjudged_names_do_not_count_in_the_summary():
    scores, targets = np.array([[0.9, 0.9], [0.2, 0.9]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    weights = np.array([[1.0, 0.0], [1.0, 0.0]])
    figures = summarise(scores, targets, weights, {"all": [0, 1]})["all"]
    assert (figures["mean_average_precision"], figures["of_said_there"], figures["said_per_mixture"]) == (1, 1, 0.5)


class _FixedMixtures:
    """Batches that are the same in every step."""

    run_seconds = 0.128
    options = {"segment_seconds": 1.28}

    def batch(self, step):
        rng = torch.Generator().manual_seed(step)
        return torch.rand(2, 10 * FRAMES, 513, generator=rng), torch.ones(2, 10, 5), torch.ones(2, 10, 5)


class _InterruptedRun(ListenerRun):
    """Stops after its second step."""

    def _train_on(self, *batch):
        self.is_stopping = self.step == 1
        return super()._train_on(*batch)


def test_interrupted_training_gives_the_same_bits(listener_config, tmp_path):
    small = {**listener_config, "listener": listener_config["listener"] | {"channels": [4, 4, 4], "vector_size": 4}}
    small["training"] = small["training"] | {"steps": 4, "warm_up_steps": 1, "carry_probability": 0.0}
    whole = ListenerRun(small, tmp_path / "whole", _FixedMixtures(), 5)
    whole.train()
    first = _InterruptedRun(small, tmp_path / "part", _FixedMixtures(), 5)
    first.train()
    resumed = ListenerRun(small, tmp_path / "part", _FixedMixtures(), 5)
    assert first.step == resumed.step == 2
    resumed.train()
    assert whole.step == resumed.step == 4
    for name, value in whole.average.values.items():
        assert torch.equal(value, resumed.average.values[name]), name


# The committed package.


def _manifest():
    with open(configuration.PACKAGE / "package.toml", "rb") as file:
        return tomllib.load(file)["listener"]


def test_package_has_the_fields_of_its_format(config):
    table = _manifest()
    assert set(table) == {"file", "sha256", "frames", "concepts", "embeddings"}
    assert configuration.digest(configuration.PACKAGE / table["file"]) == table["sha256"]
    described = json.loads((configuration.PACKAGE / table["concepts"]).read_text(encoding="utf-8"))
    assert set(described) == {"concepts", "rest"}
    assert set(described["rest"]) == {"from", "full", "strength", "fade", "switch", "margin"}
    rest = described["rest"]
    assert 0 <= rest["from"] < rest["full"] <= 1 and 0 < rest["strength"] <= 1
    hop_seconds = config["audio"]["hop"] / config["audio"]["sample_rate"]
    for duration in ("fade", "switch"):
        # Far from a half, so that every way to round gives the same number of hops.
        assert abs(rest[duration] / hop_seconds % 1 - 0.5) > 0.2
    names = [concept["name"] for concept in described["concepts"]]
    concepts = json.loads((configuration.PACKAGE / "concepts.json").read_text(encoding="utf-8"))
    assert sorted(names) == sorted(concept["name"] for concept in concepts["concepts"])
    for concept in described["concepts"]:
        assert set(concept) == {"name", "members", "overlaps"}
        assert {*concept["members"], *concept["overlaps"]} <= set(names) - {concept["name"]}


def test_graph_has_the_tensors_of_its_format():
    table = _manifest()
    session = onnxruntime.InferenceSession(configuration.PACKAGE / table["file"])
    inputs = {tensor.name: tensor.shape for tensor in session.get_inputs()}
    outputs = {tensor.name: tensor.shape for tensor in session.get_outputs()}
    assert inputs.pop("magnitude") == ["N", table["frames"], 513]
    assert outputs.pop("heard") == ["N", len(LABELS)]
    assert {f"next_{name}": shape for name, shape in inputs.items()} == outputs
    assert all(
        name.startswith("state_") and shape[0] == "N" and shape.count("N") == 1 for name, shape in inputs.items()
    )


def test_graph_is_small(listener_config):
    assert (configuration.PACKAGE / _manifest()["file"]).stat().st_size < 3e6
    listener = load_package_listener(listener_config)
    assert count_listener_multiply_accumulates(listener, listener_config["audio"]) < 0.03e9


@torch.no_grad()
def test_graph_equals_pytorch(listener_config, package):
    magnitude = _magnitude(30)
    heard = package.listener.hear(magnitude[0].numpy())
    logits, _ = load_package_listener(listener_config)(magnitude)
    assert not heard[: FRAMES - 1].any(), "nothing is heard before the first run"
    assert np.abs(heard[FRAMES - 1 :: FRAMES] - torch.sigmoid(logits[0]).numpy()).max() < 1e-4


def test_embeddings_are_those_of_the_usual_captions(package):
    for index, name in enumerate(package.listener.names):
        expected = package.embedding(usual_caption(name))[0]
        difference = np.abs(package.listener.embeddings[index] - expected).max()
        assert difference < 2e-3 * np.abs(expected).max(), name


@pytest.mark.parametrize("level", [None, -90, -50, -20], ids=["silence", "-90 dBFS", "-50 dBFS", "-20 dBFS"])
def test_nothing_but_noise_is_heard_in_silence_and_noise(package, listener_config, level):
    audio = listener_config["audio"]
    samples = np.zeros(6 * audio["sample_rate"], np.float32)
    if level is not None:
        samples = coloured_noise(np.random.default_rng(1), len(samples)) * np.float32(10 ** (level / 20))
    heard = package.listener.hear(spectrogram(torch.from_numpy(samples)[None], audio)[0].abs().numpy())
    said = {package.listener.names[index] for index in np.flatnonzero(heard.max(axis=0) >= 0.5)}
    assert said <= ({"noise"} if level is not None else set())


ALLOWED = [
    ("music", "speech"), ("vocals", "drums"), ("drums", "bass guitar"), ("speech", "rain"), ("dog barking", "speech"),
    ("piano", "drums"), ("bass guitar", "piano"), ("guitar", "drums"), ("choir", "organ"), ("traffic", "music"),
]  # fmt: skip
"""Pairs of texts each of which can be the rest of the other."""
FORBIDDEN = [
    ("choir", "speech"), ("vocals", "choir"), ("drums", "hand clapping"), ("rain", "stream"), ("guitar", "electric guitar"),
    ("acoustic guitar", "electric guitar"), ("strings", "violin"), ("music", "piano"), ("brass", "trumpet"),
    ("keyboard typing", "typewriter"), ("speech", "crowd chatter"), ("thunder", "explosion"), ("noise", "wind"),
]  # fmt: skip
"""Pairs that cannot be told apart, or one of which may contain the other."""


@pytest.mark.parametrize(("first", "second"), ALLOWED + FORBIDDEN)
def test_awkward_pairs_in_both_directions(package, first, second):
    names = package.listener.names
    is_allowed = (first, second) in ALLOWED
    for text, other in ((first, second), (second, first)):
        candidates = [names[index] for index in package.rest_candidates(text)]
        for sound in package.reader.read(other).keep:
            for meant in sound.selected:
                assert (meant in candidates) == is_allowed, f"{meant} as the rest of {text}"


def test_excluding_and_unknown_texts_have_no_rest(package):
    assert package.rest_candidates("everything but the drums") == []
    assert package.rest_candidates("qwertz") == []


def test_sounds_of_one_text_are_no_rest_of_it(package):
    candidates = {package.listener.names[index] for index in package.rest_candidates("drums and a dog barking")}
    assert not candidates & (conflicts("drums") | conflicts("dog barking"))


def test_rest_that_cannot_be_changes_no_bits(package):
    mixture = coloured_noise(np.random.default_rng(2), 16_000) * np.float32(0.1)
    text = "everything but the drums"
    without, automatic = (package.separate(mixture, text, rest)[0] for rest in (None, AUTOMATIC))
    assert np.array_equal(without, automatic)


def test_said_rest_competes_by_the_largest_gain_of_its_names(package):
    magnitude = _magnitude(4)[0].numpy()
    rain, drums = (package.run(magnitude, package.embedding(text))[0] for text in ("rain", "drums"))
    _, alone, beside = package.gains(magnitude, "a dog barking", None, ("rain", "drums"))
    expected = compete(alone, np.maximum(rain, drums), 1.0)
    assert np.abs(beside - expected).max() < 1e-6 and np.abs(beside - alone).max() > 0.1


def test_forked_stream_continues_from_the_same_state(package):
    magnitude = _magnitude(4)[0].numpy()
    stream, embedding = package.stream(), package.embedding("rain")
    for frame in magnitude[:20]:
        stream.run(frame, embedding)
    fork = stream.fork()
    expected = [stream.run(frame, embedding)[0] for frame in magnitude[20:]]
    assert all(np.array_equal(fork.run(frame, embedding)[0], mask) for frame, mask in zip(magnitude[20:], expected))
