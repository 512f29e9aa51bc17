"""From any input to predictions: what `mosei-ssl predict` does, as functions."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.serving.output import as_records
from mosei_ssl.serving.predictor import Predictor
from tfds_mosei.schema import FRAME_PERIOD

_log = logging.getLogger(__name__)

BLOCK = 512
"""Segments read at a time: enough to sort them by length into batches of little padding."""


def predict_records(
    predictor: Predictor,
    segments: Iterable[Segment],
    progress: Callable[[int, int | None], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Predict segments block by block, so that no more of a corpus than a block is in memory.

    Yields a record per segment, in their order, see `as_records`. A warning says at the end how
    many were far longer than any that the model was trained on. `progress` is called with the
    number of segments done since the last call, and of all of them; None until that is known.
    """
    longest = predictor.manifest.get("dataset", {}).get("train_seconds", {}).get("longest")
    seen = long = 0
    segments = iter(segments)
    while block := list(itertools.islice(segments, BLOCK)):
        seen += len(block)
        total = seen if len(block) < BLOCK else None
        frames = [segment.features for segment in block]
        if longest:
            long += sum(len(rows) * FRAME_PERIOD > 2 * longest for rows in frames)
        predictions = predictor.predict(frames, lambda n, t=total: progress and progress(n, t))
        yield from as_records(block, predictions)
    if long:
        _log.warning(
            "%d of %d segments are more than twice as long as any that the model was trained on "
            "(%.1f s): a shorter --window, or --segments, suits it better",
            *(long, seen, longest),
        )
