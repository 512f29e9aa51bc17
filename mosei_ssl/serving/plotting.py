"""A picture of what a model heard in a recording."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.serving.inputs import AUDIO_SUFFIXES
from mosei_ssl.serving.schema import EMOTIONS, FRAME_PERIOD, Segment
from mosei_ssl.utils.errors import UserError


def check_plot(source: str | Path, file: str | Path) -> None:
    """Raise a UserError unless a picture of this input can be written to this file."""
    if Path(source).suffix.lower() not in AUDIO_SUFFIXES:
        raise UserError(f"--plot shows a recording, and {source} is none: leave it out.")
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
    """Draw waveform, F0 and the six emotions along time.

    Args:
        source: the recording.
        segments: the parts of it that were judged.
        records: what was predicted of each, see `as_records`; the `expected` intensities are
            drawn, which move where the medians jump.
        file: .png, .svg or .pdf to write.

    Raises:
        UserError: the input is no recording, or the file cannot be written.
    """
    check_plot(source, file)
    from mosei_ssl.covarep import read_audio
    from mosei_ssl.covarep.signal import SAMPLE_RATE
    from mosei_ssl.serving.recording_plot import plot_emotions

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
