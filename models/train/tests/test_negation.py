"""Whether a text means all but what it names."""

import pytest
import torch

from sift_train import negation
from sift_train.captions import EXCEPT
from sift_train.encoder import TextEncoder
from sift_train.export import load_weights


@pytest.fixture(scope="module")
def shares(config):
    layer = load_weights(config).query.negation
    return negation.figures(layer, TextEncoder(), config["query"]["max_tokens"])


@pytest.mark.parametrize(("part", "least"), [("train", 0.97), ("held_out", 0.7), ("korean", 0.9), ("korean_held_out", 0.7)])
def test_the_committed_weights_know_texts_that_negate(shares, part, least):
    assert shares[f"negating, {part}"] >= least


@pytest.mark.parametrize("part", list(EXCEPT))
def test_they_do_not_turn_around_what_is_asked_for_plainly(shares, part):
    assert shares[f"plain, {part}"] < 0.01


def test_what_is_learned_tells_two_kinds_of_texts_apart(config, monkeypatch):
    # Sentence vectors that are 1 in the first place where a text negates.
    def encode(_, texts, __):
        sentences = torch.zeros(len(texts), negation.SIZE)
        sentences[:, 0] = torch.tensor([float(text.startswith("no ")) for text in texts])
        return sentences

    monkeypatch.setattr(negation, "encode", encode)
    monkeypatch.setattr(negation, "negating", lambda *_, **__: ["no drums"])
    monkeypatch.setattr(negation, "plain", lambda *_, **__: ["drums"])
    layer = negation.learn(None, config["negation"] | {"steps": 300, "noise": 0.1}, 64)
    assert set(negation.figures(layer, None, 64).values()) == {0.0, 1.0}
    assert negation.figures(layer, None, 64)["negating, train"] == 1
