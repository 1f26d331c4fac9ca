"""Writes a package's `names.json`, the dictionary that a text is looked up in before the query network encodes it.

    models/train/python -m sift_train.names

Each concept of the package gets the trained phrases of the vocabulary that mean it. Phrases of the other sounds of the
vocabulary are *unknown*. Words for singing are in neither, because the plugin knows them as sets of sounds
(`names.toml`), and so are the other names in that file.
"""

import argparse
import json
import tomllib
from pathlib import Path

from . import config as configuration
from .captions import LABELS, TEMPLATES, captions_of
from .concepts import CONCEPTS_FILE
from .vocabulary import Vocabulary

NAMES_FILE = "names.json"
PLUGIN_NAMES = configuration.REPOSITORY / "plugin" / "engine" / "src" / "query" / "names.toml"
ARTICLES = ("a", "an", "the")
SOUND = " 소리"
"""Korean for "sound", which follows a name."""

GUITARS = ("acoustic guitar", "distorted guitar", "electric guitar")
KEYBOARDS = ("electric piano", "organ", "piano", "synthesizer")

GENERAL = frozenset({"kitchen", "music", "noise"})
"""Concepts that do not stand for the sounds of which they are an umbrella: a blender is not "kitchen"."""

# fmt: off
LEFT_OUT = frozenset({
    "ambience", "background noise", "backing vocals", "child singing", "female singing", "male singing",
    "opera singing", "singing", "vocal sounds", "vocals",
})
"""Names of the vocabulary that the plugin knows as sets of sounds."""

MEANS = {
    "808 bass": ("bass guitar", "drums"),
    "acid bass": ("synthesizer",),
    "aircraft": ("airplane",),
    "alarm clock": ("alarm",),
    "alarm sounds": ("alarm",),
    "applause": ("hand clapping",),
    "bass": ("bass guitar",),
    "bass clarinet": ("clarinet",),
    "bell sounds": ("bell",),
    "bicycle bell": ("bell",),
    "bird": ("birds chirping",),
    "bongos": ("drums",),
    "boxing bell": ("bell",),
    "bus engine": ("traffic",),
    "cajon": ("drums",),
    "car alarm": ("alarm",),
    "car door": ("door",),
    "car engine": ("traffic",),
    "car horn": ("traffic",),
    "car passing": ("traffic",),
    "cartoon voice": ("speech",),
    "cat": ("cat purring",),
    "chanting": ("choir",),
    "chicken clucking": ("rooster crowing",),
    "church bells": ("bell",),
    "cicadas": ("crickets",),
    "classical guitar": ("acoustic guitar",),
    "congas": ("drums",),
    "coyote howling": ("wolf howling",),
    "crowd": ("crowd chatter",),
    "cuckoo": ("birds chirping",),
    "cupboard opening and closing": ("door",),
    "cutlery clatter": ("kitchen",),
    "daegeum": ("flute",),
    "darbuka": ("drums",),
    "desert wind": ("wind",),
    "desk bell": ("bell",),
    "dishes clatter": ("kitchen",),
    "distorted bass": ("bass guitar",),
    "djembe": ("drums",),
    "dog": ("dog barking",),
    "dog growling": ("dog barking",),
    "dog howling": ("dog barking",),
    "dog whining": ("dog barking",),
    "door sounds": ("door",),
    "doorbell": ("bell",),
    "double bass": ("bass guitar", "strings"),
    "drill": ("construction site",),
    "dundun drums": ("drums",),
    "electric hum": ("noise",),
    "exotic birds": ("birds chirping",),
    "explosion sounds": ("explosion",),
    "extractor hood fan": ("fan",),
    "fire": ("crackling fire",),
    "fretless bass": ("bass guitar",),
    "goat bleating": ("sheep bleating",),
    "grasshopper": ("crickets",),
    "guitar": GUITARS,
    "hammering": ("construction site",),
    "hand drum": ("drums",),
    "hissing": ("noise",),
    "honky-tonk piano": ("piano",),
    "insect": ("bees buzzing", "crickets"),
    "insect buzzing": ("bees buzzing",),
    "insects at night": ("crickets",),
    "instrument": ("music",),
    "jackhammer": ("construction site",),
    "janggu": ("drums",),
    "jazz guitar": ("electric guitar",),
    "jet engine": ("airplane",),
    "keyboard instrument": KEYBOARDS,
    "keyboards": KEYBOARDS,
    "lamb bleating": ("sheep bleating",),
    "light bulb breaking": ("glass breaking",),
    "madal": ("drums",),
    "mallet percussion": ("marimba",),
    "mallets": ("marimba",),
    "mortar and pestle": ("kitchen",),
    "mumbling": ("speech",),
    "muted trumpet": ("trumpet",),
    "page turning": ("paper rustling",),
    "pan flute": ("flute",),
    "paper": ("paper rustling",),
    "peeling vegetables": ("kitchen",),
    "percussion": ("drums",),
    "piccolo": ("flute",),
    "picked bass": ("bass guitar",),
    "prepared piano": ("piano",),
    "propeller airplane": ("airplane",),
    "puppy barking": ("dog barking",),
    "rain on a roof": ("rain",),
    "recorder": ("flute",),
    "running tap": ("stream",),
    "shaker": ("drums",),
    "shakuhachi": ("flute",),
    "slap bass": ("bass guitar",),
    "sleigh bells": ("bell",),
    "surdo": ("drums",),
    "synth bass": ("synthesizer",),
    "synth strings": ("strings", "synthesizer"),
    "tabla": ("drums",),
    "tambourine": ("drums",),
    "tearing paper": ("paper rustling",),
    "temple bell": ("bell",),
    "timbales": ("drums",),
    "timpani": ("drums",),
    "tires on road": ("traffic",),
    "truck backing up beep": ("beeping",),
    "truck engine": ("traffic",),
    "tubular bells": ("bell",),
    "typing": ("keyboard typing",),
    "vehicle": ("traffic",),
    "vibraphone": ("marimba",),
    "viola": ("violin",),
    "voice": ("speech",),
    "washing dishes": ("kitchen",),
    "water": ("stream", "water drops", "water splash"),
    "water ripples": ("stream",),
    "weather": ("rain", "thunder", "wind"),
    "whispering": ("speech",),
    "wind in trees": ("wind",),
    "wobble bass": ("synthesizer",),
    "woodwinds": ("clarinet", "flute", "saxophone"),
    "xylophone": ("marimba",),
    # Sounds that their umbrella or label does not mean.
    "riser": (),
    "sarangi": (),
    "theremin": (),
    "wading through water": (),
}
"""Concepts that mean a name of the vocabulary, where its umbrellas do not say so. Most of these names occur in the
captions of that concept in `captions.toml`. A concept of the package with the name itself precedes."""

