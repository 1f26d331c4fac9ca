"""Exported packages: the networks equal PyTorch, and the files match the package format."""

import tomllib

import numpy
import onnx
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from sift_export import checkpoint


@pytest.fixture(scope="module")
def query(package):
    return onnxruntime.InferenceSession(package / "query.onnx")


@pytest.fixture(scope="module")
def separator(package):
    return onnxruntime.InferenceSession(package / "separator.onnx")


@pytest.fixture(scope="module")
def manifest(package):
    return tomllib.loads((package / "package.toml").read_text(encoding="utf-8"))


def embedding(query, ids):
    ids = numpy.array([ids])
    return query.run(["embedding"], {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})[0]


def mask(separator, magnitude, embedding):
    return separator.run(["mask"], {"magnitude": magnitude, "embedding": embedding})[0]


@torch.no_grad()
def pytorch_mask(small, ids, magnitude):
    """The mask of the published network, without folding."""
    ids = torch.tensor([ids])
    shifts = small.model.shifts(small.model.condition(ids, torch.ones_like(ids)))
    return small.model.separator(torch.from_numpy(magnitude), shifts).numpy()


def relative_to_peak(difference, reference):
    return numpy.abs(difference).max() / numpy.abs(reference).max()


@pytest.mark.parametrize("ids", [[101], [101, 7, 8], list(range(3, 38))])
def test_mask_equals_pytorch(small, query, separator, magnitude, ids):
    expected = pytorch_mask(small, ids, magnitude)
    assert relative_to_peak(mask(separator, magnitude, embedding(query, ids)) - expected, expected) < 1e-4


def test_other_queries_give_another_mask(query, separator, magnitude):
    first, second = (mask(separator, magnitude, embedding(query, ids)) for ids in ([101, 7, 8], [101, 9, 200]))
    assert relative_to_peak(first - second, first) > 1e-3


def test_mask_of_a_quiet_mixture_equals_pytorch(small, query, separator, magnitude):
    ids = [101, 7, 8]
    quiet = 0.1 * magnitude
    expected = pytorch_mask(small, ids, quiet)
    found = mask(separator, quiet, embedding(query, ids))
    assert relative_to_peak(found - expected, expected) < 1e-4
    assert relative_to_peak(found - mask(separator, magnitude, embedding(query, ids)), found) > 1e-3


def test_mask_of_silence_is_finite(query, separator, magnitude):
    assert numpy.isfinite(mask(separator, 0 * magnitude, embedding(query, [101, 7]))).all()


def test_tensors_match_the_package_format(small, query, separator):
    bins = small.architecture.N_FFT // 2 + 1
    channels = {"audiosep": 2, "lassnet": 1}[small.name]
    shapes = {tensor.name: tensor.shape for tensor in [*separator.get_inputs(), *separator.get_outputs()]}
    size = shapes.pop("embedding")[1]
    assert shapes == {"magnitude": [1, 40, bins], "mask": [1, channels, 40, bins]}
    inputs = {tensor.name: (tensor.shape, tensor.type) for tensor in query.get_inputs()}
    assert inputs == {name: ([1, "L"], "tensor(int64)") for name in ("input_ids", "attention_mask")}
    assert [tensor.name for tensor in query.get_outputs()] == ["embedding"]
    assert embedding(query, [101, 7, 8]).shape == (1, size)


def test_embedding_has_one_number_per_film_shift(small, query, separator):
    """AudioSep: the outputs of all linear layers; LASS-Net: two vectors per residual block."""
    outputs = {
        "audiosep": [len(value) for name, value in small.state.items() if ".film." in name and name.endswith(".bias")],
        "lassnet": [2 * len(value) for name, value in small.state.items() if name.endswith("film1.linear.2.bias")],
    }[small.name]
    assert embedding(query, [101, 7, 8]).shape == (1, sum(outputs))
    assert [1, sum(outputs)] in [tensor.shape for tensor in separator.get_inputs()]


def test_separator_contains_only_per_frame_operations(small, package):
    graph = onnx.load(package / "separator.onnx").graph
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"BatchNormalization", "STFT", "DFT", "Gemm", "MatMul", "Shape", "Loop", "If"}, kinds
    weights = sum(onnx.numpy_helper.to_array(tensor).size for tensor in graph.initializer)
    convolutions = sum(
        value.numel()
        for name, value in small.state.items()
        if value.dim() == 4 and ("base." in name or "UNet." in name)
    )
    assert convolutions <= weights < 1.3 * convolutions + 4 * 1025


def test_manifest_has_files_hashes_and_window_settings(small, package, manifest):
    for part in ("separator", "query"):
        assert checkpoint.sha256(package / manifest[part]["file"]) == manifest[part]["sha256"]
    assert manifest["name"] == small.architecture.NAME
    assert manifest["separator"]["kind"] == "window"
    assert [manifest["separator"][field] for field in ("context", "advance", "lookahead")] == [40, 8, 8]
    size, hop = {"audiosep": (2048, 320), "lassnet": (1024, 512)}[small.name]
    assert manifest["audio"] == {"sample_rate": 32000, "n_fft": size, "hop": hop, "window": "hann"}
    assert (package / manifest["query"]["tokenizer"]).is_file()


def test_card_has_the_source_and_says_the_licence_is_unknown(small, package):
    card = (package / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"# {small.architecture.NAME}" in card
    assert checkpoint.sha256(small.checkpoint) in card
    assert "Sift does not know it" in card


def test_longest_query_fits_the_positions_of_the_encoder(package, manifest, query, separator):
    longest = manifest["query"]["max_tokens"]
    tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    ids = tokenizer.encode("dog " * 300).ids
    assert len(ids) == longest
    assert numpy.isfinite(embedding(query, ids)).all()


def test_files_do_not_contain_local_paths(small, package):
    for path in package.iterdir():
        assert str(small.folder).encode() not in path.read_bytes(), path


def test_export_prints_all_steps(small, tmp_path, capsys):
    small.export(tmp_path / "package", "--name", "Mine")
    output = capsys.readouterr().out
    assert all(f"[{step}/6]" in output for step in range(1, 7))
    assert 'name = "Mine"' in (tmp_path / "package" / "package.toml").read_text(encoding="utf-8")
