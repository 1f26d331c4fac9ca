"""The fixed list of validation mixtures: drawn from a fixed seed, so that all evaluations use the same ones."""

from dataclasses import dataclass

import numpy as np

from .captions import captions_of, usual_caption
from .data import conflicts, draw_loudest_part, scale_to_snr

SEED = 20_000
PRESENT_CASES = 512
"""Eight per label."""
ABSENT_CASES = 128
FURTHER_CASES = 64
"""The number of cases of each further list."""
SECONDS = 4.0
PEAK = 10 ** (-6 / 20)


@dataclass(frozen=True)
class Case:
    """A mixture and captions of one of its sources, or of an absent sound."""

    label: str
    captions: dict
    """Captions by the part of `captions_of`; "usual" is the usual caption."""
    mixture: np.ndarray
    """[N] float32."""
    parts: tuple
    """The sources at their level in the mixture, [N] each; the described one first."""
    labels: tuple
    """Labels of the parts."""
    absent: bool = False
    """Whether the described sound is not in the mixture."""

    @property
    def target(self):
        return np.zeros_like(self.mixture) if self.absent else self.parts[0]

    @property
    def caption(self):
        return self.captions["usual"]


class ValidationList:
    """Lists of mixtures of one split, the same for each instance.

    `present`: two sources at 0 dB. `absent`: two sources, and captions of a third label. `further`: other lists by
    name, separated only by the usual caption. `everything_but`: two sources, to be separated by a text that excludes the
    first. `both`: three sources, to be separated by a caption of the first two.
    """

    def __init__(self, corpus, config, present=PRESENT_CASES, absent=ABSENT_CASES, further=FURTHER_CASES):
        self.corpus = corpus
        self.length = int(SECONDS * config["audio"]["sample_rate"])
        rng = np.random.default_rng(SEED)
        labels = list(corpus.labels)
        rng.shuffle(labels)
        # All labels in turn, so that each has the same number of cases.
        self.present = [self._case(rng, labels[number % len(labels)]) for number in range(present)]
        self.absent = [self._case(rng, labels[number % len(labels)], absent=True) for number in range(absent)]
        drawn = [labels[number % len(labels)] for number in range(further)]
        self.everything_but = [self._case(rng, label) for label in drawn]
        self.both = [self._case(rng, label, interferers=2) for label in drawn]
        self.further = {
            "three sources of equal energy": [self._case(rng, label, interferers=2) for label in drawn],
            "two sources, -10 to 10 dB": [self._case(rng, label, snr=rng.uniform(-10, 10)) for label in drawn],
            "unseen speakers and one other source, 0 dB": [self._case(rng, "speech") for _ in drawn],
        }

    def _segment(self, rng, label):
        """Four seconds of a random clip, the loudest of four random positions; short clips repeat."""
        clips = self.corpus.by_label[label]
        return draw_loudest_part(rng, self.corpus.samples(clips[rng.integers(len(clips))]), self.length)

    def _other(self, rng, forbidden):
        allowed = [label for label in self.corpus.labels if label not in forbidden]
        return allowed[rng.integers(len(allowed))]

    def _case(self, rng, label, absent=False, interferers=1, snr=0.0):
        """Draws one case. `snr`: level of the target over each interferer, in dB."""
        forbidden = conflicts(label)
        others = [self._other(rng, forbidden)]
        first = self._other(rng, forbidden | set(others)) if absent else label
        parts = [self._segment(rng, first)]
        for number in range(interferers):
            if number > 0:
                others.append(self._other(rng, forbidden | set(others)))
            parts.append(scale_to_snr(parts[0], self._segment(rng, others[-1]), snr))
        mixture = sum(parts)
        gain = np.float32(PEAK / (np.abs(mixture).max() + 1e-9))
        captions = {"usual": usual_caption(label)}
        choice = rng.integers(1 << 20)
        for part in ("train", "held_out", "korean", "korean_held_out"):
            phrases = captions_of(label, part)
            captions[part] = phrases[choice % len(phrases)]
        return Case(label, captions, mixture * gain, tuple(part * gain for part in parts), (first, *others), absent)