DOORS = ("airlock door", "airplane door", "door creaking", "door opening", "gate", "knocking on a door",
         "refrigerator door", "sliding door", "stone door", "train doors", "unlocking a door")
MEANS |= dict.fromkeys(DOORS, ("door",))
MEANS |= dict.fromkeys(("guitar harmonics", "muted guitar"), GUITARS)

GROUPS_OF_UMBRELLAS = {
    "aircraft": "street", "alarm sounds": "signal", "ambience": "nature", "animal": "animal", "bell sounds": "signal",
    "bird": "animal", "boat": "water", "body sounds": "body", "cat": "animal", "crowd": "voice", "dog": "animal",
    "door sounds": "home", "engine": "street", "explosion sounds": "impact", "fire": "nature", "footsteps": "body",
    "hand tool": "machine", "insect": "animal", "instrument": "music", "kitchen": "home", "machine": "machine",
    "music": "music", "paper": "office", "phone": "signal", "power tool": "machine", "train": "street",
    "typing": "office", "vehicle": "street", "vocals": "voice", "voice": "voice", "water": "water",
    "weather": "weather",
}
"""The subject that an umbrella belongs to."""

GROUPS = {
    "bell": ("music", "signal"), "boiling water": ("home", "water"), "cat purring": ("animal", "home"),
    "clock ticking": ("home",), "construction site": ("machine", "street"), "dog barking": ("animal", "home"),
    "fan": ("home", "machine"), "footsteps": ("body",), "glass breaking": ("impact", "home"),
    "hair dryer": ("home", "machine"), "kitchen": ("home",), "music": ("music",), "noise": ("noise",),
    "projector": ("machine", "office"), "radio static": ("noise",), "rain": ("water", "weather"),
    "rowing": ("water",), "siren": ("signal", "street"), "stomping": ("body", "music"),
    "traffic": ("street",), "train": ("street",), "vinyl crackle": ("music", "noise"),
    "washing machine": ("home", "machine"), "wind": ("weather",), "wind chimes": ("music", "signal"),
    "windshield wipers": ("street",), "woodpecker pecking": ("animal",),
}
"""The subjects of concepts, where those of their umbrellas are missing or misleading."""

SINGING = ("노래", "노랫", "가수", "가창", "랩", "래퍼", "보컬", "아카펠라", "acapella", "acappella", "cappella",
           "frontman", "rapper", "rapping", "singer", "singing", "sung", "vocal", "vocals", "vocalist", "vox")
"""Words that mean singing, in phrases of speech and of unknown kinds of vocals."""

NOT_NAMES = ("는", "은", "던", "한", "운", "난", "린", "긴", "간", "켠", "의", "때", "에서")
"""Endings of Korean verbs before a noun, and of adverbials."""

SHORT_NAMES = frozenset({"소"})
"""Korean names of one syllable that mean a sound by themselves. Most others are onomatopoeic."""

# fmt: on
OBJECT = "object"
"""The subject of concepts without another one: things of everyday life."""


def normalise(phrase):
    """Returns a phrase in lower case, with single spaces and without English articles."""
    words = phrase.lower().split()
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return " ".join(words)


def plugin_names(path=PLUGIN_NAMES):
    """Returns the names that the plugin itself gives a meaning to, normalised: sets of sounds and ambiguous words."""
    with open(path, "rb") as file:
        entries = tomllib.load(file)
    return {normalise(name) for kind in ("set", "meaning") for entry in entries[kind] for name in entry["names"]}


