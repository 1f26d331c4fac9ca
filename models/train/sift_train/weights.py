"""Reading, writing and averaging of model weights."""

import os

import torch
from safetensors.torch import load_file, save_file


class WeightEma:
    """Exponential moving average of a model's parameters and buffers, which is what is exported."""

    def __init__(self, model, decay):
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model, step):
        """Adds the weights of `model` after `step`. Early steps use a smaller decay, to forget the initial weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)


def write_weights(values, path):
    """Writes weights to a safetensors file, in half precision except for the statistics of normalisations."""
    halves = {
        name: (value.half() if value.is_floating_point() and "running" not in name else value).contiguous()
        for name, value in values.items()
    }
    save_file(halves, f"{path}.part")
    os.chmod(f"{path}.part", 0o644)
    os.replace(f"{path}.part", path)


def read_weights(path):
    """Reads a file of `write_weights`, in single precision."""
    return {name: value.float() if value.dtype == torch.half else value for name, value in load_file(path).items()}
