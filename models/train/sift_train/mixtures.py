"""Mixtures of the second model: what is heard together, and what is asked of it.

A *part* of a mixture is one sound with its concept. A *question* is a name of the vocabulary, or everything but it; its
target is the sum of all parts that answer to the name. Everything random is drawn from a generator seeded with the run's
seed and the step's number, so that step n sees the same batch however often a run was interrupted.
"""

from collections import defaultdict

import numpy as np
import torch

from .data import ARRANGEMENT, Augmentation, change_speed, energy

QUESTIONS = ("concept", "umbrella", "absent", "but")
"""A mixture is asked for one of its concepts, an umbrella of one, a name that is not there, or all but a name."""

BAND = {
    "vocals": ("vocals",),
    "backing vocals": ("backing vocals", "choir", "humming"),
    "drums": ("drums", "drum machine"),
    "bass": ("bass",),
    "chords": ("keyboards", "guitar", "synth pad", "organ", "strings"),
    "lead": ("woodwinds", "brass", "synth lead", "strings", "guitar", "mallets"),
}
"""The roles of a band, and the names whose members play them."""


class Source:
    """The recordings of one concept, by group."""

    def __init__(self, clips, weight_of):
        groups = defaultdict(list)
        for clip in clips:
            groups[clip.group].append(clip)
        self.groups = list(groups.values())
        # A group with many clips counts more than one with one, but not in proportion.
        weights = np.array([weight_of(group[0]) * len(group) ** 0.5 for group in self.groups])
        self.probabilities = weights / weights.sum()

    def draw(self, rng):
        """A clip, and the clips of its group."""
        group = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return group[rng.integers(len(group))], group


