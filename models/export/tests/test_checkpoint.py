"""Checkpoints: all tensors load by name, and no code in the file runs."""

import numpy
import pytest
import torch

from sift_export import audiosep, checkpoint
from sift_export.user_error import UserError


@pytest.fixture
def loaded():
    def load(small, tensors):
        return checkpoint.load(small.architecture, tensors).state_dict()

    return load


def test_all_weights_equal_the_checkpoint(small, loaded):
    found = loaded(small, small.architecture.tensors(small.checkpoint))
    assert found.keys() == small.state.keys()
    assert all(torch.equal(found[name], small.state[name]) for name in found)


def test_unused_tensors_have_a_reason(small):
    assert all(len(reason) > 10 for reason in small.architecture.UNUSED.values())


def test_half_precision_loads_as_single(small, loaded, tmp_path):
    halved = {name: value.half() for name, value in small.state.items()}
    found = loaded(small, small.architecture.tensors(small.save(tmp_path / "half.ckpt", halved)))
    assert all(value.dtype == torch.float32 for value in found.values())


def test_files_of_old_pytorch_load(small, loaded, tmp_path):
    path = tmp_path / "old.ckpt"
    state = torch.load(small.checkpoint, weights_only=True)
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert loaded(small, small.architecture.tensors(path)).keys() == small.state.keys()


def test_numpy_scalars_in_the_file_are_accepted(small, tmp_path):
    path = small.save(tmp_path / "numbers.ckpt", small.state, best=numpy.float64(0.5), epoch=3)
    assert small.architecture.tensors(path).size(next(iter(small.state))) > 0


def test_unused_tensors_are_not_read(small, tmp_path):
    """Overwriting their bytes in the file with NaN makes no difference."""
    marker = torch.full((64,), 12345.0)
    path = small.save(tmp_path / "more.ckpt", small.state, optimizer={"moments": marker})
    content = path.read_bytes()
    assert content.count(marker.numpy().tobytes()) == 1
    path.write_bytes(content.replace(marker.numpy().tobytes(), b"\xff" * 256))
    checkpoint.load(small.architecture, small.architecture.tensors(path))


@pytest.mark.parametrize("small", ["audiosep"], indirect=True)
def test_text_encoder_loads_from_claps_own_file(small, loaded, tmp_path):
    prefix = audiosep.QUERY_PREFIX
    rest = {name: value for name, value in small.state.items() if not name.startswith(prefix)}
    path = small.save(tmp_path / "separator.ckpt", rest)
    clap = {
        f"module.{name.removeprefix(prefix)}": value for name, value in small.state.items() if name.startswith(prefix)
    }
    clap["module.audio_branch.bn0.weight"] = torch.ones(3)
    torch.save({"epoch": 1, "state_dict": clap}, tmp_path / "clap.pt")
    found = loaded(small, audiosep.tensors(path, tmp_path / "clap.pt"))
    assert all(torch.equal(found[name], small.state[name]) for name in small.state)
    with pytest.raises(UserError, match="--clap"):
        audiosep.tensors(path)


def test_long_lists_of_names_are_shortened(small):
    tensors = checkpoint.CheckpointTensors("file", {})
    with pytest.raises(UserError, match=r"and \d+ more"):
        tensors.load_into(small.model, small.architecture.UNUSED)
