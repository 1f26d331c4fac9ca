"""Texts become the tokens that each text encoder was trained on, whichever files the tokenizer came in."""

import json

import pytest

from sift_export import golden, tokens
from sift_export.fault import Fault

WORDS = 400


@pytest.fixture(params=[tokens.ROBERTA, tokens.BERT], ids=["roberta", "bert"])
def family(request):
    return request.param


@pytest.fixture
def folder(family, tmp_path):
    golden.stand_in(tmp_path / "tokenizer", family, WORDS, {})
    return tmp_path / "tokenizer"


@pytest.fixture
def vocabulary_folder(family, tmp_path):
    """The same vocabulary in the files that were published before tokenizer.json."""
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    listed = golden.vocabulary(family, WORDS, {})
    if family is tokens.ROBERTA:
        numbers = {token: number for number, token in enumerate(listed)}
        (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
        (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    else:
        (folder / "vocab.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    return folder


def test_a_text_is_framed_as_in_training(family, folder):
    ids = tokens.read(folder, family, WORDS, 60).encode("a dog").ids
    if family is tokens.ROBERTA:
        assert ids[0] == 0 and ids[-1] == 2 and 2 not in ids[1:-1]
    else:
        assert ids[0] == 101 and 102 not in ids


@pytest.mark.parametrize("text", ["a dog barking", "rain, wind & 2 cats", "<s> </s> [CLS] [SEP]"])
def test_old_files_give_the_same_tokens(family, folder, vocabulary_folder, text):
    first, second = (tokens.read(place, family, WORDS, 60) for place in (folder, vocabulary_folder))
    assert first.encode(text).ids == second.encode(text).ids


def test_long_texts_are_cut_where_positions_end_and_short_ones_not_padded(family, folder):
    tokenizer = tokens.read(folder, family, WORDS, 60)
    longest = 58 if family is tokens.ROBERTA else 60
    assert len(tokenizer.encode("dog " * 100).ids) == longest
    assert len(tokenizer.encode("dog").ids) == 3 + (2 if family is tokens.ROBERTA else 1)


def test_what_a_tokenizer_file_pads_and_frames_is_not_taken_over(family, folder):
    """Many published ones pad to a length of their own."""
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "x",
    }  # fmt: skip
    path.write_text(json.dumps(stored), encoding="utf-8")
    assert len(tokens.read(folder, family, WORDS, 60).encode("dog").ids) < 10


def test_the_published_sizes_leave_512_tokens():
    assert tokens.ROBERTA.most_tokens(514) == 512
    assert tokens.BERT.most_tokens(512) == 512


def test_special_tokens_elsewhere_do_not_fit(family, folder):
    path = folder / "tokenizer.json"
    token = "</s>" if family is tokens.ROBERTA else "[CLS]"
    stored = json.loads(path.read_text(encoding="utf-8"))
    numbers = stored["model"]["vocab"]
    other = f"[filler {WORDS - 1}]"
    numbers[token], numbers[other] = numbers[other], numbers[token]
    stored["added_tokens"] = [entry for entry in stored["added_tokens"] if entry["content"] != token]
    path.write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(Fault, match="does not fit"):
        tokens.read(folder, family, WORDS, 60)


def test_a_tokenizer_that_knows_no_word_is_refused(tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    listed = golden.vocabulary(tokens.BERT, WORDS, {})
    listed[listed.index("d")] = "[letter]"
    (folder / "vocab.txt").write_text("\n".join(listed), encoding="utf-8")
    with pytest.raises(Fault, match="does not know the words"):
        tokens.read(folder, tokens.BERT, WORDS, 60)
