"""Networks of the published size with reference weights give the results of the published code.

Tolerances, relative to the output's peak: 1e-4 in PyTorch, 1e-3 for the exported networks.
"""

import numpy
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from sift_export import __main__ as command_line
from sift_export import checkpoint as checkpoints
from sift_export import reference_weights

CONTEXT = {"audiosep": 204, "lassnet": 128}
"""Number of frames of the reference clip, so that one run covers the whole clip."""


@pytest.fixture(scope="module", params=["audiosep", "lassnet"])
def name(request):
    if not (reference_weights.REFERENCE / request.param).is_dir():
        pytest.skip(f"no reference data in {reference_weights.REFERENCE}")
    return request.param


@pytest.fixture(scope="module")
def arrays(name):
    return reference_weights.read_arrays(name)


@pytest.fixture(scope="module")
def checkpoint(name, tmp_path_factory):
    path = tmp_path_factory.mktemp(name) / "published.ckpt"
    reference_weights.write_checkpoint(name, path)
    return path


@pytest.fixture(scope="module")
def model(name, checkpoint):
    return checkpoints.load(
        reference_weights.ARCHITECTURES[name], reference_weights.ARCHITECTURES[name].tensors(checkpoint)
    )


@pytest.fixture(scope="module")
def package(name, checkpoint):
    folder = checkpoint.with_name("package")
    tokenizer = reference_weights.placeholder_tokenizer_folder(checkpoint)
    arguments = [name, checkpoint, "--tokenizer", tokenizer, "--output", folder, "--context", CONTEXT[name]]
    command_line.main([*map(str, arguments), "--advance", "32", "--lookahead", "32"])
    return folder


def difference_of_peak(name, found, expected):
    difference = numpy.abs(found - expected).max() / numpy.abs(expected).max()
    print(f"\nmeasured: {name} differs by {difference:.1e} of its peak")
    return difference


def output(name, arrays, separator):
    """Computes the stored output with `separator` (magnitude [1, T, F] → mask [1, C, T, F])."""
    if name == "lassnet":
        return separator(torch.from_numpy(arrays["magnitude"]))[:, 0]
    hann = torch.hann_window(2048)
    samples = torch.from_numpy(arrays["mixture"])
    spectrum = torch.stft(samples, 2048, 320, window=hann, return_complex=True)
    mask = separator(spectrum.abs().T[None].contiguous())[0]
    masked = spectrum * torch.complex(torch.tensor(mask[0]), torch.tensor(mask[1])).T
    return torch.istft(masked, 2048, 320, window=hann, length=len(samples)).numpy()


@torch.no_grad()
def test_text_embedding_equals_the_reference(arrays, model):
    found = model.condition(torch.from_numpy(arrays["token_ids"]), torch.from_numpy(arrays["attention_mask"]))
    assert difference_of_peak("PyTorch's text embedding", found.numpy(), arrays["text_embedding"]) < 1e-4


@torch.no_grad()
def test_pytorch_output_equals_the_reference(name, arrays, model):
    condition, stored = {"audiosep": ("condition", "separated"), "lassnet": ("text_embedding", "mask")}[name]
    shifts = model.shifts(torch.from_numpy(arrays[condition]))
    found = output(name, arrays, lambda magnitude: model.separator(magnitude, shifts).numpy())
    assert difference_of_peak(f"PyTorch's output of {name}", found, arrays[stored]) < 1e-4


def test_package_output_for_a_text_equals_the_reference(name, arrays, package):
    tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    ids = numpy.array([tokenizer.encode(reference_weights.TEXTS[name]).ids])
    # The reference has padding; queries of a package do not.
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
    assert difference_of_peak(f"ONNX Runtime's output of {name}", found, expected) < 1e-3
