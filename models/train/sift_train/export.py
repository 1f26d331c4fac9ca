"""Makes the model package from trained weights: `python -m sift_train.export [--run FOLDER]`.

Without `--run`, from the committed weights, which gives the committed package again. With it, from the best weights
of a training run, which then become the committed ones; its last ones are kept beside them, to train on from.
"""

import argparse
import contextlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

from . import concepts
from . import config as configuration
from .attribution import attribution
from .cost import multiply_accumulates
from .encoder import TextEncoder, tokenizer
from .model import Model
from .streaming import StreamingSeparator, Wording
from .train import keep, kept

OPSET = 17

PACKAGE_TOML = """\
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


class Understanding(nn.Module):
    """Sentence vectors → what the separator is asked for: the trained projection, helped by the nearest concepts.

    The separator knows best what it was often asked for. So an embedding is drawn to those of the usual captions of the
    nearest labels, as far as the text is close to one, however unusual its words.
    """

    SHARPNESS = 10.0
    """Of the shares of the labels: the exponential of so many times their cosines."""

    def __init__(self, model, known):
        super().__init__()
        self.projection = model.query
        self.concepts = known
        # In double precision and rounded once, so that every processor comes to the same.
        linear, directions = model.query.linear, known.directions.double()
        usual = functional.linear(known.usual.double(), linear.weight.double(), linear.bias.double())
        self.register_buffer("usual", functional.relu(usual).float())
        self.register_buffer("directions", functional.normalize(directions, dim=1).T.float())

    def forward(self, sentence):
        """`sentence` [B, 384] → embedding [B, E], concept [B, S]."""
        embedding, concept = self.projection(sentence), self.concepts(sentence)
        described, negation = embedding[:, :-1], embedding[:, -1:]
        cosines = concept @ self.directions
        slope, offset = self.concepts.closeness
        closeness = torch.sigmoid(slope * cosines.amax(dim=1, keepdim=True) + offset)
        nearest = torch.softmax(self.SHARPNESS * cosines, dim=1) @ self.usual
        return torch.cat((torch.lerp(described, nearest, closeness), negation), dim=1), concept


class QueryNet(nn.Module):
    """Frozen text encoder, understanding and wording.

    Tokens → embedding [1, K], concept [1, S], negation [1, 1]: 1 where all but what is described is meant, else 0.
    """

    def __init__(self, encoder, model, known):
        super().__init__()
        self.encoder = encoder
        self.understanding = Understanding(model, known)
        self.wording = Wording(model.separator)

    def forward(self, input_ids, attention_mask):
        embedding, concept = self.understanding(self.encoder(input_ids, attention_mask))
        return self.wording(embedding), concept, embedding[:, -1:]


def export_separator(separator, path):
    """Writes the graph that separates one hop of any number of streams; all other lengths are fixed."""
    streaming = StreamingSeparator(separator)
    states = streaming.state_names()
    _export(
        streaming,
        # Of one, the tracer would take an axis for one that is always 1.
        streaming.example(streams=2),
        path,
        input_names=["magnitude", "embedding", *states],
        output_names=["mask", "presence", *(f"next_{name}" for name in states)],
        dynamic_axes={name: {axis: "N"} for name, axis in streaming.stream_axes().items()},
    )


def export_query(encoder, model, known, path):
    """Writes the graph from one text's tokens, of any number, to the embedding, the concept and the negation."""
    ids = torch.tensor([[101, 1037, 3899, 102]])
    _export(
        QueryNet(encoder, model, known).eval(),
        (ids, torch.ones_like(ids)),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["embedding", "concept", "negation"],
        dynamic_axes={"input_ids": {1: "L"}, "attention_mask": {1: "L"}},
        # Folding would turn the eight-bit weights into floats.
        do_constant_folding=False,
    )


def _export(module, inputs, path, **options):
    # The TorchScript exporter writes GRU as one node and half as many nodes in all as the newer one; it says so
    # little as that it is deprecated.
    with warnings.catch_warnings(), torch.no_grad(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere):
            torch.onnx.export(module, inputs, str(path), opset_version=OPSET, dynamo=False, **options)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_package(model, config, folder):
    """Writes all of a package but its model card. Files are replaced one by one, each at once, the table last."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    max_tokens = config["query"]["max_tokens"]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".package-") as scratch:
        scratch = Path(scratch)
        export_separator(model.separator, scratch / "separator.onnx")
        known = concepts.load()
        export_query(TextEncoder(), model, known, scratch / "query.onnx")
        concepts.write(known, scratch / concepts.FILE)
        tokenizer(max_tokens).save(str(scratch / "tokenizer.json"), pretty=False)
        names = ["separator.onnx", "query.onnx", "tokenizer.json", concepts.FILE]
        folders = [config["corpus"]["path"], *config["corpus"]["further"]]
        indexes = [Path(folder) / "index.csv" for folder in folders]
        missing = [str(index) for index in indexes if not index.is_file()]
        if missing:
            print(f"{', '.join(missing)} missing: ATTRIBUTION.md is left as it is")
        else:
            (scratch / "ATTRIBUTION.md").write_text(attribution(indexes), encoding="utf-8")
            names.append("ATTRIBUTION.md")
        table = PACKAGE_TOML.format(
            **config["audio"],
            max_tokens=max_tokens,
            multiply_accumulates=multiply_accumulates(model.separator, config["audio"]),
            separator_sha256=configuration.digest(scratch / "separator.onnx"),
            query_sha256=configuration.digest(scratch / "query.onnx"),
        )
        (scratch / "package.toml").write_text(table, encoding="utf-8")
        for name in [*names, "package.toml"]:
            (scratch / name).chmod(0o644)
            os.replace(scratch / name, folder / name)


def load_weights(config, path=configuration.DEFAULT_WEIGHTS):
    """The model with the weights of a safetensors file."""
    model = Model(config)
    model.load_state_dict(kept(path))
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    parser.add_argument("--run", type=Path, help="take the best weights of this training run")
    parser.add_argument("--out", type=Path, default=configuration.PACKAGE)
    arguments = parser.parse_args()
    config = configuration.load(arguments.config)
    if arguments.run:
        shutil.copyfile(arguments.run / "best.safetensors", configuration.DEFAULT_WEIGHTS)
        last = torch.load(arguments.run / "last.pt", weights_only=True, map_location="cpu")
        keep(last["model"], configuration.DEFAULT_WEIGHTS.with_name("last.safetensors"))
    write_package(load_weights(config), config, arguments.out)
    if arguments.run:
        shutil.copyfile(arguments.run / "log.csv", configuration.DEFAULT_WEIGHTS.with_name("default-log.csv"))
        shutil.copyfile(arguments.run / "curve.png", arguments.out / "training.png")
    for path in sorted(arguments.out.iterdir()):
        print(f"{path.stat().st_size:>10}  {path.name}")


if __name__ == "__main__":
    main()
