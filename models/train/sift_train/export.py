"""Writes the model package from trained weights: `python -m sift_train.export [--run FOLDER]`.

Without `--run` it uses the committed weights and reproduces the committed package. With it, it uses the best weights of
a training run, which replace the committed ones; the last weights of the run are stored too, to continue training.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from . import concepts
from . import config as configuration
from .attribution import make_attribution
from .cost import count_multiply_accumulates
from .encoder import TextEncoder, load_tokenizer
from .export_graph import export_graph
from .listener_package import EMBEDDINGS_FILE, GRAPH_FILE, LISTENER_FILE, write_listener
from .model import Model
from .streaming import ConditionHead, StreamingSeparator
from .weights import read_weights, write_weights

PACKAGE_TOML = """\
format = 1
name = "Sift default"
version = "0.1.0"
licence = "Apache-2.0 (text encoder), MIT OR Apache-2.0 (separator); training data: see ATTRIBUTION.md"

[audio]
sample_rate = {sample_rate}
n_fft = {n_fft}
hop = {hop}
window = "sqrt_hann"

[separator]
file = "separator.onnx"
sha256 = "{separator_sha256}"
kind = "streaming"
lookahead = 0
multiply_accumulates = {multiply_accumulates:.3e}

[query]
file = "query.onnx"
sha256 = "{query_sha256}"
tokenizer = "tokenizer.json"
max_tokens = {max_tokens}
prefix = ""
"""


class QueryHead(nn.Module):
    """Sentence vectors → embedding and concept: the trained projection, interpolated towards the nearest concepts.

    The separator works best with the captions that were frequent in training. So the embedding is interpolated towards
    those of the usual captions of the nearest labels, with the closeness as weight.
    """

    SHARPNESS = 10.0
    """Inverse temperature of the softmax over the labels' cosines."""

    def __init__(self, model, known):
        super().__init__()
        self.projection = model.query
        self.concepts = known
        # In double precision and rounded once, so that all processors give the same bits.
        linear, directions = model.query.linear, known.directions.double()
        usual = functional.linear(known.usual.double(), linear.weight.double(), linear.bias.double())
        self.register_buffer("usual", functional.relu(usual).float().detach())
        self.register_buffer("directions", functional.normalize(directions, dim=1).T.float().detach())

    def forward(self, sentence):
        """`sentence` [B, 384] → embedding [B, E], concept [B, S]."""
        embedding, concept = self.projection(sentence), self.concepts(sentence)
        cosines = concept @ self.directions
        slope, offset = self.concepts.closeness
        closeness = torch.sigmoid(slope * cosines.amax(dim=1, keepdim=True) + offset)
        nearest = torch.softmax(self.SHARPNESS * cosines, dim=1) @ self.usual
        return torch.lerp(embedding, nearest, closeness), concept


class QueryNet(nn.Module):
    """The frozen text encoder with the trained layers after it.

    Tokens [1, L] → embedding [1, K], concept [1, S].
    """

    def __init__(self, encoder, model, known):
        super().__init__()
        self.encoder = encoder
        self.understanding = QueryHead(model, known)
        self.wording = ConditionHead(model.separator)

    def forward(self, input_ids, attention_mask):
        embedding, concept = self.understanding(self.encoder(input_ids, attention_mask))
        return self.wording(embedding), concept


def export_separator(separator, path):
    """Writes the graph that separates one frame of any number of streams; all other dimensions are fixed."""
    streaming = StreamingSeparator(separator)
    states = streaming.state_names()
    export_graph(
        streaming,
        # With one stream, the tracer would treat the axis as constant.
        streaming.example(streams=2),
        path,
        input_names=["magnitude", "embedding", *states],
        output_names=["mask", "presence", *(f"next_{name}" for name in states)],
        dynamic_axes={name: {axis: "N"} for name, axis in streaming.stream_axes().items()},
    )


def export_query(encoder, model, known, path):
    """Writes the graph from the tokens of one text, of any length, to embedding and concept."""
    ids = torch.tensor([[101, 1037, 3899, 102]])
    export_graph(
        QueryNet(encoder, model, known).eval(),
        (ids, torch.ones_like(ids)),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding", "concept"],
        dynamic_axes={"input_ids": {1: "L"}, "attention_mask": {1: "L"}},
        # Constant folding would convert the eight-bit weights to floats.
        do_constant_folding=False,
    )


def write_package(model, config, folder):
    """Writes all files of a package except its model card. Replaces each file atomically, package.toml last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    max_tokens = config["query"]["max_tokens"]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".package-") as scratch:
        scratch = Path(scratch)
        export_separator(model.separator, scratch / "separator.onnx")
        known = concepts.load()
        export_query(TextEncoder(), model, known, scratch / "query.onnx")
        concepts.write(known, scratch / concepts.CONCEPTS_FILE)
        load_tokenizer(max_tokens).save(str(scratch / "tokenizer.json"), pretty=False)
        names = ["separator.onnx", "query.onnx", "tokenizer.json", concepts.CONCEPTS_FILE]
        listener_table = write_listener(
            scratch,
            configuration.load_listener(),
            config["audio"]["n_fft"] // 2 + 1,
            QueryHead(model, known),
            ConditionHead(model.separator),
        )
        names += [GRAPH_FILE, LISTENER_FILE, EMBEDDINGS_FILE]
        folders = [config["corpus"]["path"], *config["corpus"]["further"]]
        indexes = [Path(folder) / "index.csv" for folder in folders]
        missing = [str(index) for index in indexes if not index.is_file()]
        if missing:
            print(f"{', '.join(missing)}: file not found. ATTRIBUTION.md is not updated.")
        else:
            (scratch / "ATTRIBUTION.md").write_text(make_attribution(indexes), encoding="utf-8")
            names.append("ATTRIBUTION.md")
        table = PACKAGE_TOML.format(
            **config["audio"],
            max_tokens=max_tokens,
            multiply_accumulates=count_multiply_accumulates(model.separator, config["audio"]),
            separator_sha256=configuration.digest(scratch / "separator.onnx"),
            query_sha256=configuration.digest(scratch / "query.onnx"),
        )
        (scratch / "package.toml").write_text(table + listener_table, encoding="utf-8")
        for name in [*names, "package.toml"]:
            (scratch / name).chmod(0o644)
            os.replace(scratch / name, folder / name)


def load_model(config, path=configuration.DEFAULT_WEIGHTS):
    """Loads the model with the weights of a safetensors file."""
    model = Model(config)
    model.load_state_dict(read_weights(path))
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--run", type=Path, help="use the best weights of this training run")
    parser.add_argument("--out", type=Path, default=configuration.PACKAGE)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    if arguments.run:
        shutil.copyfile(arguments.run / "best.safetensors", configuration.DEFAULT_WEIGHTS)
        last = torch.load(arguments.run / "last.pt", weights_only=True, map_location="cpu")
        write_weights(last["model"], configuration.DEFAULT_WEIGHTS.with_name("last.safetensors"))
    write_package(load_model(config), config, arguments.out)
    if arguments.run:
        shutil.copyfile(arguments.run / "log.csv", configuration.DEFAULT_WEIGHTS.with_name("default-log.csv"))
        shutil.copyfile(arguments.run / "curve.png", arguments.out / "training.png")
    for path in sorted(arguments.out.iterdir()):
        print(f"{path.stat().st_size:>10}  {path.name}")


if __name__ == "__main__":
    main()
