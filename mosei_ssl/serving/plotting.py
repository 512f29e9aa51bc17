"""A picture of what a model heard in a recording."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES, FRAME_PERIOD

_COLUMNS = 1600
# Okabe and Ito (2008): told apart by colour-blind readers and on a grey printer by markers.
_COLOURS = ("#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def check_plot(source: str | Path, file: str | Path) -> None:
    """Raise a UserError unless a picture of this input can be written to this file."""
    from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES

    if Path(source).suffix.lower() not in AUDIO_SUFFIXES:
        raise UserError(f"--plot shows a recording, and {source} is not one: leave it out.")
    if Path(file).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot {file}: give a file that ends in .png, .svg or .pdf.")
    if not Path(file).resolve().parent.is_dir():
        raise UserError(f"--plot {file}: its folder does not exist.")


def write_plot(
    source: str | Path,
    segments: Sequence[Segment],
    records: Sequence[Mapping[str, Any]],
    file: str | Path,
) -> None:
    """Draw waveform, F0 and the six emotions of a recording along time.

    Drawn are the `expected` intensities of the segments' records, which move where the medians
    jump.
    """
    from mosei_ssl.corpus import read_audio
    from mosei_ssl.covarep.signal import SAMPLE_RATE

    rows = np.concatenate([segment.features for segment in segments])
    frames = np.concatenate(
        [round(s.start / FRAME_PERIOD) + np.arange(len(s.features)) for s in segments]
    )
    # Overlapping windows hold the same frames.
    frames, first = np.unique(frames, return_index=True)
    figure = plot_emotions(
        read_audio(source),
        SAMPLE_RATE,
        rows[first],
        frames * FRAME_PERIOD,
        np.array([[segment.start, segment.end] for segment in segments]),
        np.array([[r["emotions"][emotion]["expected"] for emotion in EMOTIONS] for r in records]),
        title=Path(source).name,
    )
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise UserError(f"cannot write to {file}: {error.strerror or error}.") from None


def plot_emotions(
    samples: np.ndarray,
    sample_rate: float,
    features: np.ndarray,
    times: np.ndarray,
    intervals: np.ndarray,
    intensities: np.ndarray,
    title: str = "",
) -> Figure:
    """Draw samples [N], COVAREP rows [T, 74] at `times` in seconds, and [W, 6] intensities.

    These are of windows [W, 2], start and end in seconds, which may overlap.
    """
    intervals, intensities = np.asarray(intervals, float), np.asarray(intensities, float)
    figure = Figure(figsize=(10, 7), layout="constrained")
    wave, pitch, mood = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.7))
    figure.suptitle(title)

    # Lowest and highest sample of at most 1600 stretches.
    step = max(-(-len(samples) // _COLUMNS), 1)
    starts = np.arange(0, len(samples), step)
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    moments = (starts + step / 2) / sample_rate
    wave.fill_between(moments, low, high, color="0.35", linewidth=0.4)
    wave.set_ylabel("amplitude")

    voiced = features[:, FEATURE_NAMES.index("VUV")] > 0.5
    f0 = np.where(voiced, features[:, FEATURE_NAMES.index("F0")], np.nan)
    pitch.plot(times, f0, ".", color="#0072B2", markersize=2.5)
    pitch.set_ylabel("F0 (Hz), voiced")
    if np.isfinite(f0).any():
        pitch.set_ylim(0, np.nanmax(f0) * 1.1)
    else:
        pitch.text(0.5, 0.5, "nothing voiced", transform=pitch.transAxes, ha="center")

    centres = intervals.mean(axis=1)
    for name, values, colour, marker in zip(
        EMOTIONS, intensities.T, _COLOURS, _MARKERS, strict=True
    ):
        mood.plot(centres, values, label=name, color=colour, marker=marker, markersize=5)
        # A window's answer holds for the whole of it.
        mood.hlines(values, *intervals.T, color=colour, alpha=0.35, lw=2)
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
