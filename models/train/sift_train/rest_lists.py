"""Lists of mixtures that measure what the rest of a text is worth, for the first model.

A list is of pairs, of three sounds, of bands, or of mixtures without the described sound. Its sounds are those that the first
model knows, except a band's singer, whom the text "vocals" describes.
"""

from dataclasses import dataclass

import numpy as np

from .captions import LABELS, usual_caption
from .data import conflicts, draw_loudest_part, energy, scale_to_snr
from .validation_list import PEAK, SECONDS

SEED = 34


@dataclass(frozen=True)
class RestCase:
    """A mixture, a text, and the names of what else is there and of what is not."""

    text: str
    mixture: np.ndarray
    """[N] float32."""
    target: np.ndarray | None
    """[N]; None if the described sound is absent."""
    others: tuple
    """Usual captions of the other sounds."""
    wrong: str
    """Label of a sound that is not in the mixture and does not conflict with its sounds."""


def from_validation_case(case, rng):
    """Makes a RestCase of a case of a ValidationList."""
    others = case.labels if case.absent else case.labels[1:]
    taken = set().union(*(conflicts(label) for label in (*case.labels, case.label)))
    return RestCase(
        case.caption,
        case.mixture,
        None if case.absent else case.target,
        tuple(usual_caption(label) for label in others),
        _draw_label(rng, taken),
    )


def _draw_label(rng, taken, among=LABELS):
    allowed = [label for label in among if label not in taken]
    return allowed[rng.integers(len(allowed))]


class RestLists:
    """Lists of one pool of recordings, the same for each instance: {list: [RestCase]}."""

    def __init__(self, pool, vocabulary, sample_rate, cases, seed=SEED):
        """`pool`: {concept: [(corpus, clip)]}. `cases`: pairs; the other lists are half as long."""
        self.pool, self.vocabulary = pool, vocabulary
        self.length = int(SECONDS * sample_rate)
        rng = np.random.default_rng(seed)
        labels = [label for label in LABELS if label in pool]
        rng.shuffle(labels)
        drawn = [labels[number % len(labels)] for number in range(cases)]
        self.lists = {
            "pairs": [self._mixture(rng, label, labels, 1) for label in drawn],
            "three sounds": [self._mixture(rng, label, labels, 2) for label in drawn[: cases // 2]],
            "absent": [self._mixture(rng, label, labels, 1, absent=True) for label in drawn[: cases // 2]],
        }

    def _segment(self, rng, concept):
        corpus, clip = self.pool[concept][rng.integers(len(self.pool[concept]))]
        return draw_loudest_part(rng, corpus.samples(clip), self.length)

    def _mixture(self, rng, label, labels, others, absent=False):
        taken = set(conflicts(label))
        first = _draw_label(rng, taken, labels) if absent else label
        names = [first]
        parts = [self._segment(rng, first)]
        for _ in range(others):
            taken |= conflicts(names[-1])
            names.append(_draw_label(rng, taken, labels))
            parts.append(scale_to_snr(parts[0], self._segment(rng, names[-1]), 0.0))
        taken |= conflicts(names[-1])
        return self._case(usual_caption(label), parts, names if absent else names[1:], _draw_label(rng, taken), absent)

    @staticmethod
    def _case(text, parts, others, wrong, absent=False):
        mixture = sum(parts)
        gain = np.float32(PEAK / (np.abs(mixture).max() + 1e-9))
        captions = tuple(usual_caption(name) for name in others)
        return RestCase(text, mixture * gain, None if absent else parts[0] * gain, captions, wrong)

    def add_bands(self, singers, cases):
        """Adds the lists `vocals` and `drums`: a singer at 0 dB with drums, bass guitar and chords.

        `singers`: pool of recordings that has the singers.
        """
        rng = np.random.default_rng(SEED + 1)
        voices = sorted(self.vocabulary.members["singing"] & singers.keys())
        chords = sorted((self.vocabulary.members["keyboards"] | self.vocabulary.members["guitar"]) & self.pool.keys())
        chords = [label for label in chords if label in LABELS]
        wrong = [label for label in LABELS if label not in self.vocabulary.members["music"] and label != "speech"]
        self.lists |= {"vocals in a band": [], "drums in a band": []}
        for _ in range(cases):
            voice = voices[rng.integers(len(voices))]
            corpus, clip = singers[voice][rng.integers(len(singers[voice]))]
            vocals = draw_loudest_part(rng, corpus.samples(clip), self.length)
            chord = chords[rng.integers(len(chords))]
            parts = [
                samples * np.float32(level / np.sqrt(energy(samples) + 1e-9))
                for level, samples in (
                    (1.0, self._segment(rng, "drums")),
                    (0.9, self._segment(rng, "bass guitar")),
                    (0.8, self._segment(rng, chord)),
                )
            ]
            scale = np.float32(np.sqrt(energy(vocals) / (energy(sum(parts)) + 1e-9)))
            drums, *others = (part * scale for part in parts)
            absent = _draw_label(rng, set(), wrong)
            self.lists["vocals in a band"].append(
                self._case("vocals", [vocals, drums, *others], ["drums", "bass guitar", chord], absent)
            )
            self.lists["drums in a band"].append(
                self._case("drums", [drums, *others, vocals], ["bass guitar", chord, "choir"], absent)
            )
