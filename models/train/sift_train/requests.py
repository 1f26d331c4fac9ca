"""Requests: which sounds a text asks to keep, and which to leave out.

The same grammar as the plugin's (`plugin/engine/src/query/request.rs`, which explains it), with its words and cases
(`tests/cases/requests.jsonl`): both give the same Request for a text.
"""

import functools
from typing import NamedTuple

from .request_language import REQUESTS, SEPARATORS, Kind, candidates, is_punctuation

MAX_SOUNDS = 8
"""Most sounds of a request."""

MAX_CHARACTERS = 256
"""Most characters of a text."""

EVERYTHING_ELSE = "everything else"
"""The name of what no slot names."""


class Request(NamedTuple):
    """The sounds that a text asks for, by the text's own words, in lower case."""

    keep: tuple = ()
    """Sounds to keep. Without any, everything is kept but what is left out."""
    leave_out: tuple = ()
    is_list: bool = False
    """Whether the text lists names and asks nothing of them."""
    has_with: bool = False
    """Whether a word such as "with" joins two names, which may also describe one sound: "a guitar with distortion"."""


def normalise(text):
    """Returns the text in the form that is parsed and encoded.

    White space is trimmed and runs of it become one space, or one line break where they have one. The result has at most
    `MAX_CHARACTERS` characters.
    """
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)[:MAX_CHARACTERS].rstrip()


@functools.lru_cache(maxsize=65536)
def parse(text):
    """Parses a text in the form of `normalise` into a Request. A text that names no sound gives an empty one.

    The language follows from the letters; of those with Latin letters, most of the text's words belong to it. Raises
    ValueError if the text names more than `MAX_SOUNDS` sounds.
    """
    if "://" in text or any(word.lower().startswith("www.") for word in text.split()):
        return Request()
    # Of equal scores the first language counts.
    parser = max((_Parser(language, text) for language in candidates(text)), key=lambda parser: parser.score)
    sounds = len(parser.keep) + len(parser.leave_out)
    if sounds > MAX_SOUNDS:
        raise ValueError(f"names {sounds} sounds; expected at most {MAX_SOUNDS}. Use more slots")
    return Request(tuple(parser.keep), tuple(parser.leave_out), not parser.has_operator, parser.has_with)


KEEP, LEAVE_OUT = "keep", "leave out"
_OPPOSITE = {KEEP: LEAVE_OUT, LEAVE_OUT: KEEP}


class _Clause:
    """Names of one clause, with what is asked of them."""

    def __init__(self, polarity=None):
        self.polarity = polarity
        self.names = []
        self.is_source = False
        """Whether the names are what others are taken from."""
        self.is_exception = False
        """Whether everything but the names is asked for, so that a verb at the end is about everything."""
        self.is_aside = False
        """Whether what follows in the clause tells nothing of sounds, such as a reason."""
        self.is_preamble = False
        """Whether the clause says something of the user, such as "I am a drummer": its names are not asked for."""
        self.is_by_verb = False
        """Whether a verb and not a preposition asks."""
        self.is_negated = False
        """Whether the verb that asks was inverted."""
        self.with_at = None
        """The number of names before a word such as "with"."""


