"""The counts of parameters and multiply-accumulates."""

import re
import tomllib

import pytest
import torch

from sift_export import lassnet, reference_weights
from sift_export.checkpoint import CheckpointTensors
from sift_export.cost import count_cost
from sift_export.window import WindowSettings


def test_overlapping_runs_multiply_the_cost(small):
    tensors = small.architecture.tensors(small.checkpoint)
    first = count_cost(small.architecture, tensors, WindowSettings(64, 64, 0))
    twice = count_cost(small.architecture, tensors, WindowSettings(128, 128, 0))
    assert first.once == pytest.approx(twice.once)
    often = count_cost(small.architecture, tensors, WindowSettings(128, 16, 0))
    assert often.windowed == pytest.approx(8 * often.once)


def test_manifest_has_the_windowed_cost(small, package):
    table = tomllib.loads((package / "package.toml").read_text(encoding="utf-8"))
    separator = table["separator"]
    window = WindowSettings(separator["context"], separator["advance"], separator["lookahead"])
    counted = count_cost(small.architecture, small.architecture.tensors(small.checkpoint), window)
    assert separator["multiply_accumulates"] == pytest.approx(counted.windowed, rel=1e-3)


def test_parameters_equal_the_published_checkpoint(small):
    """Full size, from the names and shapes of the reference data."""
    if not reference_weights.REFERENCE.is_dir():
        pytest.skip(f"no reference data in {reference_weights.REFERENCE}")
    shapes = reference_weights.read_shapes(small.name)
    tensors = CheckpointTensors(
        "reference", {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    )
    if small.name == "lassnet":
        tensors = tensors.renamed("module.", "")
    counted = count_cost(small.architecture, tensors, WindowSettings(64, 64, 0))

    left_out = r"running_|num_batches|\.i?stft\.|film|decoder_block\d\.bn2"

    def numbers(pattern):
        return sum(
            torch.Size(shape).numel()
            for name, shape in shapes.items()
            if re.search(pattern, name) and not re.search(left_out, name)
        )

    assert counted.separator_parameters == numbers(r"\.base\." if small.name == "audiosep" else r"\.UNet\.")


def test_multiply_accumulates_equal_a_count_by_hand():
    """LASS-Net with one channel everywhere, on 64 frames."""
    model = lassnet.LassNet(
        channels=[1] * 6,
        condition_size=4,
        text={"words": 3, "positions": 3, "segments": 1, "size": 64, "inner": 2, "layers": 1},
    )
    tensors = CheckpointTensors("made", model.state_dict())
    positions = [64 * 511, 32 * 255, 16 * 127, 8 * 63, 4 * 31, 2 * 15, 1 * 7]
    encoder = sum(4 * 9 * count for count in positions[:6])  # Four 3×3 convolutions per level.
    bottom = 2 * 9 * positions[6]
    upsampling = sum(9 * count for count in positions[1:])  # Nine products per position of the input.
    # Per decoder block: a 3×3 convolution and the shortcut from two channels to one, then three 3×3 convolutions.
    decoder = sum((2 * 9 + 2 + 3 * 9) * count for count in positions[:6])
    head = (2 * 9 + 1) * positions[0]
    found = count_cost(lassnet, tensors, WindowSettings(64, 64, 0)).once * 64 * 512 / 32000
    assert found == pytest.approx(encoder + bottom + upsampling + decoder + head)
