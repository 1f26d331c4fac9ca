"""From the corpus to mixtures: clips decoded once, then mixed anew for every training step.

Everything random is drawn from a generator seeded with the run's seed and the step's number, so step n sees the same
batch however often a run was interrupted.
"""

import csv
import hashlib
import itertools
import os
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
import scipy.signal
import soundfile
import torch

from . import config as configuration
from .captions import LABELS, MUSIC, both_caption, caption_numbers, captions_of, except_captions

# fmt: off
FAMILIES = [
    {"rain", "stream", "waterfall", "sea waves", "water drops", "boiling water", "water splash", "bubbles", "rowing",
     "wind", "fan", "hair dryer", "radio static", "noise", "washing machine", "underwater rumble"},
    {"rain", "thunder"},
    {"crackling fire", "vinyl crackle"},
    {"traffic", "train", "airplane", "helicopter", "siren", "construction site", "windshield wipers"},
    {"airplane", "fan", "hair dryer", "wind", "noise", "washing machine", "projector"},
    {"construction site", "chainsaw"},
    {"crowd chatter", "speech", "kitchen"},
    {"speech", "choir"},
    {"birds chirping", "crow cawing", "owl hooting", "rooster crowing", "seagulls", "woodpecker pecking",
     "jungle ambience"},
    {"jungle ambience", "crickets", "frogs croaking", "bees buzzing", "rain", "stream", "waterfall"},
    {"seagulls", "sea waves"},
    {"dog barking", "wolf howling"},
    {"alarm", "beeping", "bell", "siren"},
    {"bell", "wind chimes"},
    {"keyboard typing", "typewriter"},
    {"clock ticking", "windshield wipers"},
    {"explosion", "fireworks", "thunder"},
    {"footsteps", "horse galloping", "stomping"},
    {"acoustic guitar", "bass guitar", "distorted guitar", "electric guitar", "harp"},
    {"violin", "cello", "strings"},
    {"piano", "electric piano", "organ", "synthesizer"},
    {"clarinet", "flute", "saxophone"},
    {"brass", "saxophone", "trumpet"},
    {"drums", "finger snapping", "hand clapping", "stomping"},
]
# fmt: on
"""Labels whose sounds could answer each other's descriptions: never interferers of one another."""

# fmt: off
INSTRUMENTS = sorted(
    {"acoustic guitar", "bass guitar", "brass", "cello", "choir", "clarinet", "distorted guitar", "drums",
     "electric guitar", "electric piano", "flute", "harp", "marimba", "organ", "piano", "saxophone", "strings",
     "synthesizer", "trumpet", "violin"}
)
# fmt: on
ARRANGEMENT = "arrangement:"
"""What groups begin with whose clips are the stems of one arrangement, as long as one another."""
BODY_PERCUSSION = {"finger snapping", "hand clapping", "stomping"}
QUESTIONS = ("one", "absent", "but", "both")
"""What a mixture can be asked for: one of its sounds, a sound that is not there, everything but a sound, two sounds."""


def conflicts(label):
    """All labels that must not be heard beside a target of this label, itself included."""
    found = {label}
    for family in FAMILIES:
        if label in family:
            found |= family
    if label == MUSIC:
        found |= set(INSTRUMENTS) | BODY_PERCUSSION
    return found


@dataclass(frozen=True)
class Clip:
    path: str
    label: str
    source: str
    group: str
    window: str | None
    """The song and the second that it begins at: the same for stems that sound together."""
    start: int
    """Position in the decoded samples."""
    length: int
    """In samples."""
    rendered: bool
    """By a synthesiser, for training."""


def _window(row):
    found = re.search(r"-(\d+)s-\d+\.\w+$", row["path"]) if row.get("song") else None
    return f"{row['song']}@{found[1]}" if found else None


