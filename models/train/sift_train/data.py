"""Training data of the first model: decodes the clips of the corpus once and mixes them for every training step.

All random choices of step n come from a generator seeded with the run's seed and n, so the batch of a step does not
depend on how often the run was interrupted.
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
from .captions import LABELS, MUSIC, both_caption, caption_indices, captions_of

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
"""Groups of labels whose sounds match each other's descriptions and are therefore never mixed as interferers."""

# fmt: off
INSTRUMENTS = sorted(
    {"acoustic guitar", "bass guitar", "brass", "cello", "choir", "clarinet", "distorted guitar", "drums",
     "electric guitar", "electric piano", "flute", "harp", "marimba", "organ", "piano", "saxophone", "strings",
     "synthesizer", "trumpet", "violin"}
)
# fmt: on
ARRANGEMENT_PREFIX = "arrangement:"
"""Prefix of a group whose clips are the stems of one arrangement. All stems of an arrangement have the same length."""
BODY_PERCUSSION = {"finger snapping", "hand clapping", "stomping"}
CAPTION_KINDS = ("one", "absent", "both")
"""Kinds of captions: one sound of the mixture, a sound that is absent, two sounds."""


def conflicts(label):
    """Returns the set of labels, including `label`, that must not be mixed with a target of this label."""
    found = {label}
    for family in FAMILIES:
        if label in family:
            found |= family
    if label == MUSIC:
        found |= set(INSTRUMENTS) | BODY_PERCUSSION
    return found


@dataclass(frozen=True)
class Clip:
    """A recording or a rendered sound of the corpus."""

    path: str
    label: str
    source: str
    group: str
    window: str | None
    """Song and start second: equal for stems of the same passage. None for clips that are not stems."""
    start: int
    """Index of the first sample in the decoded samples."""
    length: int
    """Number of samples."""
    is_rendered: bool
    """Whether a synthesiser made the clip for training."""


def _song_window(row):
    found = re.search(r"-(\d+)s-\d+\.\w+$", row["path"]) if row.get("song") else None
    return f"{row['song']}@{found[1]}" if found else None


