"""Trains the query projection and the separator:

    python -m sift_train.train [--config FILE] [--minutes M] [--begin-from WEIGHTS | --widen WEIGHTS] [RUN_FOLDER]

A run is a folder: `last.pt` (the checkpoint from which the run resumes), `best.safetensors` (the averaged weights with the
best validation score, in half precision), `log.csv`, `curve.png`. The same command resumes the run. On SIGTERM or SIGINT
it writes a checkpoint after the current step and ends. It uses a GPU if there is one (bfloat16), and several GPUs or
machines under `torchrun`.
"""

import argparse
import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from . import config as configuration
from . import evaluate, synthetic_music, synthetic_speech
from .captions import CaptionSet, caption_set
from .data import BatchDataset, Corpus, MixtureGenerator, spectrogram
from .encoder import TextEncoder, encode
from .losses import presence_loss, separation_loss
from .mixtures import VocabularyMixtureGenerator
from .model import Model
from .selection_lists import SelectionLists
from .sentences import sentence_vectors
from .validation_list import ValidationList
from .vocabulary import Vocabulary
from .weights import WeightEma, read_weights, write_weights
from .widening import widen


def learning_rate_factor(progress, step, training):
    """Returns the factor of a linear warm-up, a plateau, and a linear fall to zero. `progress`: spent share of the budget."""
    warm_up = min(1.0, (step + 1) / training["warm_up_steps"])
    fall = min(1.0, max(0.0, (1.0 - progress) / training["anneal"]))
    return warm_up * fall


