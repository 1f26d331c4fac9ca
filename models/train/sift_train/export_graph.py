"""Writing of a module as an ONNX graph."""

import contextlib
import os
import warnings

import onnx
import torch

OPSET = 17


def export_graph(module, inputs, path, **options):
    """Writes a module as an ONNX graph. `options`: as `torch.onnx.export` has them."""
    # The TorchScript exporter writes a GRU as one node, and half as many nodes in total as the newer one. Its
    # deprecation warnings are suppressed.
    with warnings.catch_warnings(), torch.no_grad(), open(os.devnull, "w") as null:
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(null):
            torch.onnx.export(module, inputs, str(path), opset_version=OPSET, dynamo=False, **options)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    onnx.save(model, path)
