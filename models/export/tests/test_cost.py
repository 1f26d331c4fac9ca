"""What a separator costs is counted, not estimated."""

import re
import tomllib

import pytest
import torch

from sift_export import golden, lassnet
from sift_export.checkpoint import Tensors
from sift_export.cost import cost
from sift_export.window import Window


def test_a_second_costs_the_same_in_any_context_and_more_where_runs_overlap(small):
    tensors = small.architecture.tensors(small.checkpoint)
    first = cost(small.architecture, tensors, Window(64, 64, 0))
    twice = cost(small.architecture, tensors, Window(128, 128, 0))
    assert first.second == pytest.approx(twice.second)
    often = cost(small.architecture, tensors, Window(128, 16, 0))
    assert often.live == pytest.approx(8 * often.second)


def test_a_package_tells_what_it_costs_to_run_it_live(small, package):
    table = tomllib.loads((package / "package.toml").read_text(encoding="utf-8"))
    separator = table["separator"]
    window = Window(separator["context"], separator["advance"], separator["lookahead"])
    counted = cost(small.architecture, small.architecture.tensors(small.checkpoint), window)
    assert separator["multiply_accumulates"] == pytest.approx(counted.live, rel=1e-3)


def test_parameters_are_those_of_the_published_checkpoint(small):
    """Of the full size, from the reference's list of names and shapes."""
    if not golden.REFERENCE.is_dir():
        pytest.skip(f"there is no reference data at {golden.REFERENCE}")
    shapes = golden.shapes(small.name)
    tensors = Tensors("reference", {name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    if small.name == "lassnet":
        tensors = tensors.renamed("module.", "")
    counted = cost(small.architecture, tensors, Window(64, 64, 0))

    left_out = r"running_|num_batches|\.i?stft\.|film|decoder_block\d\.bn2"

    def numbers(pattern):
        return sum(
            torch.Size(shape).numel()
            for name, shape in shapes.items()
            if re.search(pattern, name) and not re.search(left_out, name)
        )

    assert counted.separator_parameters == numbers(r"\.base\." if small.name == "audiosep" else r"\.UNet\.")


def test_products_are_counted_as_they_are_by_hand():
    """LASS-Net of one channel everywhere, one frame multiple: see the sum beside each layer."""
    model = lassnet.LassNet(
        channels=[1] * 6,
        condition_size=4,
        text={"words": 3, "positions": 3, "segments": 1, "size": 64, "inner": 2, "layers": 1},
    )
    tensors = Tensors("made", model.state_dict())
    places = [64 * 511, 32 * 255, 16 * 127, 8 * 63, 4 * 31, 2 * 15, 1 * 7]
    encoder = sum(4 * 9 * count for count in places[:6])  # Four convolutions of 3×3 a level.
    bottom = 2 * 9 * places[6]
    upsampling = sum(9 * count for count in places[1:])  # Nine products for each place of the input.
    # Of each decoder block: from two channels to one, 3×3 and the shortcut; then three of 3×3.
    decoder = sum((2 * 9 + 2 + 3 * 9) * count for count in places[:6])
    head = (2 * 9 + 1) * places[0]
    found = cost(lassnet, tensors, Window(64, 64, 0)).second * 64 * 512 / 32000
    assert found == pytest.approx(encoder + bottom + upsampling + decoder + head)
