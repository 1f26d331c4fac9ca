"""The training loss, computed on spectrograms.

With a square-root Hann window and half-overlapping frames, the energy of a spectrogram is that of its signal, so
signal-to-noise ratios need no inverse transform.
"""

import torch
from torch.nn import functional

FLOOR = 1e-3
"""Of the ratios below: past 30 dB there is nothing to gain, so easy examples do not drown the hard ones."""
COMPRESSION = 0.3
AUDIBLE = 1e-3
"""Of the mixture's energy: a described sound above it counts as present."""
HELD = 31
"""Frames, half a second, for which a sound that was heard counts as present."""
PRESENCE_WEIGHT = 2.0
"""A presence that is wrong with certainty costs as much as some ten decibels ..."""
ABSENT_WEIGHT = 4.0
"""... and where the sound is absent, this much more: about every fifth example is."""


def _energy(x):
    return x.abs().square().sum(dim=(1, 2))


def separation_loss(estimate, target, mixture, absent, ratio_weight=1.0):
    """The mean loss of a batch.

    `estimate`, `target`, `mixture`: complex spectrograms [B, T, F]. `absent` [B], bool: the described sound is not
    in the mixture and the target is silence. `ratio_weight`: of the logarithmic terms; 0 leaves the base alone.

    The base is LASS-Net's: the mean absolute error of magnitudes, here of power-compressed ones, since otherwise the
    few loudest bins of an example are all that counts, and relative to the mixture's level, since otherwise quiet
    examples do not count. To it come two logarithmic terms, which weigh every example alike however hard it is:
    the noise-to-signal ratio, and a tenth as much of its scale-invariant form, which is worst when the estimate is
    silent: causal networks otherwise learn early that erasing everything is safe. For absent sounds the ratio is
    that of what is left to the mixture.
    """
    mixture_energy = _energy(mixture) + 1e-8
    target_energy = _energy(target)
    reference = torch.where(absent, mixture_energy, target_energy + 1e-4 * mixture_energy)
    noise_to_signal = 10 * torch.log10(_energy(estimate - target) / reference + FLOOR)

    estimate_energy = _energy(estimate)
    overlap = (estimate.real * target.real + estimate.imag * target.imag).sum(dim=(1, 2))
    projected = overlap.square() / reference
    stray = (estimate_energy - projected).clamp_min(0)
    small = 1e-3 * reference
    scale_invariant = 10 * torch.log10((stray + small) / (projected + small) + FLOOR)

    # Level of the mixture: its root-mean-square bin.
    level = (mixture_energy / mixture[0].numel()).sqrt()[:, None, None]
    small = 1e-3 * level
    difference = ((estimate.abs() + small) / level).pow(COMPRESSION) - ((target.abs() + small) / level).pow(COMPRESSION)
    magnitude_error = difference.abs().mean(dim=(1, 2))

    ratio = torch.where(absent, noise_to_signal, 0.9 * noise_to_signal + 0.1 * scale_invariant)
    return (ratio_weight * ratio + 10 * magnitude_error).mean()


def presence_loss(presence, target, mixture, absent):
    """Cross entropy of `presence` [B, T] with whether the described sound was heard in the last half second.

    `target`, `mixture`: complex spectrograms [B, T, F]. `absent` [B], bool.
    """

    def recent(spectrum):
        energy = spectrum.abs().square().sum(dim=2)
        return functional.max_pool1d(functional.pad(energy, (HELD - 1, 0)), HELD, stride=1)

    heard = (recent(target) > AUDIBLE * recent(mixture) + 1e-8).float()
    weight = PRESENCE_WEIGHT * torch.where(absent, ABSENT_WEIGHT, 1.0)[:, None]
    return functional.binary_cross_entropy(presence.clamp(1e-5, 1 - 1e-5), heard, weight.expand_as(heard))