class VocabularyMixtureGenerator:
    """Draws training examples: a mixture, the part of it that a caption describes, and that caption.

    `corpus`: a Corpus of the vocabulary's labels. Captions are given as positions in `vocabulary.caption_set()`.
    """

    def __init__(self, corpus, vocabulary, config):
        self.corpus = corpus
        self.vocabulary = vocabulary
        self.options = config["mixing"]
        self.seed = config["training"]["seed"]
        self.batch_size = config["training"]["batch"]
        self.sample_rate = config["audio"]["sample_rate"]
        self.length = int(self.options["segment_seconds"] * self.sample_rate)
        unknown = sorted(set(corpus.labels) - set(vocabulary.concept_of))
        if unknown:
            raise ValueError(f"the corpus has labels that no concept of the vocabulary has: {', '.join(unknown)}")
        self.positions = {caption: place for place, caption in enumerate(vocabulary.caption_set().meanings)}
        made = set(self.options["made_sources"])

        def weight_of(clip):
            return self.options["made_weight"] if clip.rendered or clip.source in made else 1.0

        held_out = set(config["corpus"]["held_out_sources"])
        clips = defaultdict(list)
        for clip in corpus.clips:
            clips[vocabulary.concept_of[clip.label]].append(clip)
        self.sources = {}
        for concept, found in sorted(clips.items()):
            # A concept that only held-out sources have would otherwise not be learned at all.
            trained = [clip for clip in found if clip.source not in held_out] or found
            self.sources[concept] = Source(trained, weight_of)
        self.weights = {concept: self._weight(concept) for concept in self.sources}
        self._songs = self._aligned_stems()
        self._followers = vocabulary.members["voice"] | vocabulary.members["speech"]

    def _weight(self, concept):
        """How often a concept is the first part: more often with more groups, and by the configured factors."""
        options = self.options
        groups = min(len(self.sources[concept].groups), options["most_groups"])
        weight = groups ** options["group_exponent"]
        for name, factor in options["target_weights"].items():
            if concept == name:
                weight *= factor
        return weight

    def _aligned_stems(self):
        """[{concept: clip}] for every window of a song, and every arrangement, with two stems or more."""
        windows = defaultdict(dict)
        for clip in self.corpus.clips:
            if clip.group.startswith(ARRANGEMENT):
                windows[clip.group][self.vocabulary.concept_of[clip.label]] = clip
            elif clip.window is not None:
                windows[clip.window][self.vocabulary.concept_of[clip.label]] = clip
        return [stems for stems in windows.values() if len(stems) > 1]

    def _draw(self, rng, concepts):
        weights = np.array([self.weights[concept] for concept in concepts])
        return concepts[rng.choice(len(concepts), p=weights / weights.sum())]

    def _concepts_of(self, names):
        """The concepts with recordings that answer to one of these names."""
        members = set().union(*(self.vocabulary.members[name] for name in names))
        return sorted(concept for concept in members if concept in self.sources)

    def segment(self, rng, concept):
        """A segment of a concept: one recording, cut or placed at random, repeated where it is short. [N] float32."""
        clip, group = self.sources[concept].draw(rng)
        # Different utterances of one voice follow one another; other sounds repeat themselves.
        followers = group if concept in self._followers else [clip]
        options = self.options
        speed = 1.0
        if rng.random() < options["speed_probability"]:
            speed = float(np.exp(rng.uniform(*np.log(options["speed_range"]))))
        segment = np.zeros(self.length, np.float32)
        onset = 0 if rng.random() < 0.5 else int(rng.uniform(0, 0.6) * self.length)
        first = True
        while onset < self.length:
            samples = self.corpus.samples(clip)
            if first and len(samples) > self.length // 2:
                samples = self._loud_part(rng, samples)
            if speed != 1.0:
                samples = change_speed(samples[: int((self.length - onset) * speed) + 2], speed)
            samples = samples[: self.length - onset].copy()
            fade = min(self.sample_rate // 100, len(samples) // 2)
            if fade:
                ramp = np.linspace(0, 1, fade, dtype=np.float32)
                samples[:fade] *= ramp
                samples[-fade:] *= ramp[::-1]
            segment[onset : onset + len(samples)] += samples
            onset += len(samples) + int(rng.exponential(0.3) * self.sample_rate)
            if rng.random() < 0.15:
                break
            clip = followers[rng.integers(len(followers))]
            first = False
        return Augmentation(rng, self.length, self.sample_rate, options)(segment)

    def _loud_part(self, rng, samples):
        """`samples` from a random position on, where the next half segment is not much quieter than the whole."""
        level = energy(samples) / len(samples)
        half = self.length // 2
        for _ in range(6):
            start = int(rng.integers(0, len(samples) - half + 1))
            part = samples[start : start + half]
            if energy(part) / len(part) > 0.05 * level:
                return samples[start:]
        return samples

    def pair(self, rng):
        """A target and one to three interferers that could not answer to its name: [(concept, samples)]."""
        options = self.options
        target = self._draw(rng, list(self.sources))
        counts = options["interferer_counts"]
        count = 1 + int(rng.choice(len(counts), p=counts))
        forbidden = self.vocabulary.conflicts[target]
        parts = [(target, self._level(self.segment(rng, target), 0.0))]
        snr = float(np.clip(rng.normal(0, options["snr_deviation"]), -options["snr_limit"], options["snr_limit"]))
        others = []
        for _ in range(count):
            concept = self._interferer(rng, target, forbidden)
            others.append((concept, self._level(self.segment(rng, concept), rng.uniform(-8, 0))))
        if self._is_music(target) and rng.random() < options["pairing"]["music_beside_speech"]:
            concept = self._draw(rng, self._concepts_of(["speech"]))
            others[0] = (concept, self._level(self.segment(rng, concept), 0.0))
        interference = energy(sum(samples for _, samples in others)) + 1e-9
        gain = np.float32((energy(parts[0][1]) / interference * 10 ** (-snr / 10)) ** 0.5)
        return parts + [(concept, samples * gain) for concept, samples in others]

    def _interferer(self, rng, target, forbidden):
        allowed = [concept for concept in self.sources if concept not in forbidden]
        if (
            target in self.vocabulary.members["speech"]
            and rng.random() < self.options["pairing"]["speech_beside_music"]
        ):
            music = [concept for concept in allowed if self._is_music(concept)]
            return self._draw(rng, music)
        return self._draw(rng, allowed)

    def _is_music(self, concept):
        return "music" in self.vocabulary.umbrellas_of[concept]

    @staticmethod
    def _level(samples, decibels):
        """`samples` at this level over unit energy."""
        return samples * np.float32(10 ** (decibels / 20) / np.sqrt(energy(samples) + 1e-6))

    def band(self, rng):
        """A piece of music: stems of one song or arrangement, roles that lack filled from elsewhere.

        At a mix's levels, with a bus compressor over the sum. [(concept, samples)], at least two.
        """
        options = self.options["band"]
        parts = {}
        if self._songs and rng.random() < options["same_song"]:
            stems = self._songs[rng.integers(len(self._songs))]
            length = min(clip.length for clip in stems.values())
            start = int(rng.integers(0, max(1, length - self.length + 1)))
            for concept, clip in stems.items():
                samples = self.corpus.samples(clip)[start : start + self.length]
                samples = np.pad(samples, (0, self.length - len(samples)))
                if energy(samples) > 1e-3:
                    parts[concept] = Augmentation(rng, self.length, self.sample_rate, self.options)(samples)
        for role, names in BAND.items():
            taken = set().union(*(self.vocabulary.conflicts[name] for name in names)) if role != "chords" else set()
            played = any(concept in parts for concept in self._concepts_of(names)) or taken & parts.keys()
            if played or rng.random() >= options["roles"][role]:
                continue
            players = [found for name in names if (found := self._concepts_of([name]))]
            if not players:
                continue
            concept = self._draw(rng, players[rng.integers(len(players))])
            if concept not in parts:
                parts[concept] = self.segment(rng, concept)
        while len(parts) < 2:
            concept = self._draw(rng, self._concepts_of(["instrument"]))
            parts[concept] = self.segment(rng, concept)
        levelled = []
        for concept, samples in parts.items():
            usual = options["levels"].get(self._role(concept), options["levels"]["other"])
            levelled.append((concept, self._level(samples, usual + rng.normal(0, options["level_deviation"]))))
        return self._compressed(rng, levelled)

    def _role(self, concept):
        for role, names in BAND.items():
            if any(concept in self.vocabulary.members[name] for name in names):
                return role
        return "other"

    def _compressed(self, rng, parts):
        """The parts, under the gain that a bus compressor takes from their sum."""
        options = self.options["band"]
        if rng.random() >= options["compressor_probability"]:
            return parts
        mixture = sum(samples for _, samples in parts)
        frame = self.sample_rate // 100
        padded = np.pad(mixture, (0, -len(mixture) % frame)).reshape(-1, frame)
        level = 10 * np.log10((padded**2).mean(axis=1) + 1e-9)
        over = np.maximum(0, level - (level.max() - rng.uniform(6, 14)))
        reduction = over * (1 - 1 / rng.uniform(1.5, 4))
        # Fast attack, slow release: 10 ms frames, falling by half in a tenth of a second.
        for place in range(1, len(reduction)):
            reduction[place] = max(reduction[place], reduction[place - 1] * 0.93)
        centres = (np.arange(len(reduction)) + 0.5) * frame
        gain = 10 ** (-np.interp(np.arange(len(mixture)), centres, reduction) / 20)
        return [(concept, (samples * gain).astype(np.float32)) for concept, samples in parts]

    def _answers(self, name, concepts):
        """Which of these concepts answer to `name`, or None where one of them might and might not."""
        members = self.vocabulary.members[name]
        answering = [concept in members for concept in concepts]
        conflicts = self.vocabulary.conflicts[name]
        if any(concept in conflicts and not answers for concept, answers in zip(concepts, answering)):
            return None
        return answering

    def _question(self, rng, parts, kind):
        """The name that a mixture is asked for, and which parts answer; None where this mixture allows no such question."""
        concepts = [concept for concept, _ in parts]
        if kind == "absent":
            for _ in range(20):
                name = self.vocabulary.names[rng.integers(len(self.vocabulary.names))]
                if rng.random() < self.options["absent_trained"]:
                    name = self._draw(rng, list(self.sources))
                answering = self._answers(name, concepts)
                if answering is not None and not any(answering):
                    return name, answering
            return None
        # In a band, any part may be asked for; beside interferers, the first is the one that stands apart.
        concept = concepts[0] if len(parts) < 3 else concepts[rng.integers(len(concepts))]
        names = [concept]
        umbrellas = sorted(self.vocabulary.umbrellas_of[concept])
        if umbrellas and (kind == "umbrella" or (kind == "but" and rng.random() < 0.5)):
            names = [umbrellas[place] for place in rng.permutation(len(umbrellas))]
        for name in names:
            answering = self._answers(name, concepts)
            if answering is not None and not all(answering):
                return name, answering
        return None

    def example(self, rng):
        """A mixture and a question about it: (mixture [N], target [N], position of the caption, absent)."""
        while True:
            parts = self.band(rng) if rng.random() < self.options["band"]["probability"] else self.pair(rng)
            kind = rng.choice(QUESTIONS, p=[self.options["questions"][kind] for kind in QUESTIONS])
            question = self._question(rng, parts, kind)
            if question is None and kind != "concept":
                question = self._question(rng, parts, "concept")
            if question is None:
                continue
            name, answering = question
            absent = not any(answering)
            negated = kind == "but" and not absent
            target = np.zeros(self.length, np.float32)
            for (_, samples), answers in zip(parts, answering):
                if answers != negated:
                    target += samples
            mixture = sum(samples for _, samples in parts)
            # A part may be silent where a song was cut.
            if not absent and energy(target) < 1e-4 * energy(mixture):
                continue
            break
        peak = 10 ** (rng.uniform(*self.options["peak_range"]) / 20)
        gain = np.float32(peak / (np.abs(mixture).max() + 1e-6))
        language = "korean" if rng.random() < self.options["korean_probability"] else "train"
        captions = (self.vocabulary.except_captions if negated else self.vocabulary.captions)(name, language)
        caption = captions[rng.integers(len(captions))]
        return mixture * gain, target * gain, self.positions[caption], absent

    def batch(self, step):
        """The batch of one training step, as tensors: mixtures and targets [B, N], captions [B], absent [B]."""
        rng = np.random.default_rng([self.seed, step])
        mixtures, targets, captions, absent = zip(*(self.example(rng) for _ in range(self.batch_size)))
        return (
            torch.from_numpy(np.stack(mixtures)),
            torch.from_numpy(np.stack(targets)),
            torch.tensor(captions),
            torch.tensor(absent),
        )
