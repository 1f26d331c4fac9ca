"""Measures a package on the validation split: `python -m sift_train.evaluate [--package FOLDER] [--card]`.

With `--split train`, on mixtures of the recordings that were trained on: what it lacks there, too, no further recordings
would give it.

The list of mixtures is drawn from a fixed seed. Every mixture is separated by the exported graphs in ONNX Runtime, hop
by hop, as the plugin does it. Figures as AudioSep defines them (Liu et al., "Separate Anything You Describe", 2023):
SDR = 10 log10(mean r² / mean (e − r)²), SDRi = SDR − SDR of the mixture, SI-SDR without removal of means.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from . import compounds, concepts
from . import config as configuration
from .captions import captions_of, usual_caption
from .data import INSTRUMENTS, Corpus, conflicts, energy, scale_to_snr, spectrogram, waveform
from .encoder import encode

SEED = 20_000
PRESENT = 512
"""Eight of each label."""
ABSENT = 128
FURTHER = 64
"""Cases of each of the lists beside these."""
SECONDS = 4.0
PEAK = 10 ** (-6 / 20)
CARD_MARKS = ("<!-- evaluation -->", "<!-- end of evaluation -->")
OUTPUTS = (
    "usual captions",
    "trained captions",
    "held-out captions",
    "trained Korean captions",
    "held-out Korean captions",
    "oracle ratio mask",
    "half the mixture",
    "mixture",
)
HELD_OUT = {"held-out captions": "held_out", "held-out Korean captions": "korean_held_out"}
"""Outputs by captions that were never trained, and the part of `captions_of` that those are."""
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
    captions: dict
    """By the part of `captions_of`, "usual" for the usual caption."""
    mixture: np.ndarray
    """[N] float32."""
    parts: tuple
    """Each source as it is heard in the mixture, [N]; the described one first."""
    labels: tuple
    """Of the parts."""
    absent: bool = False

    @property
    def target(self):
        return np.zeros_like(self.mixture) if self.absent else self.parts[0]

    @property
    def caption(self):
        return self.captions["usual"]


class ValidationList:
    """Mixtures of the validation split, the same every time.

    `present`: two sources at 0 dB. `absent`: two sources, and a description of neither. Beside them, `further`: the
    lists by name that are separated by the usual caption only. `everything_but` and `both`: mixtures of two and three
    sources that are asked for all but the first, and for the first two.
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
        self.everything_but = [self._case(rng, label) for label in drawn]
        self.both = [self._case(rng, label, interferers=2) for label in drawn]
        self.further = {
            "three sources of equal energy": [self._case(rng, label, interferers=2) for label in drawn],
            "two sources, -10 to 10 dB": [self._case(rng, label, snr=rng.uniform(-10, 10)) for label in drawn],
            "unseen speakers and one other source, 0 dB": [self._case(rng, "speech") for _ in drawn],
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
        # Dimensions with a name are left open, for any number of streams; here there is one.
        self._state_shapes = {
            tensor.name: [length if isinstance(length, int) else 1 for length in tensor.shape]
            for tensor in self._separator.get_inputs()
            if tensor.name.startswith("state_")
        }
        self._embeddings = {}
        table = json.loads((folder / concepts.FILE).read_text(encoding="utf-8"))
        self._names = [concept["name"] for concept in table["concepts"]]
        self._directions = np.array([concept["direction"] for concept in table["concepts"]])
        self._closeness = table["closeness"]
        self._doubt = table["doubt"]

    def query(self, text):
        """`embedding` [1, E], `concept` [1, S] and `negation` [1, 1] of a text."""
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        outputs = ["embedding", "concept", "negation"]
        return self._query.run(outputs, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    def heard(self, text):
        """What a text is taken for."""
        _, concept, negation = self.query(text)
        cosines = self._directions @ concept[0]
        first, *others = np.argsort(-cosines)[: compounds.MOST_MEANT]
        # "An electric guitar" is none that is acoustic.
        doubt = 0.0 if self._names[first].lower() in text.lower() else self._doubt
        meant = [first, *(place for place in others if cosines[place] > cosines[first] - doubt)]
        return compounds.Heard(
            tuple(self._names[place] for place in meant),
            float(concepts.closeness_of(cosines[first], **self._closeness)),
            bool(negation[0, 0] >= 0.5),
        )

    def understood(self, text):
        """The name of the concept that is nearest to a text."""
        return self.heard(text).names[0]

    def parts(self, text):
        """The sounds that a text names or may mean: words and Role of each."""
        return compounds.parts(text, self.heard)

    def embedding(self, text):
        """[1, E]."""
        if text not in self._embeddings:
            self._embeddings[text] = self.query(text)[0]
        return self._embeddings[text]

    def run(self, magnitude, embedding):
        """[T, F] magnitudes → [T, F] gains and [T] presence, hop by hop."""
        names = list(self._state_shapes)
        states = {name: np.zeros(shape, np.float32) for name, shape in self._state_shapes.items()}
        outputs = ["mask", "presence", *(f"next_{name}" for name in names)]
        masks, presences = [], []
        for frame in magnitude:
            feed = {"magnitude": frame[None, None], "embedding": embedding, **states}
            mask, presence, *newest = self._separator.run(outputs, feed)
            states = dict(zip(names, newest))
            masks.append(mask[0, 0, 0])
            presences.append(presence[0, 0])
        return np.stack(masks), np.stack(presences)

    def separate(self, mixture, text):
        """[N] samples → [N] samples of what `text` describes, and its presence [T]."""
        spectrum = spectrogram(torch.from_numpy(mixture)[None], self.audio)
        magnitude = spectrum[0].abs().numpy()
        words, roles = zip(*self.parts(text))
        masks, presences = zip(*(self.run(magnitude, self.embedding(part)) for part in words))
        mask = torch.from_numpy(compounds.combined(masks, roles))
        told = [presence for presence, role in zip(presences, roles) if role is not compounds.Role.TURNED]
        return waveform(mask * spectrum, self.audio, len(mixture))[0].numpy(), np.maximum.reduce(told)


class QuickCheck:
    """Figures of a PyTorch model on the first cases of the list, for the curve of a training run."""

    def __init__(self, validation, encoder, config, present=128, absent=32):
        self.audio = config["audio"]
        self.cases = validation.present[:present] + validation.absent[:absent]
        self.sentences = encode(encoder, [case.caption for case in self.cases], config["query"]["max_tokens"])

    @torch.no_grad()
    def __call__(self, model):
        """`sdri`, `si_sdr`, `instruments_si_sdr`: means. `si_sdr_10th_percentile`: of the same cases.

        `absent`: median level of what is left of mixtures without the described sound.
        """
        rows, left = [], []
        device = next(model.parameters()).device
        for case, sentence in zip(self.cases, self.sentences):
            spectrum = spectrogram(torch.from_numpy(case.mixture)[None].to(device), self.audio)
            mask, _, _ = model(spectrum.abs(), sentence[None].to(device))
            estimate = waveform(mask[:, 0] * spectrum, self.audio, len(case.mixture))[0].cpu().numpy()
            if case.absent:
                left.append(decibels(estimate, case.mixture))
            else:
                rows.append(measure(case, estimate))
        all_of_them = summary(rows)
        return {
            **{name: all_of_them[name] for name in ("sdri", "si_sdr", "si_sdr_10th_percentile")},
            "instruments_si_sdr": summary([row for row in rows if row["label"] in INSTRUMENTS])["si_sdr"],
            "absent": float(np.median(left)),
        }


def oracle(case, audio):
    """What the ideal ratio mask, bounded to [0, 1], gives on the same spectrogram."""
    mixture = spectrogram(torch.from_numpy(case.mixture)[None], audio)
    target = spectrogram(torch.from_numpy(case.target)[None], audio)
    rest = mixture - target
    mask = target.abs() / (target.abs() + rest.abs() + 1e-9)
    return waveform(mask * mixture, audio, len(case.mixture))[0].numpy()


def measure(case, estimate, target=None):
    """The figures of one case. `target`: in place of the case's."""
    target = case.target if target is None else target
    value, before = sdr(target, estimate), sdr(target, case.mixture)
    scale_invariant = si_sdr(target, estimate)
    return {
        "label": case.label,
        "sdr": float(value),
        "sdri": float(value - before),
        "si_sdr": scale_invariant,
        "si_sdri": float(scale_invariant - si_sdr(target, case.mixture)),
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
        "si_sdri": float(np.mean([row["si_sdri"] for row in rows])),
        "si_sdr_median": float(np.median(si)),
        "si_sdr_10th_percentile": float(np.percentile(si, 10)),
        "failures": float((si < 0).mean()),
    }


def decibels(estimate, mixture):
    """Level of an output relative to its input, in dB, not below −100."""
    return max(-100.0, 10 * np.log10((energy(estimate) + 1e-12) / (energy(mixture) + 1e-12)))


def _each(measurement, cases, name):
    """`measurement` of every case, one thread a processor."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(measurement, cases), total=len(cases), desc=name))


def level_figures(package, cases):
    """Mean SI-SDR by the mixture's peak in dBFS."""

    def at(case, decibels):
        gain = np.float32(10 ** (decibels / 20) / PEAK)
        return si_sdr(case.target, package.separate(gain * case.mixture, case.caption)[0])

    levels = (0, -20, -40, -60)
    rows = _each(lambda case: [at(case, level) for level in levels], cases, "levels")
    return dict(zip(map(str, levels), np.mean(rows, axis=0).tolist()))


def drift_figures(package, cases):
    """Of each case, repeated for ten minutes: SI-SDR of the second repetition and of the last one."""
    repetitions = round(600 / SECONDS)

    def ends(case):
        estimate, _ = package.separate(np.tile(case.mixture, repetitions), case.caption)
        first, last = (estimate[n * len(case.mixture) :][: len(case.mixture)] for n in (1, repetitions - 1))
        return {"label": case.label, "second": si_sdr(case.target, first), "last": si_sdr(case.target, last)}

    return _each(ends, cases, "drift")


def encoding_milliseconds(package, texts):
    """Median time that a query takes, from its text to its embedding."""
    times = []
    for text in texts:
        start = time.perf_counter()
        package.query(text)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def by_understanding(package, cases, part, rows):
    """Summaries of `rows`, measured of `cases` by their captions of `part`: of those that were understood, and of the others."""
    split = {"understood": [], "misunderstood": []}
    for case, row in zip(cases, rows):
        right = package.understood(case.captions[part]) == case.label
        split["understood" if right else "misunderstood"].append(row)
    return {name: summary(rows) for name, rows in split.items() if rows}


def evaluate(package, validation):
    """All figures of a package, as a dictionary."""
    settled = round(package.audio["sample_rate"] / package.audio["hop"])  # frames in a second

    def present(case):
        usual, presence = package.separate(case.mixture, case.caption)
        parts = ("train", "held_out", "korean", "korean_held_out")
        said = [package.separate(case.mixture, case.captions[part])[0] for part in parts]
        estimates = (usual, *said, oracle(case, package.audio), case.mixture / 2, case.mixture)
        return [measure(case, estimate) for estimate in estimates], float(np.percentile(presence, 90))

    def absent(case):
        estimate, presence = package.separate(case.mixture, case.caption)
        return decibels(estimate, case.mixture), float(presence[settled:].mean())

    def usual(case):
        return measure(case, package.separate(case.mixture, case.caption)[0])

    def everything_but(case):
        text = f"everything but {case.caption}"
        return measure(case, package.separate(case.mixture, text)[0], sum(case.parts[1:]))

    def both(case):
        text = f"{case.caption} and {usual_caption(case.labels[1])}"
        return measure(case, package.separate(case.mixture, text)[0], case.parts[0] + case.parts[1])

    rows, presences = zip(*_each(present, validation.present, "present"))
    measured = [list(column) for column in zip(*rows)]
    left, absent_presences = map(np.array, zip(*_each(absent, validation.absent, "absent")))
    presences = np.array(presences)
    further = {name: summary(_each(usual, cases, name)) for name, cases in validation.further.items()}
    further["everything but one of two sources"] = summary(_each(everything_but, validation.everything_but, "but"))
    further["two of three sources of equal energy"] = summary(_each(both, validation.both, "both"))
    labels = defaultdict(list)
    for row in measured[0]:
        labels[row["label"]].append(row)
    return {
        "outputs": {name: summary(rows) for name, rows in zip(OUTPUTS, measured)},
        "held out": {
            name: by_understanding(package, validation.present, part, measured[OUTPUTS.index(name)])
            for name, part in HELD_OUT.items()
        },
        "further": further,
        "absent": {
            "cases": len(left),
            "median_db": float(np.median(left)),
            "90th_percentile_db": float(np.percentile(left, 90)),
            "20_db_below": float((left <= -20).mean()),
            "presence_median": float(np.median(absent_presences)),
            "presence_below_0.1": float((absent_presences < 0.1).mean()),
        },
        "present": {
            "presence_median": float(np.median(presences)),
            "presence_10th_percentile": float(np.percentile(presences, 10)),
            "presence_below_0.1": float((presences < 0.1).mean()),
        },
        "levels": level_figures(package, validation.present[: len(labels)]),
        "drift": drift_figures(package, validation.present[:4]),
        "query_milliseconds": encoding_milliseconds(package, [case.captions["held_out"] for case in validation.absent]),
        "labels": {label: summary(rows) for label, rows in sorted(labels.items())},
    }


def table(heading, rows):
    """Summaries by name, as a table."""
    lines = [
        f"| {heading} | SDRi | SDRi median | SI-SDR | SI-SDR median | SI-SDR 10th percentile | SI-SDRi | SI-SDR below 0 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['sdri']:.1f} | {row['sdri_median']:.1f} | {row['si_sdr']:.1f} | "
            f"{row['si_sdr_median']:.1f} | {row['si_sdr_10th_percentile']:.1f} | {row['si_sdri']:.1f} | "
            f"{100 * row['failures']:.0f} % |"
        )
    return lines


def markdown(figures):
    """The figures as tables."""
    absent, present, levels = figures["absent"], figures["present"], figures["levels"]
    drift = ", ".join(f"{row['label']} {row['second']:.2f} and {row['last']:.2f}" for row in figures["drift"])
    lines = [
        f"{figures['outputs'][OUTPUTS[0]]['cases']} mixtures of two sources at 0 dB, {SECONDS:.0f} s each; all in dB.",
        "",
        *table("output", figures["outputs"]),
        "",
        "The captions that were never trained, by whether the nearest concept is the one that was meant.",
        "",
        *table(
            "captions",
            {
                f"{name}, {share['cases']} {understanding}": share
                for name, shares in figures["held out"].items()
                for understanding, share in shares.items()
            },
        ),
        "",
        f"Other lists, of {next(iter(figures['further'].values()))['cases']} mixtures each, by the usual caption.",
        "",
        *table("list", figures["further"]),
        "",
        f"A described sound that is not there ({absent['cases']} mixtures): the output is at "
        f"{absent['median_db']:.1f} dB of the input in the median, {absent['90th_percentile_db']:.1f} dB at the "
        f"90th percentile, and {100 * absent['20_db_below']:.0f} % are 20 dB down or more. The presence is "
        f"{absent['presence_median']:.2f} in the median, below 0.1 in {100 * absent['presence_below_0.1']:.0f} %. "
        f"Where the sound is there, the presence is {present['presence_median']:.2f} in the median, "
        f"{present['presence_10th_percentile']:.2f} at the 10th percentile, below 0.1 in "
        f"{100 * present['presence_below_0.1']:.0f} % (the 90th percentile over time; where it is not there, the mean "
        "over all but the first second).",
        "",
        "Mean SI-SDR by the mixture's peak: "
        + ", ".join(f"{value:.2f} dB at {level} dBFS" for level, value in levels.items()) + ".",
        "",
        f"SI-SDR of {SECONDS:.0f} s repeated for ten minutes, of the second repetition and the last: {drift} dB.",
        "",
        f"From a text to its embedding: {figures['query_milliseconds']:.1f} ms in the median, on one thread.",
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
        output, _ = package.separate(case.mixture, case.caption)
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


def write_into_card(card, marks, text):
    """Replaces what stands between the card's two marks."""
    before, rest = card.read_text(encoding="utf-8").split(marks[0])
    after = rest.split(marks[1])[1]
    card.write_text(f"{before}{marks[0]}\n{text}{marks[1]}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--out", type=Path, default=configuration.DEFAULT_WEIGHTS.parent)
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument("--card", action="store_true", help="write it all into the package's model card, with a figure")
    arguments = parser.parse_args()
    if arguments.card and arguments.split == "train":
        parser.error("--card: the card tells of the validation split. Leave out --split train")
    config = configuration.load(arguments.config)
    torch.set_num_threads(1)
    corpus = Corpus(config["corpus"]["path"], arguments.split, config["audio"]["sample_rate"])
    package, validation = Package(arguments.package, config), ValidationList(corpus, config)
    figures = evaluate(package, validation)
    text = markdown(figures)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = "evaluation" if arguments.split == "val" else "evaluation-train"
    (arguments.out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (arguments.out / f"{name}.md").write_text(text, encoding="utf-8")
    if arguments.card:
        write_into_card(arguments.package / "MODEL_CARD.md", CARD_MARKS, text)
        draw(package, validation, arguments.package / "examples.png")
    print(text)


if __name__ == "__main__":
    main()
