"""Averaging the weights of several runs."""

import pytest
import torch

from sift_train.average_weights import average
from sift_train.weights import write_weights


@pytest.fixture
def write_run(tmp_path):
    def write(name, **weights):
        path = tmp_path / f"{name}.safetensors"
        write_weights(weights, path)
        return path

    return write


def test_mean_covers_weights_but_not_counters(write_run):
    first = write_run(
        "first", weight=torch.tensor([1.0, -2.0]), running_mean=torch.tensor([0.5]), steps=torch.tensor(7)
    )
    second = write_run(
        "second", weight=torch.tensor([3.0, 2.0]), running_mean=torch.tensor([1.0]), steps=torch.tensor(9)
    )
    mean = average([first, second])
    assert mean["weight"].tolist() == [2.0, 0.0]
    assert mean["running_mean"].tolist() == [0.75]
    assert mean["steps"].item() == 7


def test_mean_of_one_run_is_that_run(write_run):
    assert average([write_run("only", weight=torch.ones(3))])["weight"].tolist() == [1.0, 1.0, 1.0]


def test_error_names_the_weights_that_differ(write_run):
    first = write_run("first", weight=torch.ones(3), same=torch.ones(1))
    second = write_run("wide", weight=torch.ones(4), same=torch.ones(1))
    with pytest.raises(ValueError, match=r"wide\.safetensors: weight differ from .*first\.safetensors"):
        average([first, second])
