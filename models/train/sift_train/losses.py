"""Training losses, computed on spectrograms.

With a square-root Hann window and half-overlapping frames, a spectrogram has the energy of its signal, so
signal-to-noise ratios need no inverse transform.
"""

import torch
from torch.nn import functional

RATIO_FLOOR = 1e-3
"""Added to noise-to-signal ratios: above 30 dB the loss hardly improves, so that easy examples do not dominate."""
COMPRESSION = 0.3
"""Exponent of magnitudes in the magnitude error."""
AUDIBLE_SHARE = 1e-3
"""Share of the mixture's energy above which the described sound is audible."""
PRESENCE_FRAMES = 31
"""Number of frames (half a second) for which a sound counts as present after it was audible."""
PRESENCE_WEIGHT = 2.0
"""Weight of the presence loss: a wrong presence of full certainty costs about as much as 10 dB."""
ABSENT_WEIGHT = 4.0
"""Additional weight of absent sounds, which are about a fifth of the examples."""


def _energy(x):
    return x.abs().square().sum(dim=(1, 2))


def separation_loss(estimate, target, mixture, absent, ratio_weight=1.0):
    """Computes the mean separation loss of a batch.

    `estimate`, `target`, `mixture`: complex spectrograms [B, T, F]. `absent` [B], bool: the described sound is not
    in the mixture, and the target is silence. `ratio_weight`: weight of the logarithmic terms.

    The first term is that of LASS-Net, the mean absolute error of magnitudes. Magnitudes are power-compressed, since
    otherwise only the loudest bins of an example count, and relative to the level of the mixture, since otherwise quiet
    examples do not count. Two logarithmic terms give all examples equal weight, independent of their difficulty: the
    noise-to-signal ratio, and a tenth of its scale-invariant form. The latter is largest for a silent estimate, which
    causal networks otherwise learn early. For absent sounds the ratio is that of the estimate to the mixture.
    """
    mixture_energy = _energy(mixture) + 1e-8
    target_energy = _energy(target)
    reference = torch.where(absent, mixture_energy, target_energy + 1e-4 * mixture_energy)
    noise_to_signal = 10 * torch.log10(_energy(estimate - target) / reference + RATIO_FLOOR)

    estimate_energy = _energy(estimate)
    overlap = (estimate.real * target.real + estimate.imag * target.imag).sum(dim=(1, 2))
    projected_energy = overlap.square() / reference
    residual_energy = (estimate_energy - projected_energy).clamp_min(0)
    small = 1e-3 * reference
    scale_invariant = 10 * torch.log10((residual_energy + small) / (projected_energy + small) + RATIO_FLOOR)

    # The level of the mixture is its root mean square over bins.
    level = (mixture_energy / mixture[0].numel()).sqrt()[:, None, None]
    small = 1e-3 * level
    difference = ((estimate.abs() + small) / level).pow(COMPRESSION) - ((target.abs() + small) / level).pow(COMPRESSION)
    magnitude_error = difference.abs().mean(dim=(1, 2))

    ratio = torch.where(absent, noise_to_signal, 0.9 * noise_to_signal + 0.1 * scale_invariant)
    return (ratio_weight * ratio + 10 * magnitude_error).mean()


def presence_loss(presence, target, mixture, absent):
    """Computes the cross entropy between `presence` [B, T] and whether the sound was audible in the last half second.

    `target`, `mixture`: complex spectrograms [B, T, F]. `absent` [B], bool.
    """

    def recent_energy(spectrum):
        energy = spectrum.abs().square().sum(dim=2)
        return functional.max_pool1d(functional.pad(energy, (PRESENCE_FRAMES - 1, 0)), PRESENCE_FRAMES, stride=1)

    audible = (recent_energy(target) > AUDIBLE_SHARE * recent_energy(mixture) + 1e-8).float()
    weight = PRESENCE_WEIGHT * torch.where(absent, ABSENT_WEIGHT, 1.0)[:, None]
    return functional.binary_cross_entropy(presence.clamp(1e-5, 1 - 1e-5), audible, weight.expand_as(audible))
