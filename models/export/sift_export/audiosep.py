"""AudioSep: ResUNet30 with FiLM, conditioned by CLAP's RoBERTa text branch.

Modules have the names of the published checkpoint, so that its tensors load by name. Magnitudes are [1, T, 1025], from
frames of 2048 samples every 320 samples at 32 kHz with a periodic Hann window; the mask is a complex gain.
"""

import torch
from torch import nn
from torch.nn import functional

from . import checkpoint, text_encoders, tokenizers
from .layers import Affine, FilmShifts, FrozenNorm, activate, convolution, pad_to_multiple, scale_output
from .user_error import UserError
from .window import WindowSettings

NAME = "AudioSep"
DESCRIPTION = "AudioSep: a ResUNet of 30 layers with FiLM, conditioned by CLAP's RoBERTa text encoder."

SAMPLE_RATE = 32000
N_FFT = 2048
HOP = 320
WINDOW = "hann"

ENCODER_POOLS = [(2, 2)] * 5 + [(1, 2)]
"""The pooling factors (frames, bins) of the encoder blocks; the decoder upsamples by them in reverse order."""

FRAME_MULTIPLE = 32

DEFAULT_WINDOW = WindowSettings(context=256, advance=32, lookahead=32)

QUERY_PREFIX = "query_encoder.model."
TEXT_BRANCH = QUERY_PREFIX + "text_branch"


class ResidualBlock(nn.Module):
    """Twice batch norm, FiLM, leaky ReLU and convolution, added to the input or to its 1×1 shortcut."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.channels_in, self.channels_out = channels_in, channels_out
        self.bn1 = FrozenNorm(channels_in)
        self.bn2 = FrozenNorm(channels_out)
        self.conv1 = convolution(channels_in, channels_out, 3)
        self.conv2 = convolution(channels_out, channels_out, 3)
        self.shortcut = convolution(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def films(self):
        """Lists FiLM's shifts in order of use: the name within the block, and the norm that precedes each."""
        return [("beta1", self.bn1), ("beta2", self.bn2)]

    def fold(self):
        """Removes the normalisations: convolutions take the scales, FiLM the shifts."""
        self.bn1 = Affine(self.bn1.affine()[0])
        scale_output(self.conv1, self.bn2.affine()[0])
        self.bn2 = nn.Identity()

    def forward(self, x, shifts):
        inner = self.conv1(activate(self.bn1(x) + shifts.take(self.channels_in)))
        inner = self.conv2(activate(self.bn2(inner) + shifts.take(self.channels_out)))
        return self.shortcut(x) + inner


