"""Counts parameters and multiply-accumulates: `python -m sift_train.cost`.

Counts the products in matrices and convolutions of one frame; element-wise operations are not counted.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from . import config as configuration
from .encoder import TextEncoder
from .listener import StreamingListener
from .listener_package import load_package_listener
from .model import Model
from .streaming import StreamingSeparator


def _count_layers(network, example):
    """Counts the products in the layers of one run of a network."""
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
    hooks = [module.register_forward_hook(kinds[type(module)]) for module in network.modules() if type(module) in kinds]
    with torch.no_grad():
        network(*example)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def count_multiply_accumulates(separator, audio):
    """Counts the multiply-accumulates per second of audio. `audio`: the table [audio] of the configuration."""
    streaming = StreamingSeparator(separator)
    layers = _count_layers(streaming, streaming.example())
    return (layers + separator.merge.numel() + separator.interpolate.numel()) * audio["sample_rate"] / audio["hop"]


def count_listener_multiply_accumulates(listener, audio):
    """Counts the same of a Listener with the outputs of the package."""
    streaming = StreamingListener(listener)
    layers = _count_layers(streaming, streaming.example(audio["n_fft"] // 2 + 1))
    return (layers / listener.frames + listener.merge.numel()) * audio["sample_rate"] / audio["hop"]


def count_parameters(module):
    """Counts the numbers in a module's parameters and eight-bit weights."""
    codes = [value for name, value in module.named_buffers() if name.endswith("codes")]
    return sum(value.numel() for value in [*module.parameters(), *codes])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=configuration.DEFAULT_CONFIG)
    config = configuration.load(parser.parse_args().config)
    model = Model(config).eval()
    second = count_multiply_accumulates(model.separator, config["audio"])
    hops = config["audio"]["sample_rate"] / config["audio"]["hop"]
    print(f"separator          {count_parameters(model.separator) / 1e6:.2f} million parameters")
    print(f"query projection   {count_parameters(model.query) / 1e6:.2f} million parameters")
    print(f"text encoder       {count_parameters(TextEncoder()) / 1e6:.2f} million parameters")
    listener_config = configuration.load_listener()
    listener = load_package_listener(listener_config)
    listener_second = count_listener_multiply_accumulates(listener, listener_config["audio"])
    print(f"listener           {count_parameters(listener) / 1e6:.2f} million parameters")
    print(f"its second         {listener_second / 1e9:.3f} billion multiply-accumulates")
    print(f"one frame          {second / hops / 1e6:.2f} million multiply-accumulates")
    print(f"second of audio    {second / 1e9:.3f} billion multiply-accumulates")


if __name__ == "__main__":
    main()