class Corpus:
    """One split of the corpus, decoded once to the sample rate of training and stored in a cache file."""

    def __init__(self, folder, split, sample_rate, further=(), rendered=()):
        """`further`, `rendered`: additional folders of recorded and of rendered clips, with the same index columns."""
        self.sample_rate = sample_rate
        parts = [self._read_folder(Path(part), split, sample_rate) for part in [folder, *further, *rendered]]
        self._samples = np.concatenate([samples for _, samples, _ in parts])
        lengths = np.concatenate([lengths for _, _, lengths in parts])
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        recorded_folders = len(parts) - len(rendered)
        rows = [(row, number >= recorded_folders) for number, (rows, _, _) in enumerate(parts) for row in rows]
        self.clips = [
            Clip(
                row["path"],
                row["label"],
                row["source"],
                row["group"],
                _song_window(row),
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
    def _read_folder(folder, split, sample_rate):
        """Returns the folder's index rows of the split, the concatenated samples of their clips, and the clips' lengths."""
        index = folder / "index.csv"
        if not index.is_file():
            raise FileNotFoundError(
                f"{folder}: no corpus, {index} is missing; expected the corpus of described sounds. "
                f"Put it there, or set [corpus] path in {configuration.DEFAULT_CONFIG}."
            )
        with open(index, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        files = [(folder / row["path"]).stat() for row in rows]
        state = [split, sample_rate, *((file.st_size, file.st_mtime_ns) for file in files)]
        key = hashlib.sha256(index.read_bytes() + repr(state).encode()).hexdigest()[:12]
        cache = configuration.cache_folder() / f"corpus-{split}-{key}.npz"
        if not cache.is_file():
            _cache_clips(folder, rows, sample_rate, cache)
        with np.load(cache) as stored:
            return rows, stored["samples"], stored["lengths"]

    def samples(self, clip):
        """Returns the samples of a clip, float32."""
        return self._samples[clip.start : clip.start + clip.length].astype(np.float32) / 32768


def _decode_file(path, sample_rate):
    """Decodes a file, averages its channels, and resamples it. Returns 16-bit samples."""
    samples, rate = soundfile.read(path, dtype="float32")
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    divisor = np.gcd(rate, sample_rate)
    if rate != sample_rate:
        samples = scipy.signal.resample_poly(samples, sample_rate // divisor, rate // divisor)
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _cache_clips(folder, rows, sample_rate, cache):
    """Decodes all clips in parallel and stores them in the file `cache` as one array of 16-bit samples."""
    print(f"decoding {len(rows)} clips into {cache}", flush=True)
    paths = [folder / row["path"] for row in rows]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = list(threads.map(_decode_file, paths, itertools.repeat(sample_rate)))
    temporary = cache.with_name(f"{cache.stem}.{os.getpid()}.part.npz")
    np.savez(temporary, samples=np.concatenate(parts), lengths=[len(p) for p in parts])
    temporary.replace(cache)


def energy(samples):
    """Returns the sum of squares."""
    return float(np.dot(samples, samples))


def scale_to_snr(target, interference, snr):
    """Scales `interference` so that the energy ratio of `target` to it is `snr` decibels. Leaves silence unchanged."""
    noise = energy(interference)
    if noise <= 0:
        return interference
    return interference * np.float32(np.sqrt(energy(target) / noise * 10 ** (-snr / 10)))


def change_speed(samples, factor):
    """Changes speed and pitch by `factor` (above 1: faster). Linear interpolation is accurate enough for augmentation."""
    positions = np.arange(0, len(samples) - 1, factor, dtype=np.float64)
    before = positions.astype(np.int64)
    fraction = (positions - before).astype(np.float32)
    return samples[before] * (1 - fraction) + samples[before + 1] * fraction


class Augmentation:
    """Random equaliser and reverberation, applied to a segment by one multiplication of spectra."""

    MAX_REVERBERATION = 0.4  # seconds

    def __init__(self, rng, length, sample_rate, options):
        self._spectrum = None
        tail = int(self.MAX_REVERBERATION * sample_rate)
        self._size = scipy.fft.next_fast_len(length + tail, real=True)
        equalise = rng.random() < options["equaliser_probability"]
        reverberate = rng.random() < options["reverberation_probability"]
        if equalise:
            # Interpolate between random gains at six frequencies, spaced one and a half octaves apart.
            frequencies = scipy.fft.rfftfreq(self._size, 1 / sample_rate)
            knots = 90.0 * 2.0 ** (1.5 * np.arange(6))
            gains = rng.normal(0, 4, len(knots))
            decibels = np.interp(np.log2(frequencies + 10), np.log2(knots), gains)
            self._spectrum = (10 ** (decibels / 20)).astype(np.float32)
        if reverberate:
            time = np.arange(tail, dtype=np.float32) / sample_rate
            decay = rng.uniform(0.1, self.MAX_REVERBERATION)  # seconds to -60 dB
            response = rng.standard_normal(tail).astype(np.float32) * 10 ** (-3 * time / decay)
            response *= rng.uniform(0.2, 0.8) / np.sqrt(energy(response))
            response[0] += 1.0
            spectrum = scipy.fft.rfft(response, self._size)
            self._spectrum = spectrum if self._spectrum is None else self._spectrum * spectrum

    def __call__(self, samples):
        if self._spectrum is None:
            return samples
        filtered = scipy.fft.irfft(scipy.fft.rfft(samples, self._size) * self._spectrum, self._size)
        return filtered[: len(samples)].astype(np.float32)


def draw_segment(rng, corpus, clip, followers, length, options):
    """Draws an augmented segment [length] that begins with `clip`, cut or placed at random, and continues with `followers`.

    `options`: the table `[mixing]` of the configuration.
    """
    speed = 1.0
    if rng.random() < options["speed_probability"]:
        speed = float(np.exp(rng.uniform(*np.log(options["speed_range"]))))
    segment = np.zeros(length, np.float32)
    onset = 0 if rng.random() < 0.5 else int(rng.uniform(0, 0.6) * length)
    first = True
    while onset < length:
        samples = corpus.samples(clip)
        if first and len(samples) > length // 2:
            samples = _cut_loud_part(rng, samples, length // 2)
        if speed != 1.0:
            samples = change_speed(samples[: int((length - onset) * speed) + 2], speed)
        samples = samples[: length - onset].copy()
        fade = min(corpus.sample_rate // 100, len(samples) // 2)  # 10 ms
        if fade:
            ramp = np.linspace(0, 1, fade, dtype=np.float32)
            samples[:fade] *= ramp
            samples[-fade:] *= ramp[::-1]
        segment[onset : onset + len(samples)] += samples
        onset += len(samples) + int(rng.exponential(0.3) * corpus.sample_rate)
        if rng.random() < 0.15:
            break
        clip = followers[rng.integers(len(followers))]
        first = False
    return Augmentation(rng, length, corpus.sample_rate, options)(segment)


def _cut_loud_part(rng, samples, length):
    """Cuts `samples` at a random start after which `length` samples are not much quieter than the whole clip."""
    level = energy(samples) / len(samples)
    for _ in range(6):
        start = int(rng.integers(0, len(samples) - length + 1))
        part = samples[start : start + length]
        if energy(part) / len(part) > 0.05 * level:
            return samples[start:]
    return samples


def draw_loudest_part(rng, samples, length):
    """Draws the loudest of four random parts [length] of a clip. Short clips repeat."""
    if len(samples) < length:
        samples = np.tile(samples, -(-length // len(samples)))
    starts = rng.integers(0, len(samples) - length + 1, 4)
    return max((samples[start : start + length] for start in starts), key=energy).copy()


class MixtureGenerator:
    """Draws training examples: a mixture, the target in it, and a caption of the target."""

    def __init__(self, corpus, config):
        """The batches contain captions as indices into `trained_captions()`."""
        self.corpus = corpus
        self.options = config["mixing"]
        self.seed = config["training"]["seed"]
        self.batch_size = config["training"]["batch"]
        self.sample_rate = config["audio"]["sample_rate"]
        self.length = int(self.options["segment_seconds"] * self.sample_rate)
        unknown = sorted(set(corpus.labels) - set(LABELS))
        if unknown:
            raise ValueError(
                f"captions.toml: no captions for the corpus labels {', '.join(unknown)}; expected a table for each label"
            )
        self._conflicts = {label: conflicts(label) for label in [*corpus.labels, MUSIC]}
        self._arrangements = defaultdict(list)
        for clip in corpus.clips:
            if clip.group.startswith(ARRANGEMENT_PREFIX):
                self._arrangements[clip.group].append(clip)
        self._weights = {label: self._weight(label) for label in self._conflicts}

    def _weight(self, label):
        weight = self.options["target_weights"].get(label, 1.0)
        if label == MUSIC:
            return weight
        return weight * min(1.0, len(self.corpus.by_label[label]) / self.options["rare_label_clips"]) ** 0.5

    def _draw_label(self, rng, labels):
        weights = np.array([self._weights[label] for label in labels])
        return labels[rng.choice(len(labels), p=weights / weights.sum())]

    def draw_interferer_label(self, rng, target):
        """Draws a label whose sounds do not match the target's descriptions."""
        forbidden = self._conflicts[target]
        pairing = self.options["pairing"]
        allowed = [label for label in self._weights if label not in forbidden]
        if target == "speech" and rng.random() < pairing["speech_over_music"]:
            return MUSIC
        is_music = target == MUSIC or target in INSTRUMENTS
        if is_music and "speech" in allowed and rng.random() < pairing["music_over_speech"]:
            return "speech"
        return self._draw_label(rng, allowed)

    def draw_segment(self, rng, label, forbidden):
        """Draws a segment [N] of `label`: one or more clips in sequence, cut or placed at random.

        `forbidden`: labels that MUSIC must not contain.
        """
        if label == MUSIC:
            arranged = rng.random() < self.options["arranged_music"]
            stems = self._draw_stems(rng, forbidden, 2) if arranged else {}
            return sum(stems.values()) if stems else self._draw_music(rng, forbidden)
        clips = self._draw_clips(rng, label)
        clip = clips[rng.integers(len(clips))]
        # Speech continues with other utterances of the same group; other sounds repeat the same clip.
        followers = [c for c in clips if c.group == clip.group] if label == "speech" else [clip]
        return draw_segment(rng, self.corpus, clip, followers, self.length, self.options)

    def _draw_clips(self, rng, label):
        """Returns the recorded or, with probability `rendered_share`, the rendered clips of a label."""
        clips = self.corpus.by_label[label]
        kinds = [[clip for clip in clips if clip.is_rendered == is_rendered] for is_rendered in (False, True)]
        if not all(kinds):
            return clips
        return kinds[rng.random() < self.options["rendered_share"]]

    def _draw_stems(self, rng, forbidden, at_least, label=None):
        """Draws {label: segment} from one arrangement: synchronous stems, each at a random level.

        `label`: a label that must be among them. Returns {} if fewer than `at_least` stems are allowed and audible.
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
            mean_energy = energy(whole) * self.length / clip.length
            if clip.label == label or (clip.label not in forbidden and energy(samples) > 0.01 * mean_energy):
                augmented = Augmentation(rng, self.length, self.sample_rate, self.options)(samples)
                stems[clip.label] = augmented * np.float32(10 ** (rng.normal(0, 4) / 20) / np.sqrt(mean_energy))
        if len(stems) < at_least or (label is not None and energy(stems[label]) < 0.01):
            return {}
        return stems

    def _draw_music(self, rng, forbidden):
        """Draws the sum [N] of two to four different instruments."""
        allowed = [label for label in INSTRUMENTS if label not in forbidden and label in self.corpus.by_label]
        count = min(len(allowed), int(rng.integers(2, 5)))
        weights = np.array([self._weights[label] for label in allowed])
        chosen = rng.choice(len(allowed), count, replace=False, p=weights / weights.sum())
        total = np.zeros(self.length, np.float32)
        for position in chosen:
            part = self.draw_segment(rng, allowed[position], forbidden)
            total += part * np.float32(10 ** (rng.normal(0, 4) / 20) / np.sqrt(energy(part) + 1e-6))
        return total

    def _draw_interferers(self, rng, label, at_least):
        """Draws the interferers of a target of this label: [(label, samples)], with energies that differ by at most 8 dB."""
        counts = self.options["interferer_counts"]
        count = max(at_least, 1 + int(rng.choice(len(counts), p=counts)))
        labels = [self.draw_interferer_label(rng, label) for _ in range(count)]
        parts = []
        for other in labels:
            part = self.draw_segment(rng, other, self._conflicts[label])
            parts.append((other, part * np.float32(10 ** (rng.uniform(-8, 0) / 20) / np.sqrt(energy(part) + 1e-6))))
        return parts

    def _draw_parts(self, rng, at_least):
        """Draws the parts of a mixture of at least `at_least` sounds: [(label, samples)].

        The first part is the target; no other part matches its label.
        """
        label = self._draw_label(rng, list(self._weights))
        stems = {}
        if label in INSTRUMENTS and rng.random() < self.options["pairing"]["instrument_in_arrangement"]:
            stems = self._draw_stems(rng, self._conflicts[label], at_least, label)
        if stems:
            target, others = stems.pop(label), list(stems.items())
        else:
            target, others = self.draw_segment(rng, label, set()), self._draw_interferers(rng, label, at_least - 1)
        limit = self.options["snr_limit"]
        snr = float(np.clip(rng.normal(0, self.options["snr_deviation"]), -limit, limit))
        interference = sum(samples for _, samples in others)
        gain = np.float32(np.sqrt(energy(target) / (energy(interference) + 1e-9) * 10 ** (-snr / 10)))
        return [(label, target), *((other, samples * gain) for other, samples in others)]

    def _is_unambiguous(self, label, others):
        """Returns whether none of the other labels matches the descriptions of `label`.

        This is not symmetric: an instrument matches "music", but "music" does not match the instrument's name.
        """
        return not self._conflicts[label] & set(others)

    def _draw_caption(self, rng, parts, kind):
        """Draws a caption for a mixture of these parts: (caption, target samples, absent). `kind`: one of `CAPTION_KINDS`."""
        labels = [label for label, _ in parts]
        language = "korean" if rng.random() < self.options["korean_probability"] else "train"

        def caption(label):
            return rng.choice(captions_of(label, language))

        def draw_absent_label():
            return self._draw_label(
                rng,
                [
                    label
                    for label in self._weights
                    if self._is_unambiguous(label, labels)
                    and all(self._is_unambiguous(other, [label]) for other in labels)
                ],
            )

        label, samples = parts[0]
        if kind == "absent":
            return caption(draw_absent_label()), np.zeros(self.length, np.float32), True
        if kind == "both":
            other = int(rng.integers(1, len(parts)))
            has_both = len(parts) > 2 and self._is_unambiguous(labels[other], labels[:other] + labels[other + 1 :])
            # Where the second sound is absent, the target of "the piano and a dog" is the piano.
            pair = [label, labels[other] if has_both else draw_absent_label()]
            rng.shuffle(pair)
            return both_caption(*pair, language), samples + parts[other][1] if has_both else samples, False
        return caption(label), samples, False

    def draw_example(self, rng):
        """Draws an example: (mixture [N], target [N], index of the caption, absent)."""
        kind = rng.choice(CAPTION_KINDS, p=[self.options["questions"][kind] for kind in CAPTION_KINDS])
        # The model learns to separate two sounds from a third only in mixtures of three.
        needs_third = kind == "both" and rng.random() < self.options["both_beside_another"]
        parts = self._draw_parts(rng, 3 if needs_third else 2)
        mixture = sum(samples for _, samples in parts)
        peak = 10 ** (rng.uniform(*self.options["peak_range"]) / 20)
        gain = np.float32(peak / (np.abs(mixture).max() + 1e-6))
        caption, target, absent = self._draw_caption(rng, parts, kind)
        return mixture * gain, target * gain, caption_indices()[caption], absent

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


class BatchDataset(torch.utils.data.Dataset):
    """Dataset whose item n is the batch of step n, for the processes of a DataLoader."""

    def __init__(self, generator):
        self.generator = generator

    def __len__(self):
        return 1 << 40

    def __getitem__(self, step):
        return self.generator.batch(step)


def spectrogram(samples, audio):
    """Computes the STFT of samples [B, N] with the plugin's scaling and window: complex [B, T, F].

    Unnormalised, periodic square-root Hann window.
    """
    n_fft, hop = audio["n_fft"], audio["hop"]
    window = torch.hann_window(n_fft, periodic=True, device=samples.device).sqrt()
    after = n_fft - hop + -samples.shape[1] % hop
    padded = torch.nn.functional.pad(samples, (n_fft - hop, after))
    return torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True).transpose(1, 2)


def waveform(spectrum, audio, length):
    """Inverts `spectrogram`: complex [B, T, F] → [B, length]."""
    n_fft, hop = audio["n_fft"], audio["hop"]
    window = torch.hann_window(n_fft, periodic=True, device=spectrum.device).sqrt()
    frames = torch.fft.irfft(spectrum, n_fft, dim=2) * window
    _, count, _ = frames.shape
    # At half overlap the squared windows sum to one, so overlap-add needs no normalisation.
    total = torch.nn.functional.fold(
        frames.transpose(1, 2), (1, n_fft + (count - 1) * hop), (1, n_fft), stride=(1, hop)
    ).flatten(1)
    return total[:, n_fft - hop : n_fft - hop + length]
