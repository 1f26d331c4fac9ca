"""Lists of stereo mixtures: each sound at a place of its own, at the same place, in the centre, or in a wide room.

The recordings are mono; a list places them. `level` places by constant power, `delay` by a pair of microphones apart from
each other, `room` adds a reverberation whose channels are independent.
"""

from dataclasses import dataclass

import numpy as np
import scipy.signal

from .captions import LABELS, usual_caption
from .data import conflicts, draw_loudest_part, energy, scale_to_snr

SEED = 32
SECONDS = 6.0
PEAK = 0.5
"""Largest sample of a mixture."""
MIN_DISTANCE = 0.35
"""Smallest distance of two places that count as apart; 1 is from hard left to hard right."""
MAX_DELAY = 0.0006
"""Delay between the channels of a source hard left or right, in seconds."""


@dataclass(frozen=True)
class StereoCase:
    """A mixture, the text that describes its first part, and its parts."""

    text: str
    parts: np.ndarray
    """[sounds, 2, N] float32, at their level and place in the mixture."""

    @property
    def mixture(self):
        """[2, N]"""
        return self.parts.sum(axis=0)

    @property
    def target(self):
        """[2, N]"""
        return self.parts[0]


def place_by_level(samples, place):
    """Places mono samples [N] by constant power: → [2, N]. `place`: 0 left, 0.5 centre, 1 right."""
    angle = place * np.pi / 2
    if place == 0.5:
        # Both channels are equal bit for bit.
        return np.stack([samples, samples]) * np.float32(np.sqrt(0.5))
    return np.stack([samples * np.float32(np.cos(angle)), samples * np.float32(np.sin(angle))])


def place_by_delay(samples, place, sample_rate):
    """Places mono samples [N] as two microphones apart hear them: by delay, and by at most 3 dB of level. → [2, N]."""
    delay = round((place - 0.5) * 2 * MAX_DELAY * sample_rate)
    left = np.roll(samples, max(delay, 0))
    right = np.roll(samples, max(-delay, 0))
    left[: max(delay, 0)] = 0
    right[: max(-delay, 0)] = 0
    tilt = 10 ** ((place - 0.5) * 3 / 20)
    return np.stack([left / np.float32(tilt), right * np.float32(tilt)]) * np.float32(np.sqrt(0.5))


def add_room(rng, placed, sample_rate, seconds, direct_to_reverberant):
    """Adds a reverberation to a placed sound [2, N], independent in each channel.

    `seconds`: time to −60 dB. `direct_to_reverberant`: in dB.
    """
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    dry = placed.sum(axis=0) * np.float32(np.sqrt(0.5))
    tails = []
    for _ in range(2):
        response = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
        tails.append(scipy.signal.fftconvolve(dry, response)[: len(dry)].astype(np.float32))
    tails = np.stack(tails)
    scale = np.sqrt(energy(placed.ravel()) / (energy(tails.ravel()) + 1e-9) * 10 ** (-direct_to_reverberant / 10))
    return placed + tails * np.float32(scale)


