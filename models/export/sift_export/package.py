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

from . import checkpoint, tokenizers
from .cost import count_cost
from .user_error import UserError

OPSET = 17

TOLERANCE = 1e-3
"""The largest allowed difference between ONNX Runtime and PyTorch, relative to the mask's peak."""

PACKAGE_TOML = """\
format = 1
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
Exported by Sift's `models/export` from a published checkpoint. Nothing was trained or changed; batch normalisations are
folded into adjacent layers.

| property | value |
|---|---|
{sources}
| spectrogram | {sample_rate} Hz, frames of {n_fft} samples, hop {hop} samples, periodic Hann window |
| context: input of one run | {context} frames, {context_seconds:.2f} s |
| advance: distance between runs | {advance} frames, {advance_seconds:.2f} s |
| lookahead: smallest delay of a mask | {lookahead} frames, {lookahead_seconds:.2f} s |
| `separator.onnx` | {separator_parameters:.2f} million parameters, {separator_megabytes:.1f} MB |
| `query.onnx` | {query_parameters:.2f} million parameters (text encoder and FiLM), {query_megabytes:.1f} MB |
| multiply-accumulates per second of audio, each frame processed once | {once:.2f} billion |
| multiply-accumulates per second of audio, run as above | {windowed:.2f} billion |
| longest query | {max_tokens} tokens |
| largest difference from PyTorch, on noise | {difference:.1e} of the mask's peak |

## Licence

The weights belong to their publisher. The checkpoint does not contain its licence, so Sift does not know it. Read the
licence where you downloaded the file before you share this package.
"""


class Progress:
    """Prints the current step and the time since the start."""

    def __init__(self, steps):
        self._steps = steps
        self._done = 0
        self._start = time.monotonic()

    def seconds(self):
        return time.monotonic() - self._start

    def step(self, description):
        self._done += 1
        print(f"[{self._done}/{self._steps}] {self.seconds():6.1f} s  {description}", flush=True)


class QueryGraph(nn.Module):
    """Tokens [1, L] → embedding [1, E]: the part of the model that depends on the text alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model.shifts(self.model.condition(input_ids, attention_mask))


def write(architecture, tensors, sources, tokenizer_folder, window, output, *, name, progress):
    """Writes the package to the folder `output`, which appears only when the package is complete.

    `sources`: description → checkpoint file, for the model card. Raises `UserError`.
    """
    output = Path(output).absolute()
    _check_output(output)
    window.check()

    progress.step(f"reading the weights from {tensors.path}")
    model = checkpoint.load(architecture, tensors)
    tokenizer = tokenizers.load(tokenizer_folder, architecture.TOKENIZER, model.words, model.positions)

    with _temporary_folder(output) as scratch:
        progress.step("running the network in PyTorch for comparison")
        reference = ReferenceRun(architecture, model, tokenizer, window)
        model.fold()
        progress.step("writing query.onnx")
        ids, attention = reference.tokens
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
            (reference.magnitude, model.shifts(model.condition(ids, attention))),
            scratch / "separator.onnx",
            input_names=["magnitude", "embedding"],
            output_names=["mask"],
        )
        progress.step("comparing both networks with PyTorch")
        difference = reference.difference(scratch)
        progress.step("writing the manifest and the model card")
        cost = count_cost(architecture, tensors, window)
        (scratch / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        _write_manifest_and_card(scratch, architecture, sources, tokenizer, window, cost, difference, name)
        _check_output(output)
        scratch.chmod(0o755)
        scratch.rename(output)


def _check_output(output):
    if os.path.lexists(output):
        raise UserError(output, "already exists; expected a folder that does not", "Choose another name, or remove it")
    if not output.parent.is_dir():
        raise UserError(output.parent, "not a folder", "Create it first")


@contextlib.contextmanager
def _temporary_folder(output):
    """Makes a folder to be renamed to `output`, and removes it if it was not."""
    scratch = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        yield scratch
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                output, f"not enough space on the disk ({error.strerror})", "Free some space and export again"
            ) from error
        raise UserError(error.filename or output, error.strerror or error, "Fix it and export again") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


class ReferenceRun:
    """A run of the network on noise in PyTorch, before folding."""

    @torch.no_grad()
    def __init__(self, architecture, model, tokenizer, window):
        ids = torch.tensor([tokenizer.encode(tokenizers.SAMPLE_TEXT).ids])
        self.tokens = ids, torch.ones_like(ids)
        rng = numpy.random.default_rng(0)
        bins = architecture.N_FFT // 2 + 1
        self.magnitude = torch.from_numpy(rng.rayleigh(size=(1, window.context, bins)).astype(numpy.float32))
        self._mask = model.separator(self.magnitude, model.shifts(model.condition(*self.tokens))).numpy()

    def difference(self, folder):
        """The largest difference of the networks in `folder` from this run, relative to the mask's peak.

        Raises `UserError` above `TOLERANCE`.
        """
        ids, attention = self.tokens
        query = onnxruntime.InferenceSession(folder / "query.onnx")
        (embedding,) = query.run(["embedding"], {"input_ids": ids.numpy(), "attention_mask": attention.numpy()})
        del query
        separator = onnxruntime.InferenceSession(folder / "separator.onnx")
        (mask,) = separator.run(["mask"], {"magnitude": self.magnitude.numpy(), "embedding": embedding})
        difference = numpy.abs(mask - self._mask).max() / numpy.abs(self._mask).max()
        # Written so that NaN is refused.
        if not difference < TOLERANCE:
            raise UserError(
                "separator.onnx",
                f"differs from PyTorch by {difference:.1e} of the mask's peak; expected less than {TOLERANCE:.0e}",
                "Use the published checkpoint; if you did, report a bug of the export",
            )
        return difference


def _export(module, inputs, path, **options):
    # models/train uses the TorchScript exporter too. Its deprecation warnings are suppressed.
    with warnings.catch_warnings(), torch.no_grad(), open(os.devnull, "w") as null:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(null):
            torch.onnx.export(module.eval(), inputs, str(path), opset_version=OPSET, dynamo=False, **options)
    onnx.checker.check_model(str(path))


def _write_manifest_and_card(folder, architecture, sources, tokenizer, window, cost, difference, name):
    frame = architecture.HOP / architecture.SAMPLE_RATE
    digests = {source: (Path(path), checkpoint.sha256(path)) for source, path in sources.items()}
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
        multiply_accumulates=cost.windowed,
        separator_sha256=checkpoint.sha256(folder / "separator.onnx"),
        query_sha256=checkpoint.sha256(folder / "query.onnx"),
    )
    card = MODEL_CARD.format(
        **values,
        name=name,
        description=architecture.DESCRIPTION,
        sources="\n".join(
            f"| {source} | `{path.name}`, SHA-256 `{digest}` |" for source, (path, digest) in digests.items()
        ),
        context_seconds=window.context * frame,
        advance_seconds=window.advance * frame,
        lookahead_seconds=window.lookahead * frame,
        separator_parameters=cost.separator_parameters / 1e6,
        query_parameters=cost.query_parameters / 1e6,
        separator_megabytes=(folder / "separator.onnx").stat().st_size / 1e6,
        query_megabytes=(folder / "query.onnx").stat().st_size / 1e6,
        once=cost.once / 1e9,
        windowed=cost.windowed / 1e9,
        difference=difference,
    )
    (folder / "package.toml").write_text(manifest, encoding="utf-8")
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