def _ignore_signals(_):
    """Makes a loader ignore signals to the process group: the training process handles them and ends its loaders."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load_start_weights(model, weights):
    """Loads start weights and prints the parts of the model that they lack, which start untrained.

    Raises ValueError if the weights have parts that the model lacks.
    """
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected:
        raise ValueError(
            f"start weights: unknown {', '.join(unexpected)}; expected only weights of the configured network"
        )
    if missing:
        print(f"start weights lack, start untrained: {', '.join(missing)}", flush=True)


class CaptionLabelLoss(nn.Module):
    """Classifies embeddings by the labels of their captions.

    Keeps embeddings of unseen captions close to those of trained ones; the separator sees too few captions per step for
    that. Trained with the separator and not exported.
    """

    SHARES = {"one": 0.75, "both": 0.25}
    """Share of each kind among the drawn captions, renormalised to the kinds that the set has."""

    def __init__(self, sentences, captions, embedding_size):
        """`sentences` [captions, S]: sentence vectors of `captions`, a CaptionSet."""
        super().__init__()
        meanings = list(captions.meanings.values())
        labels = torch.zeros(len(meanings), len(captions.names))
        column_of = {name: column for column, name in enumerate(captions.names)}
        for row, meaning in enumerate(meanings):
            for label in meaning.labels:
                labels[row, column_of[label]] = 1 / len(meaning.labels)
        self.rows_of = {
            kind: torch.tensor(rows)
            for kind in self.SHARES
            if (rows := [row for row, meaning in enumerate(meanings) if meaning.kind == kind])
        }
        self.register_buffer("sentences", sentences, persistent=False)
        self.register_buffer("labels", labels, persistent=False)
        self.linear = nn.Linear(embedding_size, len(captions.names))

    def loss(self, query, count, noise):
        """Returns the cross entropy of about `count` random captions, embedded by `query`."""
        total = sum(self.SHARES[kind] for kind in self.rows_of)
        drawn = torch.cat(
            [
                rows[torch.randint(len(rows), (round(self.SHARES[kind] / total * count),))]
                for kind, rows in self.rows_of.items()
            ]
        )
        sentences = self.sentences[drawn]
        sentences = sentences + noise * torch.randn_like(sentences)
        return functional.cross_entropy(self.linear(query(sentences)), self.labels[drawn])


class TrainingRun:
    """A training run: model, optimiser, progress, and their checkpoint."""

    def __init__(
        self, config, folder, generator, captions, sentences, budget_seconds=None, device="cpu", begin_from=None
    ):
        """`generator`: has `batch(step)`, such as a MixtureGenerator. `captions`: the CaptionSet into which its batches index.
        `sentences` [captions, S]: sentence vectors from the frozen encoders. `budget_seconds`: wall time; None for the
        configured number of steps. `begin_from`: weights by name with which a new run starts.

        In a process group, every process has a TrainingRun of the same folder; only the process of rank 0 writes to it.
        """
        self.config = config
        self.training = config["training"]
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.budget_seconds = budget_seconds
        self.device = torch.device(device)
        self.rank, self.processes = 0, 1
        if distributed.is_initialized():
            self.rank, self.processes = distributed.get_rank(), distributed.get_world_size()
        self.sentences = sentences
        self.generator = generator
        torch.manual_seed(self.training["seed"])
        # On CPUs, convolutions run a sixth faster in this layout.
        self.model = Model(config).to(self.device, memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True  # shapes never change
        if begin_from is not None:
            _load_start_weights(self.model, begin_from)
        self.average = WeightEma(self.model, self.training["ema_decay"])
        if self.training["compile"]:
            # Compiling the recurrent layers takes minutes and does not speed them up.
            separator = self.model.separator
            separator.descend = torch.compile(separator.descend, dynamic=False)
            separator.ascend_lower = torch.compile(separator.ascend_lower, dynamic=False)
            separator.ascend_upper = torch.compile(separator.ascend_upper, dynamic=False)
        self.label_loss = CaptionLabelLoss(sentences, captions, config["query"]["embedding_size"]).to(self.device)
        self.optimiser = torch.optim.AdamW(
            [*self.model.parameters(), *self.label_loss.parameters()],
            lr=self.training["learning_rate"],
            betas=(0.9, 0.98),
            weight_decay=self.training["weight_decay"],
        )
        self.step = 0
        self.examples = 0
        self.seconds = 0.0
        self.recurrent = None
        self.best = float("-inf")
        self.is_stopping = False
        if self.checkpoint.is_file():
            self._restore()
        if self.processes > 1:
            self._check_same_step()
        self.parallel = DistributedDataParallel(self.model) if self.processes > 1 else self.model

    @property
    def checkpoint(self):
        return self.folder / "last.pt"

    def save(self):
        """Writes the checkpoint to a temporary file and renames it, so that an interrupted write keeps the last one."""
        if self.rank > 0:
            return
        temporary = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.values,
                "naming": self.label_loss.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "examples": self.examples,
                "seconds": self.seconds,
                "recurrent": self.recurrent,
                "best": self.best,
                "random": torch.get_rng_state(),
            },
            temporary,
        )
        os.replace(temporary, self.checkpoint)

    def _restore(self):
        stored = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.model.load_state_dict(stored["model"])
        self.average.values = {name: value.to(self.device) for name, value in stored["average"].items()}
        self.label_loss.load_state_dict(stored["naming"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self.step = stored["step"]
        self.examples = stored["examples"]
        self.seconds = stored["seconds"]
        self.best = stored["best"]
        self.recurrent = None if stored["recurrent"] is None else stored["recurrent"].to(self.device)
        torch.set_rng_state(stored["random"])

    def _check_same_step(self):
        extremes = torch.tensor([self.step, -self.step], device=self.device)
        distributed.all_reduce(extremes, distributed.ReduceOp.MAX)
        if extremes[0] != -extremes[1]:
            raise RuntimeError(
                f"{self.folder}: the processes resume from different steps; expected one folder that all processes share"
            )

    def progress(self):
        """Returns the spent share of the budget."""
        if self.budget_seconds is None:
            return self.step / self.training["steps"]
        return self.seconds / self.budget_seconds

    def averaged_model(self):
        """Returns a copy of the model with averaged weights, for evaluation."""
        # The discarded initial weights must not advance the random generator of the run.
        with torch.random.fork_rng(devices=[]):
            model = Model(self.config).to(self.device)
        model.load_state_dict(self.average.values)
        return model.eval()

    def _initial_state(self, batch):
        """Returns zeros or, with probability `carry_probability`, GRU states of unrelated streams.

        The GRUs learn to forget from these, and do not drift.
        """
        state = self.model.separator.initial_state(batch)
        if self.recurrent is None or torch.rand(()) >= self.training["carry_probability"]:
            return state
        return state._replace(recurrent=self.recurrent[:, torch.randperm(batch)])

    def train_step(self, batch):
        """Performs one optimiser step. Returns the loss on the device, without waiting for a GPU."""
        mixture, target, captions, absent = batch
        mixture, target, absent = (part.to(self.device, non_blocking=True) for part in (mixture, target, absent))
        audio = self.config["audio"]
        mixture = spectrogram(mixture, audio)
        target = spectrogram(target, audio)
        sentence = self.sentences[captions]
        noise = self.training["embedding_noise"]
        sentence = (sentence + noise * torch.randn_like(sentence)).to(self.device)
        factor = learning_rate_factor(self.progress(), self.step, self.training)
        self.optimiser.param_groups[0]["lr"] = self.training["learning_rate"] * factor

        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training["bfloat16"]):
            mask, presence, state = self.parallel(mixture.abs(), sentence, self._initial_state(len(mixture)))
        estimate = mask[:, 0].float() * mixture
        loss = separation_loss(estimate, target, mixture, absent, self.training["ratio_weight"])
        loss = loss + presence_loss(presence.float(), target, mixture, absent)
        label_loss = self.label_loss.loss(self.model.query, self.training["named_captions"], noise)
        self.optimiser.zero_grad(set_to_none=True)
        (loss + self.training["naming_weight"] * label_loss).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training["gradient_norm"])
        self.optimiser.step()
        self.recurrent = state.recurrent.detach().float()
        self.average.update(self.model, self.step)
        self.step += 1
        self.examples += len(mixture) * self.processes
        return loss.detach()

    def _must_stop(self):
        """Returns whether any process must stop, and sets the spent time of all processes to that of rank 0."""
        if self.processes == 1:
            return self.is_stopping
        own = [self.seconds if self.rank == 0 else 0.0, float(self.is_stopping)]
        total = torch.tensor(own, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        self.seconds = total[0].item()
        return bool(total[1])

    def train(self, validate=None, until=1.0):
        """Trains until the share `until` of the budget is spent. `validate`: function of the model → dictionary of figures."""
        loader = torch.utils.data.DataLoader(
            BatchDataset(self.generator),
            batch_size=None,
            # Every process trains on different batches.
            sampler=range(self.step * self.processes + self.rank, 1 << 40, self.processes),
            num_workers=self.training["loaders"],
            prefetch_factor=6,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_signals,
            # A separate generator, so that starting a loader does not advance the global one.
            generator=torch.Generator(),
        )
        losses = []
        last_time = time.monotonic()
        saved_at = validated_at = self.seconds
        bar = tqdm(initial=self.step, unit="step", mininterval=10, disable=self.rank > 0)
        for batch in loader:
            if self._must_stop() or self.progress() >= until:
                break
            losses.append(self.train_step(batch))
            bar.update()
            now = time.monotonic()
            self.seconds += now - last_time
            last_time = now
            if self.step % 50 == 0:
                self._log(losses)
                losses.clear()
            if self.seconds - saved_at > 60 * self.training["checkpoint_minutes"]:
                self.save()
                saved_at = self.seconds
            if validate and self.rank == 0 and self.seconds - validated_at > 60 * self.training["validate_minutes"]:
                self._validate(validate, losses)
                validated_at = self.seconds
        bar.close()
        self.save()
        if validate and self.rank == 0 and not self.is_stopping:
            self._validate(validate, losses)
            self.save()

    def _validate(self, validate, losses):
        """Logs the figures, and stores the averaged weights if their score is the best of the run."""
        figures = validate(self.averaged_model())
        self._log(losses, figures)
        if "lists" in figures:
            with open(self.folder / "lists.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": self.step, **figures["lists"]}) + "\n")
        score = figures["sdri"] + figures["si_sdr"]
        if score > self.best:
            self.best = score
            write_weights(self.average.values, self.folder / "best.safetensors")

    def _log(self, losses, figures=None):
        """Adds a row to `log.csv`. `losses`: the losses since the last row."""
        if self.rank > 0:
            return
        loss = torch.stack(losses).mean() if losses else np.nan
        hours = self.examples * self.config["mixing"]["segment_seconds"] / 3600
        row = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "mixture_hours": round(hours, 3),
            "learning_rate": f"{self.optimiser.param_groups[0]['lr']:.3g}",
            "loss": round(float(loss), 4),
            "sdri": round(figures["sdri"], 2) if figures else "",
            "si_sdr": round(figures["si_sdr"], 2) if figures else "",
            "absent": round(figures["absent"], 1) if figures else "",
        }
        path = self.folder / "log.csv"
        new = not path.is_file()
        with open(path, "a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
        if figures:
            plot(path, self.folder / "curve.png")


def plot(log, path):
    """Plots the loss and the validation figures of a run over hours of mixture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(log, newline="") as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot([float(r["mixture_hours"]) for r in rows], [float(r["loss"]) for r in rows])
    left.set(xlabel="hours of mixture", ylabel="training loss")
    validated = [r for r in rows if r["sdri"]]
    hours = [float(r["mixture_hours"]) for r in validated]
    right.plot(hours, [float(r["sdri"]) for r in validated], marker=".", label="SDRi")
    right.plot(hours, [float(r["si_sdr"]) for r in validated], marker=".", label="SI-SDR")
    right.set(xlabel="hours of mixture", ylabel="validation, dB")
    right.legend()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def read_corpus(config):
    """Returns the recorded and rendered clips of the training split. Renders and decodes those that the cache lacks."""
    # The process of rank 0 renders and decodes; the others wait and read the cache.
    others_wait = distributed.is_initialized() and distributed.get_rank() > 0
    if others_wait:
        distributed.barrier()
    rate = config["audio"]["sample_rate"]
    rendered = [synthetic_speech.folder(), synthetic_music.folder()] if config["corpus"]["rendered"] else []
    corpus = Corpus(config["corpus"]["path"], "train", rate, config["corpus"]["further"], rendered)
    if distributed.is_initialized() and not others_wait:
        distributed.barrier()
    return corpus