class StereoLists:
    """Lists of mixtures of the recordings that `pool` has of sounds that the first model knows: {list: [StereoCase]}."""

    def __init__(self, pool, vocabulary, sample_rate, cases, seed=SEED):
        """`pool`: {concept: [(corpus, clip)]}. `cases`: mixtures of each list."""
        self.pool, self.vocabulary, self.sample_rate = pool, vocabulary, sample_rate
        self.length = int(SECONDS * sample_rate)
        self._rng = np.random.default_rng(seed)
        self._labels = [label for label in LABELS if label in pool]
        self._rng.shuffle(self._labels)
        drawn = [self._labels[number % len(self._labels)] for number in range(cases)]
        level, delay = place_by_level, lambda samples, place: place_by_delay(samples, place, sample_rate)
        self.lists = {
            "two sounds, apart by level": [self._apart(label, 1, level) for label in drawn],
            "two sounds, apart by delay": [self._apart(label, 1, delay) for label in drawn],
            "three sounds, apart by level": [self._apart(label, 2, level) for label in drawn],
            "two sounds, in a wide room": [self._apart(label, 1, self._in_room) for label in drawn],
            "two sounds, same place": [self._together(label, self._rng.uniform(0, 1)) for label in drawn],
            "two sounds, both in the centre": [self._together(label, 0.5) for label in drawn],
        }

    def _in_room(self, samples, place):
        rng = self._rng
        placed = place_by_level(samples, place)
        return add_room(rng, placed, self.sample_rate, rng.uniform(0.3, 0.8), rng.uniform(3, 9))

    def _segment(self, concept, pool=None):
        clips = (pool or self.pool)[concept]
        corpus, clip = clips[self._rng.integers(len(clips))]
        return draw_loudest_part(self._rng, corpus.samples(clip), self.length)

    def _sounds(self, label, others):
        """Draws a recording of a label and of `others` that conflict with none, at equal energy: [(label, samples)]."""
        sounds = [(label, self._segment(label))]
        taken = set(conflicts(label))
        for _ in range(others):
            allowed = [other for other in self._labels if other not in taken]
            other = allowed[self._rng.integers(len(allowed))]
            taken |= conflicts(other)
            sounds.append((other, scale_to_snr(sounds[0][1], self._segment(other), 0.0)))
        return sounds

    def _places(self, count):
        while True:
            places = self._rng.uniform(0, 1, count)
            if np.diff(np.sort(places)).min(initial=1.0) >= MIN_DISTANCE:
                return places

    def _apart(self, label, others, place):
        sounds = self._sounds(label, others)
        places = self._places(len(sounds))
        return self._case(usual_caption(label), [place(samples, at) for (_, samples), at in zip(sounds, places)])

    def _together(self, label, at):
        return self._case(usual_caption(label), [place_by_level(samples, at) for _, samples in self._sounds(label, 1)])

    @staticmethod
    def _case(text, parts):
        parts = np.stack(parts).astype(np.float32)
        return StereoCase(text, parts * np.float32(PEAK / (np.abs(parts.sum(axis=0)).max() + 1e-9)))

    def add_bands(self, singers, cases):
        """Adds lists of bands at a mix's places: voice and bass in the centre, drums spread, chords to one side and wide.

        `singers`: pool of recordings that has the singers.
        """
        rng = self._rng
        voices = sorted(self.vocabulary.members["singing"] & singers.keys())
        chords = sorted((self.vocabulary.members["keyboards"] | self.vocabulary.members["guitar"]) & self.pool.keys())
        chords = [label for label in chords if label in LABELS]
        lists = {"vocals in a band": [], "drums in a band": [], "chords in a band": []}
        for _ in range(cases):
            chord = chords[rng.integers(len(chords))]
            sounds = {
                "vocals": (self._segment(voices[rng.integers(len(voices))], singers), 1.0),
                "drums": (self._segment("drums"), 0.8),
                "bass guitar": (self._segment("bass guitar"), 0.7),
                chord: (self._segment(chord), 0.7),
            }
            side = rng.uniform(0.05, 0.25)
            places = {"vocals": 0.5, "drums": 0.5, "bass guitar": 0.5, chord: side if rng.random() < 0.5 else 1 - side}
            # Direct sound over reverberation in dB: a dry bass, drums that fill the room.
            dryness = {"vocals": 12.0, "drums": 4.0, "bass guitar": 30.0, chord: 6.0}
            placed = {}
            for name, (samples, level) in sounds.items():
                samples = samples * np.float32(level / np.sqrt(energy(samples) + 1e-9))
                placed[name] = add_room(
                    rng, place_by_level(samples, places[name]), self.sample_rate, 0.5, dryness[name]
                )
            for wanted in ("vocals", "drums", chord):
                others = [part for name, part in placed.items() if name != wanted]
                list_name = f"{'chords' if wanted == chord else wanted} in a band"
                text = "vocals" if wanted == "vocals" else usual_caption(wanted)
                lists[list_name].append(self._case(text, [placed[wanted], *others]))
        self.lists |= lists

    def add_songs(self, corpora, cases):
        """Adds a list of the stems of songs in time, at a mix's places. `corpora`: Corpus objects that have stems."""
        windows = {}
        for corpus in corpora:
            for clip in corpus.clips:
                if clip.window:
                    windows.setdefault(clip.window, {}).setdefault(clip.label, (corpus, clip))
        usable = [stems for _, stems in sorted(windows.items()) if len(stems) >= 3]
        rng = self._rng
        found = []
        for number in range(cases):
            stems = usable[number % len(usable)]
            placed = {}
            for name, (corpus, clip) in stems.items():
                samples = corpus.samples(clip)[: self.length]
                samples = np.pad(samples, (0, self.length - len(samples)))
                samples = samples * np.float32(1 / np.sqrt(energy(samples) + 1e-9))
                umbrellas = self.vocabulary
                is_centre = any(name in umbrellas.members[umbrella] for umbrella in ("vocals", "bass")) or name in (
                    "kick drum",
                    "drums",
                    "snare drum",
                    "vocals",
                )
                place = 0.5 if is_centre else rng.choice([-1, 1]) * rng.uniform(0.2, 0.45) + 0.5
                placed[name] = add_room(rng, place_by_level(samples, place), self.sample_rate, 0.5, 8.0)
            wanted = sorted(placed)[rng.integers(len(placed))]
            others = [part for name, part in placed.items() if name != wanted]
            found.append(self._case(wanted, [placed[wanted], *others]))
        self.lists["stems of songs"] = found
