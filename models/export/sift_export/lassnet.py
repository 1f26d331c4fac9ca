"""LASS-Net: UNetRes_FiLM, conditioned by BERT-mini with a trained head.

Names of modules are those of the published checkpoint, so that its tensors load by name. Magnitudes are [1, T, 513] of
frames of 1024 every 512 samples at 32 kHz, periodic Hann; the mask is a gain in [0, 1].
"""

import torch
from torch import nn
from torch.nn import functional

from . import checkpoint, tokens
from . import text as text_encoders
from .layers import Affine, FrozenNorm, Shifts, activate, convolution, padded_to_multiple, scale_output
from .window import Window

NAME = "LASS-Net"
DESCRIPTION = "LASS-Net: a ResUNet with FiLM, conditioned by BERT-mini."

SAMPLE_RATE = 32000
N_FFT = 1024
HOP = 512
WINDOW = "hann"

LEVELS = 6
FRAME_MULTIPLE = 2**LEVELS

DEFAULT_WINDOW = Window(context=192, advance=32, lookahead=32)


class Film(nn.Module):
    """Linear, ReLU, Linear, ReLU: condition [1, D] → what is added to each channel, [1, C]."""

    def __init__(self, condition_size, channels):
        super().__init__()
        self.linear = nn.Sequential(
            nn.Linear(condition_size, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels), nn.ReLU()
        )

    def forward(self, condition):
        return self.linear(condition)


class ResidualBlock(nn.Module):
    """BN, leaky ReLU, convolution, FiLM, twice, beside the input itself or its 1×1 shortcut with a FiLM of its own."""

    def __init__(self, channels_in, channels_out, condition_size):
        super().__init__()
        self.channels = channels_out
        self.bn1 = FrozenNorm(channels_in)
        self.bn2 = FrozenNorm(channels_out)
        self.conv1 = convolution(channels_in, channels_out, 3)
        self.film1 = Film(condition_size, channels_out)
        self.conv2 = convolution(channels_out, channels_out, 3)
        self.film2 = Film(condition_size, channels_out)
        self.shortcut = nn.Identity()
        self.film_res = None
        if channels_in != channels_out:
            self.shortcut = convolution(channels_in, channels_out, 1)
            self.film_res = Film(condition_size, channels_out)

    def shifts(self, condition):
        """What FiLM adds after either convolution, [1, 2 C]; the shortcut's goes with the second."""
        second = self.film2(condition)
        if self.film_res is not None:
            second = second + self.film_res(condition)
        return torch.cat([self.film1(condition), second], dim=1)

    def norm_of_shifts(self):
        """Scale and shift, each [2 C], by which the shifts of a folded block differ from those of this one."""
        scale, shift = self.bn2.affine()
        return torch.cat([scale, torch.ones_like(scale)]), torch.cat([shift, torch.zeros_like(shift)])

    def fold(self):
        """Leaves no normalisation: the second one scales the convolution before it, and FiLM's first shift."""
        self.bn1 = Affine(*self.bn1.affine())
        scale_output(self.conv1, self.bn2.affine()[0])
        self.bn2 = nn.Identity()

    def forward(self, x, shifts):
        inner = self.conv1(activate(self.bn1(x))) + shifts.take(self.channels)
        inner = self.conv2(activate(self.bn2(inner))) + shifts.take(self.channels)
        return self.shortcut(x) + inner


class EncoderBlock(nn.Module):
    """Two residual blocks; their output before pooling is what the decoder's skip takes."""

    def __init__(self, channels_in, channels_out, condition_size):
        super().__init__()
        self.conv_block1 = ResidualBlock(channels_in, channels_out, condition_size)
        self.conv_block2 = ResidualBlock(channels_out, channels_out, condition_size)

    def forward(self, x, shifts):
        return self.conv_block2(self.conv_block1(x, shifts), shifts)


class DecoderBlock(nn.Module):
    """BN, ReLU, transposed convolution; then, with the skip beside it, two residual blocks."""

    def __init__(self, channels_in, channels_out, condition_size):
        super().__init__()
        self.bn1 = FrozenNorm(channels_in)
        self.conv1 = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, bias=False)
        self.conv_block2 = ResidualBlock(2 * channels_out, channels_out, condition_size)
        self.conv_block3 = ResidualBlock(channels_out, channels_out, condition_size)

    def fold(self):
        self.bn1 = Affine(*self.bn1.affine())

    def forward(self, x, skip, shifts):
        # Twice as many frames and bins, and one more: the last frame is dropped, the bins had lost one in pooling.
        upsampled = self.conv1(functional.relu(self.bn1(x)))[:, :, :-1]
        x = torch.cat([upsampled, skip], dim=1)
        return self.conv_block3(self.conv_block2(x, shifts), shifts)