class EncoderBlock(nn.Module):
    """A residual block; its output before pooling is the skip connection of the decoder."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv_block1 = ResidualBlock(channels_in, channels_out)

    def films(self):
        return [(f"conv_block1->{name}", norm) for name, norm in self.conv_block1.films()]

    def fold(self):
        self.conv_block1.fold()

    def forward(self, x, shifts):
        return self.conv_block1(x, shifts)


class DecoderBlock(nn.Module):
    """Batch norm, FiLM, leaky ReLU and transposed convolution; then a residual block on it and the skip connection."""

    def __init__(self, channels_in, channels_out, stride):
        super().__init__()
        self.channels_in = channels_in
        self.bn1 = FrozenNorm(channels_in)
        self.conv1 = nn.ConvTranspose2d(channels_in, channels_out, stride, stride, bias=False)
        self.conv_block2 = ResidualBlock(2 * channels_out, channels_out)

    def films(self):
        own = [("beta1", self.bn1)]
        return own + [(f"conv_block2->{name}", norm) for name, norm in self.conv_block2.films()]

    def fold(self):
        self.bn1 = Affine(self.bn1.affine()[0])
        self.conv_block2.fold()

    def forward(self, x, skip, shifts):
        upsampled = self.conv1(activate(self.bn1(x) + shifts.take(self.channels_in)))
        return self.conv_block2(torch.cat([upsampled, skip], dim=1), shifts)


class Separator(nn.Module):
    """Magnitude [1, T, F] and FiLM's shifts [1, E] → mask [1, 2, T, F], real and imaginary part of a gain."""

    def __init__(self, channels, bins):
        """`channels`: output channels of the six encoder blocks, highest resolution first."""
        super().__init__()
        self.bn0 = FrozenNorm(bins)
        self.pre_conv = convolution(1, channels[0], 1)
        sizes = [channels[0], *channels]
        for number in range(len(ENCODER_POOLS)):
            self.add_module(f"encoder_block{number + 1}", EncoderBlock(sizes[number], sizes[number + 1]))
        self.conv_block7a = EncoderBlock(channels[-1], channels[-1])
        sizes = [channels[-1], *reversed(channels)]
        for number, pool in enumerate(reversed(ENCODER_POOLS)):
            self.add_module(f"decoder_block{number + 1}", DecoderBlock(sizes[number], sizes[number + 1], pool))
        self.after_conv = convolution(channels[0], 3, 1)

    def blocks(self):
        """Lists the name and the module of all blocks, in the order in which they run."""
        count = range(1, len(ENCODER_POOLS) + 1)
        names = [f"encoder_block{i}" for i in count] + ["conv_block7a"] + [f"decoder_block{i}" for i in count]
        return [(name, self.get_submodule(name)) for name in names]

    def films(self):
        """Lists FiLM's linear layers in order of use: the name, and the norm that precedes each."""
        return [(f"{block}->{name}", norm) for block, module in self.blocks() for name, norm in module.films()]

    def fold(self):
        """Folds every normalisation into the adjacent layers. The shifts must then come from `Film.folded`."""
        self.bn0 = Affine(*self.bn0.affine())
        for _, block in self.blocks():
            block.fold()

    def forward(self, magnitude, shifts):
        frames = int(magnitude.shape[1])
        shifts = FilmShifts(shifts)
        # Each bin has its own norm, so the bins are the channels here.
        x = self.bn0(magnitude.transpose(1, 2)[..., None]).permute(0, 3, 2, 1)
        x = self.pre_conv(pad_to_multiple(x, FRAME_MULTIPLE)[..., :-1])
        blocks = dict(self.blocks())
        skips = []
        for number, pool in enumerate(ENCODER_POOLS, start=1):
            x = blocks[f"encoder_block{number}"](x, shifts)
            skips.append(x)
            x = functional.avg_pool2d(x, pool)
        x = blocks["conv_block7a"](x, shifts)
        for number in range(1, len(ENCODER_POOLS) + 1):
            x = blocks[f"decoder_block{number}"](x, skips.pop(), shifts)
        shifts.finish()
        # The dropped bin is zero in all three maps.
        return complex_mask(functional.pad(self.after_conv(x), (0, 1))[:, :, :frames])


def complex_mask(maps):
    """Three maps [1, 3, T, F] → complex gain [1, 2, T, F]: the maps are its magnitude and two parts of its direction.

    The gain is zero where both parts of the direction are zero.
    """
    gain = maps[:, :1].sigmoid()
    direction = maps[:, 1:].tanh()
    length = direction.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-10)
    return gain * direction / length


class Film(nn.Module):
    """Condition [1, D] → shifts [1, E]: one Linear per part of the shifts, named as in the checkpoint."""

    def __init__(self, separator, condition_size):
        super().__init__()
        self._names = [name for name, _ in separator.films()]
        for name, norm in separator.films():
            self.add_module(name, nn.Linear(condition_size, len(norm.weight)))

    def forward(self, condition):
        return torch.cat([self.get_submodule(name)(condition) for name in self._names], dim=1)

    def folded(self, separator):
        """Returns one Linear that also adds the shifts of the norms of `separator`, which must not be folded yet."""
        layers = [self.get_submodule(name) for name in self._names]
        shift = torch.cat([norm.affine()[1] for _, norm in separator.films()])
        weight = torch.cat([layer.weight for layer in layers])
        folded = nn.Linear(*reversed(weight.shape), device="meta")
        folded.weight = nn.Parameter(weight)
        folded.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]) + shift)
        return folded


