"""Counts parameters and multiply-accumulates: `python -m sift_train.cost`.

Counted are the products of matrices and convolutions, as run for one hop; element-wise work is left out.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from . import config as configuration
from .encoder import TextEncoder
from .model import Model
from .streaming import StreamingSeparator


def multiply_accumulates(separator, audio):
    """Of a second of audio. `audio`: the table of that name in the configuration."""
    streaming = StreamingSeparator(separator)
    counted = []

    def convolution(module, inputs, output):
        counted.append(output.numel() * module.weight[0].numel())

    def transposed(module, inputs, output):
        counted.append(inputs[0].numel() * module.weight[0].numel())

    def linear(module, inputs, output):
        counted.append(output.numel() * module.in_features)

    def recurrent(module, inputs, output):
        counted.append(module.weight_ih_l0.numel() + module.weight_hh_l0.numel())

    kinds = {nn.Conv2d: convolution, nn.ConvTranspose2d: transposed, nn.Linear: linear, nn.GRU: recurrent}
    for module in streaming.modules():
        if type(module) in kinds:
            module.register_forward_hook(kinds[type(module)])
    with torch.no_grad():
        streaming(*streaming.example())
    hop = sum(counted) + separator.merge.numel() + separator.interpolate.numel()
    return hop * audio["sample_rate"] / audio["hop"]


def count(module):
    """Numbers in a module's parameters and eight-bit weights."""
    codes = [value for name, value in module.named_buffers() if name.endswith("codes")]
    return sum(value.numel() for value in [*module.parameters(), *codes])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    config = configuration.load(parser.parse_args().config)
    model = Model(config).eval()
    second = multiply_accumulates(model.separator, config["audio"])
    hops = config["audio"]["sample_rate"] / config["audio"]["hop"]
    print(f"separator          {count(model.separator) / 1e6:.2f} million parameters")
    print(f"query projection   {count(model.query) / 1e6:.2f} million parameters")
    print(f"text encoder       {count(TextEncoder()) / 1e6:.2f} million parameters")
    print(f"one hop            {second / hops / 1e6:.2f} million multiply-accumulates")
    print(f"a second of audio  {second / 1e9:.3f} billion multiply-accumulates")


if __name__ == "__main__":
    main()