class Separator(nn.Module):
    """Magnitude [1, T, F] and FiLM's shifts [1, E] → mask [1, 1, T, F]."""

    def __init__(self, channels, condition_size):
        """`channels`: of the six encoder blocks, from the top."""
        super().__init__()
        sizes = [1, *channels]
        for level in range(LEVELS):
            self.add_module(f"encoder_block{level + 1}", EncoderBlock(sizes[level], sizes[level + 1], condition_size))
        self.conv_block7 = ResidualBlock(channels[-1], channels[-1], condition_size)
        sizes = [channels[-1], *reversed(channels)]
        for level in range(LEVELS):
            self.add_module(f"decoder_block{level + 1}", DecoderBlock(sizes[level], sizes[level + 1], condition_size))
        self.after_conv_block1 = ResidualBlock(channels[0], channels[0], condition_size)
        self.after_conv2 = convolution(channels[0], 1, 1)

    def residual_blocks(self):
        """In the order in which they run, which is that of their definition."""
        return [module for module in self.modules() if isinstance(module, ResidualBlock)]

    def fold(self):
        """Folds every normalisation into what stands beside it. The shifts must then be those of `LassNet.fold`."""
        for module in list(self.modules()):
            if isinstance(module, (ResidualBlock, DecoderBlock)):
                module.fold()

    def forward(self, magnitude, shifts):
        frames = int(magnitude.shape[1])
        shifts = Shifts(shifts)
        x = padded_to_multiple(magnitude[:, None], FRAME_MULTIPLE)[..., :-2]
        skips = []
        for level in range(1, LEVELS + 1):
            x = self.get_submodule(f"encoder_block{level}")(x, shifts)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.conv_block7(x, shifts)
        for level in range(1, LEVELS + 1):
            x = self.get_submodule(f"decoder_block{level}")(x, skips.pop(), shifts)
        x = self.after_conv2(self.after_conv_block1(x, shifts))
        shifts.finish()
        # The two bins that were dropped have zeros before the sigmoid.
        return functional.pad(x, (0, 2))[:, :, :frames].sigmoid()


class LassNet(nn.Module):
    """The whole model: words and magnitudes to masks."""

    def __init__(self, *, channels, condition_size, text):
        """`text`: the sizes of the text encoder."""
        super().__init__()
        self.words, self.positions, self.condition_size = text["words"], text["positions"], condition_size
        head = nn.Sequential(nn.Linear(text["size"], condition_size), nn.ReLU())
        bert = text_encoders.Transformer(**text, epsilon=1e-12)
        self.text_embedder = nn.ModuleDict({"bert_layer": bert, "linear_layer": head})
        self.UNet = Separator(channels, condition_size)
        self._folding = None

    @property
    def separator(self):
        return self.UNet

    def condition(self, input_ids, attention_mask):
        """int64 [1, L] each → [1, D]."""
        return self.text_embedder["linear_layer"](self.text_embedder["bert_layer"](input_ids, attention_mask))

    def shifts(self, condition):
        """[1, D] → [1, E]: all that FiLM adds in the separator."""
        shifts = torch.cat([block.shifts(condition) for block in self.UNet.residual_blocks()], dim=1)
        if self._folding is None:
            return shifts
        scale, shift = self._folding
        return shifts * scale + shift

    def fold(self):
        """Folds all normalisations of the separator, where they follow FiLM's shifts into these."""
        scales, shifts = zip(*(block.norm_of_shifts() for block in self.UNet.residual_blocks()))
        self._folding = torch.cat(scales), torch.cat(shifts)
        self.UNet.fold()


ENTRY = "model"
TOKENIZER = tokens.BERT

UNUSED = {
    r".*\.num_batches_tracked": "counts the steps of training",
    r".*\.position_ids": "counts from 0, as the encoder does by itself",
    r".*\.token_type_ids": "zeros, as the encoder takes them",
    r"text_embedder\.bert_layer\.pooler\..*": "the head takes the first token's vector before it",
}
"""Tensors of checkpoints that are left out, and why each may be."""


def tensors(path):
    """The checkpoint's tensors, without the prefix that training in parallel leaves."""
    return checkpoint.read(path, ENTRY).renamed("module.", "")


def model(tensors):
    """The model, without its weights, of the sizes that the checkpoint's tensors have."""
    return LassNet(
        channels=[tensors.size(f"UNet.encoder_block{level + 1}.conv_block2.conv2.weight") for level in range(LEVELS)],
        condition_size=tensors.size("text_embedder.linear_layer.0.weight"),
        text=text_encoders.sizes(tensors, "text_embedder.bert_layer"),
    )
