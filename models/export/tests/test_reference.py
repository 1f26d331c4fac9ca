"""At the published size, with weights that anyone can make again: what the published code computes.

PyTorch within 1e-4 of the output's peak, the exported networks within 1e-3 (`../shared/reference/README.md`).
"""

import numpy
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from sift_export import __main__ as command_line
from sift_export import checkpoint as checkpoints
from sift_export import golden

CONTEXT = {"audiosep": 204, "lassnet": 128}
"""Frames of the reference's clip, so that one run sees what the published code saw."""


@pytest.fixture(scope="module", params=["audiosep", "lassnet"])
def name(request):
    if not (golden.REFERENCE / request.param).is_dir():
        pytest.skip(f"there is no reference data at {golden.REFERENCE}")
    return request.param


@pytest.fixture(scope="module")
def arrays(name):
    return golden.arrays(name)


@pytest.fixture(scope="module")
def checkpoint(name, tmp_path_factory):
    path = tmp_path_factory.mktemp(name) / "published.ckpt"
    golden.write(name, path)
    return path


@pytest.fixture(scope="module")
def model(name, checkpoint):
    return checkpoints.load(golden.ARCHITECTURES[name], golden.ARCHITECTURES[name].tensors(checkpoint))


@pytest.fixture(scope="module")
def package(name, checkpoint):
    folder = checkpoint.with_name("package")
    tokenizer = golden.tokenizer_folder(checkpoint)
    arguments = [name, checkpoint, "--tokenizer", tokenizer, "--output", folder, "--context", CONTEXT[name]]
    command_line.main([*map(str, arguments), "--advance", "32", "--lookahead", "32"])
    return folder


def of_peak(what, found, expected):
    difference = numpy.abs(found - expected).max() / numpy.abs(expected).max()
    print(f"\nmeasured: {what} differs by {difference:.1e} of its peak")
    return difference


def output(name, arrays, separator):
    """What the reference keeps of a run of `separator` (magnitude [1, T, F] → mask [1, C, T, F])."""
    if name == "lassnet":
        return separator(torch.from_numpy(arrays["magnitude"]))[:, 0]
    hann = torch.hann_window(2048)
    samples = torch.from_numpy(arrays["mixture"])
    spectrum = torch.stft(samples, 2048, 320, window=hann, return_complex=True)
    mask = separator(spectrum.abs().T[None].contiguous())[0]
    masked = spectrum * torch.complex(torch.tensor(mask[0]), torch.tensor(mask[1])).T
    return torch.istft(masked, 2048, 320, window=hann, length=len(samples)).numpy()


@torch.no_grad()
def test_words_become_the_references_embedding(arrays, model):
    found = model.condition(torch.from_numpy(arrays["token_ids"]), torch.from_numpy(arrays["attention_mask"]))
    assert of_peak("PyTorch's text embedding", found.numpy(), arrays["text_embedding"]) < 1e-4


@torch.no_grad()
def test_pytorch_gives_the_references_output(name, arrays, model):
    condition, kept = {"audiosep": ("condition", "separated"), "lassnet": ("text_embedding", "mask")}[name]
    shifts = model.shifts(torch.from_numpy(arrays[condition]))
    found = output(name, arrays, lambda magnitude: model.separator(magnitude, shifts).numpy())
    assert of_peak(f"PyTorch's output of {name}", found, arrays[kept]) < 1e-4


def test_the_package_gives_the_references_output_from_the_words_on(name, arrays, package):
    tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    ids = numpy.array([tokenizer.encode(golden.TEXTS[name]).ids])
    # The reference's batch is padded; a package's query never is.
    assert ids[0].tolist() == arrays["token_ids"][arrays["attention_mask"] == 1].tolist()
    query = onnxruntime.InferenceSession(package / "query.onnx")
    (embedding,) = query.run(["embedding"], {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})
    separator = onnxruntime.InferenceSession(package / "separator.onnx")
    found = output(
        name,
        arrays,
        lambda magnitude: separator.run(["mask"], {"magnitude": magnitude.numpy(), "embedding": embedding})[0],
    )
    expected = arrays[{"audiosep": "separated_for_text", "lassnet": "mask"}[name]]
    assert of_peak(f"ONNX Runtime's output of {name}", found, expected) < 1e-3
