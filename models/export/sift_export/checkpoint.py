"""Reads published checkpoints: PyTorch files, memory-mapped, without running any code in them.

Only the tensors that a network needs are read from the disk.
"""

import hashlib
import pickle
import re
import zipfile
from pathlib import Path

import numpy
import torch

from .user_error import UserError

MAX_LISTED_NAMES = 6
"""The largest number of tensor names that a message lists; it counts the others."""

ALLOWED_GLOBALS = [
    (numpy._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (numpy._core.multiarray.scalar, "numpy._core.multiarray.scalar"),
    numpy.dtype,
    *(type(numpy.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
]
"""NumPy's scalars, which PyTorch's restricted unpickler accepts in addition to tensors. Publishers store figures of the
training run with the weights (CLAP does), and a scalar runs no code."""

_REFUSED = re.compile(r"WeightsUnpickler error: (.*?)(?: was not an allowed|\.? Please|$)", re.MULTILINE)
"""Finds the reason in PyTorch's message, which is long and recommends trusting the file."""


def read(path, entry):
    """Opens the state dict at `entry` of the checkpoint `path`, as `CheckpointTensors`; reads no tensor yet.

    Raises `UserError` if the file is not such a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "file not found", "Give the path of the checkpoint")
    content = _unpickled(path)
    if not isinstance(content, dict) or not isinstance(content.get(entry), dict):
        found = list(map(str, content)) if isinstance(content, dict) else [type(content).__name__]
        raise UserError(
            path,
            f"no entry `{entry}` in the checkpoint; found {_listed(found)}",
            "Use the file that the authors published",
        )
    tensors = {name: value for name, value in content[entry].items() if isinstance(value, torch.Tensor)}
    return CheckpointTensors(path, tensors)


def _unpickled(path):
    with open(path, "rb") as file:
        beginning = file.read(2)
    is_archive = beginning == b"PK"
    if not is_archive and beginning[:1] != pickle.PROTO:
        raise UserError(path, "not a PyTorch checkpoint", "Use the file that the authors published")
    if is_archive and not zipfile.is_zipfile(path):
        raise UserError(path, "incomplete file: the end of the archive is missing", "Download it again")
    try:
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            # Files from before PyTorch 1.6 are not archives and cannot be mapped.
            return torch.load(path, map_location="cpu", mmap=is_archive, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        raise UserError(
            path,
            "contains objects other than tensors and numbers; loading them would run code from the file "
            f"({refused.group(1) if refused else str(error).splitlines()[0]})",
            "If you trust the file, load it in PyTorch with weights_only=False and save only its state dict",
        ) from error
    except (EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(path, f"damaged file ({reason})", "Download it again") from error


def sha256(path):
    """Computes the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class CheckpointTensors:
    """Tensors by name, and the path of their file."""

    def __init__(self, path, tensors):
        self.path = path
        self._tensors = tensors

    def renamed(self, prefix, replacement):
        """Returns the tensors whose names begin with `prefix`, with `replacement` in its place."""
        return CheckpointTensors(
            self.path,
            {
                replacement + name.removeprefix(prefix): value
                for name, value in self._tensors.items()
                if name.startswith(prefix)
            },
        )

    def has_prefix(self, prefix):
        """Returns whether any name begins with `prefix`."""
        return any(name.startswith(prefix) for name in self._tensors)

    def joined(self, other):
        """Returns these tensors and those of `other`, which win where names are equal."""
        return CheckpointTensors(self.path, self._tensors | other._tensors)

    def without(self, prefix):
        """Returns the tensors whose names do not begin with `prefix`."""
        remaining = {name: value for name, value in self._tensors.items() if not name.startswith(prefix)}
        return CheckpointTensors(self.path, remaining)

    def size(self, name, axis=0):
        """Returns the size of one axis of a tensor; raises `UserError` if the tensor or the axis is missing."""
        shape = getattr(self._tensors.get(name), "shape", ())
        if len(shape) <= axis:
            raise UserError(
                self.path,
                f"not a checkpoint of this architecture: the tensor `{name}` is missing",
                "Use the checkpoint of the network that the command names",
            )
        return shape[axis]

    def count(self, pattern):
        """Counts the layers: the numbers from 0 for which a name begins with `pattern.format(number)`."""
        number = 0
        while self.has_prefix(pattern.format(number)):
            number += 1
        return number

    def load_into(self, model, unused):
        """Loads all weights of `model`. Raises `UserError` if one is missing, unusable, or unknown to both.

        `unused`: patterns of tensors that the network does not need, each with the reason.
        """
        wanted = model.state_dict()
        missing = [name for name in wanted if name not in self._tensors]
        unexpected = [
            name
            for name in self._tensors
            if name not in wanted and not any(re.fullmatch(pattern, name) for pattern in unused)
        ]
        if missing or unexpected:
            parts = [
                f"{len(names)} {kind} ({_listed(names)})"
                for names, kind in ((missing, "missing tensors"), (unexpected, "unknown tensors"))
                if names
            ]
            raise UserError(self.path, f"{' and '.join(parts)}", "Use the checkpoint that the authors published")
        misshapen = [
            f"{name} {list(self._tensors[name].shape)}, expected {list(value.shape)}"
            for name, value in wanted.items()
            if self._tensors[name].shape != value.shape
        ]
        if misshapen:
            raise UserError(self.path, f"tensors of wrong shape: {_listed(misshapen)}", "Use the published checkpoint")
        weights = {}
        for name in wanted:
            tensor = self._tensors[name]
            if not tensor.is_floating_point():
                raise UserError(
                    self.path, f"`{name}` is {tensor.dtype}; expected floating point", "Use the published checkpoint"
                )
            if not tensor.isfinite().all():
                raise UserError(
                    self.path, f"`{name}` contains values that are not finite", "Download it again, or use another"
                )
            weights[name] = tensor.float()
        model.load_state_dict(weights, assign=True)


def load(architecture, tensors):
    """Builds the model of an architecture with the checkpoint's weights, which stay memory-mapped until used."""
    with torch.device("meta"):
        model = architecture.model(tensors)
    tensors.load_into(model, architecture.UNUSED)
    return model.eval().requires_grad_(False)


def _listed(names):
    rest = len(names) - MAX_LISTED_NAMES
    return ", ".join(names[:MAX_LISTED_NAMES]) + (f" and {rest} more" if rest > 0 else "")
