"""Measures a package on the validation split: `python -m sift_train.evaluate [--package FOLDER] [--card]`.

The list of mixtures is drawn from a fixed seed. Every mixture is separated by the exported graphs in ONNX Runtime, hop
by hop, as the plugin does it. Figures as AudioSep defines them (Liu et al., "Separate Anything You Describe", 2023):
SDR = 10 log10(mean r² / mean (e − r)²), SDRi = SDR − SDR of the mixture, SI-SDR without removal of means.
"""

import argparse
import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from . import config as configuration
from .captions import captions_of, usual_caption
from .data import Corpus, conflicts, energy, scale_to_snr, spectrogram, waveform
from .encoder import encode

SEED = 20_000
PRESENT = 200
ABSENT = 40
FURTHER = 60
"""Cases of each of the lists beside the first."""
SECONDS = 4.0
PEAK = 10 ** (-6 / 20)
CARD_MARKS = ("<!-- evaluation -->", "<!-- end of evaluation -->")
OUTPUTS = (
    "usual captions",
    "held-out captions",
    "held-out Korean captions",
    "oracle ratio mask",
    "half the mixture",
    "mixture",
)
SHOWN = ("speech", "drums", "piano", "violin", "dog barking", "rain", "clock ticking", "wolf howling")
SMALLEST = 1e-10
"""Added to energies (means of squares), so that silence gives finite figures."""


def sdr(reference, estimate):
    """Signal-to-distortion ratio in dB."""
    error = estimate - reference
    return 10 * np.log10((energy(reference) / len(reference) + SMALLEST) / (energy(error) / len(error) + SMALLEST))


def si_sdr(reference, estimate):
    """Scale-invariant signal-to-distortion ratio in dB; an estimate that is silent scores −100."""
    projection = np.dot(estimate, reference) / (energy(reference) + 1e-12) * reference
    signal, noise = energy(projection), energy(estimate - projection)
    if signal <= 1e-10 * energy(reference):
        return -100.0
    return float(np.clip(10 * np.log10(signal / (noise + 1e-12)), -100, 100))


@dataclass(frozen=True)
class Case:
    """One mixture and the descriptions of what to take from it."""

    label: str
    caption: str
    held_out_caption: str
    korean_caption: str
    mixture: np.ndarray
    """[N] float32."""
    target: np.ndarray
    """[N] float32; silent where the described sound is absent."""