class TrainingInputs(NamedTuple):
    """Training data, captions and validation of a configuration."""

    generator: object
    """Has `batch(step)`."""
    captions: CaptionSet
    sentences: torch.Tensor
    """[captions, S]: sentence vectors of the captions."""
    validate: object
    """Function of a model → dictionary of figures with at least `sdri`, `si_sdr` and `absent`."""


def read_training_inputs(config):
    """Returns the TrainingInputs of a configuration. A configuration with a vocabulary is one of the second model."""
    corpus = read_corpus(config)
    rate = config["audio"]["sample_rate"]
    if "vocabulary" in config["query"]:
        vocabulary = Vocabulary(config["query"]["vocabulary"])
        captions = vocabulary.caption_set()
        generator = VocabularyMixtureGenerator(corpus, vocabulary, config)
        return TrainingInputs(
            generator, captions, sentence_vectors(list(captions.meanings), config), SelectionLists(vocabulary, config)
        )
    captions = caption_set()
    encoder = TextEncoder()
    validation = ValidationList(Corpus(config["corpus"]["path"], "val", rate), config)
    return TrainingInputs(
        MixtureGenerator(corpus, config),
        captions,
        encode(encoder, list(captions.meanings), config["query"]["max_tokens"]),
        evaluate.QuickCheck(validation, encoder, config),
    )


