"""The negation layer: whether a text means all sounds but the named one."""

import pytest
import torch

from sift_train import negation
from sift_train.captions import EXCEPT
from sift_train.encoder import TextEncoder
from sift_train.export import load_model


@pytest.fixture(scope="module")
def shares(config):
    layer = load_model(config).query.negation
    return negation.measure(layer, TextEncoder(), config["query"]["max_tokens"])


@pytest.mark.parametrize(
    ("part", "least"), [("train", 0.97), ("held_out", 0.7), ("korean", 0.9), ("korean_held_out", 0.7)]
)
def test_committed_weights_detect_negated_texts(shares, part, least):
    assert shares[f"negated, {part}"] >= least


@pytest.mark.parametrize("part", list(EXCEPT))
def test_committed_weights_accept_plain_texts(shares, part):
    assert shares[f"plain, {part}"] < 0.01


def test_training_separates_negated_and_plain_texts(config, monkeypatch):
    # Sentence vectors whose first number is 1 for negated texts.
    def encode(_, texts, __):
        sentences = torch.zeros(len(texts), negation.SIZE)
        sentences[:, 0] = torch.tensor([float(text.startswith("no ")) for text in texts])
        return sentences

    monkeypatch.setattr(negation, "encode", encode)
    monkeypatch.setattr(negation, "make_negated_texts", lambda *_, **__: ["no drums"])
    monkeypatch.setattr(negation, "make_plain_texts", lambda *_, **__: ["drums"])
    layer = negation.train_negation(None, config["negation"] | {"steps": 300, "noise": 0.1}, 64)
    assert set(negation.measure(layer, None, 64).values()) == {0.0, 1.0}
    assert negation.measure(layer, None, 64)["negated, train"] == 1
