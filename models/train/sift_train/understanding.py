"""What a text was understood as: the sounds that it asks for, with the concepts of a package that they mean.

The same as in the plugin (`plugin/engine/src/query/encoder.rs`), except that slips of the pen are not corrected.
"""

import enum
import json
from typing import NamedTuple

import numpy as np

from .concepts import CONCEPTS_FILE, compute_closeness
from .names import NAMES_FILE
from .requests import MAX_SOUNDS, normalise, parse
from .sound_names import find_sounds, parse_all

MAX_PARTS = MAX_SOUNDS
"""Most parts of a text: each costs one run of the network per hop."""
MAX_MATCHES = 3
"""Most concepts matched to one name. An ambiguous name may have a part for each of them and one for its own text."""
UNDERSTOOD = 0.5
"""The closeness from which a name counts as understood."""
MIN_CLOSENESS = 0.2
"""The closeness below which a name is not taken for a concept: the model does not know the sound."""


MIN_SENTENCE_WORDS = 3
"""The fewest words of a name that is taken for a sentence if the dictionary has none of them."""


class PartRole(enum.Enum):
    """The effect of one part on the combined mask."""

    INCLUDE = "its mask passes the sound"
    EXCLUDE = "its inverted mask limits the combined mask"


class ConceptMatch(NamedTuple):
    """A concept near to a name."""

    name: str
    closeness: float
    """The probability that the name means this concept, as calibrated by the package."""
    selected: bool
    """Whether the name is taken to mean this concept: the nearest one, or one that is almost as near."""


def _select(matches):
    return [match.name for match in matches if match.selected]


class UnderstoodSound(NamedTuple):
    """A name of a text that the model knows."""

    name: str
    matches: list
    """ConceptMatch of the nearest concepts, nearest first."""
    texts: list
    """Texts of the sounds that the name means or may mean, whose embeddings separate them; the first is the surest."""
    close: dict
    """The closeness of all concepts that the name can mean, by name."""

    @property
    def selected(self):
        """The names of the concepts that the name is taken to mean."""
        return _select(self.matches)

    @property
    def nearest(self):
        """The names of the nearest concepts: several if they are equally near."""
        return {match.name for match in self.matches if match.closeness == self.matches[0].closeness}


class Understanding:
    """What a text was understood as."""

    def __init__(self, problem=None):
        self.keep = []
        """UnderstoodSound to keep. Without any, everything is kept but what is left out."""
        self.leave_out = []
        self.unknown = []
        """Names of sounds that the model does not know."""
        self.problem = problem
        """Why the text has no effect, so that everything passes; beside unknown sounds."""

    @property
    def passes_everything(self):
        return not (self.keep or self.leave_out)

    @property
    def parts(self):
        """Lists the parts, [(text, PartRole)]: the first text of all names, then as many others as there are places."""
        roles = ((PartRole.INCLUDE, self.keep), (PartRole.EXCLUDE, self.leave_out))
        sounds = [(role, sound.texts) for role, sounds in roles for sound in sounds]
        spare = MAX_PARTS - len(sounds)
        parts = []
        for role, texts in sounds:
            count = 1 + min(spare, len(texts) - 1)
            spare -= count - 1
            parts += [(text, role) for text in texts[:count]]
        return parts

    def means(self, names):
        """Returns whether the text keeps a sound of `names` and nothing else.

        Of the sounds of a set such as "vocals", and of concepts that are equally near, one suffices.
        """
        nearest = {}
        for sound in self.keep:
            nearest.setdefault(sound.name, set()).update(sound.nearest)
        is_only = not (self.leave_out or self.unknown)
        return bool(nearest) and is_only and all(found & set(names) for found in nearest.values())


class KnownConcepts:
    """The concepts of a package with their calibration, from `concepts.json`."""

    def __init__(self, table):
        self.names = [concept["name"] for concept in table["concepts"]]
        self.closeness = table["closeness"]
        """Slope and offset of `compute_closeness`."""
        self._directions = np.array([concept["direction"] for concept in table["concepts"]])
        self._doubt = table.get("doubt", 0.0)

    def cosines(self, vector):
        """Returns the cosines of an output `concept` [S] with all concepts."""
        return self._directions @ vector

    def match(self, text, vector):
        """Finds the concepts nearest to the output `concept` [S] of `text`.

        Returns the ConceptMatch of the nearest, and the closeness of all concepts by name.
        """
        cosines = self.cosines(vector)
        closeness = dict(zip(self.names, compute_closeness(cosines, **self.closeness).tolist()))
        order = np.argsort(-cosines, kind="stable")[:MAX_MATCHES]
        highest = cosines[order[0]]
        # "An electric guitar" does not mean an acoustic one.
        doubt = 0.0 if self.names[order[0]].lower() in text.lower() else self._doubt
        nearest = [
            ConceptMatch(
                self.names[index],
                closeness[self.names[index]],
                rank == 0 or bool(cosines[index] > highest - doubt),
            )
            for rank, index in enumerate(order)
        ]
        return nearest, closeness


