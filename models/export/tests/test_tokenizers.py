"""Tokenizers give the tokens that the text encoders were trained with, from any published file format."""

import json

import pytest

from sift_export import reference_weights, tokenizers
from sift_export.user_error import UserError

WORDS = 400


@pytest.fixture(params=[tokenizers.ROBERTA, tokenizers.BERT], ids=["roberta", "bert"])
def family(request):
    return request.param


@pytest.fixture
def folder(family, tmp_path):
    reference_weights.write_placeholder_tokenizer(tmp_path / "tokenizer", family, WORDS, {})
    return tmp_path / "tokenizer"


@pytest.fixture
def vocabulary_folder(family, tmp_path):
    """The same vocabulary in the older file format."""
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    listed = reference_weights.make_vocabulary(family, WORDS, {})
    if family is tokenizers.ROBERTA:
        numbers = {token: number for number, token in enumerate(listed)}
        (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    else:
        (folder / "vocab.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    return folder


def test_texts_get_the_special_tokens_of_training(family, folder):
    ids = tokenizers.load(folder, family, WORDS, 60).encode("a dog").ids
    if family is tokenizers.ROBERTA:
        assert ids[0] == 0 and ids[-1] == 2 and 2 not in ids[1:-1]
    else:
        assert ids[0] == 101 and 102 not in ids


@pytest.mark.parametrize("text", ["a dog barking", "rain, wind & 2 cats", "<s> </s> [CLS] [SEP]"])
def test_old_file_format_gives_the_same_tokens(family, folder, vocabulary_folder, text):
    first, second = (tokenizers.load(place, family, WORDS, 60) for place in (folder, vocabulary_folder))
    assert first.encode(text).ids == second.encode(text).ids


def test_long_texts_are_cut_and_short_ones_not_padded(family, folder):
    tokenizer = tokenizers.load(folder, family, WORDS, 60)
    longest = 58 if family is tokenizers.ROBERTA else 60
    assert len(tokenizer.encode("dog " * 100).ids) == longest
    assert len(tokenizer.encode("dog").ids) == 3 + (2 if family is tokenizers.ROBERTA else 1)


def test_padding_settings_of_the_file_are_ignored(family, folder):
    """Many published tokenizers pad to a fixed length."""
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "x",
    }  # fmt: skip
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert len(tokenizers.load(folder, family, WORDS, 60).encode("dog").ids) < 10


def test_published_sizes_allow_512_tokens():
    assert tokenizers.ROBERTA.max_tokens(514) == 512
    assert tokenizers.BERT.max_tokens(512) == 512


def test_other_special_token_ids_are_refused(family, folder):
    path = folder / "tokenizer.json"
    token = "</s>" if family is tokenizers.ROBERTA else "[CLS]"
    stored = json.loads(path.read_text(encoding="utf-8"))
    numbers = stored["model"]["vocab"]
    other = f"[filler {WORDS - 1}]"
    numbers[token], numbers[other] = numbers[other], numbers[token]
    stored["added_tokens"] = [entry for entry in stored["added_tokens"] if entry["content"] != token]
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(UserError, match="does not fit"):
        tokenizers.load(folder, family, WORDS, 60)


def test_tokenizer_with_unknown_words_is_refused(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    listed = reference_weights.make_vocabulary(tokenizers.BERT, WORDS, {})
    listed[listed.index("d")] = "[letter]"
    (folder / "vocab.txt").write_text("\n".join(listed), encoding="utf-8")
    with pytest.raises(UserError, match="does not know the words"):
        tokenizers.load(folder, tokenizers.BERT, WORDS, 60)
