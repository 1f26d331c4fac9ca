import sys
from pathlib import Path

import numpy
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sift_export import __main__ as command_line
from sift_export import audiosep, lassnet, reference_weights

CHANNELS = [2, 2, 3, 3, 4, 4]
CONDITION = 16
WORDS = 320
TEXT = {"words": WORDS, "positions": 40, "segments": 2, "size": 64, "inner": 32, "layers": 2}

UNUSED = {
    "audiosep": {
        "ss_model.base.stft.conv_real.weight": (4, 1, 4),
        "ss_model.base.bn0.num_batches_tracked": (),
        "ss_model.base.decoder_block1.bn2.weight": (4,),
        "ss_model.film.decoder_block1->beta2.weight": (4, CONDITION),
        "query_encoder.model.text_branch.embeddings.position_ids": (1, 40),
        "query_encoder.model.audio_branch.bn0.weight": (4,),
    },
    "lassnet": {
        "UNet.conv_block7.bn1.num_batches_tracked": (),
        "text_embedder.bert_layer.pooler.dense.weight": (64, 64),
    },
}
"""Tensors of published checkpoints that the network does not use."""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class SmallNetwork:
    """A network with few channels, its checkpoint in the published format, and a tokenizer."""

    def __init__(self, name, folder):
        self.name = name
        self.architecture = reference_weights.ARCHITECTURES[name]
        self.folder = folder
        self.model = {
            "audiosep": lambda: audiosep.AudioSep(channels=CHANNELS, bins=1025, condition_size=CONDITION, text=TEXT),
            "lassnet": lambda: lassnet.LassNet(channels=CHANNELS, condition_size=CONDITION, text=TEXT),
        }[name]().eval()
        shapes = {name: value.shape for name, value in self.model.state_dict().items()}
        self.state = reference_weights.make_state_dict(shapes)
        self.model.load_state_dict(self.state)
        self.checkpoint = self.save(
            folder / "published.ckpt", self.state | reference_weights.make_state_dict(UNUSED[name])
        )
        self.tokenizer = folder / "tokenizer"
        reference_weights.write_placeholder_tokenizer(self.tokenizer, self.architecture.TOKENIZER, WORDS, {})

    def save(self, path, state, **further):
        """Writes a checkpoint with this state dict, which has the network's names."""
        torch.save({self.architecture.ENTRY: reference_weights.add_published_prefix(self.name, state), **further}, path)
        return path

    def export(self, output, *options, checkpoint=None, tokenizer=None, context=40, advance=8, lookahead=8):
        """Runs the command line."""
        arguments = [self.name, checkpoint or self.checkpoint, "--tokenizer", tokenizer or self.tokenizer]
        arguments += ["--output", output, "--context", context, "--advance", advance, "--lookahead", lookahead]
        command_line.main([*map(str, arguments), *map(str, options)])


@pytest.fixture(scope="session", params=["audiosep", "lassnet"])
def small(request, tmp_path_factory):
    return SmallNetwork(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def package(small):
    """The folder of its package, with a context of 40 frames, which the pooling factors do not divide."""
    folder = small.folder / "package"
    small.export(folder)
    return folder


@pytest.fixture
def magnitude(small):
    """40 frames of noise, [1, T, F]."""
    bins = small.architecture.N_FFT // 2 + 1
    return numpy.random.default_rng(1).rayleigh(size=(1, 40, bins)).astype(numpy.float32)
