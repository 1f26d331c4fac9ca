"""Requests: the grammar gives what the plugin's gives, by the cases that both share."""

import json

import pytest

from sift_train import config as configuration
from sift_train.request_language import candidates
from sift_train.requests import MAX_CHARACTERS, Request, normalise, parse

CASES = configuration.REPOSITORY / "tests" / "cases"
HELD_OUT_MET = 290
"""Cases of `requests_held_out.jsonl` that the grammar meets, which was not tuned to them."""


def read_cases(name):
    lines = (CASES / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_met(case):
    try:
        request = parse(case["text"])
    except ValueError:
        return "error" in case
    is_same = set(request.keep) == set(case["keep"]) and set(request.leave_out) == set(case["leave_out"])
    return is_same and "error" not in case


def test_texts_mean_what_the_shared_cases_say():
    cases = read_cases("requests.jsonl")
    assert [case["text"] for case in cases if not is_met(case)] == []
    assert len({case["language"] for case in cases}) == 10


def test_held_out_cases_are_met_as_often_as_before():
    assert sum(map(is_met, read_cases("requests_held_out.jsonl"))) >= HELD_OUT_MET


def test_more_than_eight_sounds_are_refused():
    text = "kick, snare, toms, bass, guitar, keys, strings, vocals"
    assert len(parse(text).keep) == 8
    with pytest.raises(ValueError, match="names 9 sounds; expected at most 8"):
        parse(f"{text}, flute")


def test_list_asks_nothing_of_its_names():
    assert parse("drums and bass") == Request(("drums", "bass"), (), is_list=True)
    assert parse("a dog barking").is_list
    assert not parse("only drums and bass").is_list
    assert parse("a guitar with a bow").has_with


@pytest.mark.parametrize("text", ["", "https://example.org/drums", "see www.example.org", "?!", "🎸"])
def test_text_that_names_no_sound_is_empty(text):
    request = parse(text)
    assert (request.keep, request.leave_out) == ((), ())


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Drums, w/o hi-hat!", ["drums", ",", "w/o", "hi-hat", "!"]),
        ("drums/bass", ["drums", "/", "bass"]),
        ("don’t -- stop", ["don't", "stop"]),
        ("북,비", [" ", "북", " ", ",", " ", "비", " "]),
        ("TB-303 북", [" ", "t", "b-", *"303", " ", "북", " "]),
    ],
)
def test_text_is_divided_into_units(text, units):
    assert candidates(text)[0].units(text) == units


@pytest.mark.parametrize(
    ("name", "trimmed"),
    [
        ("all the drums please", "drums"),
        ("the sound", "sound"),
        ("bass of the song", "bass"),
        ("bass of the band", "bass of the band"),
    ],
)
def test_name_loses_articles_tails_and_containers(name, trimmed):
    assert candidates(name)[0].trim_name(name)[0] == trimmed


def test_normal_form_joins_white_space_and_is_limited():
    assert normalise("  기타   소리 \t🎸 ") == "기타 소리 🎸"
    assert normalise(" drums \r\n\n  bass\n") == "drums\nbass"
    assert len(normalise("소" * 300)) == MAX_CHARACTERS
    assert normalise("a" * (MAX_CHARACTERS - 1) + " b") == "a" * (MAX_CHARACTERS - 1)