class Dictionary:
    """Names of a package's concepts and of sounds that it does not know, from `names.json`."""

    def __init__(self, concepts, table=None):
        """`concepts`: names of the package's concepts. `table`: content of `names.json`, or None if there is no file."""
        self._has_names = table is not None
        table = table or {"concepts": []}
        self._entries = {}
        self._stems = set()
        self.groups = {row["name"]: row["groups"] for row in table["concepts"]}
        """Subjects of concepts, such as "music", by name."""
        for name in concepts:
            self._add(name, name)
        for row in table["concepts"]:
            for name in row["names"]:
                self._add(name, row["name"])
        for name in table.get("unknown", ()):
            self._add(name)

    def _add(self, name, concept=None):
        entry = self._entries.setdefault(name.lower(), [])
        self._stems.update(_stems(name.lower()))
        if concept is not None and concept not in entry:
            entry.append(concept)

    def concepts(self, name):
        """Lists the concepts that a name in lower case may mean; none if the model cannot separate the sound.

        None if the dictionary does not have the name.
        """
        return self._entries.get(name)

    def lacks(self, name):
        """Returns whether the model cannot separate the sound of a common English name.

        False for a package that has no names beside those of its concepts.
        """
        return self._has_names and not self.concepts(name)

    def is_sentence(self, name):
        """Returns whether a name in lower case is of three words or more, and no name of the dictionary has any of them.

        Such a name is rather a sentence about something else. False for a package that has no names beside those of its
        concepts.
        """
        is_long = len(name.split(" ")) >= MIN_SENTENCE_WORDS
        return self._has_names and is_long and self._stems.isdisjoint(_stems(name))


def _stems(name):
    """Lists the parts of words that their inflections share: two characters where they are written without a space.

    Words that are too short to tell anything have none.
    """
    return [
        word if word.isascii() else word[:2] for word in name.split(" ") if len(word) >= (3 if word.isascii() else 2)
    ]


class _EncodedSound(NamedTuple):
    """Concepts of the name of one sound."""

    text: str
    """The text whose embedding separates the sound."""
    matches: list
    """ConceptMatch, nearest first; empty if the name is of a sound that the model does not know."""
    close: dict

    @property
    def closeness(self):
        return self.matches[0].closeness if self.matches else 0.0


