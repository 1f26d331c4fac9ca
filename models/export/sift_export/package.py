"""Writes a model package: the two networks, the tokenizer, the manifest and the model card."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import time
import warnings
from pathlib import Path

import numpy
import onnx
import onnxruntime
import torch
from torch import nn

from . import checkpoint, tokens
from .cost import cost
from .fault import Fault

OPSET = 17

TOLERANCE = 1e-3
"""Of the mask's peak: how far what was written may be from the network in PyTorch."""

PACKAGE_TOML = """\
name = {name}
version = "{version}"
licence = "that of the checkpoint's publisher: see MODEL_CARD.md"

[audio]
sample_rate = {sample_rate}
n_fft = {n_fft}
hop = {hop}
window = "{window}"

[separator]
file = "separator.onnx"
sha256 = "{separator_sha256}"
kind = "window"
context = {context}
advance = {advance}
lookahead = {lookahead}
multiply_accumulates = {multiply_accumulates:.3e}

[query]
file = "query.onnx"
sha256 = "{query_sha256}"
tokenizer = "tokenizer.json"
max_tokens = {max_tokens}
prefix = ""
"""

MODEL_CARD = """\
# {name}

{description}
Made by Sift's `models/export` from a published checkpoint; nothing was trained or changed, but batch normalisations are
folded into the layers beside them.

| what | value |
|---|---|
{sources}
| analysis | {sample_rate} Hz, frames of {n_fft}, hop {hop}, periodic Hann |
| seen at once | {context} frames, {context_seconds:.2f} s |
| run every | {advance} frames, {advance_seconds:.2f} s |
| masks taken from | {lookahead} frames behind the newest, {lookahead_seconds:.2f} s |
| `separator.onnx` | {separator_parameters:.2f} million parameters, {separator_megabytes:.1f} MB |
| `query.onnx` | {query_parameters:.2f} million parameters (text encoder and FiLM), {query_megabytes:.1f} MB |
| a second of audio, each frame once | {second:.2f} billion multiply-accumulates |
| a second of audio, run as above | {live:.2f} billion multiply-accumulates |
| longest query | {max_tokens} tokens |
| largest difference from PyTorch on a run of noise | {difference:.1e} of the mask's peak |

## Licence

The weights are their publisher's. The checkpoint does not tell its licence, and Sift does not know it: look where you
got the file before you pass this package on.
"""


class Progress:
    """Tells what is being done, and since when."""

    def __init__(self, steps):
        self._steps = steps
        self._done = 0
        self._start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self._start

    def step(self, what):
        self._done += 1
        print(f"[{self._done}/{self._steps}] {self.seconds():6.1f} s  {what}", flush=True)


