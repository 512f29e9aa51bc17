"""From any input to predictions: what `mosei-ssl predict` does, as a function."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mosei_ssl.errors import UserError
from mosei_ssl.serving.inputs import read_segments
from mosei_ssl.serving.schema import MAX_FRAMES, Segment


class Predictor(Protocol):
    """What answers: a SavedModel in this process, or a client of a server."""

    def predict(
        self, segments: Sequence[np.ndarray], progress: Callable[[int], object] | None = None
    ) -> dict[str, np.ndarray]:
        """Predictions of N segments [T, 74]: arrays [N, 6], see `LocalModel.predict`."""


def collect_segments(
    source: str | Path,
    intervals: str | Path | None = None,
    *,
    window: float = 15.0,
    hop: float | None = None,
    limit: int | None = None,
    dataset: str | None = None,
    split: str = "test",
) -> list[Segment]:
    """Gather the segments that an input holds.

    Args:
        source: a `.csd`, `.npy` or audio file (see `read_segments`), or a folder that datasets
            were prepared in, of which a split is taken.
        intervals: which stretches of it to judge.
        window: longest window in seconds where there are no intervals; 0 takes recordings whole.
        hop: seconds from one window to the next.
        limit: at most so many segments, the first ones.
        dataset: which of several prepared datasets.
        split: which split of it.

    Returns:
        At least one segment; those of a labelled dataset carry their labels.

    Raises:
        UserError: nothing to judge is found, or a segment is longer than models answer.

    Example:
        >>> len(collect_segments("speech.csd", "labels.csd", limit=5))
        5
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit is {limit}: give 1 or more.")
    if Path(source).is_dir():
        if intervals is not None:
            raise UserError(
                f"{source} is a folder of prepared datasets, whose segments are fixed: leave out "
                "--segments, or give a .csd file."
            )
        found = _dataset_segments(source, dataset, split)
    else:
        found = read_segments(source, intervals, window, hop)
    segments = list(itertools.islice(found, limit))
    if not segments:
        raise UserError(f"{source} holds no frames to judge.")
    for segment in segments:
        if len(segment.features) > MAX_FRAMES:
            raise UserError(
                f"{source}: {segment.name} from {segment.start:.2f} to {segment.end:.2f} s has "
                f"{len(segment.features)} frames, and models answer at most {MAX_FRAMES}. Give "
                "shorter --segments, or leave them out and give a --window."
            )
    return segments


def _dataset_segments(data_dir: str | Path, dataset: str | None, split: str) -> Iterator[Segment]:
    from mosei_ssl.data import DataConfig, load_segments

    segments = load_segments(DataConfig(data_dir=str(data_dir), dataset=dataset), split)
    for index, (start, end) in enumerate(segments.intervals):
        name = str(segments.video_ids[index])
        labels = segments.emotions[index]
        truth = labels if np.isfinite(labels).all() else None
        yield Segment(name, float(start), float(end), segments.rows(index), truth)
