"""A picture of what a model heard in a recording."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES, FRAME_PERIOD

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
    """Draw a recording and what was predicted of its segments into a file."""
    from mosei_ssl.corpus import read_audio

    figure = plot_recording(read_audio(source), segments, records, Path(source).name)
    try:
        figure.savefig(file, dpi=150)
    except OSError as error:
        raise UserError(f"cannot write to {file}: {error.strerror or error}.") from None


def plot_recording(
    samples: np.ndarray,
    segments: Sequence[Segment],
    records: Sequence[Mapping[str, Any]],
    title: str = "",
) -> Figure:
    """Draw waveform (16 kHz), F0 and the six emotions of a recording along time.

    Drawn are the `expected` intensities of the segments' records, which move where the medians
    jump.
    """
    from mosei_ssl.covarep.signal import SAMPLE_RATE

    expected = np.array([[r["emotions"][name]["expected"] for name in EMOTIONS] for r in records])
    intervals = np.array([[segment.start, segment.end] for segment in segments])
    frames = np.concatenate(
        [round(s.start / FRAME_PERIOD) + np.arange(len(s.features)) for s in segments]
    )
    # Overlapping windows hold the same frames.
    frames, first = np.unique(frames, return_index=True)
    features = np.concatenate([segment.features for segment in segments])[first]
    figure = Figure(figsize=(10, 7), layout="constrained")
    wave, pitch, mood = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1, 1.7))
    figure.suptitle(title)

    # Lowest and highest sample of at most 1600 stretches.
    step = max(-(-len(samples) // 1600), 1)
    starts = np.arange(0, len(samples), step)
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    moments = (starts + step / 2) / SAMPLE_RATE
    wave.fill_between(moments, low, high, color="0.35", linewidth=0.4)
    wave.set_ylabel("amplitude")

    voiced = features[:, FEATURE_NAMES.index("VUV")] > 0.5
    f0 = np.where(voiced, features[:, FEATURE_NAMES.index("F0")], np.nan)
    pitch.plot(frames * FRAME_PERIOD, f0, ".", color="#0072B2", markersize=2.5)
    pitch.set_ylabel("F0 (Hz), voiced")
    if np.isfinite(f0).any():
        pitch.set_ylim(0, np.nanmax(f0) * 1.1)
    else:
        pitch.text(0.5, 0.5, "nothing voiced", transform=pitch.transAxes, ha="center")

    centres = intervals.mean(axis=1)
    for name, values, colour, marker in zip(EMOTIONS, expected.T, _COLOURS, _MARKERS, strict=True):
        mood.plot(centres, values, label=name, color=colour, marker=marker, markersize=5)
        # A window's answer holds for the whole of it.
        mood.hlines(values, *intervals.T, color=colour, alpha=0.35, lw=2)
    mood.set(ylabel="expected intensity (0 to 3)", ylim=(-0.1, 3.1))
    mood.set(xlabel="time (s)", xlim=(0, max(len(samples) / SAMPLE_RATE, 1e-3)))
    mood.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for axis in (wave, pitch, mood):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.92")
        axis.set_axisbelow(True)
    return figure
