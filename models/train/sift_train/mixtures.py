"""Training mixtures of the second model and their captions.

A *part* of a mixture is one sound and its concept. A caption describes a name of the vocabulary; the target is the sum
of all parts that match. All random choices of step n come from a generator seeded with the run's
seed and n, so the batch of a step does not depend on how often the run was interrupted.
"""

from collections import defaultdict

import numpy as np
import torch

from .data import ARRANGEMENT_PREFIX, Augmentation, draw_segment, energy

CAPTION_KINDS = ("concept", "umbrella", "absent")
"""Kinds of captions: a concept of the mixture, an umbrella of one, an absent name."""

BAND_ROLES = {
    "vocals": ("vocals",),
    "backing vocals": ("backing vocals", "choir", "humming"),
    "drums": ("drums", "drum machine"),
    "bass": ("bass",),
    "chords": ("keyboards", "guitar", "synth pad", "organ", "strings"),
    "lead": ("woodwinds", "brass", "synth lead", "strings", "guitar", "mallets"),
}
"""The roles of a band, each with the names whose members can have it."""


class ConceptRecordings:
    """The recordings of one concept, by group."""

    def __init__(self, clips, weight_of):
        groups = defaultdict(list)
        for clip in clips:
            groups[clip.group].append(clip)
        self.groups = list(groups.values())
        # The square root keeps large groups from dominating.
        weights = np.array([weight_of(group[0]) * len(group) ** 0.5 for group in self.groups])
        self.probabilities = weights / weights.sum()

    def draw(self, rng):
        """Draws a clip. Returns it and all clips of its group."""
        group = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return group[rng.integers(len(group))], group