def resolve(name, concepts, vocabulary):
    """Returns the concepts of a package that mean a name of the vocabulary, sorted; empty if there is none.

    `concepts`: all names of concepts of the package.
    """
    own = {name, *(label for label, concept in vocabulary.concept_of.items() if concept == name)} & concepts
    if own:
        return sorted(own)
    if name in MEANS:
        return sorted(concepts & set(MEANS[name]))
    return sorted((vocabulary.umbrellas_of.get(name, frozenset()) & concepts) - GENERAL)


def groups_of(concept, vocabulary):
    """Returns the subjects of a concept, sorted."""
    if concept in GROUPS:
        return sorted(GROUPS[concept])
    umbrellas = vocabulary.umbrellas_of.get(concept, frozenset()) | {concept}
    found = {GROUPS_OF_UMBRELLAS[umbrella] for umbrella in umbrellas if umbrella in GROUPS_OF_UMBRELLAS}
    return sorted(found) or [OBJECT]


def trained_phrases(name, vocabulary):
    """Returns the phrases of a name that training uses, without those of templates, normalised."""
    noun = vocabulary.usual_caption(name)
    templated = {template.format(label=name, noun=noun) for template in TEMPLATES} - {name, noun}
    trained = dict.fromkeys(vocabulary.captions(name, "train") + vocabulary.captions(name, "korean"))
    return list(dict.fromkeys(normalise(phrase) for phrase in trained if phrase not in templated))


def stands_alone(name):
    """Whether a Korean phrase without the word for "sound" is a name, and not a verb form or an adverbial."""
    return (len(name) > 1 or name in SHORT_NAMES) and not name.endswith(NOT_NAMES)


def held_out_names(vocabulary):
    """Returns the phrases that evaluations keep from training, but for those that are also trained; normalised."""
    held_out, trained = set(), set()
    for name in vocabulary.names:
        trained.update(map(normalise, vocabulary.captions(name, "train") + vocabulary.captions(name, "korean")))
        for part in ("held_out", "korean_held_out"):
            held_out.update(map(normalise, vocabulary.captions(name, part)))
    for label in LABELS:
        trained.update(map(normalise, captions_of(label, "train") + captions_of(label, "korean")))
        for part in ("held_out", "korean_held_out"):
            held_out.update(map(normalise, captions_of(label, part)))
    return held_out - trained


def is_singing(phrase):
    """Whether a phrase has a word that means singing."""
    return any(word in phrase if not word.isascii() else word in phrase.split() for word in SINGING)


def find_names(concepts, vocabulary, reserved=frozenset()):
    """Finds the phrases of a package's concepts, and those of the vocabulary that mean none of them.

    `concepts`: names of the package's concepts, in its order. `reserved`: names that the plugin gives a meaning to.

    Returns ({concept: set of names}, set of unknown names).
    """
    known, unknown = {concept: {concept} for concept in concepts}, set()
    for name in vocabulary.names:
        if name in LEFT_OUT and name not in known:
            continue
        resolved = resolve(name, known.keys(), vocabulary)
        sings = resolved == ["speech"] or (not resolved and "vocals" in vocabulary.umbrellas_of.get(name, ()))
        for phrase in trained_phrases(name, vocabulary):
            if sings and is_singing(phrase):
                continue
            for concept in resolved:
                known[concept].add(phrase)
            if not resolved:
                unknown.add(phrase)
    held_out = held_out_names(vocabulary)
    for phrases in (*known.values(), unknown):
        alone = (phrase.removesuffix(SOUND) for phrase in phrases if phrase.endswith(SOUND))
        phrases |= {name for name in alone if stands_alone(name)} - held_out
    for concept, phrases in known.items():
        phrases -= reserved - {concept}
    return known, unknown - reserved - set().union(*known.values())


def table(concepts, vocabulary, reserved=frozenset()):
    """Returns the contents of `names.json`, see `find_names`."""
    known, unknown = find_names(concepts, vocabulary, reserved)
    rows = [
        {"name": concept, "groups": groups_of(concept, vocabulary), "names": sorted(known[concept])}
        for concept in concepts
    ]
    return {"concepts": rows, "unknown": sorted(unknown)}


def format_table(contents):
    """Returns the text of `names.json`: JSON with a line per concept."""
    rows = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in contents["concepts"])
    unknown = json.dumps(contents["unknown"], ensure_ascii=False, separators=(",", ":"))
    return f'{{"concepts":[\n{rows}\n],\n"unknown":{unknown}}}\n'


def write(package, vocabulary):
    """Writes `names.json` into a package's folder, from the concepts in its `concepts.json`. Returns its path."""
    with open(Path(package) / CONCEPTS_FILE, encoding="utf-8") as file:
        concepts = [row["name"] for row in json.load(file)["concepts"]]
    path = Path(package) / NAMES_FILE
    path.write_text(format_table(table(concepts, vocabulary, plugin_names())), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser(description="Writes the dictionary of a package's names.")
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--vocabulary", type=Path, default=configuration.TRAIN_FOLDER / "vocabulary")
    arguments = parser.parse_args()
    path = write(arguments.package, Vocabulary(arguments.vocabulary))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
