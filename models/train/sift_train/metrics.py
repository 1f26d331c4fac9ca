"""Figures of separation, as AudioSep defines them (Liu et al., "Separate Anything You Describe", 2023).

SDR = 10 log10(mean r² / mean (e − r)²) of a reference r and an estimate e; SI-SDR without removal of means.
"""

import numpy as np

from .data import energy

EPSILON = 1e-10
"""Added to mean squares, so that silence gives finite figures."""


def sdr(reference, estimate):
    """Signal-to-distortion ratio in dB."""
    error = estimate - reference
    return 10 * np.log10((energy(reference) / len(reference) + EPSILON) / (energy(error) / len(error) + EPSILON))


def si_sdr(reference, estimate):
    """Scale-invariant signal-to-distortion ratio in dB; −100 for a silent estimate."""
    projection = np.dot(estimate, reference) / (energy(reference) + 1e-12) * reference
    signal, noise = energy(projection), energy(estimate - projection)
    if signal <= 1e-10 * energy(reference):
        return -100.0
    return float(np.clip(10 * np.log10(signal / (noise + 1e-12)), -100, 100))