class _Parser:
    """Applies the phrases of a language from the beginning of a text to its end."""

    def __init__(self, language, text):
        self.language = language
        self.keep, self.leave_out = [], []
        self.has_with = False
        self.has_operator = False
        """Whether any word asked for something."""
        self.score = 0
        """Units that belong to the language."""
        self._clause = _Clause()
        self._name = []
        """Units of the name that is being read."""
        self._sources = []
        """Names that others are taken from, until it is known whether those are kept."""
        self._unasked = []
        """Names of the request that the last clause neither kept nor left out by a word."""
        self._last_asked = []
        """Names that the last verb at the end of a clause was about."""
        self._excepted = []
        """Names left out by an exception, until it is known what is asked of everything else."""
        self._is_negated = False
        """Whether the next verb is inverted."""
        self._has_minus = not language.is_joined and "\n" not in text
        """Whether a word that begins with "-" is left out: not in a list of several lines."""
        self._has_frame = False
        """Whether the clause has words that mean nothing by themselves, such as "take"."""
        units = language.units(text)
        at = 0
        while at < len(units):
            at += self._take(units, at)
        self._end_clause()
        self._finish()

    def _take(self, units, at):
        """Takes the longest phrase that has an effect here, or else one unit of a name. Returns the number of units."""
        for length, kinds in self.language.phrases_at(units, at):
            if self._apply(kinds, units, at, at + length):
                self.score += length
                # A space at the end of a phrase may begin the next one.
                if length > 1 and units[at + length - 1] == " ":
                    length -= 1
                if not kinds <= {Kind.KEEP_AFTER, Kind.LEAVE_OUT_AFTER, Kind.EXCEPT_AFTER}:
                    return length
                ending = self.language.ending(units, at + length - 1)
                negation = self.language.negation_after(units, at + length, ending)
                if negation is None:
                    return length + ending
                self._invert_last()
                return length + negation
        self._take_unit(units[at])
        return 1

    def _apply(self, kinds, units, begin, end):
        """Applies a phrase of these kinds, the units from `begin` to `end`. Returns False if it is part of a name here."""
        has_name = self._has_clause_name()
        ends_here = self._ends_before(units, end)
        is_joined = self.language.is_joined
        is_complete = has_name and ends_here
        # "Keep the birds and remove the traffic"; but in joined scripts the word may be a part of a longer one.
        joins = not ends_here or (not is_joined and end < len(units))
        begins_name = (not self._name or self.has_operator or self._clause.is_preamble) and not is_complete
        # "Take the drums out", "drums out", but not "bells ringing out".
        is_particle = (
            Kind.LEAVE_OUT_PARTICLE in kinds
            and has_name
            and (self._has_frame or self.has_operator or (ends_here and self._has_one_word()))
        )

        def is_after(kind, other):
            return kind in kinds and has_name and (ends_here or (is_joined and other not in kinds))

        asked = self._clause.polarity
        leaves_out_by_verb = asked == LEAVE_OUT and self._clause.is_by_verb
        if Kind.NEGATION in kinds and not self._clause.is_aside and self._inverts(kinds, units, end, has_name):
            self._is_negated = True
        elif Kind.NEGATION in kinds and self._clause.is_negated and not has_name:
            pass  # "N'enlève pas": the verb is inverted already.
        elif Kind.NEGATION in kinds and leaves_out_by_verb and not has_name:
            # "Entferne nicht".
            self._clause.polarity, self._clause.is_negated = KEEP, True
        elif kinds >= {Kind.NEGATION, Kind.LEAVE_OUT} and leaves_out_by_verb and has_name and not ends_here:
            # "Remove the hum, not the voice".
            self._begin_clause(KEEP)
        elif Kind.EXCEPT in kinds and not has_name and not asked and not ends_here and not is_joined:
            # "Everything (except drums)".
            self._begin_clause(LEAVE_OUT)
        elif Kind.PREAMBLE in kinds and not has_name and not asked:
            self._clause.is_preamble = True
        elif Kind.PREAMBLE_AFTER in kinds and has_name and not ends_here:
            self._clause.is_preamble = True
            self._end_clause()
        elif kinds & {Kind.LEAVE_OUT_AFTER, Kind.EXCEPT_AFTER} and self._is_about_everything_else():
            # "드럼 빼고 다 지워".
            self._name, self._clause = [], _Clause()
            self._last_asked, self._excepted = self._excepted, []
            self._invert_last()
        elif is_after(Kind.EXCEPT_AFTER, None):
            self._ask_of_names(LEAVE_OUT)
            self._excepted = self._last_asked
        elif Kind.ASIDE in kinds and has_name:
            self._end_name()
            self._clause.is_aside = True
        elif self._clause.is_aside and not kinds & REQUESTS:
            pass  # Dropped with the rest of the aside.
        elif Kind.PROTECTED in kinds:
            # A space at the end is taken again.
            self._name += units[begin : end - 1] if units[end - 1] == " " else units[begin:end]
        elif Kind.SOURCE in kinds and asked and has_name:
            self._begin_clause(_OPPOSITE[asked])
            self._clause.is_source = True
        elif is_after(Kind.KEEP_AFTER, Kind.KEEP):
            self._ask_of_names(KEEP)
        elif is_after(Kind.LEAVE_OUT_AFTER, Kind.LEAVE_OUT) or is_particle:
            self._ask_of_names(LEAVE_OUT)
            self._clause.is_source = Kind.SOURCE in kinds
        elif (Kind.KEEP in kinds and not is_complete) or (Kind.KEEP_VERB in kinds and begins_name):
            self._begin_verb(KEEP)
        elif (Kind.LEAVE_OUT in kinds and not is_complete) or (Kind.LEAVE_OUT_VERB in kinds and begins_name):
            self._begin_verb(LEAVE_OUT)
            self._clause.is_by_verb = Kind.LEAVE_OUT_VERB in kinds
        elif Kind.EVERYTHING_BUT in kinds:
            is_removed = asked == LEAVE_OUT and not has_name
            self._begin_clause(KEEP if is_removed else LEAVE_OUT)
            self._clause.is_exception = not is_removed
        elif Kind.EXCEPT in kinds and (has_name or asked):
            self._begin_clause(_OPPOSITE[asked or KEEP])
        elif Kind.SOURCE_AFTER in kinds and has_name and not ends_here:
            self._end_name()
            self._drop_containers()
            self._sources += self._clause.names
            self._clause.names = []
        elif has_name and (Kind.BUT in kinds or (Kind.RELATIVE in kinds and asked == LEAVE_OUT)):
            self._begin_clause(None)
        elif kinds & {Kind.AND, Kind.WITH} and has_name and joins:
            self.has_with |= Kind.WITH in kinds
            self._end_name()
            if Kind.WITH in kinds:
                self._clause.with_at = len(self._clause.names)
        elif not has_name and (Kind.WITH in kinds or (Kind.AND in kinds and (self.keep or self.leave_out))):
            pass  # Nothing to join: "(and drums)", "with drums".
        elif kinds & {Kind.KEEP_AFTER, Kind.LEAVE_OUT_AFTER} and not has_name:
            # There is no name that the verb could be about, or it is that before: "the dog is too loud, away with it".
            return is_joined or (ends_here and bool(self._last_asked))
        else:
            is_frame = Kind.FRAME in kinds and not self._name
            self._has_frame |= is_frame
            return is_frame
        return True

    def _inverts(self, kinds, units, at, has_name):
        """Returns whether a negation inverts the verb that follows. A word that also leaves out inverts only verbs that do."""
        is_joined = self.language.is_joined
        at += at < len(units) and units[at] == " "
        length, following = next(iter(self.language.phrases_at(units, at)), (0, set()))
        return (
            (Kind.LEAVE_OUT_VERB in following and (not has_name or Kind.LEAVE_OUT_AFTER not in following))
            or (Kind.LEAVE_OUT in following and is_joined and Kind.NEGATION not in following)
            or (bool(following & {Kind.KEEP, Kind.KEEP_VERB}) and Kind.LEAVE_OUT not in kinds)
            or (
                Kind.LEAVE_OUT_AFTER in following
                and has_name
                and not is_joined
                and self._ends_before(units, at + length)
            )
        )

    def _is_about_everything_else(self):
        """Returns whether names were left out by an exception, and what follows only names everything."""
        name, _ = self.language.trim_name(self.language.join(self._name))
        everything = self.language.generic | self.language.rest
        return bool(self._excepted) and (not name or name in everything) and everything.issuperset(self._clause.names)

    def _ends_before(self, units, at):
        """Returns whether no name follows in this sentence."""
        while at < len(units):
            length, kinds = next(iter(self.language.phrases_at(units, at)), (0, ()))
            if Kind.FRAME in kinds:
                at += length
            elif kinds:
                return Kind.PROTECTED not in kinds
            elif units[at] == " ":
                at += 1
            else:
                return is_punctuation(units[at])
        return True

    def _take_unit(self, unit):
        if unit in SEPARATORS and self._clause.is_preamble:
            self._end_clause()
        elif unit in SEPARATORS:
            self._end_name()
            self._clause.is_aside = False
        elif is_punctuation(unit):
            # "Remove: drums".
            if unit != ":" or self._has_clause_name():
                self._end_clause()
        elif self._clause.is_aside:
            pass  # Dropped.
        elif self._has_minus and unit.startswith("-") and len(unit) > 1:
            self._begin_clause(LEAVE_OUT)
            self._name.append(unit[1:])
        elif stem := self.language.only_ending(unit):
            self.score += 1
            self._begin_clause(KEEP)
            self._name.append(stem)
        elif stem := self.language.without_ending(unit):
            self.score += 1
            self._begin_clause(LEAVE_OUT)
            self._name.append(stem)
            self._begin_clause(None)
        elif all(map(_is_of_word, unit)) and (unit != " " or self._name):
            # Quotation marks and pictures are dropped.
            self.score += unit in self.language.hints
            self._name.append(unit)

    def _end_name(self):
        name, trimmed = self.language.trim_name(self.language.join(self._name))
        self._name = []
        self.score += trimmed
        is_number = len(name) < 3 and name.isascii() and name.isdigit()
        if name and not is_number and not (self.has_operator and self.language.is_article(name)):
            self._clause.names.append(name)

    def _has_one_word(self):
        """Returns whether the clause has one name so far, of one word."""
        name, _ = self.language.trim_name(self.language.join(self._name))
        return not self._clause.names and " " not in name

    def _has_clause_name(self):
        return bool(self._name or self._clause.names)

    def _drop_containers(self):
        """Drops names of what sounds are taken from, such as "song"."""
        self._clause.names = [name for name in self._clause.names if not self.language.is_container(name)]

    def _begin_clause(self, polarity):
        """Ends the clause and begins the next one, because a word asks for something."""
        self._end_clause()
        self._clause.polarity = polarity
        self.has_operator = True

    def _begin_verb(self, polarity):
        """Begins a clause by a verb or a preposition, which a negation may have inverted."""
        is_negated, self._is_negated = self._is_negated, False
        self._begin_clause(_OPPOSITE[polarity] if is_negated else polarity)
        self._clause.is_negated = is_negated

    def _ask_of_names(self, polarity):
        """Asks something of the names before."""
        self.has_operator = True
        self._end_name()
        # "Speech with the music taken out": the verb at the end is about the music.
        at = self._clause.with_at
        if self._clause.polarity is None and at is not None and 1 <= at < len(self._clause.names):
            self._clause.names, last = self._clause.names[:at], self._clause.names[at:]
            self._end_clause()
            self._clause.names = last
        # "Everything but the drums muted", "the drums not removed".
        is_inverted, self._is_negated = self._clause.is_exception != self._is_negated, False
        if is_inverted:
            polarity = _OPPOSITE[polarity]
        # "Keep the drums, the rest out": the verb at the end is about the last name.
        if self._clause.polarity == _OPPOSITE[polarity] and self._clause.names:
            last = self._clause.names.pop()
            self._end_clause()
            self._clause.names.append(last)
        self._clause.polarity = polarity
        asked = list(self._clause.names)
        self._end_clause()
        self._last_asked = asked

    def _invert_last(self):
        """Inverts what the last verb at the end of a clause asked for: "빼지 마"."""
        names, self._last_asked = self._last_asked, []
        for name in names:
            polarity = KEEP if name in self.leave_out else LEAVE_OUT
            self.keep = [other for other in self.keep if other != name]
            self.leave_out = [other for other in self.leave_out if other != name]
            self._push(polarity, [name])

    def _end_clause(self):
        """Moves the clause's names into the request."""
        self._end_name()
        if self._clause.is_source:
            self._drop_containers()
        polarity, names, is_preamble = self._clause.polarity, self._clause.names, self._clause.is_preamble
        self._clause = _Clause()
        self._has_frame = False
        if not names:
            return
        self._excepted = []
        if is_preamble and polarity is None:
            # "I want to practice drums, so remove them".
            self._unasked = names
            return
        unasked, self._unasked = self._unasked, []
        if polarity and unasked and self.language.pronouns.issuperset(names):
            self.keep = [name for name in self.keep if name not in unasked]
            self._push(polarity, unasked)
            return
        if polarity is None:
            self._unasked = names
        else:
            self._push(_OPPOSITE[polarity], self._sources)
        self._sources = []
        self._push(polarity or KEEP, names)

    def _push(self, polarity, names):
        found = self.keep if polarity == KEEP else self.leave_out
        found += [name for name in dict.fromkeys(names) if name not in found]

    def _finish(self):
        """Replaces the names of the rest, and drops those of the whole input if something else is asked for."""
        dropped = self.language.generic | self.language.pronouns if self.has_operator else frozenset()
        self.keep, self.leave_out = (
            [EVERYTHING_ELSE if name in self.language.rest else name for name in names if name not in dropped]
            for names in (self.keep, self.leave_out)
        )
        # Beside other names, it says what holds anyway.
        if self.leave_out == [EVERYTHING_ELSE] and self.keep:
            self.leave_out = []
        if self.keep == [EVERYTHING_ELSE] and self.leave_out:
            self.keep = []


def _is_of_word(character):
    # Lone Korean consonants and vowels are chat: "ㅠㅠ".
    return not "ㄱ" <= character <= "ㆎ" and (character.isalnum() or character in " '-_/&ー々")
