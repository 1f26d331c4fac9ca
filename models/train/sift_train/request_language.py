"""Words of the languages in which requests are written, and how their texts are divided into units.

The words are those of the plugin, `plugin/engine/src/query/request/words/*.toml`; `request.rs` there explains the lists.
"""

import enum
import functools
import tomllib

from . import config as configuration

WORDS = configuration.REPOSITORY / "plugin" / "engine" / "src" / "query" / "request" / "words"


class Kind(enum.Enum):
    """The effect of a phrase; the values are the names of the lists."""

    KEEP = "keep"
    KEEP_VERB = "keep_verbs"
    KEEP_AFTER = "keep_after"
    LEAVE_OUT = "leave_out"
    LEAVE_OUT_VERB = "leave_out_verbs"
    LEAVE_OUT_AFTER = "leave_out_after"
    LEAVE_OUT_PARTICLE = "leave_out_particles"
    EVERYTHING_BUT = "everything_but"
    EXCEPT = "except"
    EXCEPT_AFTER = "except_after"
    AND = "and"
    WITH = "with"
    BUT = "but"
    SOURCE = "source"
    SOURCE_AFTER = "source_after"
    RELATIVE = "relative"
    ASIDE = "asides"
    PREAMBLE = "preambles"
    PREAMBLE_AFTER = "preambles_after"
    FRAME = "frames"
    PROTECTED = "protected"
    NEGATION = "negations"


REQUESTS = frozenset(
    {
        Kind.KEEP,
        Kind.KEEP_VERB,
        Kind.KEEP_AFTER,
        Kind.LEAVE_OUT,
        Kind.LEAVE_OUT_VERB,
        Kind.LEAVE_OUT_AFTER,
        Kind.LEAVE_OUT_PARTICLE,
        Kind.EVERYTHING_BUT,
        Kind.EXCEPT,
        Kind.EXCEPT_AFTER,
    }
)
"""Kinds of phrases that ask for something."""

SEPARATORS = frozenset(",、，/+&|·•・")
"""Units that separate two names."""

SENTENCE_MARKS = frozenset("-;:.!?()[]{}\n。；：！？（）「」–—…→")

_FOLDED = str.maketrans("àáâãäçèéêëìíîïñòóôõöùúûüё", "aaaaaceeeeiiiinooooouuuuе")
_APOSTROPHES = str.maketrans("’‘`", "'''")


def is_punctuation(unit):
    """Returns whether a unit ends a name."""
    return unit in SEPARATORS or unit in SENTENCE_MARKS


def fold(unit):
    """Folds the accents of Latin letters, which people often leave out, and ё."""
    return unit.translate(_FOLDED)


