"""The committed package: its graphs equal PyTorch, and its files match the manifest."""

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
from sift_train.export import QueryHead, load_model
from sift_train.streaming import ConditionHead

FRAMES = 120


@pytest.fixture(scope="module")
def model(config):
    return load_model(config)


@pytest.fixture(scope="module")
def query_head(model):
    return QueryHead(model, concepts.load())


@pytest.fixture(scope="module")
def package(config):
    return Package(configuration.PACKAGE, config)


@pytest.fixture
def magnitude():
    """Two seconds of noise bursts, as magnitudes [T, F]."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(10 ** rng.uniform(-3, 2, FRAMES // 10), 10)[:, None]
    return (loudness * rng.rayleigh(size=(FRAMES, 513))).astype(np.float32)


@torch.no_grad()
@pytest.mark.parametrize("text", ["a person speaking", "rain"])
def test_streaming_in_onnx_runtime_equals_pytorch(config, model, query_head, package, magnitude, text):
    streamed, presences = package.run(magnitude, package.embedding(text))
    embedding, _ = query_head(encode(TextEncoder(), [text], config["query"]["max_tokens"]))
    whole, presence, _ = model.separator(torch.from_numpy(magnitude)[None], embedding)
    assert np.abs(streamed - whole[0, 0].numpy()).max() < 1e-4
    assert np.abs(presences - presence[0].numpy()).max() < 1e-4


def test_query_graph_equals_pytorch(config, model, query_head, package):
    texts = ["drums", "a person speaking", "the sound of an acoustic guitar being played by somebody", "기타 소리", ""]
    with torch.no_grad():
        embeddings, _ = query_head(encode(TextEncoder(), texts, config["query"]["max_tokens"]))
        expected = ConditionHead(model.separator)(embeddings).numpy()
    got = np.concatenate([package.embedding(text) for text in texts])
    assert np.abs(got - expected).max() < 1e-4


@torch.no_grad()
def test_embedding_moves_to_the_usual_caption_by_closeness(config, model, query_head):
    texts = ["drums", "somebody is drumming", "the colour blue"]
    sentences = encode(TextEncoder(), texts, config["query"]["max_tokens"])
    projected, (moved, _) = model.query(sentences), query_head(sentences)
    before, after = (torch.linalg.norm(rows - rows[0], dim=1) for rows in (projected, moved))
    assert after[1] < 0.5 * before[1], "a known sound"
    assert torch.linalg.norm(moved[2] - projected[2]) < 0.3 * before[2], "an unknown sound"


def test_long_texts_are_cut_and_short_ones_not_padded(config, package):
    limit = config["query"]["max_tokens"]
    assert len(package._tokenizer.encode("dog " * 500).ids) == limit
    assert len(package._tokenizer.encode("dog").ids) == 3
    assert np.isfinite(package.embedding("dog " * 500)).all()


def test_masks_of_silence_are_finite(package, magnitude):
    mask, _ = package.run(0 * magnitude, package.embedding("wind"))
    assert np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1


def test_tensors_match_the_package_format():
    separator = onnxruntime.InferenceSession(configuration.PACKAGE / "separator.onnx")
    inputs = {tensor.name: tensor.shape for tensor in separator.get_inputs()}
    outputs = {tensor.name: tensor.shape for tensor in separator.get_outputs()}
    assert inputs.pop("magnitude") == ["N", 1, 513]
    _, width = inputs.pop("embedding")
    query = onnxruntime.InferenceSession(configuration.PACKAGE / "query.onnx")
    embedding, concept = query.get_outputs()
    assert embedding.name == "embedding" and embedding.shape == [1, width]
    assert concept.name == "concept" and concept.shape[0] == 1
    assert outputs.pop("mask") == ["N", 1, 1, 513] and outputs.pop("presence") == ["N", 1]
    assert {f"next_{name}": shape for name, shape in inputs.items()} == outputs
    assert all(name.startswith("state_") and shape.count("N") == 1 for name, shape in inputs.items())


def test_batched_streams_equal_single_streams(package):
    separator = onnxruntime.InferenceSession(configuration.PACKAGE / "separator.onnx")
    rng = np.random.default_rng(1)
    streams = 5
    shapes = {tensor.name: tensor.shape for tensor in separator.get_inputs()}
    axes = {name: shape.index("N") for name, shape in shapes.items()}

    def random_input(shape):
        return rng.uniform(0, 1, [streams if length == "N" else length for length in shape]).astype(np.float32)

    together = {name: random_input(shape) for name, shape in shapes.items()}
    together["embedding"] = np.concatenate(
        [package.embedding(text) for text in ("rain", "a piano", "drums", "bell", "")]
    )
    names = [tensor.name for tensor in separator.get_outputs()]
    found = dict(zip(names, separator.run(names, together)))
    for stream in range(streams):
        alone = {name: np.take(value, [stream], axes[name]) for name, value in together.items()}
        for name, value in zip(names, separator.run(names, alone)):
            axis = axes.get(name.removeprefix("next_"), 0)
            assert np.abs(value - np.take(found[name], [stream], axis)).max() < 1e-4, name


def test_manifest_has_the_files_and_their_hashes(config):
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
def test_export_reproduces_the_package_on_all_processors(instructions, tmp_path):
    command = [sys.executable, "-m", "sift_train.export", "--out", tmp_path / "package"]
    subprocess.run(command, env=os.environ | instructions, check=True)
    listener = ("listener.onnx", "listener.json", "listener.f16")
    for name in ("package.toml", "separator.onnx", "query.onnx", "tokenizer.json", "concepts.json", *listener):
        assert configuration.digest(tmp_path / "package" / name) == configuration.digest(configuration.PACKAGE / name)


def test_files_do_not_contain_local_paths():
    for path in configuration.PACKAGE.iterdir():
        assert str(Path.home()).encode() + b"/" not in path.read_bytes(), path
