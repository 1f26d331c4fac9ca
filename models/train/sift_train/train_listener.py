"""Trains the listener: `python -m sift_train.train_listener [--config FILE] [--minutes M] [RUN_FOLDER]`.

A run is a folder: `last.pt` (the checkpoint from which the run resumes), `listener.safetensors` (the averaged weights, in half
precision), `log.csv`. The same command resumes the run. On SIGTERM or SIGINT it writes a checkpoint after the current step
and ends. `calibrate_listener` follows.
"""

import argparse
import csv
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from . import config as configuration
from .captions import LABELS
from .data import BatchDataset
from .listener import Listener, ListenerState
from .listener_data import ListenerMixtures
from .train import _ignore_signals, learning_rate_factor, read_corpus
from .vocabulary import Vocabulary
from .weights import WeightEma, write_weights

LOG_STEPS = 50


def listening_loss(logits, targets, weights):
    """Returns the weighted cross entropy [B, K], summed over the concepts. All arguments are [B, K, C]."""
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (loss * weights).sum(dim=2)


class ListenerRun:
    """A training run of the listener: model, optimiser, progress, and their checkpoint."""

    def __init__(self, config, folder, mixtures, concepts, budget_seconds=None):
        """`mixtures`: has `batch(step)`. `concepts`: number of outputs. `budget_seconds`: wall time, else `steps`."""
        self.training = config["training"]
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.budget_seconds = budget_seconds
        self.mixtures = mixtures
        torch.manual_seed(self.training["seed"])
        self.model = Listener(config["listener"], config["audio"], concepts)
        self.average = WeightEma(self.model, self.training["ema_decay"])
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=self.training["learning_rate"], weight_decay=self.training["weight_decay"]
        )
        self.step, self.seconds, self.hours = 0, 0.0, 0.0
        self.state = None
        self.is_stopping = False
        checkpoint = self.folder / "last.pt"
        if checkpoint.is_file():
            stored = torch.load(checkpoint, weights_only=True)
            self.model.load_state_dict(stored["model"])
            self.average.values = stored["average"]
            self.optimiser.load_state_dict(stored["optimiser"])
            self.step, self.seconds = stored["step"], stored["seconds"]
            self.hours = stored["hours"]

    def save(self):
        """Writes the checkpoint and the averaged weights."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "hours": self.hours,
        }
        torch.save(state, self.folder / "last.pt.part")
        os.replace(self.folder / "last.pt.part", self.folder / "last.pt")
        write_weights(self.average.values, self.folder / "listener.safetensors")

    def progress(self):
        """Returns the spent share of the budget."""
        if self.budget_seconds is None:
            return self.step / self.training["steps"]
        return self.seconds / self.budget_seconds

    def train(self):
        """Trains until the budget is spent or `is_stopping`."""
        loader = torch.utils.data.DataLoader(
            BatchDataset(self.mixtures),
            batch_size=None,
            sampler=range(self.step, 1 << 40),
            num_workers=1,
            prefetch_factor=4,
            worker_init_fn=_ignore_signals,
        )
        losses, saved = [], time.monotonic()
        started = time.monotonic() - self.seconds
        for batch in loader:
            if self.is_stopping or self.progress() >= 1:
                break
            losses.append(self._train_on(*batch))
            self.step += 1
            self.hours += self.training["batch"] * self.mixtures.options["segment_seconds"] / 3600
            self.seconds = time.monotonic() - started
            if self.step % LOG_STEPS == 0:
                self._log(sum(losses) / len(losses))
                losses = []
            if time.monotonic() - saved > 60 * self.training["checkpoint_minutes"]:
                self.save()
                saved = time.monotonic()
        self.save()

    def _train_on(self, magnitude, targets, weights):
        rate = self.training["learning_rate"] * learning_rate_factor(self.progress(), self.step, self.training)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.model.train()
        state = self.state if torch.rand(()) < self.training["carry_probability"] else None
        logits, newest = self.model(magnitude, state)
        self.state = ListenerState(*(part.detach() for part in newest))
        loss = listening_loss(logits, targets, weights)
        if state is not None:
            # In the first second, what was heard in the batch before is heard still.
            loss = loss[:, round(1 / self.mixtures.run_seconds) :]
        loss = loss.mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.training["gradient_norm"])
        self.optimiser.step()
        self.average.update(self.model, self.step)
        return loss.detach().item()

    def _log(self, loss):
        path = self.folder / "log.csv"
        is_new = not path.is_file()
        rate = self.optimiser.param_groups[0]["lr"]
        with open(path, "a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(["step", "minutes", "mixture_hours", "learning_rate", "loss"])
            writer.writerow(
                [self.step, round(self.seconds / 60, 2), round(self.hours, 2), f"{rate:.3g}", round(loss, 4)]
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", nargs="?", type=Path, help="folder of the run (default: `listener` in the cache folder)"
    )
    parser.add_argument("--config", type=Path, default=configuration.LISTENER_CONFIG)
    parser.add_argument("--minutes", type=float, help="wall-clock budget instead of [training] steps")
    arguments = parser.parse_args()
    config = configuration.load_listener(arguments.config)
    torch.set_num_threads(config["training"]["threads"])
    vocabulary = Vocabulary(config["query"]["vocabulary"])
    mixtures = ListenerMixtures(read_corpus(config), vocabulary, config, LABELS)
    budget = None if arguments.minutes is None else 60 * arguments.minutes
    folder = arguments.folder or configuration.cache_folder() / "listener"
    run = ListenerRun(config, folder, mixtures, len(vocabulary.names), budget)

    def stop(*_):
        run.is_stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    run.train()


if __name__ == "__main__":
    main()