class AudioSep(nn.Module):
    """The whole model: text and magnitudes to masks."""

    def __init__(self, *, channels, bins, condition_size, text):
        """`text`: the sizes of the text encoder, arguments of `Transformer`."""
        super().__init__()
        self.words, self.positions, self.condition_size = text["words"], text["positions"], condition_size
        base = Separator(channels, bins)
        self.ss_model = nn.ModuleDict({"base": base, "film": Film(base, condition_size)})
        projection = nn.Sequential(
            nn.Linear(text["size"], condition_size), nn.ReLU(), nn.Linear(condition_size, condition_size)
        )
        text_branch = text_encoders.PooledTransformer(**text, epsilon=1e-5, padding=tokenizers.ROBERTA.padding)
        clap = nn.ModuleDict({"text_branch": text_branch, "text_projection": projection})
        self.query_encoder = nn.ModuleDict({"model": clap})

    @property
    def separator(self):
        return self.ss_model["base"]

    def condition(self, input_ids, attention_mask):
        """Token ids and attention mask, int64 [1, L] → condition [1, D] of unit length."""
        clap = self.query_encoder["model"]
        return functional.normalize(clap["text_projection"](clap["text_branch"](input_ids, attention_mask)), dim=1)

    def shifts(self, condition):
        """Condition [1, D] → [1, E], the concatenated shifts that FiLM adds in the separator."""
        return self.ss_model["film"](condition)

    def fold(self):
        """Folds all normalisations of the separator, and their shifts into FiLM."""
        self.ss_model["film"] = self.ss_model["film"].folded(self.separator)
        self.separator.fold()


ENTRY = "state_dict"
TOKENIZER = tokenizers.ROBERTA

UNUSED = {
    r"ss_model\.base\.i?stft\..*": "the engine computes the transforms",
    r".*\.num_batches_tracked": "a counter of training steps",
    r".*\.position_ids": "0, 1, 2, …, which the encoder counts itself",
    r".*\.token_type_ids": "zeros, which the encoder assumes",
    r"ss_model\.base\.decoder_block\d\.bn2\..*": "the published code does not run it either",
    r"ss_model\.film\.decoder_block\d->beta2\..*": "the shift of that unused norm",
    r"query_encoder\.model\.(?!text_branch|text_projection).*": "CLAP's audio branch and its training losses",
}
"""Patterns of the checkpoint's tensors that the network does not need, each with the reason."""


def tensors(path, clap=None):
    """Reads the checkpoint's tensors, and those of the text encoder from the file `clap` if it is given.

    In CLAP's own file their names begin with `module.` instead of `query_encoder.model.`.
    """
    found = checkpoint.read(path, ENTRY)
    if clap is not None:
        texts = checkpoint.read(clap, ENTRY).renamed("module.", QUERY_PREFIX)
        texts.size(TEXT_BRANCH + ".embeddings.word_embeddings.weight")
        return found.without(QUERY_PREFIX).joined(texts)
    if not found.has_prefix(QUERY_PREFIX):
        raise UserError(
            path, f"no text encoder (`{QUERY_PREFIX}…`) in the checkpoint", "Give CLAP's checkpoint with --clap"
        )
    return found


def model(tensors):
    """Builds the model, without its weights, with the sizes of the checkpoint's tensors."""
    return AudioSep(
        channels=[
            tensors.size(f"ss_model.base.encoder_block{number + 1}.conv_block1.conv2.weight")
            for number in range(len(ENCODER_POOLS))
        ],
        bins=tensors.size("ss_model.base.bn0.weight"),
        condition_size=tensors.size(f"{QUERY_PREFIX}text_projection.0.weight"),
        text=text_encoders.read_sizes(tensors, TEXT_BRANCH),
    )