def main():
    parser = argparse.ArgumentParser(description="Trains the query projection and the separator.")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of the run (default: `run` in the cache folder)")
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--minutes", type=float, help="wall-clock budget instead of [training] steps")
    start_weights = parser.add_mutually_exclusive_group()
    start_weights.add_argument("--begin-from", type=Path, metavar="WEIGHTS", help="start weights of a new run")
    start_weights.add_argument(
        "--widen",
        type=Path,
        metavar="WEIGHTS",
        help="start weights of a new run, from the narrower network of config.toml",
    )
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    device = "cpu"
    if torch.cuda.is_available():
        config["training"] |= config["training"]["on_gpu"]
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    if "RANK" in os.environ:
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")

    inputs = read_training_inputs(config)
    begin_from = None
    if arguments.begin_from:
        begin_from = read_weights(arguments.begin_from)
    elif arguments.widen:
        begin_from = widen(read_weights(arguments.widen), configuration.load(), config)
    budget = None if arguments.minutes is None else 60 * arguments.minutes
    folder = arguments.folder or configuration.cache_folder() / "run"
    generator, captions, sentences, validate = inputs
    run = TrainingRun(config, folder, generator, captions, sentences, budget, device, begin_from)

    def stop(*_):
        run.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run.train(validate)


if __name__ == "__main__":
    main()
