"""Measures a package on the validation split: `python -m sift_train.evaluate [--package FOLDER] [--card]`.

`--split train` uses the recordings of the training. The difference to the validation split shows how much more
recordings could improve the model.

The exported graphs separate each mixture in ONNX Runtime, frame by frame, as in the plugin. SDRi is the SDR less that of
the mixture.
"""

import argparse
import json
import os
import time
import tomllib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from . import config as configuration
from . import rest as rest_rules
from .captions import usual_caption
from .data import INSTRUMENTS, Corpus, energy, spectrogram, waveform
from .encoder import encode
from .metrics import sdr, si_sdr
from .names_lists import measure_names
from .package_streams import HeardRest, PackageListener, SaidRest, SeparatorStream
from .report import draw_spectrograms, make_markdown, write_into_card
from .understanding import PartRole, QueryReader, combine_masks
from .validation_list import PEAK, SECONDS, ValidationList
from .vocabulary import Vocabulary

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
HELD_OUT_OUTPUTS = {"held-out captions": "held_out", "held-out Korean captions": "korean_held_out"}
"""Outputs for captions that were not used in training, with their part of `captions_of`."""


AUTOMATIC = "automatic"
"""The rest of a text that the listener selects."""


class Package:
    """Runs an exported package as the plugin does."""

    def __init__(self, folder, config, threads=1):
        self.audio = config["audio"]
        folder = Path(folder)
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._query = self._session(folder / "query.onnx")
        self._separator = self._session(folder / "separator.onnx")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._encoded = {}
        self.reader = QueryReader.open(folder, lambda text: self._encode(text)[1][0])
        self.listener = None
        """The package's PackageListener, or None."""
        with open(folder / "package.toml", "rb") as file:
            manifest = tomllib.load(file)
        if "listener" in manifest:
            self.listener = PackageListener(folder, manifest["listener"], self._session)

    def _session(self, path):
        return onnxruntime.InferenceSession(path, self._options)

    def query(self, text):
        """Runs the query network: text → `embedding` [1, E] and `concept` [1, S]."""
        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        return self._query.run(["embedding", "concept"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    def _encode(self, text):
        """Returns the outputs of the query network for a text, computed once per text."""
        if text not in self._encoded:
            self._encoded[text] = self.query(text)
        return self._encoded[text]

    def embedding(self, text):
        """Returns the embedding of a text [1, E]."""
        return self._encode(text)[0]

    def understands(self, text, label):
        """Returns whether a text is taken for the sound `label`."""
        return self.reader.read(text).means({label})

    def parts(self, text):
        """Lists the parts of a text: [(words, PartRole)]. Empty if everything passes."""
        return self.reader.read(text).parts

    def rest_candidates(self, text):
        """Lists the indices of the listener's concepts that can be the rest of a text. Empty if it leaves a sound out."""
        understanding = self.reader.read(text)
        if understanding.leave_out or not understanding.keep:
            return []
        wanted = [sound.selected for sound in understanding.keep]
        closeness = [
            sound.close | {match.name: match.closeness for match in sound.matches} for sound in understanding.keep
        ]
        return rest_rules.find_candidates(self.listener.concepts, wanted, closeness)

    def stream(self):
        """Returns a SeparatorStream at its start."""
        return SeparatorStream(self._separator)

    def run(self, magnitude, embedding):
        """Runs the separator frame by frame: magnitudes [T, F] → gains [T, F] and presence [T]."""
        stream = self.stream()
        masks, presences = zip(*(stream.run(frame, embedding) for frame in magnitude))
        return np.stack(masks), np.stack(presences)

    def _competitor(self, text, parts, rest, magnitude):
        """Returns the object that lets the gains of `text` compete with those of its rest, hop by hop, or None.

        Sounds that the text leaves out beside others are its rest.
        """
        roles = [role for _, role in parts]
        if rest is None or PartRole.INCLUDE not in roles:
            return None
        said = [words for words, role in parts if role is PartRole.EXCLUDE]
        if isinstance(rest, tuple):
            of_rest = (part for name in rest for part in self.parts(name))
            said += [words for words, role in of_rest if role is PartRole.INCLUDE]
        if said:
            weight = rest_rules.SAID_WEIGHT if self.listener else rest_rules.SAID_WEIGHT_WITHOUT_LISTENER
            said = said[: rest_rules.MAX_SAID]
            return SaidRest([(self.stream(), self.embedding(words)) for words in said], weight)
        if self.listener is None or isinstance(rest, tuple):
            return None
        hop_seconds = self.audio["hop"] / self.audio["sample_rate"]
        rest = HeardRest if rest == AUTOMATIC else rest
        return rest(self.listener, self.rest_candidates(text), magnitude, hop_seconds)

    def gains(self, magnitude, text, *rests):
        """Runs a text hop by hop, beside each of `rests`: magnitudes [T, F] → presence [T] and gains [T, F] per rest.

        A rest is None, `AUTOMATIC` for what the listener hears beside the text, a tuple of names of other sounds, or a class
        like HeardRest.
        """
        parts = self.parts(text)
        if not parts:
            return np.ones(len(magnitude), np.float32), *(np.ones_like(magnitude) for _ in rests)
        words, roles = zip(*parts)
        streams = [self.stream() for _ in words]
        embeddings = [self.embedding(part) for part in words]
        competitors = [self._competitor(text, parts, rest, magnitude) for rest in rests]
        presences, combined = [], [[] for _ in rests]
        for hop, frame in enumerate(magnitude):
            before = streams[0].fork()
            masks, present = zip(*(stream.run(frame, part) for stream, part in zip(streams, embeddings)))
            included = [mask for mask, role in zip(masks, roles) if role is PartRole.INCLUDE]
            for competitor, found in zip(competitors, combined):
                if competitor:
                    found.append(competitor(hop, frame, np.maximum.reduce(included), before.fork()))
                else:
                    found.append(combine_masks(masks, roles))
            # What remains without the excluded sounds is always present.
            values = [value for value, role in zip(present, roles) if role is PartRole.INCLUDE]
            presences.append(max(values, default=np.float32(1)))
        return np.stack(presences), *map(np.stack, combined)

    def separate(self, mixture, text, rest=None):
        """Separates the sound that `text` describes: samples [N] → samples [N] and presence [T]. `rest`: as in `gains`."""
        spectrum = spectrogram(torch.from_numpy(mixture)[None], self.audio)
        presence, mask = self.gains(spectrum[0].abs().numpy(), text, rest)
        return waveform(torch.from_numpy(mask) * spectrum, self.audio, len(mixture))[0].numpy(), presence


class QuickCheck:
    """Measures a PyTorch model on the first cases of the list, for the log of a training run."""

    def __init__(self, validation, encoder, config, present=128, absent=32):
        self.audio = config["audio"]
        self.cases = validation.present[:present] + validation.absent[:absent]
        self.sentences = encode(encoder, [case.caption for case in self.cases], config["query"]["max_tokens"])

    @torch.no_grad()
    def __call__(self, model):
        """Returns means (`sdri`, `si_sdr`, `instruments_si_sdr`), `si_sdr_10th_percentile`, and `absent`.

        `absent`: median level of the output relative to the mixture, for absent sounds, in dB.
        """
        rows, residues = [], []
        device = next(model.parameters()).device
        for case, sentence in zip(self.cases, self.sentences):
            spectrum = spectrogram(torch.from_numpy(case.mixture)[None].to(device), self.audio)
            mask, _, _ = model(spectrum.abs(), sentence[None].to(device))
            estimate = waveform(mask[:, 0] * spectrum, self.audio, len(case.mixture))[0].cpu().numpy()
            if case.absent:
                residues.append(relative_level(estimate, case.mixture))
            else:
                rows.append(measure(case, estimate))
        total = summarise(rows)
        return {
            **{name: total[name] for name in ("sdri", "si_sdr", "si_sdr_10th_percentile")},
            "instruments_si_sdr": summarise([row for row in rows if row["label"] in INSTRUMENTS])["si_sdr"],
            "absent": float(np.median(residues)),
        }


def separate_by_oracle(case, audio):
    """Separates a case with the ideal ratio mask in [0, 1] on the same spectrogram."""
    mixture = spectrogram(torch.from_numpy(case.mixture)[None], audio)
    target = spectrogram(torch.from_numpy(case.target)[None], audio)
    rest = mixture - target
    mask = target.abs() / (target.abs() + rest.abs() + 1e-9)
    return waveform(mask * mixture, audio, len(case.mixture))[0].numpy()


def measure(case, estimate, target=None):
    """Computes the figures of one case. `target`: replaces the target of the case."""
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


def summarise(rows):
    """Computes means, medians and other statistics of measured cases."""
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


def relative_level(estimate, mixture):
    """The level of an output relative to its input, in dB, at least −100."""
    return max(-100.0, 10 * np.log10((energy(estimate) + 1e-12) / (energy(mixture) + 1e-12)))


def map_cases(measurement, cases, name):
    """Applies `measurement` to all cases, with one thread per processor."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(measurement, cases), total=len(cases), desc=name))


def measure_levels(package, cases):
    """Measures the mean SI-SDR by the peak level of the mixture in dBFS."""

    def si_sdr_at(case, decibels):
        gain = np.float32(10 ** (decibels / 20) / PEAK)
        return si_sdr(case.target, package.separate(gain * case.mixture, case.caption)[0])

    levels = (0, -20, -40, -60)
    rows = map_cases(lambda case: [si_sdr_at(case, level) for level in levels], cases, "levels")
    return dict(zip(map(str, levels), np.mean(rows, axis=0).tolist()))


def measure_drift(package, cases):
    """Measures, for each case repeated for ten minutes, the SI-SDR of the second and the last repetition."""
    repetitions = round(600 / SECONDS)

    def ends(case):
        estimate, _ = package.separate(np.tile(case.mixture, repetitions), case.caption)
        first, last = (estimate[n * len(case.mixture) :][: len(case.mixture)] for n in (1, repetitions - 1))
        return {"label": case.label, "second": si_sdr(case.target, first), "last": si_sdr(case.target, last)}

    return map_cases(ends, cases, "drift")


def measure_encoding_milliseconds(package, texts):
    """Measures the median time from a text to its embedding."""
    times = []
    for text in texts:
        start = time.perf_counter()
        package.query(text)
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def summarise_by_understanding(package, cases, part, rows):
    """Summarises understood and misunderstood cases separately.

    `rows`: figures of `cases` with their captions of `part`. A caption is understood if it is taken for its label.
    """
    split = {"understood": [], "misunderstood": []}
    for case, row in zip(cases, rows):
        right = package.understands(case.captions[part], case.label)
        split["understood" if right else "misunderstood"].append(row)
    return {name: summarise(rows) for name, rows in split.items() if rows}


def evaluate(package, validation):
    """Measures all figures of a package; returns a dictionary."""
    frames_per_second = round(package.audio["sample_rate"] / package.audio["hop"])

    def present(case):
        usual, presence = package.separate(case.mixture, case.caption)
        parts = ("train", "held_out", "korean", "korean_held_out")
        by_caption = [package.separate(case.mixture, case.captions[part])[0] for part in parts]
        estimates = (usual, *by_caption, separate_by_oracle(case, package.audio), case.mixture / 2, case.mixture)
        return [measure(case, estimate) for estimate in estimates], float(np.percentile(presence, 90))

    def absent(case):
        estimate, presence = package.separate(case.mixture, case.caption)
        return relative_level(estimate, case.mixture), float(presence[frames_per_second:].mean())

    def usual(case):
        return measure(case, package.separate(case.mixture, case.caption)[0])

    def everything_but(case):
        text = f"everything but {case.caption}"
        return measure(case, package.separate(case.mixture, text)[0], sum(case.parts[1:]))

    def both(case):
        text = f"{case.caption} and {usual_caption(case.labels[1])}"
        return measure(case, package.separate(case.mixture, text)[0], case.parts[0] + case.parts[1])

    rows, presences = zip(*map_cases(present, validation.present, "present"))
    measured = [list(column) for column in zip(*rows)]
    residues, absent_presences = map(np.array, zip(*map_cases(absent, validation.absent, "absent")))
    presences = np.array(presences)
    further = {name: summarise(map_cases(usual, cases, name)) for name, cases in validation.further.items()}
    further["everything but one of two sources"] = summarise(
        map_cases(everything_but, validation.everything_but, "but")
    )
    further["two of three sources of equal energy"] = summarise(map_cases(both, validation.both, "both"))
    labels = defaultdict(list)
    for row in measured[0]:
        labels[row["label"]].append(row)
    return {
        "outputs": {name: summarise(rows) for name, rows in zip(OUTPUTS, measured)},
        "held out": {
            name: summarise_by_understanding(package, validation.present, part, measured[OUTPUTS.index(name)])
            for name, part in HELD_OUT_OUTPUTS.items()
        },
        "further": further,
        "absent": {
            "cases": len(residues),
            "median_db": float(np.median(residues)),
            "90th_percentile_db": float(np.percentile(residues, 90)),
            "20_db_below": float((residues <= -20).mean()),
            "presence_median": float(np.median(absent_presences)),
            "presence_below_0.1": float((absent_presences < 0.1).mean()),
        },
        "present": {
            "presence_median": float(np.median(presences)),
            "presence_10th_percentile": float(np.percentile(presences, 10)),
            "presence_below_0.1": float((presences < 0.1).mean()),
        },
        "levels": measure_levels(package, validation.present[: len(labels)]),
        "drift": measure_drift(package, validation.present[:4]),
        "query_milliseconds": measure_encoding_milliseconds(
            package, [case.captions["held_out"] for case in validation.absent]
        ),
        "labels": {label: summarise(rows) for label, rows in sorted(labels.items())},
        "names": measure_names(package.reader, Vocabulary(configuration.VOCABULARY)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--package", type=Path, default=configuration.PACKAGE)
    parser.add_argument("--out", type=Path, default=configuration.DEFAULT_WEIGHTS.parent)
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument(
        "--card", action="store_true", help="write the figures and a picture into the package's model card"
    )
    arguments = parser.parse_args()
    if arguments.card and arguments.split == "train":
        parser.error("--card: conflicts with --split train; the card has the validation split. Omit one of them.")
    config = configuration.load(arguments.config)
    torch.set_num_threads(1)
    corpus = Corpus(config["corpus"]["path"], arguments.split, config["audio"]["sample_rate"])
    package, validation = Package(arguments.package, config), ValidationList(corpus, config)
    figures = evaluate(package, validation)
    text = make_markdown(figures)
    arguments.out.mkdir(parents=True, exist_ok=True)
    name = "evaluation" if arguments.split == "val" else "evaluation-train"
    (arguments.out / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if arguments.card:
        write_into_card(arguments.package / "MODEL_CARD.md", CARD_MARKS, text)
        draw_spectrograms(package, validation, arguments.package / "examples.png")
    print(text)


if __name__ == "__main__":
    main()
