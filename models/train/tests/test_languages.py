"""What the encoder is taught beside English: every Hangul word is read, and English stays where it was."""

import json

import pytest
import torch

from sift_train import concepts, languages
from sift_train import config as configuration
from sift_train import encoder as encoder_module
from sift_train.encoder import TextEncoder, encode, piece_numbers, tokenizer

MAX_TOKENS = 64


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder()


@pytest.mark.parametrize("text", ["개 짖는 소리", "웃음소리", "뚜껑을 닫는 소리", "값", "얇은 밟힘 긁는 핥는 앉는 많은 몫", "쾅 뭐 왜 얘기 예의"])
def test_every_letter_of_modern_hangul_is_a_token(text):
    assert "[UNK]" not in tokenizer(MAX_TOKENS).encode(text).tokens


def test_letters_take_only_places_that_were_unused():
    before = json.loads((encoder_module._source() / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    word_at = {number: word for word, number in before.items()}
    for piece, number in zip(encoder_module.PIECES, piece_numbers().tolist()):
        assert word_at[number] == piece or word_at[number].startswith("[unused")


def test_english_that_is_no_caption_stays_where_it_was(encoder):
    texts = [*concepts.strangers(200, MAX_TOKENS, seed=9), "a quiet afternoon", "two people arguing about money"]
    before = encode(TextEncoder(adapter=None), texts, MAX_TOKENS)
    similarity = torch.nn.functional.cosine_similarity(encode(encoder, texts, MAX_TOKENS), before)
    assert similarity.mean() > 0.95 and similarity.min() > 0.7


def test_korean_that_was_never_taught_lies_nearest_to_its_own_label_for_the_most_part(encoder):
    untaught = languages.closeness(TextEncoder(adapter=None), MAX_TOKENS, ["held_out"])
    shares = languages.closeness(encoder, MAX_TOKENS, ["held_out", "korean", "korean_held_out"])
    assert shares["korean"] > 0.8 and shares["korean_held_out"] > 0.65
    assert shares["held_out"] > untaught["held_out"] - 0.03


def test_what_is_learned_beside_the_encoder_is_what_the_adapted_encoder_has(tmp_path):
    learner = languages.learner(rank=2)
    with torch.no_grad():
        for name, parameter in learner.named_parameters():
            if name.endswith(".up"):
                parameter.normal_(std=0.02)
        learner.words.pieces += 0.05 * torch.randn_like(learner.words.pieces)
    languages.save_file(languages.learned(learner), tmp_path / "adapter.safetensors")
    texts = ["기타 소리", "drums"]
    adapted = encode(TextEncoder(tmp_path / "adapter.safetensors"), texts, MAX_TOKENS)
    # Eight bits are chosen anew for the sum of both.
    taught = encode(learner, texts, MAX_TOKENS)
    assert (taught - adapted).abs().mean() < 0.1
    assert (taught - encode(TextEncoder(adapter=None), texts, MAX_TOKENS)).abs().mean() > 0.2


def test_lessons_draw_korean_nearer_to_its_label():
    options = configuration.load()["languages"] | {"steps": 12, "rank": 4, "korean": 12, "fixed": 4, "other": 4}
    pupil = languages.teach(options, MAX_TOKENS)
    lessons = languages.Lessons(options, MAX_TOKENS)
    texts, places = zip(*lessons.korean[::60])
    before, after = (encode(e, texts, MAX_TOKENS) for e in (lessons.teacher, pupil))
    assert (after - torch.stack(places)).square().mean() < 0.9 * (before - torch.stack(places)).square().mean()