class VocabularyMixtureGenerator:
    """Draws training examples: a mixture, the target in it, and a caption of the target.

    `corpus`: a Corpus of the vocabulary's labels. Batches contain captions as indices into `vocabulary.caption_set()`.
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
            raise ValueError(
                f"concepts.csv: no concept for the corpus labels {', '.join(unknown)}; expected one for each label"
            )
        self.caption_indices = {caption: index for index, caption in enumerate(vocabulary.caption_set().meanings)}
        made = set(self.options["made_sources"])

        def weight_of(clip):
            return self.options["made_weight"] if clip.is_rendered or clip.source in made else 1.0

        held_out = set(config["corpus"]["held_out_sources"])
        clips = defaultdict(list)
        for clip in corpus.clips:
            clips[vocabulary.concept_of[clip.label]].append(clip)
        self.recordings = {}
        for concept, found in sorted(clips.items()):
            # Without the fallback, training would lack the concepts that only held-out sources have.
            trained = [clip for clip in found if clip.source not in held_out] or found
            self.recordings[concept] = ConceptRecordings(trained, weight_of)
        self.weights = {concept: self._weight(concept) for concept in self.recordings}
        self._passages = self._group_stems()
        self._voices = vocabulary.members["voice"] | vocabulary.members["speech"]

    def _weight(self, concept):
        """Returns the relative frequency of a concept as the target, from its number of groups and the configuration."""
        options = self.options
        groups = min(len(self.recordings[concept].groups), options["most_groups"])
        weight = groups ** options["group_exponent"]
        for name, factor in options["target_weights"].items():
            if concept == name:
                weight *= factor
        return weight

    def _group_stems(self):
        """Returns {concept: clip} for each passage of a song and each arrangement that has two stems or more."""
        passages = defaultdict(dict)
        for clip in self.corpus.clips:
            if clip.group.startswith(ARRANGEMENT_PREFIX):
                passages[clip.group][self.vocabulary.concept_of[clip.label]] = clip
            elif clip.window is not None:
                passages[clip.window][self.vocabulary.concept_of[clip.label]] = clip
        return [stems for stems in passages.values() if len(stems) > 1]

    def _draw_concept(self, rng, concepts):
        weights = np.array([self.weights[concept] for concept in concepts])
        return concepts[rng.choice(len(concepts), p=weights / weights.sum())]

    def concepts_of(self, names):
        """Returns the concepts that match one of these names and have recordings."""
        members = set().union(*(self.vocabulary.members[name] for name in names))
        return sorted(concept for concept in members if concept in self.recordings)

    def draw_segment(self, rng, concept):
        """Draws a segment [N] of a concept: one recording, cut or placed at random, repeated where it is short."""
        clip, group = self.recordings[concept].draw(rng)
        # Voices continue with other clips of the same group; other sounds repeat the same clip.
        followers = group if concept in self._voices else [clip]
        return draw_segment(rng, self.corpus, clip, followers, self.length, self.options)

    def draw_pair(self, rng):
        """Draws a target and one to three interferers that do not match its name: [(concept, samples)]."""
        options = self.options
        target = self._draw_concept(rng, list(self.recordings))
        counts = options["interferer_counts"]
        count = 1 + int(rng.choice(len(counts), p=counts))
        forbidden = self.vocabulary.conflicts[target]
        parts = [(target, self.scale_to_level(self.draw_segment(rng, target), 0.0))]
        snr = float(np.clip(rng.normal(0, options["snr_deviation"]), -options["snr_limit"], options["snr_limit"]))
        others = []
        for _ in range(count):
            concept = self._draw_interferer(rng, target, forbidden)
            others.append((concept, self.scale_to_level(self.draw_segment(rng, concept), rng.uniform(-8, 0))))
        if self._is_music(target) and rng.random() < options["pairing"]["music_beside_speech"]:
            concept = self._draw_concept(rng, self.concepts_of(["speech"]))
            others[0] = (concept, self.scale_to_level(self.draw_segment(rng, concept), 0.0))
        interference = energy(sum(samples for _, samples in others)) + 1e-9
        gain = np.float32((energy(parts[0][1]) / interference * 10 ** (-snr / 10)) ** 0.5)
        return parts + [(concept, samples * gain) for concept, samples in others]

    def _draw_interferer(self, rng, target, forbidden):
        allowed = [concept for concept in self.recordings if concept not in forbidden]
        if (
            target in self.vocabulary.members["speech"]
            and rng.random() < self.options["pairing"]["speech_beside_music"]
        ):
            music = [concept for concept in allowed if self._is_music(concept)]
            return self._draw_concept(rng, music)
        return self._draw_concept(rng, allowed)

    def _is_music(self, concept):
        return "music" in self.vocabulary.umbrellas_of[concept]

    @staticmethod
    def scale_to_level(samples, decibels):
        """Scales `samples` to this level relative to unit energy."""
        return samples * np.float32(10 ** (decibels / 20) / np.sqrt(energy(samples) + 1e-6))

    def draw_band(self, rng):
        """Draws the parts of a piece of music: [(concept, samples)], at least two.

        Starts from the stems of a song or arrangement and fills missing roles from other recordings. Levels are those of
        a mix; a bus compressor may act on the sum.
        """
        options = self.options["band"]
        parts = {}
        if self._passages and rng.random() < options["same_song"]:
            stems = self._passages[rng.integers(len(self._passages))]
            length = min(clip.length for clip in stems.values())
            start = int(rng.integers(0, max(1, length - self.length + 1)))
            for concept, clip in stems.items():
                samples = self.corpus.samples(clip)[start : start + self.length]
                samples = np.pad(samples, (0, self.length - len(samples)))
                if energy(samples) > 1e-3:
                    parts[concept] = Augmentation(rng, self.length, self.sample_rate, self.options)(samples)
        for role, names in BAND_ROLES.items():
            taken = set().union(*(self.vocabulary.conflicts[name] for name in names)) if role != "chords" else set()
            is_filled = any(concept in parts for concept in self.concepts_of(names)) or taken & parts.keys()
            if is_filled or rng.random() >= options["roles"][role]:
                continue
            candidates = [found for name in names if (found := self.concepts_of([name]))]
            if not candidates:
                continue
            concept = self._draw_concept(rng, candidates[rng.integers(len(candidates))])
            if concept not in parts:
                parts[concept] = self.draw_segment(rng, concept)
        while len(parts) < 2:
            concept = self._draw_concept(rng, self.concepts_of(["instrument"]))
            parts[concept] = self.draw_segment(rng, concept)
        levelled = []
        for concept, samples in parts.items():
            level = options["levels"].get(self._role_of(concept), options["levels"]["other"])
            levelled.append((concept, self.scale_to_level(samples, level + rng.normal(0, options["level_deviation"]))))
        return self._compress(rng, levelled)

    def _role_of(self, concept):
        for role, names in BAND_ROLES.items():
            if any(concept in self.vocabulary.members[name] for name in names):
                return role
        return "other"

    def _compress(self, rng, parts):
        """Applies to each part the gain that a bus compressor derives from their sum, or no gain."""
        options = self.options["band"]
        if rng.random() >= options["compressor_probability"]:
            return parts
        mixture = sum(samples for _, samples in parts)
        frame_length = self.sample_rate // 100
        padded = np.pad(mixture, (0, -len(mixture) % frame_length)).reshape(-1, frame_length)
        level = 10 * np.log10((padded**2).mean(axis=1) + 1e-9)
        over = np.maximum(0, level - (level.max() - rng.uniform(6, 14)))
        reduction = over * (1 - 1 / rng.uniform(1.5, 4))
        # Instant attack; the release halves the reduction in a tenth of a second (10 ms frames).
        for frame_index in range(1, len(reduction)):
            reduction[frame_index] = max(reduction[frame_index], reduction[frame_index - 1] * 0.93)
        centres = (np.arange(len(reduction)) + 0.5) * frame_length
        gain = 10 ** (-np.interp(np.arange(len(mixture)), centres, reduction) / 20)
        return [(concept, (samples * gain).astype(np.float32)) for concept, samples in parts]

    def _match(self, name, concepts):
        """Returns for each concept whether it matches `name`, or None if a concept conflicts with `name` without matching."""
        members = self.vocabulary.members[name]
        matches = [concept in members for concept in concepts]
        conflicts = self.vocabulary.conflicts[name]
        if any(concept in conflicts and not is_match for concept, is_match in zip(concepts, matches)):
            return None
        return matches

    def _draw_name(self, rng, parts, kind):
        """Draws a name for a mixture: (name, whether each part matches it). None if no name of this kind is unambiguous."""
        concepts = [concept for concept, _ in parts]
        if kind == "absent":
            for _ in range(20):
                name = self.vocabulary.names[rng.integers(len(self.vocabulary.names))]
                if rng.random() < self.options["absent_trained"]:
                    name = self._draw_concept(rng, list(self.recordings))
                matches = self._match(name, concepts)
                if matches is not None and not any(matches):
                    return name, matches
            return None
        # Of two parts the first is the target; of three or more any part can be.
        concept = concepts[0] if len(parts) < 3 else concepts[rng.integers(len(concepts))]
        names = [concept]
        umbrellas = sorted(self.vocabulary.umbrellas_of[concept])
        if umbrellas and kind == "umbrella":
            names = [umbrellas[index] for index in rng.permutation(len(umbrellas))]
        for name in names:
            matches = self._match(name, concepts)
            if matches is not None and not all(matches):
                return name, matches
        return None

    def draw_example(self, rng):
        """Draws an example: (mixture [N], target [N], index of the caption, absent)."""
        while True:
            parts = self.draw_band(rng) if rng.random() < self.options["band"]["probability"] else self.draw_pair(rng)
            kind = rng.choice(CAPTION_KINDS, p=[self.options["questions"][kind] for kind in CAPTION_KINDS])
            described = self._draw_name(rng, parts, kind)
            if described is None and kind != "concept":
                described = self._draw_name(rng, parts, "concept")
            if described is None:
                continue
            name, matches = described
            absent = not any(matches)
            target = np.zeros(self.length, np.float32)
            for (_, samples), is_match in zip(parts, matches):
                if is_match:
                    target += samples
            mixture = sum(samples for _, samples in parts)
            # The passage of a song may contain silence in one of its stems.
            if not absent and energy(target) < 1e-4 * energy(mixture):
                continue
            break
        peak = 10 ** (rng.uniform(*self.options["peak_range"]) / 20)
        gain = np.float32(peak / (np.abs(mixture).max() + 1e-6))
        language = "korean" if rng.random() < self.options["korean_probability"] else "train"
        captions = self.vocabulary.captions(name, language)
        caption = captions[rng.integers(len(captions))]
        return mixture * gain, target * gain, self.caption_indices[caption], absent

    def batch(self, step):
        """Returns the batch of a training step: mixtures and targets [B, N], captions [B], absent [B]."""
        rng = np.random.default_rng([self.seed, step])
        mixtures, targets, captions, absent = zip(*(self.draw_example(rng) for _ in range(self.batch_size)))
        return (
            torch.from_numpy(np.stack(mixtures)),
            torch.from_numpy(np.stack(targets)),
            torch.tensor(captions),
            torch.tensor(absent),
        )
