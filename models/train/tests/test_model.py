"""Requirements of streaming: a causal network, a complete state, and masks that are gains."""

import numpy as np
import pytest
import torch

from sift_train.folding import fold_norms
from sift_train.model import Model, band_edges, interpolation_matrix, merging_matrix

BINS = 513


@pytest.fixture(scope="module")
def separator(config):
    """A separator with random weights and random normalisation statistics."""
    torch.manual_seed(3)
    model = Model(config)
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(std=0.3)
        if name.endswith("running_var"):
            value.uniform_(0.3, 2.0)
    return model.separator.eval()


@pytest.fixture
def inputs(config):
    torch.manual_seed(4)
    embedding = torch.rand(1, config["query"]["embedding_size"])
    return 20 * torch.rand(1, 40, BINS) ** 4, embedding


@torch.no_grad()
def test_separating_frame_by_frame_equals_the_whole_clip(separator, inputs):
    magnitude, embedding = inputs
    whole, presence, last = separator(magnitude, embedding)
    state = separator.initial_state()
    frames, presences = [], []
    for frame in magnitude.split(1, dim=1):
        mask, frame_presence, state = separator(frame, embedding, state)
        frames.append(mask)
        presences.append(frame_presence)
    assert (torch.cat(frames, dim=2) - whole).abs().max() < 1e-5
    assert (torch.cat(presences, dim=1) - presence).abs().max() < 1e-5
    assert all((a - b).abs().max() < 1e-4 for a, b in zip(state, last))


@torch.no_grad()
def test_mask_does_not_depend_on_loudness(separator, inputs):
    magnitude, embedding = inputs
    loud, *_ = separator(magnitude, embedding)
    quiet, *_ = separator(magnitude / 100, embedding)
    assert (loud - quiet).abs().max() < 1e-2


@torch.no_grad()
def test_level_rises_immediately_and_halves_in_its_half_life(separator, config):
    hop_seconds = config["audio"]["hop"] / config["audio"]["sample_rate"]
    frames = round(config["separator"]["level_half_life"] / hop_seconds)
    energy = torch.full((1, frames + 1), 1e-6)
    energy[0, 0] = 4.0
    levels = separator.follow_level(energy, torch.zeros(1, 1))
    assert levels[0, 0] == pytest.approx(4.0, rel=1e-4)
    assert levels[0, -1] == pytest.approx(2.0, rel=2e-2)


@torch.no_grad()
def test_future_frames_do_not_change_past_masks(separator, inputs):
    magnitude, embedding = inputs
    other = magnitude.clone()
    other[:, 25:] = torch.rand_like(other[:, 25:])
    before, *_ = separator(magnitude, embedding)
    after, *_ = separator(other, embedding)
    # The tolerance is for rounding, which depends on how the convolutions are blocked.
    assert (before[:, :, :25] - after[:, :, :25]).abs().max() < 1e-6
    assert (before[:, :, 25:] - after[:, :, 25:]).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0, 1e4])
def test_masks_are_gains_between_zero_and_one(separator, inputs, level):
    magnitude, embedding = inputs
    mask, presence, state = separator(level * magnitude, embedding)
    assert mask.shape == (1, 1, 40, BINS)
    assert torch.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1
    assert presence.shape == (1, 40) and presence.min() >= 0 and presence.max() <= 1
    assert all(torch.isfinite(part).all() for part in state)


@torch.no_grad()
def test_query_changes_the_mask(separator, inputs):
    magnitude, embedding = inputs
    one, *_ = separator(magnitude, embedding)
    other, *_ = separator(magnitude, embedding.roll(1, dims=1))
    assert (one - other).abs().max() > 1e-3


@torch.no_grad()
def test_mask_of_an_absent_sound_is_zero(separator, inputs, monkeypatch):
    magnitude, embedding = inputs
    monkeypatch.setattr(separator.presence.bias, "data", torch.tensor(-20.0))
    mask, presence, _ = separator(magnitude, embedding)
    assert presence.max() < 1e-3 and mask.max() < 1e-3


@torch.no_grad()
def test_folding_normalisation_into_film_keeps_the_mask(separator, inputs):
    magnitude, embedding = inputs
    plain, *_ = separator(magnitude, embedding)
    folded, *_ = fold_norms(separator)(magnitude, embedding)
    assert (plain - folded).abs().max() < 1e-5


def test_bands_cover_bins_once_and_interpolation_averages():
    edges = band_edges(BINS, {"linear_bands": 64, "merged_bands": 64})
    assert len(edges) == 129 and edges[0] == 0 and edges[-1] == BINS
    assert (merging_matrix(edges).sum(dim=1) == 1).all()
    matrix = interpolation_matrix(edges)
    assert (matrix >= 0).all()
    assert torch.allclose(matrix.sum(dim=0), torch.ones(BINS))
    assert torch.equal(matrix[:64, :64], torch.eye(64))


def test_top_bands_have_equal_width_and_end_at_the_last_bin():
    edges = band_edges(769, {"linear_bands": 64, "merged_bands": 60, "top_bin": 513, "top_bands": 4})
    assert len(edges) == 129 and list(edges[-5:]) == [513, 577, 641, 705, 769]
    assert (np.diff(edges) > 0).all()
