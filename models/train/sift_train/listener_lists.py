"""Fixed lists of mixtures that judge the listener: two and three sounds at equal energy, and bands.

`recordings`: the validation split of the corpora. `other recordings`: the held-out sources, which nothing trains on.
"""

from dataclasses import dataclass

import numpy as np

from .data import Corpus, draw_loudest_part, scale_to_snr

SEED = 30
PEAK = 0.5
"""Largest sample of a mixture."""
SECONDS = 4.0


@dataclass(frozen=True)
class ListenerCase:
    """A mixture and its sounds."""

    mixture: np.ndarray
    """[N] float32."""
    parts: tuple
    """(concept, samples [N]) of each sound."""


def collect_recordings(corpora, concept_of, is_selected):
    """Returns {concept: [(corpus, clip)]} of the selected clips."""
    found = {}
    for corpus in corpora:
        for clip in corpus.clips:
            if is_selected(clip):
                found.setdefault(concept_of[clip.label], []).append((corpus, clip))
    return found


def validation_pools(config, vocabulary):
    """Returns the recordings of the first and the second corpus's validation split and of the held-out sources, by name."""
    rate = config["audio"]["sample_rate"]
    folders = [config["corpus"]["path"], *config["corpus"]["further"]]
    held_out = set(config["corpus"]["held_out_sources"])
    validation = [Corpus(folder, "val", rate) for folder in folders]
    training = [Corpus(folder, "train", rate) for folder in folders]

    def collect(corpora, is_selected):
        return collect_recordings(corpora, vocabulary.concept_of, is_selected)

    trained = collect(training, lambda clip: clip.source not in held_out)
    other = collect(validation + training, lambda clip: clip.source in held_out)
    return {
        "first": collect(validation[:1], lambda clip: clip.source not in held_out),
        "second": collect(validation[1:], lambda clip: clip.source not in held_out),
        "other": {concept: clips for concept, clips in other.items() if concept in trained},
    }


def merge(*pools):
    """Joins pools of recordings."""
    merged = {}
    for pool in pools:
        for concept, clips in pool.items():
            merged[concept] = merged.get(concept, []) + clips
    return merged


class ListenerLists:
    """Lists of mixtures of one pool of recordings, the same for each instance."""

    def __init__(self, pool, vocabulary, sample_rate, cases, seed=SEED):
        self.pool, self.vocabulary = pool, vocabulary
        self.length = int(SECONDS * sample_rate)
        rng = np.random.default_rng(seed)
        concepts = sorted(pool)
        rng.shuffle(concepts)
        drawn = [concepts[number % len(concepts)] for number in range(cases)]
        self.lists = {
            "one sound": [self._mixture(rng, concept, 0) for concept in drawn],
            "two sounds": [self._mixture(rng, concept, 1) for concept in drawn],
            "three sounds": [self._mixture(rng, concept, 2) for concept in drawn],
        }
        bands = [self._band(rng) for _ in range(cases // 2)]
        if all(bands):
            self.lists["band"] = bands

    def _segment(self, rng, concept):
        corpus, clip = self.pool[concept][rng.integers(len(self.pool[concept]))]
        return draw_loudest_part(rng, corpus.samples(clip), self.length)

    def _finish(self, parts):
        gain = np.float32(PEAK / (np.abs(sum(samples for _, samples in parts)).max() + 1e-9))
        parts = tuple((concept, samples * gain) for concept, samples in parts)
        return ListenerCase(sum(samples for _, samples in parts), parts)

    def _mixture(self, rng, concept, others):
        """Mixes a recording of a concept with `others` that conflict with none of the sounds, at equal energy."""
        parts = [(concept, self._segment(rng, concept))]
        conflicts = self.vocabulary.conflicts
        for _ in range(others):
            taken = [name for name, _ in parts]
            allowed = [
                other
                for other in sorted(self.pool)
                if not any(other in conflicts[name] or name in conflicts[other] for name in taken)
            ]
            other = allowed[rng.integers(len(allowed))]
            parts.append((other, scale_to_snr(parts[0][1], self._segment(rng, other), 0.0)))
        return self._finish(parts)

    def _band(self, rng):
        """Mixes a voice, drums, bass and chords at the levels of a mix. None if the pool lacks one of them."""
        parts = []
        for names, level in (
            (("vocals", "singing"), 0),
            (("drums",), 0),
            (("bass",), -1),
            (("keyboards", "guitar"), -2),
        ):
            members = sorted(set().union(*(self.vocabulary.members[name] for name in names)) & self.pool.keys())
            if not members:
                return None
            concept = members[rng.integers(len(members))]
            segment = self._segment(rng, concept)
            parts.append((concept, segment if not parts else scale_to_snr(parts[0][1], segment, -float(level))))
        return self._finish(parts)
