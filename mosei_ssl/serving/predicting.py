"""From any input to predictions: what `mosei-ssl predict` does, as a function."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mosei_ssl.serving.inputs import read_segments
from mosei_ssl.serving.output import as_records
from mosei_ssl.serving.schema import MAX_FRAMES, Segment
from mosei_ssl.utils.errors import UserError


class Predictor(Protocol):
    """What answers: a SavedModel in this process, or a client of a server."""

    def predict(
        self, segments: Sequence[np.ndarray], progress: Callable[[int], object] | None = None
    ) -> dict[str, np.ndarray]:
        """Predictions of N segments [T, 74]: arrays [N, 6], see `LocalModel.predict`."""


BLOCK = 512
"""Segments read at a time: enough to sort them by length into batches of little padding."""


def iterate_segments(
    source: str | Path,
    intervals: str | Path | None = None,
    *,
    window: float = 15.0,
    hop: float | None = None,
    limit: int | None = None,
    dataset: str | None = None,
    split: str = "test",
) -> Iterator[Segment]:
    """Go through the segments that an input holds, reading them as they are taken.

    Args:
        source: a `.csd`, `.npy` or audio file (see `read_segments`), or a folder that datasets
            were prepared in, or of one of them, of which a split is taken.
        intervals: which stretches of it to judge.
        window: longest window in seconds where there are no intervals; 0 takes recordings whole.
        hop: seconds from one window to the next.
        limit: at most so many segments, the first ones.
        dataset: which of several prepared datasets.
        split: which split of it.

    Yields:
        At least one segment; those of a labelled dataset carry their labels.

    Raises:
        UserError: nothing to judge is found, or a segment is longer than models answer.

    Example:
        >>> len(list(iterate_segments("speech.csd", "labels.csd", limit=5)))
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
    empty = True
    for segment in itertools.islice(found, limit):
        empty = False
        if len(segment.features) > MAX_FRAMES:
            raise UserError(
                f"{source}: {segment.name} from {segment.start:.2f} to {segment.end:.2f} s has "
                f"{len(segment.features)} frames, and models answer at most {MAX_FRAMES}. Give "
                "shorter --segments, or leave them out and give a --window."
            )
        yield segment
    if empty:
        raise UserError(f"{source} holds no frames to judge.")


def predict_records(
    predictor: Predictor,
    segments: Iterable[Segment],
    progress: Callable[[int], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Predict segments block by block, so that no more of a corpus than a block is in memory.

    Args:
        predictor: what answers.
        segments: what to judge.
        progress: called with the number of segments done since the last call.

    Yields:
        A record per segment, in their order, see `as_records`.

    Raises:
        UserError: a segment cannot be judged.
        ServerError: a server does not answer.
    """
    segments = iter(segments)
    while block := list(itertools.islice(segments, BLOCK)):
        predictions = predictor.predict([segment.features for segment in block], progress)
        yield from as_records(block, predictions)


def _dataset_segments(data_dir: str | Path, dataset: str | None, split: str) -> Iterator[Segment]:
    from mosei_ssl.data import DataConfig, load_prepared, load_segments

    if (Path(data_dir) / "dataset_info.json").is_file():
        segments = load_prepared(data_dir, split)
    else:
        segments = load_segments(DataConfig(data_dir=str(data_dir), dataset=dataset), split)
    for index, (start, end) in enumerate(segments.intervals):
        name = str(segments.video_ids[index])
        labels = segments.emotions[index]
        truth = labels if np.isfinite(labels).all() else None
        yield Segment(name, float(start), float(end), segments.rows(index), truth)
