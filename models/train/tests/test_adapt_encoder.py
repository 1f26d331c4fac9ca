"""The adapted text encoder: it tokenises all Hangul, and keeps the vectors of English texts."""

import json

import pytest
import torch

from sift_train import adapt_encoder, concepts
from sift_train import config as configuration
from sift_train import encoder as encoder_module
from sift_train.encoder import TextEncoder, encode, load_tokenizer, piece_ids

MAX_TOKENS = 64


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


@pytest.mark.parametrize(
    "text",
    ["개 짖는 소리", "웃음소리", "뚜껑을 닫는 소리", "값", "얇은 밟힘 긁는 핥는 앉는 많은 몫", "쾅 뭐 왜 얘기 예의"],
)
def test_all_modern_hangul_letters_are_tokens(text):
    assert "[UNK]" not in load_tokenizer(MAX_TOKENS).encode(text).tokens


def test_hangul_letters_take_only_unused_ids():
    before = json.loads((encoder_module._checkpoint_folder() / "tokenizer.json").read_text(encoding="utf-8"))["model"][
        "vocab"
    ]
    word_at = {number: word for word, number in before.items()}
    for piece, number in zip(encoder_module.PIECES, piece_ids().tolist()):
        assert word_at[number] == piece or word_at[number].startswith("[unused")


def test_english_other_than_captions_keeps_its_vectors(encoder):
    texts = [*concepts.random_texts(200, MAX_TOKENS, seed=9), "a quiet afternoon", "two people arguing about money"]
    before = encode(TextEncoder(adapter=None), texts, MAX_TOKENS)
    similarity = torch.nn.functional.cosine_similarity(encode(encoder, texts, MAX_TOKENS), before)
    assert similarity.mean() > 0.95 and similarity.min() > 0.7


def test_most_held_out_korean_is_nearest_to_its_label(encoder):
    original = adapt_encoder.nearest_label_shares(TextEncoder(adapter=None), MAX_TOKENS, ["held_out"])
    shares = adapt_encoder.nearest_label_shares(encoder, MAX_TOKENS, ["held_out", "korean", "korean_held_out"])
    assert shares["korean"] > 0.8 and shares["korean_held_out"] > 0.65
    assert shares["held_out"] > original["held_out"] - 0.03


def test_adapter_file_gives_the_trained_encoder(tmp_path):
    trained = adapt_encoder.make_trainable_encoder(rank=2)
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.02)
        trained.words.pieces += 0.05 * torch.randn_like(trained.words.pieces)
    adapt_encoder.save_file(adapt_encoder.adapter_tensors(trained), tmp_path / "adapter.safetensors")
    texts = ["기타 소리", "drums"]
    adapted = encode(TextEncoder(tmp_path / "adapter.safetensors"), texts, MAX_TOKENS)
    # The sum is quantised again, so it differs a little.
    expected = encode(trained, texts, MAX_TOKENS)
    assert (expected - adapted).abs().mean() < 0.1
    assert (expected - encode(TextEncoder(adapter=None), texts, MAX_TOKENS)).abs().mean() > 0.2


def test_training_moves_korean_towards_its_label():
    options = configuration.load()["languages"] | {"steps": 12, "rank": 4, "korean": 12, "fixed": 4, "other": 4}
    trained = adapt_encoder.train_adapter(options, MAX_TOKENS)
    batches = adapt_encoder.AdapterBatches(options, MAX_TOKENS)
    texts, targets = zip(*batches.korean[::60])
    before, after = (encode(e, texts, MAX_TOKENS) for e in (batches.original, trained))
    assert (after - torch.stack(targets)).square().mean() < 0.9 * (before - torch.stack(targets)).square().mean()
