"""Widening keeps the output of a network and gives copies different weights."""

import torch

from sift_train.model import Model
from sift_train.widening import widen


def test_widened_network_gives_the_same_masks(config):
    torch.manual_seed(1)
    narrow = config | {"separator": config["separator"] | {"channels": [4, 6, 8, 10, 12, 12], "recurrent_size": 12}}
    wide = narrow | {
        "separator": narrow["separator"] | {"channels": [8, 10, 16, 14, 20, 20], "recurrent_size": 18},
        "query": config["query"] | {"sentence_size": 400},
    }
    small, large = Model(narrow), Model(wide)
    # The initial statistics are all alike and would hide a mistake in copying them.
    for name, value in small.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    large.load_state_dict(widen(small.state_dict(), narrow, wide))
    small.eval(), large.eval()
    magnitude, sentence, extension = torch.rand(2, 30, 513), torch.randn(2, 384), torch.randn(2, 16)
    with torch.no_grad():
        mask, presence, _ = small(magnitude, sentence)
        wide_mask, wide_presence, _ = large(magnitude, torch.cat((sentence, extension), dim=1))
    assert mask.std() > 1e-3
    assert (wide_mask - mask).abs().max() < 1e-5 and (wide_presence - presence).abs().max() < 1e-5


def test_copies_are_read_with_different_shares(config):
    narrow = config | {"separator": config["separator"] | {"channels": [4] * 6, "recurrent_size": 8}}
    wide = config | {"separator": config["separator"] | {"channels": [8] * 6, "recurrent_size": 16}}
    weights = widen(Model(narrow).state_dict(), narrow, wide)
    logit = weights["separator.logit.weight"][0, :, 0, 0]
    assert not torch.allclose(logit[:4], logit[4:])
