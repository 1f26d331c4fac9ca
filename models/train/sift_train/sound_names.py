"""Names that stand for several sounds, for one of several, or for everything but some; the data is the plugin's `names.toml`."""

import functools
import tomllib
from typing import NamedTuple

from .names import PLUGIN_NAMES
from .requests import EVERYTHING_ELSE, parse


class NamedSounds(NamedTuple):
    """A name of a text with the sounds that it stands for, by texts that the query network encodes."""

    name: str
    """As in the text, in lower case."""
    all_of: tuple = ()
    """The name means all of these: "vocals" are singing, speech and a choir."""
    one_of: tuple = ()
    """The name means one of these: a "keyboard" is an instrument or a thing to type on.

    Without both, the name itself is that of a sound.
    """

    @property
    def is_itself(self):
        return not (self.all_of or self.one_of)


class SoundRequest(NamedTuple):
    """The sounds that a text asks for, as lists of NamedSounds."""

    keep: list
    leave_out: list


class _Entries(NamedTuple):
    """Content of `names.toml`: {name: sounds} of each kind."""

    all_of: dict
    all_but: dict
    one_of: dict


@functools.cache
def _entries():
    with open(PLUGIN_NAMES, "rb") as file:
        table = tomllib.load(file)
    entries = _Entries({}, {}, {})
    for row in table["set"]:
        is_opposite = bool(row.get("without"))
        sounds = tuple(row["without"] if is_opposite else row["sounds"])
        (entries.all_but if is_opposite else entries.all_of).update(dict.fromkeys(row["names"], sounds))
    for row in table["meaning"]:
        entries.one_of.update(dict.fromkeys(row["names"], tuple(row["sounds"])))
    return entries


def name_sounds(name):
    """Returns the NamedSounds of a name that does not mean everything but some sounds."""
    entries = _entries()
    return NamedSounds(name, entries.all_of.get(name, ()), entries.one_of.get(name, ()))


def find_sounds(request, others=()):
    """Replaces the names of a Request by the sounds that they stand for; returns a SoundRequest.

    Of names that mean everything but some sounds ("karaoke", "everything else"), these sounds are left out instead, or kept
    where the names are left out. `others`: the texts of the other slots, which name what is not everything else.
    """
    keep, but_kept = _divide(request.keep, others)
    leave_out, but_left_out = _divide(request.leave_out, others)
    if but_kept:
        # All but speech, and speech: all.
        keep, leave_out = [], leave_out + _without(but_kept, request.keep)
    if not keep:
        keep = _without(but_left_out, request.leave_out)
    return SoundRequest(keep, leave_out)


def _divide(names, others):
    """Divides names into sounds and the sounds beside everything else."""
    all_but = _entries().all_but
    sounds, but = [], []
    for name in names:
        if name == EVERYTHING_ELSE:
            but += _sounds_of(others)
        elif name in all_but:
            but.append(NamedSounds(name, all_of=all_but[name]))
        else:
            sounds.append(name_sounds(name))
    return sounds, but


def _without(sounds, names):
    """Lists NamedSounds without the sounds with these names."""
    found = []
    for named in sounds:
        if named.is_itself:
            found += [named] * (named.name not in names)
            continue
        all_of, one_of = (tuple(sound for sound in kind if sound not in names) for kind in (named.all_of, named.one_of))
        found += [named._replace(all_of=all_of, one_of=one_of)] * bool(all_of or one_of)
    return found


def _sounds_of(texts):
    """Lists the NamedSounds that `texts` keep."""
    names = dict.fromkeys(name for request in parse_all(texts) for name in request.keep)
    return [name_sounds(name) for name in names if name != EVERYTHING_ELSE and name not in _entries().all_but]


def parse_all(texts):
    """Lists the requests of `texts`, without texts that name too many sounds."""
    requests = []
    for text in texts:
        try:
            requests.append(parse(text))
        except ValueError:
            continue
    return requests
