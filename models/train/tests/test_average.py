"""Runs of one configuration average to their mean, and others are refused by name."""

import pytest
import torch

from sift_train.average import average
from sift_train.train import keep


@pytest.fixture
def kept_run(tmp_path):
    def write(name, **weights):
        path = tmp_path / f"{name}.safetensors"
        keep(weights, path)
        return path

    return write


def test_the_mean_is_of_every_weight_and_a_counter_is_left(kept_run):
    first = kept_run("first", weight=torch.tensor([1.0, -2.0]), running_mean=torch.tensor([0.5]), steps=torch.tensor(7))
    second = kept_run("second", weight=torch.tensor([3.0, 2.0]), running_mean=torch.tensor([1.0]), steps=torch.tensor(9))
    mean = average([first, second])
    assert mean["weight"].tolist() == [2.0, 0.0]
    assert mean["running_mean"].tolist() == [0.75]
    assert mean["steps"].item() == 7


def test_one_run_is_its_own_mean(kept_run):
    assert average([kept_run("only", weight=torch.ones(3))])["weight"].tolist() == [1.0, 1.0, 1.0]


def test_runs_of_different_configurations_are_refused_by_the_weights_that_differ(kept_run):
    first = kept_run("first", weight=torch.ones(3), same=torch.ones(1))
    second = kept_run("wide", weight=torch.ones(4), same=torch.ones(1))
    with pytest.raises(ValueError, match=r"wide\.safetensors: weight are not those of .*first\.safetensors"):
        average([first, second])