class ValidationList:
    """Mixtures of the validation split, the same every time.

    `present`: two sources at 0 dB. `absent`: two sources, and a description of neither. Beside them, `further`: the
    lists by name that are separated by the usual caption only.
    """

    def __init__(self, corpus, config, present=PRESENT, absent=ABSENT, further=FURTHER):
        self.corpus = corpus
        self.length = int(SECONDS * config["audio"]["sample_rate"])
        rng = np.random.default_rng(SEED)
        labels = list(corpus.labels)
        rng.shuffle(labels)
        # Every label in turn, then again: as balanced as the count allows.
        self.present = [self._case(rng, labels[number % len(labels)]) for number in range(present)]
        self.absent = [self._case(rng, labels[number % len(labels)], absent=True) for number in range(absent)]
        drawn = [labels[number % len(labels)] for number in range(further)]
        self.further = {
            "three sources of equal energy": [self._case(rng, label, interferers=2) for label in drawn],
            "two sources, -10 to 10 dB": [self._case(rng, label, snr=rng.uniform(-10, 10)) for label in drawn],
            "speech and one other source, 0 dB": [self._case(rng, "speech") for _ in drawn],
        }

    def _segment(self, rng, label):
        """Four seconds of one clip, from where it is loudest to within chance; short clips repeat."""
        clips = self.corpus.by_label[label]
        samples = self.corpus.samples(clips[rng.integers(len(clips))])
        if len(samples) < self.length:
            samples = np.tile(samples, -(-self.length // len(samples)))
        starts = rng.integers(0, len(samples) - self.length + 1, 4)
        return max((samples[s : s + self.length] for s in starts), key=energy).copy()

    def _other(self, rng, forbidden):
        allowed = [label for label in self.corpus.labels if label not in forbidden]
        return allowed[rng.integers(len(allowed))]

    def _case(self, rng, label, absent=False, interferers=1, snr=0.0):
        """`snr`: of the target over each interferer, in dB."""
        forbidden = conflicts(label)
        others = [self._other(rng, forbidden)]
        first = self._segment(rng, self._other(rng, forbidden | set(others)) if absent else label)
        mixture = first + scale_to_snr(first, self._segment(rng, others[0]), snr)
        for _ in range(1, interferers):
            others.append(self._other(rng, forbidden | set(others)))
            mixture = mixture + scale_to_snr(first, self._segment(rng, others[-1]), snr)
        gain = np.float32(PEAK / (np.abs(mixture).max() + 1e-9))
        held_out, korean = captions_of(label, "held_out"), captions_of(label, "korean_held_out")
        choice = rng.integers(len(held_out))
        return Case(
            label,
            usual_caption(label),
            held_out[choice],
            korean[choice % len(korean)],
            mixture * gain,
            np.zeros_like(mixture) if absent else first * gain,
        )


class Package:
    """An exported package, run as the plugin runs it."""

    def __init__(self, folder, config, threads=1):
        self.audio = config["audio"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = Path(folder)
        self._query = onnxruntime.InferenceSession(folder / "query.onnx", options)
        self._separator = onnxruntime.InferenceSession(folder / "separator.onnx", options)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._state_shapes = {
            tensor.name: tensor.shape for tensor in self._separator.get_inputs() if tensor.name.startswith("state_")
        }
        self._embeddings = {}

    def embedding(self, text):
        """[1, E]."""
        if text not in self._embeddings:
            ids = np.array([self._tokenizer.encode(text).ids], np.int64)
            feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
            (self._embeddings[text],) = self._query.run(["embedding"], feed)
        return self._embeddings[text]

    def mask(self, magnitude, embedding):
        """[T, F] magnitudes → [T, F] gains, hop by hop."""
        names = list(self._state_shapes)
        states = {name: np.zeros(shape, np.float32) for name, shape in self._state_shapes.items()}
        rows = []
        for frame in magnitude:
            feed = {"magnitude": frame[None, None], "embedding": embedding, **states}
            mask, *newest = self._separator.run(["mask", *(f"next_{name}" for name in names)], feed)
            states = dict(zip(names, newest))
            rows.append(mask[0, 0, 0])
        return np.stack(rows)

    def separate(self, mixture, text):
        """[N] samples → [N] samples of what `text` describes."""
        spectrum = spectrogram(torch.from_numpy(mixture)[None], self.audio)
        mask = torch.from_numpy(self.mask(spectrum[0].abs().numpy(), self.embedding(text)))
        return waveform(mask * spectrum, self.audio, len(mixture))[0].numpy()


class QuickCheck:
    """SDRi and SI-SDR of a PyTorch model on the first cases of the list, for the curve of a training run."""

    def __init__(self, validation, encoder, config, count=60):
        self.audio = config["audio"]
        self.cases = validation.present[:count]
        self.sentences = encode(encoder, [case.caption for case in self.cases], config["query"]["max_tokens"])

    @torch.no_grad()
    def __call__(self, model):
        improvements, scale_invariant = [], []
        for case, sentence in zip(self.cases, self.sentences):
            spectrum = spectrogram(torch.from_numpy(case.mixture)[None], self.audio)
            mask, _ = model(spectrum.abs(), sentence[None])
            estimate = waveform(mask[:, 0] * spectrum, self.audio, len(case.mixture))[0].numpy()
            improvements.append(sdr(case.target, estimate) - sdr(case.target, case.mixture))
            scale_invariant.append(si_sdr(case.target, estimate))
        return {"sdri": float(np.mean(improvements)), "si_sdr": float(np.mean(scale_invariant))}


def oracle(case, audio):
    """What the ideal ratio mask, bounded to [0, 1], gives on the same spectrogram."""
    mixture = spectrogram(torch.from_numpy(case.mixture)[None], audio)
    target = spectrogram(torch.from_numpy(case.target)[None], audio)
    rest = mixture - target
    mask = target.abs() / (target.abs() + rest.abs() + 1e-9)
    return waveform(mask * mixture, audio, len(case.mixture))[0].numpy()


def measure(case, estimate):
    """The three figures of one case."""
    value = sdr(case.target, estimate)
    return {
        "label": case.label,
        "sdr": float(value),
        "sdri": float(value - sdr(case.target, case.mixture)),
        "si_sdr": si_sdr(case.target, estimate),
    }


def summary(rows):
    """What a list of measured cases comes to."""
    si = np.array([row["si_sdr"] for row in rows])
    return {
        "cases": len(rows),
        "sdr": float(np.mean([row["sdr"] for row in rows])),
        "sdri": float(np.mean([row["sdri"] for row in rows])),
        "sdri_median": float(np.median([row["sdri"] for row in rows])),
        "si_sdr": float(si.mean()),
        "si_sdr_median": float(np.median(si)),
        "si_sdr_10th_percentile": float(np.percentile(si, 10)),
        "failures": float((si < 0).mean()),
    }


def decibels(estimate, mixture):
    """Level of an output relative to its input, in dB, not below −100."""
    return max(-100.0, 10 * np.log10((energy(estimate) + 1e-12) / (energy(mixture) + 1e-12)))


def evaluate(package, validation):
    """All figures of a package, as a dictionary."""

    def present(case):
        estimates = (
            package.separate(case.mixture, case.caption),
            package.separate(case.mixture, case.held_out_caption),
            package.separate(case.mixture, case.korean_caption),
            oracle(case, package.audio),
            case.mixture / 2,
            case.mixture,
        )
        return [measure(case, estimate) for estimate in estimates]

    def usual(case):
        return measure(case, package.separate(case.mixture, case.caption))

    def absent(case):
        return decibels(package.separate(case.mixture, case.caption), case.mixture)

    def each(measurement, cases, name):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(tqdm(pool.map(measurement, cases), total=len(cases), desc=name))

    measured = [list(rows) for rows in zip(*each(present, validation.present, "present"))]
    left = each(absent, validation.absent, "absent")
    further = {name: each(usual, cases, name) for name, cases in validation.further.items()}
    labels = defaultdict(list)
    for row in measured[0]:
        labels[row["label"]].append(row)
    return {
        "outputs": {name: summary(rows) for name, rows in zip(OUTPUTS, measured)},
        "further": {name: summary(rows) for name, rows in further.items()},
        "absent": {
            "cases": len(left),
            "median_db": float(np.median(left)),
            "mean_db": float(np.mean(left)),
            "90th_percentile_db": float(np.percentile(left, 90)),
        },
        "labels": {label: summary(rows) for label, rows in sorted(labels.items())},
    }


def table(heading, rows):
    """Summaries by name, as a table."""
    lines = [
        f"| {heading} | SDR | SDRi | SDRi median | SI-SDR | SI-SDR median | SI-SDR 10th percentile | SI-SDR below 0 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['sdr']:.1f} | {row['sdri']:.1f} | {row['sdri_median']:.1f} | {row['si_sdr']:.1f} | "
            f"{row['si_sdr_median']:.1f} | {row['si_sdr_10th_percentile']:.1f} | {100 * row['failures']:.0f} % |"
        )
    return lines


def markdown(figures):
    """The figures as tables."""
    absent = figures["absent"]
    lines = [
        f"{figures['outputs'][OUTPUTS[0]]['cases']} mixtures of two sources at 0 dB, {SECONDS:.0f} s each; all in dB.",
        "",
        *table("output", figures["outputs"]),
        "",
        f"Other lists, of {next(iter(figures['further'].values()))['cases']} mixtures each, by the usual caption.",
        "",
        *table("list", figures["further"]),
        "",
        f"A described sound that is not there ({absent['cases']} mixtures): the output is at "
        f"{absent['median_db']:.1f} dB of the input in the median, {absent['90th_percentile_db']:.1f} dB at the "
        "90th percentile.",
        "",
        "| label | cases | SDRi | SI-SDR | SI-SDR, worst tenth |",
        "|---|---|---|---|---|",
    ]
    for label, row in figures["labels"].items():
        lines.append(
            f"| {label} | {row['cases']} | {row['sdri']:.1f} | {row['si_sdr']:.1f} | "
            f"{row['si_sdr_10th_percentile']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def draw(package, validation, path):
    """Spectrograms of one case for each of `SHOWN`: mixture, what was asked for, and what came out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases = [next(case for case in validation.present if case.label == label) for label in SHOWN]
    figure, axes = pyplot.subplots(len(cases), 3, figsize=(10, 1.5 * len(cases)), layout="constrained",
                                   sharex=True, sharey=True)
    for row, case in zip(axes, cases):
        output = package.separate(case.mixture, case.caption)
        sounds = {"mixture": case.mixture, "target": case.target, "output": output}
        for axis, (name, sound) in zip(row, sounds.items()):
            power = spectrogram(torch.from_numpy(sound)[None], package.audio)[0].abs().square().T.numpy()
            image = 10 * np.log10(power + 1e-6)
            reference = 10 * np.log10(np.percentile(np.abs(case.mixture), 99) ** 2 * package.audio["n_fft"] ** 2 / 8)
            axis.imshow(image, origin="lower", aspect="auto", cmap="magma", vmin=reference - 60, vmax=reference,
                        extent=(0, SECONDS, 0, package.audio["sample_rate"] / 2000))
            axis.set_title(f"{name}: {case.caption}" if name == "output" else name, fontsize=8)
        row[0].set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s")
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def write_into_card(card, text):
    """Replaces what stands between the card's two marks."""
    before, rest = card.read_text(encoding="utf-8").split(CARD_MARKS[0])
    after = rest.split(CARD_MARKS[1])[1]
    card.write_text(f"{before}{CARD_MARKS[0]}\n{text}{CARD_MARKS[1]}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--out", type=Path, default=configuration.DEFAULT_WEIGHTS.parent)
    parser.add_argument("--card", action="store_true", help="write it all into the package's model card, with a figure")
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(1)
    corpus = Corpus(config["corpus"]["path"], "val", config["audio"]["sample_rate"])
    package, validation = Package(arguments.package, config), ValidationList(corpus, config)
    figures = evaluate(package, validation)
    text = markdown(figures)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "evaluation.md").write_text(text, encoding="utf-8")
    if arguments.card:
        write_into_card(arguments.package / "MODEL_CARD.md", text)
        draw(package, validation, arguments.package / "examples.png")
    print(text)


if __name__ == "__main__":
    main()