class QueryGraph(nn.Module):
    """Tokens [1, L] → embedding [1, E]: everything that depends on the words alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model.shifts(self.model.condition(input_ids, attention_mask))


def write(architecture, tensors, sources, tokenizer_folder, window, output, *, name, progress):
    """Makes the package in the folder `output`, which appears when it is complete, or not at all.

    `sources`: checkpoint files by what they are, to be named in the card.
    """
    output = Path(output).absolute()
    _check_place(output)
    window.check()

    progress.step(f"reading the weights from {tensors.path}")
    model = checkpoint.load(architecture, tensors)
    tokenizer = tokens.read(tokenizer_folder, architecture.TOKENIZER, model.words, model.positions)

    with _scratch_beside(output) as scratch:
        progress.step("running the network in PyTorch, to compare with")
        trial = Trial(architecture, model, tokenizer, window)
        model.fold()
        progress.step("writing query.onnx")
        ids, attention = trial.tokens
        _export(
            QueryGraph(model),
            (ids, attention),
            scratch / "query.onnx",
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes={"input_ids": {1: "L"}, "attention_mask": {1: "L"}},
        )
        progress.step("writing separator.onnx")
        _export(
            model.separator,
            (trial.magnitude, model.shifts(model.condition(ids, attention))),
            scratch / "separator.onnx",
            input_names=["magnitude", "embedding"],
            output_names=["mask"],
        )
        progress.step("comparing both with PyTorch")
        difference = trial.difference(scratch)
        progress.step("writing the manifest and the model card")
        costs = cost(architecture, tensors, window)
        (scratch / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        _describe(scratch, architecture, sources, tokenizer, window, costs, difference, name)
        _check_place(output)
        scratch.chmod(0o755)
        scratch.rename(output)


def _check_place(output):
    if os.path.lexists(output):
        raise Fault(output, "exists already", "Name a folder that does not, or remove this one")
    if not output.parent.is_dir():
        raise Fault(output.parent, "is no folder", "Make it first")


@contextlib.contextmanager
def _scratch_beside(output):
    """A folder to be renamed to `output`; removed on whatever else happens."""
    scratch = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        yield scratch
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Fault(
                output, f"there is no room for it ({error.strerror})", "Make room on the disk and export again"
            ) from error
        raise Fault(error.filename or output, error.strerror or error, "Mend that and export again") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


class Trial:
    """One run on noise, in PyTorch before anything is folded."""

    @torch.no_grad()
    def __init__(self, architecture, model, tokenizer, window):
        ids = torch.tensor([tokenizer.encode(tokens.SAMPLE).ids])
        self.tokens = ids, torch.ones_like(ids)
        rng = numpy.random.default_rng(0)
        bins = architecture.N_FFT // 2 + 1
        self.magnitude = torch.from_numpy(rng.rayleigh(size=(1, window.context, bins)).astype(numpy.float32))
        self._mask = model.separator(self.magnitude, model.shifts(model.condition(*self.tokens))).numpy()

    def difference(self, folder):
        """The largest, of the mask's peak, of the networks in `folder`; raises `Fault` beyond `TOLERANCE`."""
        ids, attention = self.tokens
        query = onnxruntime.InferenceSession(folder / "query.onnx")
        (embedding,) = query.run(["embedding"], {"input_ids": ids.numpy(), "attention_mask": attention.numpy()})
        del query
        separator = onnxruntime.InferenceSession(folder / "separator.onnx")
        (mask,) = separator.run(["mask"], {"magnitude": self.magnitude.numpy(), "embedding": embedding})
        difference = numpy.abs(mask - self._mask).max() / numpy.abs(self._mask).max()
        # Not "greater than", so that a NaN is refused.
        if not difference < TOLERANCE:
            raise Fault(
                "separator.onnx",
                f"differs from PyTorch by {difference:.1e} of the mask's peak, more than {TOLERANCE:.0e}",
                "Take the published checkpoint; if it is one, this is a bug of the export",
            )
        return difference


def _export(module, inputs, path, **options):
    # The TorchScript exporter is what models/train uses, too; it says so little as that it is deprecated.
    with warnings.catch_warnings(), torch.no_grad(), open(os.devnull, "w") as nowhere:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(nowhere):
            torch.onnx.export(module.eval(), inputs, str(path), opset_version=OPSET, dynamo=False, **options)
    onnx.checker.check_model(str(path))


def _describe(folder, architecture, sources, tokenizer, window, costs, difference, name):
    frame = architecture.HOP / architecture.SAMPLE_RATE
    digests = {what: (Path(path), checkpoint.digest(path)) for what, path in sources.items()}
    first, *_ = digests.values()
    values = {
        "sample_rate": architecture.SAMPLE_RATE,
        "n_fft": architecture.N_FFT,
        "hop": architecture.HOP,
        "context": window.context,
        "advance": window.advance,
        "lookahead": window.lookahead,
        "max_tokens": tokenizer.truncation["max_length"],
    }
    manifest = PACKAGE_TOML.format(
        **values,
        name=json.dumps(name, ensure_ascii=False),
        version=f"checkpoint {first[1][:8]}",
        window=architecture.WINDOW,
        multiply_accumulates=costs.live,
        separator_sha256=checkpoint.digest(folder / "separator.onnx"),
        query_sha256=checkpoint.digest(folder / "query.onnx"),
    )
    card = MODEL_CARD.format(
        **values,
        name=name,
        description=architecture.DESCRIPTION,
        sources="\n".join(
            f"| {what} | `{path.name}`, SHA-256 `{digest}` |" for what, (path, digest) in digests.items()
        ),
        context_seconds=window.context * frame,
        advance_seconds=window.advance * frame,
        lookahead_seconds=window.lookahead * frame,
        separator_parameters=costs.separator_parameters / 1e6,
        query_parameters=costs.query_parameters / 1e6,
        separator_megabytes=(folder / "separator.onnx").stat().st_size / 1e6,
        query_megabytes=(folder / "query.onnx").stat().st_size / 1e6,
        second=costs.second / 1e9,
        live=costs.live / 1e9,
        difference=difference,
    )
    (folder / "package.toml").write_text(manifest, encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
