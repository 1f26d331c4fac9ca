"""Published checkpoints: PyTorch files, read memory-mapped and without running anything that is in them.

Only the tensors that a network asks for are ever read from the disk.
"""

import hashlib
import pickle
import re
import zipfile
from pathlib import Path

import numpy
import torch

from .fault import Fault

LISTED = 6
"""Names of tensors that a message lists before it only counts."""

NUMBERS = [
    (numpy._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (numpy._core.multiarray.scalar, "numpy._core.multiarray.scalar"),
    numpy.dtype,
    *(type(numpy.dtype(kind)) for kind in ("float32", "float64", "int32", "int64")),
]
"""What PyTorch's restricted reading is told to accept beside tensors: NumPy's single numbers. Publishers keep the
figures of a training run beside the weights (CLAP's checkpoints do), and a number runs no code."""

_REFUSED = re.compile(r"WeightsUnpickler error: (.*?)(?: was not an allowed|\.? Please|$)", re.MULTILINE)
"""The reason in PyTorch's message, which is long and advises to trust the file."""


def read(path, entry):
    """The state dict that the checkpoint at `path` holds under `entry`, as `Tensors`; no tensor is read yet.

    Raises `Fault` for whatever is no such checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise Fault(path, "there is no such file", "Name the checkpoint's file")
    content = _unpickled(path)
    if not isinstance(content, dict) or not isinstance(content.get(entry), dict):
        held = ", ".join(list(map(str, content))[:LISTED]) if isinstance(content, dict) else type(content).__name__
        raise Fault(path, f"has no entry `{entry}` (it holds: {held})", "Take the file that the authors published")
    tensors = {name: value for name, value in content[entry].items() if isinstance(value, torch.Tensor)}
    return Tensors(path, tensors)


def _unpickled(path):
    with open(path, "rb") as file:
        beginning = file.read(2)
    is_archive = beginning == b"PK"
    if not is_archive and beginning[:1] != pickle.PROTO:
        raise Fault(path, "is no PyTorch checkpoint", "Name the file that the authors published")
    if is_archive and not zipfile.is_zipfile(path):
        raise Fault(path, "is cut short: the end of the archive is missing", "Download it again")
    try:
        with torch.serialization.safe_globals(NUMBERS):
            # Files of before PyTorch 1.6 are no archives, and cannot be mapped.
            return torch.load(path, map_location="cpu", mmap=is_archive, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = _REFUSED.search(str(error))
        raise Fault(
            path,
            "holds more than tensors and numbers, which only code from the file could make, and that is not run "
            f"({refused.group(1) if refused else str(error).splitlines()[0]})",
            "If you trust the file, load it in PyTorch with weights_only=False and save its state dict alone",
        ) from error
    except (EOFError, RuntimeError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Fault(path, f"is damaged ({reason})", "Download it again") from error


def digest(path):
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Tensors:
    """Tensors by name, and where they are from."""

    def __init__(self, path, tensors):
        self.path = path
        self._tensors = tensors

    def renamed(self, prefix, replacement):
        """Those whose names begin with `prefix`, with `replacement` in its place."""
        return Tensors(
            self.path,
            {
                replacement + name.removeprefix(prefix): value
                for name, value in self._tensors.items()
                if name.startswith(prefix)
            },
        )

    def holds(self, prefix):
        """Whether any name begins with `prefix`."""
        return any(name.startswith(prefix) for name in self._tensors)

    def joined(self, other):
        """With those of `other` beside them."""
        return Tensors(self.path, self._tensors | other._tensors)

    def without(self, prefix):
        """All but those whose names begin with `prefix`."""
        kept = {name: value for name, value in self._tensors.items() if not name.startswith(prefix)}
        return Tensors(self.path, kept)

    def size(self, name, axis=0):
        """Of one axis of a tensor."""
        shape = getattr(self._tensors.get(name), "shape", ())
        if len(shape) <= axis:
            raise Fault(
                self.path,
                f"is a checkpoint of another architecture: the tensor `{name}` is missing",
                "Take the checkpoint that the command is named after",
            )
        return shape[axis]

    def count(self, pattern):
        """How many names begin with `pattern.format(0)`, `pattern.format(1)`, and so on."""
        number = 0
        while self.holds(pattern.format(number)):
            number += 1
        return number

    def load_into(self, model, unused):
        """Gives `model` its weights, every one of them, and leaves none over but those that `unused` knows.

        `unused`: patterns of names, each with the reason why the network does without.
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
                f"{len(names)} {what} ({_listed(names)})"
                for names, what in ((missing, "missing tensors"), (unexpected, "tensors that the network has not"))
                if names
            ]
            raise Fault(self.path, f"has {' and '.join(parts)}", "Take the checkpoint that the authors published")
        shaped = [
            f"{name} {list(self._tensors[name].shape)} instead of {list(value.shape)}"
            for name, value in wanted.items()
            if self._tensors[name].shape != value.shape
        ]
        if shaped:
            raise Fault(self.path, f"has tensors of other shapes: {_listed(shaped)}", "Take the published checkpoint")
        weights = {}
        for name in wanted:
            tensor = self._tensors[name]
            if not tensor.is_floating_point():
                raise Fault(self.path, f"`{name}` holds {tensor.dtype}, not numbers", "Take the published checkpoint")
            if not tensor.isfinite().all():
                raise Fault(
                    self.path, f"`{name}` holds values that are not finite", "Download it again, or take another"
                )
            weights[name] = tensor.float()
        model.load_state_dict(weights, assign=True)


def load(architecture, tensors):
    """The model of an architecture with the checkpoint's weights, which are mapped until they are used."""
    with torch.device("meta"):
        model = architecture.model(tensors)
    tensors.load_into(model, architecture.UNUSED)
    return model.eval().requires_grad_(False)


def _listed(names):
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
