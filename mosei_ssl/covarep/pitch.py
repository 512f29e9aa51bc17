"""F0 and voicing from the summation of residual harmonics (SRH)."""

from dataclasses import dataclass

import numpy as np

from mosei_ssl.covarep.lpc import lp_residual
from mosei_ssl.covarep.signal import (
    HOP,
    SAMPLE_RATE,
    blackman,
    blocks,
    frames_of,
    hertz_magnitudes,
    round_half_away,
)

F0_MIN, F0_MAX = 50, 500
FIRST_CENTRE = 799  # 0-based sample at the centre of the first frame
_FRAME = 1598
_LOWEST = 20
_BLOCK = 64


@dataclass
class Pitch:
    """F0 track of a recording, one value per frame centred at ``799 + 160 i`` (0-based)."""

    f0: np.ndarray  # whole Hz, float64 [F]; 1 where nothing harmonic was found
    voiced: np.ndarray  # bool [F]
    criterion: np.ndarray  # SRH value of the winning candidate, [F]

    def median(self, low: float, high: float) -> float:
        """Median F0 (Hz) over voiced frames strictly between the limits; NaN if none."""
        chosen = self.f0[self.voiced & (self.f0 > low) & (self.f0 < high)]
        return float(np.median(chosen)) if len(chosen) else float("nan")


def harmonic_sums(x: np.ndarray) -> np.ndarray:
    """SRH criterion of every frame for 20 to 500 Hz, [F, 481]; NaN near digital silence."""
    frames = frames_of(lp_residual(x, 12), _FRAME, HOP, strict=True)
    window = blackman(_FRAME)
    candidates = np.arange(_LOWEST, F0_MAX + 1)
    between = [round_half_away((k + 0.5) * candidates).astype(int) - 1 for k in range(1, 5)]
    alternating = (-1.0) ** np.arange(_FRAME)
    sums = np.empty((len(frames), len(candidates)))
    for block in blocks(len(frames), _BLOCK):
        part = frames[block] * window
        part -= part.mean(axis=1, keepdims=True)
        spectrum = hertz_magnitudes(part, 5 * F0_MAX - 1)
        total = spectrum[_LOWEST - 1 : F0_MAX].copy()
        for k in range(2, 6):
            total += spectrum[k * _LOWEST - 1 : k * F0_MAX : k]
        for bins in between:
            total -= spectrum[bins]
        # The energy of all bins below 8 kHz, by Parseval.
        energy = SAMPLE_RATE * np.einsum("ij,ij->i", part, part) - (part @ alternating) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            sums[block] = (total / np.sqrt(energy / 2)).T
    return sums


def best_candidates(
    sums: np.ndarray, low: int = F0_MIN, high: int = F0_MAX
) -> tuple[np.ndarray, np.ndarray]:
    """Winning F0 in Hz and its criterion per frame; 1 Hz and 0 without a positive candidate."""
    inside = sums[:, low - _LOWEST : high - _LOWEST + 1]
    inside = np.where(np.isnan(inside), -np.inf, inside)
    best = inside.argmax(axis=1)
    value = np.take_along_axis(inside, best[:, None], axis=1)[:, 0]
    found = value > 0
    return np.where(found, best + low, 1).astype(float), np.where(found, value, 0.0)


def speaker_range(
    f0: np.ndarray, criterion: np.ndarray, low: int = F0_MIN, high: int = F0_MAX
) -> tuple[int, int]:
    """Range of F0 one octave to either side of the recording's median, within the limits."""
    sure = criterion > 0.1
    if not sure.any():
        return low, high
    middle = np.median(f0[sure])
    return max(low, int(round_half_away(middle / 2))), min(high, int(round_half_away(2 * middle)))


def decide_voicing(f0: np.ndarray, criterion: np.ndarray) -> Pitch:
    """Which frames are voiced (Drugman & Alwan 2011); a lively criterion raises the threshold."""
    spread = criterion.std(ddof=1) if len(criterion) > 1 else 0.0
    return Pitch(f0, criterion > (0.085 if spread > 0.05 else 0.07), criterion)
