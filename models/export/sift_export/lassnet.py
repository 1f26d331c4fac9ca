"""LASS-Net: UNetRes_FiLM, conditioned by BERT-mini with a trained head.

Modules have the names of the published checkpoint, so that its tensors load by name. Magnitudes are [1, T, 513], from
frames of 1024 samples every 512 samples at 32 kHz with a periodic Hann window; the mask is a gain in [0, 1].
"""

import torch
from torch import nn
from torch.nn import functional

from . import checkpoint, text_encoders, tokenizers
from .layers import Affine, FilmShifts, FrozenNorm, activate, convolution, pad_to_multiple, scale_output
from .window import WindowSettings

NAME = "LASS-Net"
DESCRIPTION = "LASS-Net: a ResUNet with FiLM, conditioned by BERT-mini."

SAMPLE_RATE = 32000
N_FFT = 1024
HOP = 512
WINDOW = "hann"

LEVELS = 6
FRAME_MULTIPLE = 2**LEVELS

DEFAULT_WINDOW = WindowSettings(context=192, advance=32, lookahead=32)


class Film(nn.Module):
    """Condition [1, D] → shift of each channel [1, C]: Linear, ReLU, Linear, ReLU."""

    def __init__(self, condition_size, channels):
        super().__init__()
        self.linear = nn.Sequential(
            nn.Linear(condition_size, 2 * channels), nn.ReLU(), nn.Linear(2 * channels, channels), nn.ReLU()
        )

    def forward(self, condition):
        return self.linear(condition)


class ResidualBlock(nn.Module):
    """Twice batch norm, leaky ReLU, convolution and FiLM, added to the input or to its 1×1 shortcut with a FiLM."""

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
        """Condition [1, D] → shifts after both convolutions, [1, 2 C]; the second includes that of the shortcut."""
        second = self.film2(condition)
        if self.film_res is not None:
            second = second + self.film_res(condition)
        return torch.cat([self.film1(condition), second], dim=1)

    def norm_of_shifts(self):
        """The scale and shift, each [2 C], that turn this block's shifts into those of the folded block."""
        scale, shift = self.bn2.affine()
        return torch.cat([scale, torch.ones_like(scale)]), torch.cat([shift, torch.zeros_like(shift)])

    def fold(self):
        """Removes the normalisations: the second is folded into the first convolution and into FiLM's first shift."""
        self.bn1 = Affine(*self.bn1.affine())
        scale_output(self.conv1, self.bn2.affine()[0])
        self.bn2 = nn.Identity()

    def forward(self, x, shifts):
        inner = self.conv1(activate(self.bn1(x))) + shifts.take(self.channels)
        inner = self.conv2(activate(self.bn2(inner))) + shifts.take(self.channels)
        return self.shortcut(x) + inner


class EncoderBlock(nn.Module):
    """Two residual blocks; their output before pooling is the skip connection of the decoder."""

    def __init__(self, channels_in, channels_out, condition_size):
        super().__init__()
        self.conv_block1 = ResidualBlock(channels_in, channels_out, condition_size)
        self.conv_block2 = ResidualBlock(channels_out, channels_out, condition_size)

    def forward(self, x, shifts):
        return self.conv_block2(self.conv_block1(x, shifts), shifts)


class DecoderBlock(nn.Module):
    """Batch norm, ReLU and transposed convolution; then two residual blocks on it and the skip connection."""

    def __init__(self, channels_in, channels_out, condition_size):
        super().__init__()
        self.bn1 = FrozenNorm(channels_in)
        self.conv1 = nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, bias=False)
        self.conv_block2 = ResidualBlock(2 * channels_out, channels_out, condition_size)
        self.conv_block3 = ResidualBlock(channels_out, channels_out, condition_size)

    def fold(self):
        self.bn1 = Affine(*self.bn1.affine())

    def forward(self, x, skip, shifts):
        # Gives twice the frames and bins, and one more of each. The frame is dropped; pooling had dropped a bin.
        upsampled = self.conv1(functional.relu(self.bn1(x)))[:, :, :-1]
        x = torch.cat([upsampled, skip], dim=1)
        return self.conv_block3(self.conv_block2(x, shifts), shifts)


class Separator(nn.Module):
    """Magnitude [1, T, F] and FiLM's shifts [1, E] → mask [1, 1, T, F]."""

    def __init__(self, channels, condition_size):
        """`channels`: output channels of the six encoder blocks, highest resolution first."""
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
        """Lists the residual blocks in the order in which they run, which is that of their definition."""
        return [module for module in self.modules() if isinstance(module, ResidualBlock)]

    def fold(self):
        """Folds every normalisation into the adjacent layers. The shifts must then come from a folded `LassNet`."""
        for module in list(self.modules()):
            if isinstance(module, (ResidualBlock, DecoderBlock)):
                module.fold()

    def forward(self, magnitude, shifts):
        frames = int(magnitude.shape[1])
        shifts = FilmShifts(shifts)
        x = pad_to_multiple(magnitude[:, None], FRAME_MULTIPLE)[..., :-2]
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
        # The two dropped bins are zero before the sigmoid.
        return functional.pad(x, (0, 2))[:, :, :frames].sigmoid()


class LassNet(nn.Module):
    """The whole model: text and magnitudes to masks."""

    def __init__(self, *, channels, condition_size, text):
        """`text`: the sizes of the text encoder, arguments of `Transformer`."""
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
        """Token ids and attention mask, int64 [1, L] → condition [1, D]."""
        return self.text_embedder["linear_layer"](self.text_embedder["bert_layer"](input_ids, attention_mask))

    def shifts(self, condition):
        """Condition [1, D] → [1, E], the concatenated shifts that FiLM adds in the separator."""
        shifts = torch.cat([block.shifts(condition) for block in self.UNet.residual_blocks()], dim=1)
        if self._folding is None:
            return shifts
        scale, shift = self._folding
        return shifts * scale + shift

    def fold(self):
        """Folds all normalisations of the separator, and those that follow FiLM into its shifts."""
        scales, shifts = zip(*(block.norm_of_shifts() for block in self.UNet.residual_blocks()))
        self._folding = torch.cat(scales), torch.cat(shifts)
        self.UNet.fold()


ENTRY = "model"
TOKENIZER = tokenizers.BERT

UNUSED = {
    r".*\.num_batches_tracked": "a counter of training steps",
    r".*\.position_ids": "0, 1, 2, …, which the encoder counts itself",
    r".*\.token_type_ids": "zeros, which the encoder assumes",
    r"text_embedder\.bert_layer\.pooler\..*": "the head reads the first token's vector before the pooler",
}
"""Patterns of the checkpoint's tensors that the network does not need, each with the reason."""


def tensors(path):
    """Reads the checkpoint's tensors, without the name prefix that parallel training adds."""
    return checkpoint.read(path, ENTRY).renamed("module.", "")


def model(tensors):
    """Builds the model, without its weights, with the sizes of the checkpoint's tensors."""
    return LassNet(
        channels=[tensors.size(f"UNet.encoder_block{level + 1}.conv_block2.conv2.weight") for level in range(LEVELS)],
        condition_size=tensors.size("text_embedder.linear_layer.0.weight"),
        text=text_encoders.read_sizes(tensors, "text_embedder.bert_layer"),
    )