class QueryReader:
    """Reads texts as the plugin does, with the concepts of one package."""

    def __init__(self, concepts, dictionary, encode, understood=UNDERSTOOD, floor=MIN_CLOSENESS):
        """`concepts`: KnownConcepts. `encode`: text → output `concept` [S] of the query network.

        `understood`: the closeness from which a name is understood. `floor`: that below which it is unknown.
        """
        self.concepts, self._dictionary, self._encode = concepts, dictionary, encode
        self._understood, self._floor = understood, floor
        self._encoded = {}

    @classmethod
    def open(cls, folder, encode):
        """Opens the reader of the package in `folder`."""
        concepts = KnownConcepts(json.loads((folder / CONCEPTS_FILE).read_text(encoding="utf-8")))
        names = folder / NAMES_FILE
        table = json.loads(names.read_text(encoding="utf-8")) if names.is_file() else None
        return cls(concepts, Dictionary(concepts.names, table), encode)

    def vary(self, dictionary=None, **thresholds):
        """Returns a reader of the same package with another dictionary or other thresholds."""
        return QueryReader(self.concepts, dictionary or self._dictionary, self._encode, **thresholds)

    def nearest(self, text):
        """Returns the cosine and the name of the concept nearest to a text, read as the name of one sound."""
        cosines = self.concepts.cosines(self._encode(normalise(text)))
        return float(cosines.max()), self.concepts.names[cosines.argmax()]

    def read(self, text, others=()):
        """Reads a text; returns its Understanding. `others`: the texts of the other slots that the user wrote."""
        text = normalise(text)
        try:
            request = parse(text)
        except ValueError as error:
            return Understanding(f"the text {error}")
        keep, leave_out = find_sounds(request, others)
        if request.is_list and self._names_one_sound(text, keep, request.has_with):
            keep = [keep[0]._replace(name=text.lower())]
        if not (keep or leave_out):
            asks_for_rest = request.keep or request.leave_out
            return Understanding("no other slot names a sound" if asks_for_rest else "the text names no sound")
        subjects = self._find_subjects(keep + leave_out, others)
        understanding = Understanding()
        for names, understood in ((keep, understanding.keep), (leave_out, understanding.leave_out)):
            for named in names:
                # The network knows a text that is only a name as it stands.
                is_text = request.is_list and request.keep == (named.name,)
                sounds = self._understand(named, text if is_text else named.name, subjects)
                if not sounds:
                    understanding.unknown.append(named.name)
                for sound in sounds:
                    if all(sound.selected != other.selected for other in understood):
                        understood.append(sound)
        # "Lead guitar without rhythm guitar" means all guitars to a model that knows one.
        kept = [sound.selected for sound in understanding.keep]
        understanding.leave_out = [sound for sound in understanding.leave_out if sound.selected not in kept]
        sounds = len(understanding.keep) + len(understanding.leave_out)
        if sounds > MAX_PARTS:
            return Understanding(f"the text means {sounds} sounds; expected at most {MAX_PARTS}")
        return understanding

    def _encode_name(self, name, text):
        """Encodes the name of one sound by `text`.

        Where the dictionary has the name and the network takes it for something else, the name of the concept is encoded
        instead.
        """
        if (name, text) in self._encoded:
            return self._encoded[name, text]
        matches, closeness = self.concepts.match(text, self._encode(text))
        close = {name: value for name, value in closeness.items() if value >= self._understood}
        sound = _EncodedSound(text, matches, close)
        known = self._dictionary.concepts(name)
        if known is not None:
            certain = [ConceptMatch(concept, 1.0, True) for concept in known]
            is_other = len(known) == 1 and known[0] != matches[0].name
            sound = _EncodedSound(known[0] if is_other else text, certain, close | dict.fromkeys(known, 1.0))
        self._encoded[name, text] = sound
        return sound

    def _is_understood(self, sound):
        return sound.closeness >= self._understood

    def _names_one_sound(self, text, keep, has_with):
        """Returns whether a list of names is one name.

        It is if it is understood as a whole, none of its names is in the dictionary, and not each is understood. With
        `has_with`, it is if it is understood better as a whole: "a guitar with distortion".
        """
        if len(keep) < 2 or not all(named.is_itself for named in keep):
            return False
        lowest = min(1.0, *(self._encode_name(named.name, named.name).closeness for named in keep))
        is_any_known = any(self._dictionary.concepts(named.name) is not None for named in keep)
        whole = self._encode_name(text.lower(), text)
        is_one = whole.closeness > lowest if has_with else not is_any_known and lowest < self._understood
        return self._is_understood(whole) and is_one

    def _find_subjects(self, sounds, others):
        """Finds the subjects of the sounds beside a name with several meanings: of the other names and the other slots."""
        if not any(named.one_of for named in sounds):
            return set()
        names = [named.name for named in sounds if named.is_itself]
        for request in parse_all(others):
            names += [*request.keep, *request.leave_out]
        encoded = (self._encode_name(name, name) for name in names)
        return {subject for sound in encoded if self._is_understood(sound) for subject in self._subjects(sound.matches)}

    def _subjects(self, matches):
        """Finds the subjects of the selected concepts."""
        return {subject for name in _select(matches) for subject in self._dictionary.groups.get(name, ())}

    def _understand(self, named, text, subjects):
        """Lists the UnderstoodSound that a NamedSounds means; empty if the model does not know it."""
        if named.all_of:
            return self._understand_set(named)
        if named.one_of:
            return self._understand_meanings(named, subjects)
        return self._understand_name(named.name, text)

    def _understand_name(self, name, text):
        """Finds what the name of one sound means.

        An ambiguous name stands for each selected concept, by the concept's name, which the model knows best. The name itself
        is one more if even the nearest concept may be wrong.
        """
        if self._dictionary.is_sentence(name):
            return []
        sound = self._encode_name(name, text)
        if sound.closeness < self._floor or not sound.matches:
            return []
        selected = _select(sound.matches)
        texts = [sound.text] if len(selected) < 2 or not self._is_understood(sound) else []
        texts += selected if len(selected) > 1 else []
        return [UnderstoodSound(name, sound.matches, texts, sound.close)]

    def _understand_set(self, named):
        """Finds the sounds of a set. Those that the model does not know are left away, if it knows others."""
        known = []
        for sound in self._meanings(named.name, named.all_of):
            if all(other.selected != sound.selected for other in known):
                known.append(sound)
        return known

    def _understand_meanings(self, named, subjects):
        """Finds the sounds that a word with several meanings may stand for.

        Those that belong to `subjects` are meant, or all that the model knows where this decides nothing.
        """
        meanings = self._meanings(named.name, named.one_of)
        belonging = [sound for sound in meanings if not subjects.isdisjoint(self._subjects(sound.matches))]
        joined = {}
        for sound in belonging or meanings:
            for match, text in zip(sound.matches, sound.texts):
                joined.setdefault(match.name, (match, text))
        close = {name: value for sound in belonging or meanings for name, value in sound.close.items()}
        matches, texts = ([pair[side] for pair in joined.values()] for side in (0, 1))
        return [UnderstoodSound(named.name, matches, texts, close)] if joined else []

    def _meanings(self, name, sounds):
        """Lists what the English names `sounds` of a set or of a word's meanings can mean, without unknown ones."""
        known = []
        for text in sounds:
            sound = self._encode_name(text, text)
            if self._dictionary.lacks(text) or not self._is_understood(sound):
                continue
            matches = [match for match in sound.matches if match.selected]
            texts = _select(matches) if len(matches) > 1 else [sound.text]
            known.append(UnderstoodSound(name, matches, texts, sound.close))
        return known


def combine_masks(masks, roles):
    """Combines masks: the largest gain of the included parts, limited by 1 less the gain of every excluded part."""
    included = [mask for mask, role in zip(masks, roles) if role is PartRole.INCLUDE]
    limits = [1 - mask for mask, role in zip(masks, roles) if role is PartRole.EXCLUDE]
    return np.minimum.reduce([*([np.maximum.reduce(included)] if included else []), *limits])
