"""Selection lists of the second model: known masks get known figures on every list."""

import numpy as np
import pytest
import soundfile
import torch

from sift_train import config as configuration
from sift_train.data import spectrogram
from sift_train.selection_lists import SelectionLists
from sift_train.vocabulary import Vocabulary

RATE = 48_000


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folders = {"first": [], "second": []}
    root = tmp_path_factory.mktemp("corpora")
    time = np.arange(RATE) / RATE

    def add(folder, name, source, split, frequency):
        path = root / folder / f"{name}-{source}-{split}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * time), RATE)
        folders[folder].append(f"{path.name},{name},{source},{path.stem},{split},,,")

    for number, name in enumerate(["rain", "dog barking", "piano", "drums"]):
        add("first", name, "mine", "train", 400 + 100 * number)
        add("first", name, "mine", "val", 400 + 100 * number)
        add("second", name, "esc50", "val", 400 + 100 * number)
        add("second", name, "gcompris", "train", 400 + 100 * number)
    for number, name in enumerate(["vocals", "singing", "bass guitar", "cat meowing", "violin"]):
        add("second", name, "mine", "train", 900 + 100 * number)
        add("second", name, "mine", "val", 900 + 100 * number)
    for folder, rows in folders.items():
        header = "path,label,source,group,split,licence,author,origin"
        (root / folder / "index.csv").write_text("\n".join([header, *rows]) + "\n")
    config = configuration.load(configuration.TRAIN_FOLDER / "wide.toml")
    config["corpus"] |= {"path": root / "first", "further": [root / "second"]}
    return SelectionLists(Vocabulary(config["query"]["vocabulary"]), config, cases=4)


class _OracleModel(torch.nn.Module):
    """Returns the ideal ratio mask of each case of the lists in order, or a mask of ones."""

    def __init__(self, lists, passes_all=False):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.cases = iter(lists.cases)
        self.audio, self.passes_all = lists.audio, passes_all

    def forward(self, magnitude, sentence):
        _, _, mixture, target = next(self.cases)
        if self.passes_all:
            return torch.ones_like(magnitude)[:, None], None, None
        if target is None:
            return torch.zeros_like(magnitude)[:, None], None, None
        target_magnitude, interferer_magnitude = (
            spectrogram(torch.from_numpy(part)[None], self.audio).abs() for part in (target, mixture - target)
        )
        return (target_magnitude / (target_magnitude + interferer_magnitude + 1e-9))[:, None], None, None


def test_signals_have_the_precision_of_the_model(lists):
    signals = [signal for _, _, *signals in lists.cases for signal in signals if signal is not None]
    assert {str(signal.dtype) for signal in signals} == {"float32"}


def test_ideal_masks_score_high_on_every_list(lists):
    figures = lists(_OracleModel(lists))
    assert set(figures["lists"]) == {"old", "new", "esc50", "other", "absent", "vocals", "drums"}
    assert figures["lists"].pop("absent") == [-90.0, 1.0]
    assert all(si_sdr > 10 for _, si_sdr, _ in figures["lists"].values())


def test_masks_of_ones_improve_nothing(lists):
    figures = lists(_OracleModel(lists, passes_all=True))
    assert figures["lists"].pop("absent") == [0.0, 0.0]
    assert all(abs(improvement) < 0.01 for improvement, _, _ in figures["lists"].values())
    assert figures["sdri"] == pytest.approx(0, abs=0.01)
