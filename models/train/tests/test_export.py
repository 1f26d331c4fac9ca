"""The package holds what was trained: its graphs equal PyTorch, its table names its files."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sift_train import concepts
from sift_train import config as configuration
from sift_train.encoder import TextEncoder, encode
from sift_train.evaluate import Package
from sift_train.export import Understanding, load_weights
from sift_train.streaming import Wording

FRAMES = 120


@pytest.fixture(scope="module")
def model(config):
    return load_weights(config)


@pytest.fixture(scope="module")
def understanding(model):
    return Understanding(model, concepts.load())


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


@pytest.fixture
def magnitude():
    """Two seconds of noise in bursts, as magnitudes [T, F]."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(10 ** rng.uniform(-3, 2, FRAMES // 10), 10)[:, None]
    return (loudness * rng.rayleigh(size=(FRAMES, 513))).astype(np.float32)


@torch.no_grad()
@pytest.mark.parametrize("text", ["a person speaking", "rain", "everything but the rain"])
def test_streaming_in_onnx_runtime_equals_pytorch_on_the_whole_clip(
    config, model, understanding, package, magnitude, text
):
    streamed, presences = package.run(magnitude, package.embedding(text))
    embedding, _ = understanding(encode(TextEncoder(), [text], config["query"]["max_tokens"]))
    whole, presence, _ = model.separator(torch.from_numpy(magnitude)[None], embedding)
    assert np.abs(streamed - whole[0, 0].numpy()).max() < 1e-4
    assert np.abs(presences - presence[0].numpy()).max() < 1e-4


def test_query_graph_equals_pytorch(config, model, understanding, package):
    texts = ["drums", "a person speaking", "the sound of an acoustic guitar being played by somebody", "기타 소리", ""]
    with torch.no_grad():
        embeddings, _ = understanding(encode(TextEncoder(), texts, config["query"]["max_tokens"]))
        expected = Wording(model.separator)(embeddings).numpy()
    got = np.concatenate([package.embedding(text) for text in texts])
    assert np.abs(got - expected).max() < 1e-4


@torch.no_grad()
def test_words_are_drawn_to_the_usual_ones_as_far_as_they_are_understood(config, model, understanding):
    texts = ["drums", "somebody is drumming", "the colour blue"]
    sentences = encode(TextEncoder(), texts, config["query"]["max_tokens"])
    projected, (drawn, _) = model.query(sentences), understanding(sentences)
    before, after = (torch.linalg.norm(rows - rows[0], dim=1) for rows in (projected, drawn))
    assert after[1] < 0.5 * before[1], "these are drums"
    assert torch.linalg.norm(drawn[2] - projected[2]) < 0.3 * before[2], "this is nothing"
    assert torch.equal(drawn[:, -1], projected[:, -1]), "negations stay what they are"


def test_long_texts_are_cut_and_short_ones_not_padded(config, package):
    limit = config["query"]["max_tokens"]
    assert len(package._tokenizer.encode("dog " * 500).ids) == limit
    assert len(package._tokenizer.encode("dog").ids) == 3
    assert np.isfinite(package.embedding("dog " * 500)).all()


def test_silence_gives_finite_masks(package, magnitude):
    mask, _ = package.run(0 * magnitude, package.embedding("wind"))
    assert np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1


def test_tensors_are_those_of_the_contract():
    separator = onnxruntime.InferenceSession(configuration.PACKAGE / "separator.onnx")
    inputs = {tensor.name: tensor.shape for tensor in separator.get_inputs()}
    outputs = {tensor.name: tensor.shape for tensor in separator.get_outputs()}
    assert inputs.pop("magnitude") == ["N", 1, 513]
    _, width = inputs.pop("embedding")
    query = onnxruntime.InferenceSession(configuration.PACKAGE / "query.onnx")
    assert query.get_outputs()[0].name == "embedding" and query.get_outputs()[0].shape == [1, width]
    assert outputs.pop("mask") == ["N", 1, 1, 513] and outputs.pop("presence") == ["N", 1]
    assert {f"next_{name}": shape for name, shape in inputs.items()} == outputs
    assert all(name.startswith("state_") and shape.count("N") == 1 for name, shape in inputs.items())


def test_streams_that_are_run_together_are_separated_as_each_is_alone(package):
    separator = onnxruntime.InferenceSession(configuration.PACKAGE / "separator.onnx")
    rng = np.random.default_rng(1)
    streams = 5
    shapes = {tensor.name: tensor.shape for tensor in separator.get_inputs()}
    axes = {name: shape.index("N") for name, shape in shapes.items()}

    def some(shape):
        return rng.uniform(0, 1, [streams if length == "N" else length for length in shape]).astype(np.float32)

    together = {name: some(shape) for name, shape in shapes.items()}
    together["embedding"] = np.concatenate([package.embedding(text) for text in ("rain", "no rain", "drums", "bell", "")])
    names = [tensor.name for tensor in separator.get_outputs()]
    found = dict(zip(names, separator.run(names, together)))
    for stream in range(streams):
        alone = {name: np.take(value, [stream], axes[name]) for name, value in together.items()}
        for name, value in zip(names, separator.run(names, alone)):
            axis = axes.get(name.removeprefix("next_"), 0)
            assert np.abs(value - np.take(found[name], [stream], axis)).max() < 1e-4, name


def test_table_names_the_files_and_their_hashes(config):
    with open(configuration.PACKAGE / "package.toml", "rb") as file:
        table = tomllib.load(file)
    for part in ("separator", "query"):
        assert configuration.digest(configuration.PACKAGE / table[part]["file"]) == table[part]["sha256"]
    assert table["audio"] == config["audio"] | {"window": "sqrt_hann"}
    assert (configuration.PACKAGE / table["query"]["tokenizer"]).is_file()
    assert (configuration.PACKAGE / "MODEL_CARD.md").is_file()


@pytest.mark.parametrize(
    "instructions",
    [
        {},
        {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
        {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    ],
    ids=["all instructions", "AVX2 at most", "SSE4.2 at most"],
)
def test_the_committed_weights_give_the_committed_package_on_every_processor(instructions, tmp_path):
    command = [sys.executable, "-m", "sift_train.export", "--out", tmp_path / "package"]
    subprocess.run(command, env=os.environ | instructions, check=True)
    for name in ("package.toml", "separator.onnx", "query.onnx", "tokenizer.json", "concepts.json"):
        assert configuration.digest(tmp_path / "package" / name) == configuration.digest(configuration.PACKAGE / name)


def test_no_file_of_the_package_names_a_place_on_this_machine():
    for path in configuration.PACKAGE.iterdir():
        assert str(Path.home()).encode() + b"/" not in path.read_bytes(), path