class Language:
    """A language, prepared for the parser."""

    def __init__(self, name, is_joined):
        """`is_joined`: whether endings and particles have no space before them, so that units are characters, not words."""
        with open(WORDS / f"{name}.toml", "rb") as file:
            words = tomllib.load(file)
        self.is_joined = is_joined
        self.generic, self.pronouns, self.rest, self.hints = (
            frozenset(words.get(key, ())) for key in ("generic", "pronouns", "rest", "hints")
        )
        self._containers = frozenset(words.get("containers", ()))
        self._protected = tuple(words.get("protected", ()))
        self._articles = words.get("articles", ())
        self._tails = words.get("tails", ())
        self._of = words.get("of", ())
        self._without_words = words.get("without_words", ())
        self._without_endings = words.get("without_endings", ())
        self._only_endings = words.get("only_endings", ())
        self._negations_after = words.get("negations_after", ())
        self._has_elision = words.get("has_elision", False)
        self._boundary = "" if is_joined else " "
        self._phrases = {}
        """{first unit: {all units: kinds}}, the longest phrase first."""
        for kind in Kind:
            for phrase in words.get(kind.value, ()):
                units = tuple(map(fold, self._split(phrase)))
                self._phrases.setdefault(units[0], {}).setdefault(units, set()).add(kind)
        self._phrases = {
            first: dict(sorted(phrases.items(), key=lambda phrase: -len(phrase[0])))
            for first, phrases in self._phrases.items()
        }

    def units(self, text):
        """Splits a text into units. Of a joined script, a space stands at both ends and around punctuation."""
        if self.is_joined:
            spaced = "".join(
                f" {character} " if is_punctuation(character) and character != "-" else character for character in text
            )
            text = f" {' '.join(word for word in spaced.split(' ') if word)} "
        return self._split(text)

    def _split(self, text):
        text = text.lower().translate(_APOSTROPHES)
        if self.is_joined:
            return _split_into_characters(text)
        return _split_into_words(text, self._has_elision)

    def phrases_at(self, units, at):
        """Lists the phrases at the position `at` of `units`, longest first: the length and the kinds of each."""
        if at == len(units):
            return []
        return [
            (len(phrase), kinds)
            for phrase, kinds in self._phrases.get(fold(units[at]), {}).items()
            if tuple(map(fold, units[at : at + len(phrase)])) == phrase
        ]

    def ending(self, units, at):
        """Returns the number of units after the position `at` that inflect the verb there; 0 in a spaced script."""
        if not self.is_joined or units[at] == " ":
            return 0
        end = at + 1
        while end < len(units) and all("가" <= letter <= "힣" or "ぁ" <= letter <= "ゖ" for letter in units[end]):
            end += 1
        return end - at - 1

    def negation_after(self, units, at, ending):
        """Returns the number of units to the end of a negation that begins within the `ending` of a verb: "지 마".

        `at`: the position after the verb without its ending. None if there is no negation.
        """
        for start in range(min(ending, len(units) - at) + 1):
            text = "".join(units[at + start :])
            negation = next((found for found in self._negations_after if text.startswith(found)), None)
            if negation:
                return start + len(negation) + self.ending(units, at + start + len(negation) - 1)
        return None

    def is_article(self, name):
        """Returns whether `name` is an article and no name."""
        return name in self._articles

    def join(self, units):
        """Joins the units of a name."""
        if self.is_joined:
            return "".join(units).strip()
        name = " ".join(units)
        return name.replace("' ", "'") if self._has_elision else name

    def without_ending(self, unit):
        """Returns what precedes the ending or word in `unit` that leaves it out: "drum" of "drum-free"; otherwise None."""
        for ending in self._without_endings:
            if unit.endswith(ending):
                return unit.removesuffix(ending) or None
        if unit in self._without_words and unit.endswith("less"):
            return unit.removesuffix("less") or None
        return None

    def only_ending(self, unit):
        """Returns what precedes the ending of `unit` that keeps it only: "drum" of "drum-only"; otherwise None."""
        ending = next((ending for ending in self._only_endings if unit.endswith(ending)), None)
        return (unit.removesuffix(ending) or None) if ending else None

    def is_container(self, name):
        """Returns whether the name is that of what sounds are taken from: "song", "wedding video", "video of my wedding"."""
        first, _, last = name.partition(" ")
        return not self._containers.isdisjoint((name, first, last or name))

    def trim_name(self, name):
        """Returns the name without articles and tails, and how many of them it had."""
        name = name.strip()
        trimmed = 0
        while True:
            shorter = self._without_article(name)
            if shorter is None:
                shorter = self._without_tail(name)
            if shorter is None or not shorter.strip():
                return name, trimmed
            name = shorter.strip()
            trimmed += 1

    def _without_article(self, name):
        if name.startswith(self._protected):
            return None
        # An article that ends in an apostrophe needs no space.
        found = (article if article.endswith("'") else article + self._boundary for article in self._articles)
        return min((name.removeprefix(article) for article in found if name.startswith(article)), key=len, default=None)

    def _without_tail(self, name):
        if name.endswith(self._protected):
            return None
        found = (self._boundary + tail for tail in self._tails)
        shorter = min((name.removesuffix(tail) for tail in found if name.endswith(tail)), key=len, default=None)
        return self._without_container(name) if shorter is None else shorter

    def _without_container(self, name):
        """Returns the name in "name of this song"; otherwise None."""
        for of in self._of:
            before, found, container = name.rpartition(f" {of}" if of.endswith("'") else f" {of} ")
            if not found:
                continue
            while article := next((word for word in self._articles if container.startswith(f"{word} ")), None):
                container = container.removeprefix(f"{article} ")
            if self.is_container(container):
                return before
        return None


def _split_into_characters(text):
    units = []
    for at, character in enumerate(text):
        # The hyphen of "TB-303" belongs to the character before.
        if character == "-" and at > 0 and text[at - 1].isascii() and text[at - 1].isalnum():
            units[-1] += "-"
        else:
            units.append(character)
    return units


def _split_into_words(text, has_elision):
    """Splits into words and punctuation. `has_elision`: whether a word ends with an apostrophe: "l'orgue" is two words."""
    units, in_word = [], False
    for at, character in enumerate(text):
        if _is_word_character(character) or _is_within_abbreviation(text, at):
            if in_word:
                units[-1] += character
            else:
                units.append(character)
            in_word = not (has_elision and character == "'")
        else:
            if not character.isspace() or character == "\n":
                units.append(character)
            in_word = False
    return [unit for unit in units if unit == "-" or unit.strip("-_")]


def _is_word_character(character):
    return character.isalnum() or character in "'-_"


def _is_within_abbreviation(text, at):
    """Returns whether the character at `at` is a sign between two single letters, as in "w/o" and "r&b"."""

    def is_in_word(at):
        return 0 <= at < len(text) and _is_word_character(text[at])

    return (
        text[at] in "/&"
        and is_in_word(at - 1)
        and is_in_word(at + 1)
        and not is_in_word(at - 2)
        and not is_in_word(at + 2)
    )


@functools.cache
def _language(name):
    return Language(name, is_joined=name in ("ko", "ja", "zh"))


LATIN = ("en", "de", "fr", "es", "pt", "it")
"""Languages with Latin letters."""
LETTERS = (
    ("ko", "\uac00", "\ud7a3"),
    ("ja", "\u3040", "\u30ff"),
    ("zh", "\u4e00", "\u9fff"),
    ("ru", "\u0400", "\u04ff"),
)
"""The other languages, with the first and the last of the letters by which a text is taken for theirs."""


def candidates(text):
    """Lists the languages that a text may be in, by its letters."""
    found = next((name for name, first, last in LETTERS if any(first <= letter <= last for letter in text)), None)
    return [_language(name) for name in ([found] if found else LATIN)]
