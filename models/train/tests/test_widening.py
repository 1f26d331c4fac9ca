"""A widened network computes what the narrow one did, and can then become another."""

import torch

from sift_train.model import Model
from sift_train.widening import widened


def test_a_widened_network_gives_the_same_masks(config):
    torch.manual_seed(1)
    narrow = config | {"separator": config["separator"] | {"channels": [4, 6, 8, 10, 12, 12], "recurrent_size": 12}}
    wide = narrow | {
        "separator": narrow["separator"] | {"channels": [8, 10, 16, 14, 20, 20], "recurrent_size": 18},
        "query": config["query"] | {"sentence_size": 400},
    }
    small, large = Model(narrow), Model(wide)
    # Statistics as after training, so that a mistake in them shows.
    for name, value in small.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    large.load_state_dict(widened(small.state_dict(), narrow, wide))
    small.eval(), large.eval()
    magnitude, sentence, longer = torch.rand(2, 30, 513), torch.randn(2, 384), torch.randn(2, 16)
    with torch.no_grad():
        mask, presence, _ = small(magnitude, sentence)
        same, also, _ = large(magnitude, torch.cat((sentence, longer), dim=1))
    assert mask.std() > 1e-3
    assert (same - mask).abs().max() < 1e-5 and (also - presence).abs().max() < 1e-5


def test_copies_are_read_with_different_shares(config):
    narrow = config | {"separator": config["separator"] | {"channels": [4] * 6, "recurrent_size": 8}}
    wide = config | {"separator": config["separator"] | {"channels": [8] * 6, "recurrent_size": 16}}
    weights = widened(Model(narrow).state_dict(), narrow, wide)
    read = weights["separator.logit.weight"][0, :, 0, 0]
    assert not torch.allclose(read[:4], read[4:])
