"""Mixtures for the listener, and which concepts can be heard in them.

All random choices of step n come from a generator seeded with the run's seed and n.
"""

import numpy as np
import torch

from .data import energy, spectrogram
from .mixtures import VocabularyMixtureGenerator

NOISES = 48
"""Different floors of noise, which are shifted at random."""
SILENCE = 1e-12
"""Mean square below which a mixture counts as silence."""
NOISE = "noise"
"""The concept of coloured noise."""


class LabelRules:
    """Which names a concept matches, and which names a mixture with it says nothing about."""

    def __init__(self, vocabulary, related_weight):
        """`related_weight`: weight of an absent name beside a similar concept."""
        self.names = vocabulary.names
        self.column_of = {name: column for column, name in enumerate(self.names)}
        self.matches, self.weights = {}, {}
        for concept in vocabulary.umbrellas_of:
            matches = np.array([concept in vocabulary.members[name] for name in self.names])
            conflicts = np.array([concept in vocabulary.conflicts[name] for name in self.names])
            # Names whose recordings can contain this concept, or are easily taken for it, are not judged.
            unsure = np.array([concept in vocabulary.near[name] for name in self.names])
            self.matches[concept] = matches
            self.weights[concept] = np.where(unsure, 0.0, np.where(conflicts, related_weight, 1.0)).astype(np.float32)
        # Synthetic noise is none of the sounds that are like noise.
        noise = self.matches[NOISE]
        self.noise_weights = np.where(self.weights[NOISE] < 1, 1.0, self.weights[NOISE]).astype(np.float32)
        self.noise = noise

    def judge(self, parts, floor, total, hearing, is_silent):
        """Judges K moments of one mixture.

        `parts`: [(concept, energies [K])], `floor`: energies [K] of added noise, `total`: energies [K] of the mixture.
        Returns targets [K, C] of zeros and ones and their weights [K, C].
        """
        moments = len(total)
        present, absent = 10 ** (hearing["present"] / 10), 10 ** (hearing["absent"] / 10)
        targets = np.zeros((moments, len(self.names)), bool)
        unsure = np.zeros((moments, len(self.names)), bool)
        weights = np.ones((moments, len(self.names)), np.float32)
        reference = np.maximum(total, 1e-30)
        sounds = [(self.matches[concept], self.weights[concept], part) for concept, part in parts]
        sounds.append((self.noise, self.noise_weights, floor))
        for matches, others, part in sounds:
            ratio = part / reference
            audible = ratio >= absent
            targets |= matches & (ratio >= present)[:, None]
            unsure |= matches & (audible & (ratio < present))[:, None]
            weights = np.where(audible[:, None], np.minimum(weights, others), weights)
        weights[unsure] = 0.0
        weights[targets] = 1.0
        targets[is_silent] = False
        weights[is_silent] = np.maximum(self.noise_weights, ~self.noise)
        return targets.astype(np.float32), weights


def energies_of_last_second(samples, audio, frames, runs):
    """Returns the energy of samples in the second before the end of each of `runs` runs of `frames` hops → [runs]."""
    hop = audio["hop"]
    by_hop = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples), hop))
    sums = np.concatenate(([0.0], np.cumsum(by_hop)))
    ends = np.minimum(frames * np.arange(1, runs + 1), len(by_hop))
    begins = np.maximum(0, ends - round(audio["sample_rate"] / hop))
    return sums[ends] - sums[begins]