class Corpus:
    """One split of the corpus, decoded to the training rate once and kept in a cache file."""

    def __init__(self, folder, split, sample_rate, further=(), rendered=()):
        """`further`, `rendered`: more folders with an index of the same columns, whose clips are added."""
        parts = [self._part(Path(part), split, sample_rate) for part in [folder, *further, *rendered]]
        self._samples = np.concatenate([samples for _, samples, _ in parts])
        lengths = np.concatenate([lengths for _, _, lengths in parts])
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        recorded = len(parts) - len(rendered)
        rows = [(row, number >= recorded) for number, (rows, _, _) in enumerate(parts) for row in rows]
        self.clips = [
            Clip(
                row["path"],
                row["label"],
                row["source"],
                row["group"],
                _window(row),
                int(start),
                int(length),
                is_rendered,
            )
            for (row, is_rendered), start, length in zip(rows, starts, lengths)
        ]
        self.by_label = defaultdict(list)
        for clip in self.clips:
            self.by_label[clip.label].append(clip)
        self.labels = sorted(self.by_label)

    @staticmethod
    def _part(folder, split, sample_rate):
        """A folder's rows of the split, their samples one after another, and each one's length."""
        index = folder / "index.csv"
        if not index.is_file():
            raise FileNotFoundError(
                f"no corpus at {folder}: {index} is missing. Put the corpus of described sounds there, "
                f"or set [corpus] path in {configuration.DEFAULT_CONFIG}."
            )
        with open(index, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        files = [(folder / row["path"]).stat() for row in rows]
        state = [split, sample_rate, *((file.st_size, file.st_mtime_ns) for file in files)]
        key = hashlib.sha256(index.read_bytes() + repr(state).encode()).hexdigest()[:12]
        cache = configuration.cache_folder() / f"corpus-{split}-{key}.npz"
        if not cache.is_file():
            _decode(folder, rows, sample_rate, cache)
        with np.load(cache) as stored:
            return rows, stored["samples"], stored["lengths"]

    def samples(self, clip):
        """A clip's samples, float32."""
        return self._samples[clip.start : clip.start + clip.length].astype(np.float32) / 32768


def _decoded(path, sample_rate):
    """A file's samples at this rate, all channels in one, 16-bit."""
    samples, rate = soundfile.read(path, dtype="float32")
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    divisor = np.gcd(rate, sample_rate)
    if rate != sample_rate:
        samples = scipy.signal.resample_poly(samples, sample_rate // divisor, rate // divisor)
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _decode(folder, rows, sample_rate, cache):
    """Decodes, resamples and stores clips as one array of 16-bit samples."""
    print(f"decoding {len(rows)} clips into {cache}", flush=True)
    paths = [folder / row["path"] for row in rows]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(_decoded, paths, itertools.repeat(sample_rate)))
    temporary = cache.with_name(f"{cache.stem}.{os.getpid()}.part.npz")
    np.savez(temporary, samples=np.concatenate(parts), lengths=[len(p) for p in parts])
    temporary.replace(cache)


def energy(samples):
    return float(np.dot(samples, samples))


def scale_to_snr(target, interference, snr):
    """Scales `interference` so that target over interference is `snr` decibels in energy."""
    noise = energy(interference)
    if noise <= 0:
        return interference
    return interference * np.float32(np.sqrt(energy(target) / noise * 10 ** (-snr / 10)))


def change_speed(samples, factor):
    """Plays faster (factor > 1) or slower, pitch included. Linear interpolation: it is an augmentation."""
    positions = np.arange(0, len(samples) - 1, factor, dtype=np.float64)
    before = positions.astype(np.int64)
    fraction = (positions - before).astype(np.float32)
    return samples[before] * (1 - fraction) + samples[before + 1] * fraction


class Augmentation:
    """Random equaliser and reverberation, applied as one multiplication of spectra."""

    REVERBERATION = 0.4  # seconds, at most

    def __init__(self, rng, length, sample_rate, options):
        self._spectrum = None
        tail = int(self.REVERBERATION * sample_rate)
        self._size = scipy.fft.next_fast_len(length + tail, real=True)
        equalise = rng.random() < options["equaliser_probability"]
        reverberate = rng.random() < options["reverberation_probability"]
        if equalise:
            # A smooth curve through random gains at six frequencies an octave and a half apart.
            frequencies = scipy.fft.rfftfreq(self._size, 1 / sample_rate)
            knots = 90.0 * 2.0 ** (1.5 * np.arange(6))
            gains = rng.normal(0, 4, len(knots))
            decibels = np.interp(np.log2(frequencies + 10), np.log2(knots), gains)
            self._spectrum = (10 ** (decibels / 20)).astype(np.float32)
        if reverberate:
            time = np.arange(tail, dtype=np.float32) / sample_rate
            decay = rng.uniform(0.1, self.REVERBERATION)  # seconds to -60 dB
            response = rng.standard_normal(tail).astype(np.float32) * 10 ** (-3 * time / decay)
            response *= rng.uniform(0.2, 0.8) / np.sqrt(energy(response))
            response[0] += 1.0
            spectrum = scipy.fft.rfft(response, self._size)
            self._spectrum = spectrum if self._spectrum is None else self._spectrum * spectrum

    def __call__(self, samples):
        if self._spectrum is None:
            return samples
        coloured = scipy.fft.irfft(scipy.fft.rfft(samples, self._size) * self._spectrum, self._size)
        return coloured[: len(samples)].astype(np.float32)


class MixtureGenerator:
    """Draws training examples: a mixture, one of its sources as the target, and a caption of that source."""

    def __init__(self, corpus, config):
        """Captions are given as positions in `trained_captions()`."""
        self.corpus = corpus
        self.options = config["mixing"]
        self.seed = config["training"]["seed"]
        self.batch_size = config["training"]["batch"]
        self.sample_rate = config["audio"]["sample_rate"]
        self.length = int(self.options["segment_seconds"] * self.sample_rate)
        unknown = sorted(set(corpus.labels) - set(LABELS))
        if unknown:
            raise ValueError(f"the corpus has labels that captions.toml has no phrases for: {', '.join(unknown)}")
        self._conflicts = {label: conflicts(label) for label in [*corpus.labels, MUSIC]}
        self._arrangements = defaultdict(list)
        for clip in corpus.clips:
            if clip.group.startswith(ARRANGEMENT):
                self._arrangements[clip.group].append(clip)
        self._weights = {label: self._weight(label) for label in self._conflicts}

    def _weight(self, label):
        weight = self.options["target_weights"].get(label, 1.0)
        if label == MUSIC:
            return weight
        return weight * min(1.0, len(self.corpus.by_label[label]) / self.options["rare_label_clips"]) ** 0.5

    def _draw(self, rng, labels):
        weights = np.array([self._weights[label] for label in labels])
        return labels[rng.choice(len(labels), p=weights / weights.sum())]

    def interferer_label(self, rng, target):
        """A label that could not answer to the target's description."""
        forbidden = self._conflicts[target]
        pairing = self.options["pairing"]
        allowed = [label for label in self._weights if label not in forbidden]
        if target == "speech" and rng.random() < pairing["speech_over_music"]:
            return MUSIC
        is_music = target == MUSIC or target in INSTRUMENTS
        if is_music and "speech" in allowed and rng.random() < pairing["music_over_speech"]:
            return "speech"
        return self._draw(rng, allowed)

    def source(self, rng, label, forbidden):
        """A segment of `label`: clips one after another, cut or placed at random. `forbidden`: for MUSIC."""
        if label == MUSIC:
            arranged = rng.random() < self.options["arranged_music"]
            stems = self._stems(rng, forbidden, 2) if arranged else {}
            return sum(stems.values()) if stems else self._music(rng, forbidden)
        clips = self._clips(rng, label)
        clip = clips[rng.integers(len(clips))]
        # Different utterances of one origin follow one another as speech does; other sounds repeat themselves.
        followers = [c for c in clips if c.group == clip.group] if label == "speech" else [clip]
        speed = 1.0
        if rng.random() < self.options["speed_probability"]:
            speed = float(np.exp(rng.uniform(*np.log(self.options["speed_range"]))))
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
            fade = min(320, len(samples) // 2)  # 10 ms
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
        return Augmentation(rng, self.length, self.sample_rate, self.options)(segment)

    def _clips(self, rng, label):
        """The recorded clips of a label or, at times, its rendered ones, however many there are of each."""
        clips = self.corpus.by_label[label]
        kinds = [[clip for clip in clips if clip.rendered == rendered] for rendered in (False, True)]
        if not all(kinds):
            return clips
        return kinds[rng.random() < self.options["rendered_share"]]

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

    def _stems(self, rng, forbidden, at_least, label=None):
        """{label: segment} of one arrangement, in time with one another, at levels drawn for each.

        `label`: one that is to be among them. Empty if fewer than `at_least` are allowed and heard.
        """
        arrangements = [a for a in self._arrangements.values() if label is None or any(c.label == label for c in a)]
        if not arrangements:
            return {}
        clips = arrangements[rng.integers(len(arrangements))]
        start = int(rng.integers(0, clips[0].length - self.length + 1))
        stems = {}
        for clip in clips:
            whole = self.corpus.samples(clip)
            samples = whole[start : start + self.length]
            usual = energy(whole) * self.length / clip.length
            if clip.label == label or (clip.label not in forbidden and energy(samples) > 0.01 * usual):
                coloured = Augmentation(rng, self.length, self.sample_rate, self.options)(samples)
                stems[clip.label] = coloured * np.float32(10 ** (rng.normal(0, 4) / 20) / np.sqrt(usual))
        if len(stems) < at_least or (label is not None and energy(stems[label]) < 0.01):
            return {}
        return stems

    def _music(self, rng, forbidden):
        """Two to four different instruments together."""
        allowed = [label for label in INSTRUMENTS if label not in forbidden and label in self.corpus.by_label]
        count = min(len(allowed), int(rng.integers(2, 5)))
        weights = np.array([self._weights[label] for label in allowed])
        chosen = rng.choice(len(allowed), count, replace=False, p=weights / weights.sum())
        total = np.zeros(self.length, np.float32)
        for position in chosen:
            part = self.source(rng, allowed[position], forbidden)
            total += part * np.float32(10 ** (rng.normal(0, 4) / 20) / np.sqrt(energy(part) + 1e-6))
        return total

    def _interferers(self, rng, label, at_least):
        """What is heard beside a target of this label: [(label, samples)], of equal energy to within some decibels."""
        counts = self.options["interferer_counts"]
        count = max(at_least, 1 + int(rng.choice(len(counts), p=counts)))
        labels = [self.interferer_label(rng, label) for _ in range(count)]
        parts = []
        for other in labels:
            part = self.source(rng, other, self._conflicts[label])
            parts.append((other, part * np.float32(10 ** (rng.uniform(-8, 0) / 20) / np.sqrt(energy(part) + 1e-6))))
        return parts

    def _parts(self, rng, at_least):
        """What a mixture of `at_least` so many sounds is: [(label, samples)]. The first one answers to its label alone."""
        label = self._draw(rng, list(self._weights))
        stems = {}
        if label in INSTRUMENTS and rng.random() < self.options["pairing"]["instrument_in_arrangement"]:
            stems = self._stems(rng, self._conflicts[label], at_least, label)
        if stems:
            target, others = stems.pop(label), list(stems.items())
        else:
            target, others = self.source(rng, label, set()), self._interferers(rng, label, at_least - 1)
        limit = self.options["snr_limit"]
        snr = float(np.clip(rng.normal(0, self.options["snr_deviation"]), -limit, limit))
        interference = sum(samples for _, samples in others)
        gain = np.float32(np.sqrt(energy(target) / (energy(interference) + 1e-9) * 10 ** (-snr / 10)))
        return [(label, target), *((other, samples * gain) for other, samples in others)]

    def _alone(self, label, others):
        """Whether nothing but `label` answers to its descriptions beside these other labels.

        An instrument could answer to "music", though several others together do not answer to its name.
        """
        return not self._conflicts[label] & set(others)

    def _ask(self, rng, parts, kind):
        """What a mixture of these parts is asked for: (caption, samples, absent). `kind`: one of `QUESTIONS`."""
        labels = [label for label, _ in parts]
        language = "korean" if rng.random() < self.options["korean_probability"] else "train"

        def caption(label):
            return rng.choice(captions_of(label, language))

        def stranger():
            return self._draw(
                rng,
                [
                    label
                    for label in self._weights
                    if self._alone(label, labels) and all(self._alone(other, [label]) for other in labels)
                ],
            )

        label, samples = parts[0]
        if kind == "absent":
            return caption(stranger()), np.zeros(self.length, np.float32), True
        if kind == "but":
            return rng.choice(except_captions(label, language)), sum(part for _, part in parts[1:]), False
        if kind == "both":
            other = int(rng.integers(1, len(parts)))
            there = len(parts) > 2 and self._alone(labels[other], labels[:other] + labels[other + 1 :])
            # Of "the piano and a dog", the piano is what there is.
            pair = [label, labels[other] if there else stranger()]
            rng.shuffle(pair)
            return both_caption(*pair, language), samples + parts[other][1] if there else samples, False
        return caption(label), samples, False

    def example(self, rng):
        """A mixture and a question about it: (mixture [N], target [N], position of the caption, absent)."""
        kind = rng.choice(QUESTIONS, p=[self.options["questions"][kind] for kind in QUESTIONS])
        # Two sounds can be told from a third one only where there is one.
        third = kind == "both" and rng.random() < self.options["both_beside_another"]
        parts = self._parts(rng, 3 if third else 2)
        mixture = sum(samples for _, samples in parts)
        peak = 10 ** (rng.uniform(*self.options["peak_range"]) / 20)
        gain = np.float32(peak / (np.abs(mixture).max() + 1e-6))
        caption, target, absent = self._ask(rng, parts, kind)
        return mixture * gain, target * gain, caption_numbers()[caption], absent

    def batch(self, step):
        """The batch of one training step, as tensors."""
        rng = np.random.default_rng([self.seed, step])
        mixtures, targets, captions, absent = zip(*(self.example(rng) for _ in range(self.batch_size)))
        return (
            torch.from_numpy(np.stack(mixtures)),
            torch.from_numpy(np.stack(targets)),
            torch.tensor(captions),
            torch.tensor(absent),
        )


class Steps(torch.utils.data.Dataset):
    """A MixtureGenerator as a map from step numbers to batches, for a loader process."""

    def __init__(self, mixer):
        self.mixer = mixer

    def __len__(self):
        return 1 << 40

    def __getitem__(self, step):
        return self.mixer.batch(step)


def spectrogram(samples, audio):
    """[B, N] → complex [B, T, F]: unnormalised, square-root Hann (periodic), as the plugin's streaming analysis."""
    n_fft, hop = audio["n_fft"], audio["hop"]
    window = torch.hann_window(n_fft, periodic=True, device=samples.device).sqrt()
    after = n_fft - hop + -samples.shape[1] % hop
    padded = torch.nn.functional.pad(samples, (n_fft - hop, after))
    return torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True).transpose(1, 2)


def waveform(spectrum, audio, length):
    """The inverse of `spectrogram`: complex [B, T, F] → [B, length]."""
    n_fft, hop = audio["n_fft"], audio["hop"]
    window = torch.hann_window(n_fft, periodic=True, device=spectrum.device).sqrt()
    frames = torch.fft.irfft(spectrum, n_fft, dim=2) * window
    _, count, _ = frames.shape
    # Half-overlapping squares of this window sum to one: plain overlap-add is exact.
    total = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, n_fft + (count - 1) * hop), (1, n_fft), stride=(1, hop)
    ).flatten(1)
    return total[:, n_fft - hop : n_fft - hop + length]
