"""A picture of what a model heard in a recording."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES, FRAME_PERIOD

# Okabe and Ito (2008): told apart by colour-blind readers and on a grey printer by markers.
_COLOURS = ("#E69F00", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def check_plot(source: str | Path, file: str | Path) -> None:
    """Raise a UserError unless a picture of this input can be written to this file."""
    from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES, open_audio

    if Path(source).suffix.lower() not in AUDIO_SUFFIXES:
        raise UserError(f"--plot shows a recording, and {source} is not one: leave it out.")
    if Path(file).suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot {file}: give a file that ends in .png, .svg or .pdf.")
    if not Path(file).resolve().parent.is_dir():
        raise UserError(f"--plot {file}: its folder does not exist.")
    with open_audio(source):  # its features may be known from before, but not its waveform
        pass


def write_plot(
    source: str | Path,
    segments: Sequence[Segment],
    records: Sequence[Mapping[str, Any]],
    file: str | Path,
) -> None:
    """Draw a recording and what was predicted of its segments into a file."""
    from mosei_ssl.corpus import read_audio

    title = Path(source).name
    if len(records) == 1:
        title += f": {records[0]['most_likely']}"
    figure = plot_recording(read_audio(source), segments, records, title)
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
    """Draw waveform (16 kHz), F0 and the six emotions of a recording.

    Drawn are the `expected` intensities of the segments' records, which move where the medians
    jump: along time, or as bars where there is a single segment.
    """
    from mosei_ssl.covarep.signal import SAMPLE_RATE

    intervals = np.array([[segment.start, segment.end] for segment in segments])
    frames = np.concatenate(
        [round(s.start / FRAME_PERIOD) + np.arange(len(s.features)) for s in segments]
    )
    # Overlapping windows hold the same frames.
    frames, first = np.unique(frames, return_index=True)
    features = np.concatenate([segment.features for segment in segments])[first]
    figure = Figure(figsize=(8, 6), layout="constrained")
    wave, pitch, mood = figure.subplots(3, 1, height_ratios=(1, 1, 1.8))
    figure.suptitle(title)

    # Lowest and highest sample of at most 600 stretches.
    step = max(-(-len(samples) // 600), 1)
    starts = np.arange(0, len(samples), step)
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    moments = (starts + step / 2) / SAMPLE_RATE
    wave.fill_between(moments, low, high, color="0.35", linewidth=0.4)
    wave.set_ylabel("amplitude")

    voiced = features[:, FEATURE_NAMES.index("VUV")] > 0.5
    f0 = np.where(voiced, features[:, FEATURE_NAMES.index("F0")], np.nan)
    pitch.plot(frames * FRAME_PERIOD, f0, ".", color="#0072B2", markersize=2.5)
    pitch.set_ylabel("F0 (Hz)")
    if np.isfinite(f0).any():
        pitch.set_ylim(0, np.nanmax(f0) * 1.1)
    else:
        pitch.text(0.5, 0.5, "nothing voiced", transform=pitch.transAxes, ha="center")

    along_time = [wave, pitch]
    if len(records) == 1:
        _draw_bars(mood, records[0])
    else:
        _draw_along_time(mood, intervals, records)
        along_time.append(mood)
    for axis in along_time:
        axis.set_xlim(0, max(len(samples) / SAMPLE_RATE, 1e-3))
        axis.tick_params(labelbottom=axis is along_time[-1])
        axis.grid(axis="y", color="0.92")
    along_time[-1].set_xlabel("time (s)")
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    figure.align_ylabels([wave, pitch])
    return figure


def _draw_along_time(
    axis: Axes, intervals: np.ndarray, records: Sequence[Mapping[str, Any]]
) -> None:
    centres = intervals.mean(axis=1)
    for name, colour, marker in zip(EMOTIONS, _COLOURS, _MARKERS, strict=True):
        if name in records[0]["not_learned"]:
            continue
        values = np.array([record["emotions"][name]["expected"] for record in records])
        axis.plot(centres, values, label=name, color=colour, marker=marker, markersize=5)
        # A window's answer holds for the whole of it.
        axis.hlines(values, *intervals.T, color=colour, alpha=0.35, lw=2)
    axis.set(ylabel="expected intensity (0 to 3)", ylim=(-0.1, 3.1))
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_bars(axis: Axes, record: Mapping[str, Any]) -> None:
    answers = record["emotions"].items()
    bars = axis.barh(EMOTIONS, [answer["expected"] for _, answer in answers], color=_COLOURS)
    unknown = record["not_learned"]
    said = ["not learned" if e in unknown else f"present: {a['present']:.0%}" for e, a in answers]
    axis.bar_label(bars, said, padding=4)
    axis.invert_yaxis()  # the first emotion on top
    axis.set(xlabel="expected intensity (0 absent, 1 weak, 2 medium, 3 strong)", xlim=(0, 3))
    axis.set_xticks(range(4))
    axis.grid(axis="x", color="0.92")
