"""A picture of a recording: waveform, F0, and the emotions along time."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.corpus.label_table import EMOTIONS
from mosei_ssl.covarep.columns import COLUMN

_COLUMNS = 1600
# Okabe and Ito (2008): told apart by colour-blind readers and on a grey printer by markers.
_COLOURS = ("#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def _outline(samples: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, lowest and highest sample of at most 1600 stretches."""
    step = max(-(-len(samples) // _COLUMNS), 1)
    starts = np.arange(0, len(samples), step)
    low = np.minimum.reduceat(samples, starts)
    high = np.maximum.reduceat(samples, starts)
    return (starts + step / 2) / sample_rate, low, high


def plot_emotions(
    samples: np.ndarray,
    sample_rate: float,
    features: np.ndarray,
    times: np.ndarray,
    intervals: np.ndarray,
    intensities: np.ndarray,
    *,
    emotions: Sequence[str] = EMOTIONS,
    title: str = "",
) -> Figure:
    """Draws what a model heard in a recording.

    Args:
        samples: One channel, [N].
        sample_rate: Hz.
        features: COVAREP rows, [T, 74].
        times: Their times in seconds, [T].
        intervals: Start and end of each window in seconds, [W, 2]; they may overlap.
        intensities: Predicted intensity per window and emotion, 0 to 3, [W, 6].
        emotions: Names of the columns of ``intensities``.
        title: Above the picture.

    Returns:
        A figure; ``figure.savefig("speech.png", dpi=150)`` writes it.

    Example:
        ```python
        features, times = extract(samples, 16000)
        figure = plot_emotions(samples, 16000, features, times, [[0.0, 5.0]], [[2, 0, 0, 0, 0, 0]])
        figure.savefig("speech.png")
        ```
    """
    intervals, intensities = np.asarray(intervals, float), np.asarray(intensities, float)
    figure = Figure(figsize=(10, 7), layout="constrained")
    wave, pitch, mood = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.7))
    figure.suptitle(title)

    moments, low, high = _outline(np.asarray(samples), sample_rate)
    wave.fill_between(moments, low, high, color="0.35", linewidth=0.4)
    wave.set_ylabel("amplitude")

    f0 = np.where(features[:, COLUMN["VUV"]] > 0.5, features[:, COLUMN["F0"]], np.nan)
    pitch.plot(times, f0, ".", color="#0072B2", markersize=2.5)
    pitch.set_ylabel("F0 (Hz), voiced")
    if np.isfinite(f0).any():
        pitch.set_ylim(0, np.nanmax(f0) * 1.1)
    else:
        pitch.text(0.5, 0.5, "nothing voiced", transform=pitch.transAxes, ha="center")

    centres = intervals.mean(axis=1)
    for k, name in enumerate(emotions):
        style = {"color": _COLOURS[k % 6], "marker": _MARKERS[k % 6], "markersize": 5}
        mood.plot(centres, intensities[:, k], label=name, **style)
        # A window's answer holds for the whole of it.
        mood.hlines(intensities[:, k], *intervals.T, color=style["color"], alpha=0.35, lw=2)
    mood.set_ylabel("expected intensity (0 to 3)")
    mood.set_ylim(-0.1, 3.1)
    mood.set_xlabel("time (s)")
    mood.set_xlim(0, max(len(samples) / sample_rate, 1e-3))
    mood.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for axis in (wave, pitch, mood):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.92")
        axis.set_axisbelow(True)
    return figure