def coloured_noise(rng, length):
    """Draws noise [length] of unit energy per sample, with a random slope of 0 to −6 dB per octave."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequencies = np.maximum(1, np.arange(len(spectrum)))
    spectrum *= frequencies ** -rng.uniform(0, 1.0)
    samples = np.fft.irfft(spectrum, length)
    return (samples / np.sqrt(np.mean(samples**2))).astype(np.float32)


class ListenerMixtures:
    """Draws batches of mixtures with the names that are heard in them."""

    def __init__(self, corpus, vocabulary, config, known=()):
        """`config`: the listener's configuration, as `load_config` makes it. `known`: names of the first model."""
        self.options = config["mixtures"]
        self.audio = config["audio"]
        self.hearing = config["hearing"]
        self.training = config["training"]
        self.frames = config["listener"]["frames"]
        self.rules = LabelRules(vocabulary, self.hearing["related_weight"])
        self.generator = VocabularyMixtureGenerator(corpus, vocabulary, config)
        self.length = self.generator.length
        self.run_seconds = self.frames * self.audio["hop"] / self.audio["sample_rate"]
        self.runs = self.length // self.audio["hop"] // self.frames
        noise_rng = np.random.default_rng(self.training["seed"])
        self._floors = [coloured_noise(noise_rng, self.length) for _ in range(NOISES)]
        self._speech = self.generator.concepts_of(["speech"])
        concepts = list(self.generator.recordings)
        weights = np.array([min(len(self.generator.recordings[concept].groups), 20) ** 0.4 for concept in concepts])
        chosen = np.array([concept in known for concept in concepts])
        self._concepts = concepts
        self._probabilities = weights / weights.sum()
        if chosen.any():
            share = self.options["known_share"]
            popular = np.array([self.generator.weights[concept] for concept in concepts])
            self._probabilities = (
                share * np.where(chosen, popular, 0) / popular[chosen].sum() + (1 - share) * self._probabilities
            )

    def _draw_sounds(self, rng):
        """Draws the sounds of a batch, of which its mixtures are made: [(concept, samples)] of unit energy."""
        chosen = rng.choice(len(self._concepts), self.options["sounds"], p=self._probabilities)
        draw, scale = self.generator.draw_segment, self.generator.scale_to_level
        return [(name, scale(draw(rng, name), 0.0)) for name in (self._concepts[index] for index in chosen)]

    def _draw_parts(self, rng, sounds, bands):
        """Draws the sounds of a mixture, at random levels: [(concept, samples)]."""
        options = self.options

        def draw_gain():
            level = np.clip(rng.normal(0, options["level_deviation"]), -options["level_limit"], options["level_limit"])
            return np.float32(10 ** (level / 20))

        def shift(samples):
            return np.roll(samples, rng.integers(self.length))

        if rng.random() < options["band"]:
            band = bands[rng.integers(len(bands))]
            offset, kept = rng.integers(self.length), rng.random(len(band)) < options["stem_kept"]
            kept[rng.integers(len(band))] = True
            stems = [stem for stem, is_kept in zip(band, kept) if is_kept]
            parts = [(concept, np.roll(samples, offset) * draw_gain() ** 0.5) for concept, samples in stems]
            if rng.random() < options["speech_over_band"]:
                concept = self._speech[rng.integers(len(self._speech))]
                speech = self.generator.scale_to_level(self.generator.draw_segment(rng, concept), 0.0)
                loudness = np.float32(np.sqrt(sum(energy(samples) for _, samples in parts)))
                parts.append((concept, speech * loudness * draw_gain()))
            return parts
        count = 1 + int(rng.choice(len(options["counts"]), p=options["counts"]))
        chosen = rng.choice(len(sounds), count, replace=False)
        return [(concept, shift(samples) * draw_gain()) for concept, samples in (sounds[index] for index in chosen)]

    def _draw_floor(self, rng):
        """Draws coloured noise [N] of unit energy per sample."""
        return np.roll(self._floors[rng.integers(NOISES)], rng.integers(self.length))

    def draw_example(self, rng, sounds, bands):
        """Draws an example of these sounds and bands: mixture [N], targets [K, C] and weights [K, C]."""
        options = self.options
        if rng.random() < options["only_noise"]:
            level = rng.uniform(*options["only_noise_range"])
            floor = self._draw_floor(rng) * np.float32(10 ** (level / 20) * (rng.random() < 0.8))
            parts, mixture = [], floor
        else:
            parts = self._draw_parts(rng, sounds, bands)
            mixture = sum(samples for _, samples in parts)
            floor = np.zeros(self.length, np.float32)
            if rng.random() < options["noise_floor"]:
                level = 10 ** (rng.uniform(*options["noise_floor_range"]) / 20) * np.sqrt(np.mean(mixture**2))
                floor = self._draw_floor(rng) * np.float32(level)
                mixture = mixture + floor
            gain = np.float32(10 ** (rng.uniform(*options["peak_range"]) / 20) / (np.abs(mixture).max() + 1e-6))
            mixture, floor, parts = mixture * gain, floor * gain, [(name, part * gain) for name, part in parts]
        return mixture, *self.judge(mixture, parts, floor)

    def judge(self, mixture, parts, floor=None):
        """Says which names are heard at the end of each run of a mixture [N] of `parts` [(concept, samples)]."""

        def measure(samples):
            return energies_of_last_second(samples, self.audio, self.frames, self.runs)

        total = measure(mixture)
        is_silent = total < SILENCE * self.audio["sample_rate"]
        # What is left of a sound that has ended is not judged by its ratio to almost nothing.
        total = np.maximum(total, 1e-5 * total.max())
        energies = [(concept, measure(samples)) for concept, samples in parts]
        floor = np.zeros_like(total) if floor is None else measure(floor)
        return self.rules.judge(energies, floor, total, self.hearing, is_silent)

    def batch(self, step):
        """Returns the batch of a step: magnitudes [B, K·T, F], targets and weights [B, K, C]."""
        rng = np.random.default_rng([self.training["seed"], step])
        # Each sound is in several mixtures of the batch, because drawing sounds takes the most time.
        sounds = self._draw_sounds(rng)
        bands = [self.generator.draw_band(rng) for _ in range(self.options["bands"])]
        examples = (self.draw_example(rng, sounds, bands) for _ in range(self.training["batch"]))
        mixtures, targets, weights = zip(*examples)
        spectrum = spectrogram(torch.from_numpy(np.stack(mixtures)), self.audio)[:, : self.runs * self.frames]
        # Faster than abs().
        magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
        magnitude *= self._draw_colours(rng, len(mixtures))
        return magnitude, torch.from_numpy(np.stack(targets)), torch.from_numpy(np.stack(weights))

    def _draw_colours(self, rng, count):
        """Draws a tilt and a low pass for each mixture of a batch: gains [B, 1, F]."""
        frequencies = np.arange(self.audio["n_fft"] // 2 + 1) * self.audio["sample_rate"] / self.audio["n_fft"]
        octaves = np.log2(np.maximum(frequencies, 50) / 1000)
        decibels = rng.normal(0, self.options["tilt"], (count, 1)) * octaves / 4.0
        for row in decibels:
            if rng.random() < self.options["low_pass"]:
                cutoff = np.exp(rng.uniform(np.log(3500), np.log(14_000)))
                row -= rng.uniform(20, 80) * np.clip(np.log2(np.maximum(frequencies, 1) / cutoff), 0, 1)
        return torch.from_numpy((10 ** (decibels / 20)).astype(np.float32)[:, None])
