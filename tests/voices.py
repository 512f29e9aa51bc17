"""Synthetic voices to test on."""

import numpy as np
from scipy.signal import lfilter

RATE = 16_000


def pulse_train(f0: float, seconds: float, noise: float = 1e-4, seed: int = 0) -> np.ndarray:
    """A steady voice: glottal pulses with a sharp end through three formants, and some noise."""
    phase = np.arange(int(RATE * seconds)) * f0 / RATE % 1
    opening = np.exp(4 * phase) * np.sin(np.pi * phase / 0.45)
    closing = opening[np.argmin(np.abs(phase - 0.6))] * np.exp(-(phase - 0.6) / 0.02)
    x = np.where(phase < 0.6, opening, closing)
    for formant, width in ((700, 80), (1200, 100), (2600, 150)):
        radius = np.exp(-np.pi * width / RATE)
        x = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], x)
    x *= 0.3 / np.abs(x).max()
    return x + noise * np.random.default_rng(seed).standard_normal(len(x))
