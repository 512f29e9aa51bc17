"""How far apart the rows of a corpus are, and whether its times can be seconds."""

import dataclasses
import logging

import numpy as np

from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import FRAME_PERIOD
from tfds_mosei.sources import Corpus

_logger = logging.getLogger(__name__)

VIDEOS = 40  # looked at before a build, evenly spread; `RowTiming.fits` checks the others
_LONGEST_STEP = 2.0  # seconds from word to word, in the median
_SHORTEST_STEP = 0.001
_DEVIATION = 0.2
_WORDS = 0.1  # share of steps that deviate, beyond which rows have no constant period
_GAP = 10.0  # steps beyond which rows are missing
_ENOUGH = 20  # steps that say something about a video
_OTHERS = 0.05  # share of videos with other rows, beyond which a corpus is refused
_UNITS = {
    0.01: "frame numbers",
    1e-3: "milliseconds",
    1e-6: "microseconds",
    1e-7: "units of 100 ns",
    60.0: "minutes",
}


@dataclasses.dataclass(frozen=True)
class RowTiming:
    """Seconds from row to row."""

    period: float | None  # None where rows are aligned to words
    median: float
    deviating: float  # share of steps more than a fifth longer or shorter, gaps left out
    declared: bool = False  # whether the source says that a row is a word

    def fits(self, intervals: np.ndarray) -> bool:
        """Whether the rows of a video come as those of most do; so do too few to tell."""
        steps = _steps(intervals)
        if len(steps) < _ENOUGH or self.declared:
            return True
        median, deviating = _spacing(steps)
        if self.period is None or deviating > _WORDS:
            return self.period is None and deviating > _WORDS
        return abs(median - self.period) <= _DEVIATION * self.period

    def sentence(self) -> str:
        """What was measured, for the report."""
        if self.period is None:
            return f"rows: aligned to words, no constant period (median step {self.median:g} s)"
        return f"rows: one every {self.period:g} s; {self.deviating:.2%} of the steps deviate"


def measure_rows(corpus: Corpus) -> RowTiming:
    """Measures rows of some videos; times of rows or labels that cannot be seconds are an error."""
    folder = corpus.files.folder
    videos = [v for v in corpus.features.video_ids if v in corpus.labels or not corpus.labels]
    videos = videos[:: max(1, len(videos) // VIDEOS)]
    sampled: dict[str, np.ndarray] = {}
    reach: list[tuple[float, float, float]] = []
    for video in videos:
        try:
            times = corpus.features.intervals(video)
        except CorpusError:
            continue  # reported where the video is read
        times = times[np.isfinite(times).all(axis=1)]
        sampled[video] = times
        if video not in corpus.labels:
            continue
        labels = corpus.labels[video].intervals
        labels = labels[np.isfinite(labels).all(axis=1)]
        if len(times) and len(labels):
            lasting = float(np.median(labels[:, 1] - labels[:, 0]))
            reach.append((float(times[:, 1].max()), float(labels[:, 1].max()), lasting))
    steps = [_steps(times) for times in sampled.values()]
    found = np.concatenate([*steps, np.zeros(0)])
    median, deviating = _spacing(found) if len(found) else (FRAME_PERIOD, 0.0)
    reached = np.array(reach).reshape(-1, 3)
    _check_unit(folder, median, reached)
    _check_labels(folder, reached)
    declared = corpus.features.aligned_to_words
    # Videos count alike, however many rows they have.
    shares = [_spacing(part)[1] for part in steps if len(part) >= _ENOUGH]
    words = declared or float(np.median(shares or [deviating])) > _WORDS
    timing = RowTiming(None if words else round(median, 5), round(median, 5), deviating, declared)
    others = [video for video, times in sampled.items() if not timing.fits(times)]
    if len(others) > _OTHERS * len(sampled):
        raise CorpusError(
            f"{folder}: rows of {len(others)} of {len(sampled)} videos ({', '.join(others[:3])}, "
            f"...) do not come as those of the others: {timing.sentence()}. Rows of different "
            "kinds cannot be one dataset: build each kind alone."
        )
    if words:
        _logger.warning(
            "%s: rows are aligned to words: they have no constant period (median step %g s). "
            "Models trained on rows every 10 ms cannot read them, nor the other way round.",
            folder,
            median,
        )
    elif abs(median - FRAME_PERIOD) > 0.05 * FRAME_PERIOD:
        _logger.warning(
            "%s: there is a row every %g s, not every 10 ms as in COVAREP. The period is stored "
            "with the dataset; options counted in rows cover other durations.",
            folder,
            median,
        )
    return timing


def _steps(intervals: np.ndarray) -> np.ndarray:
    """Seconds from row to row of a video, in order of time."""
    starts = intervals[np.isfinite(intervals).all(axis=1), 0]
    steps = np.diff(np.sort(starts))
    return steps[steps > 0]


def _spacing(steps: np.ndarray) -> tuple[float, float]:
    """The median step, and the share of steps that deviate from it, gaps left out."""
    median = float(np.median(steps))
    near = steps[steps < _GAP * median]
    return median, float(np.mean(np.abs(near - median) > _DEVIATION * median))


def _check_unit(folder: object, step: float, reach: np.ndarray) -> None:
    """Refuses row times that cannot be seconds, with the factor that would make sense."""
    rows, labels, lasting = np.median(reach, axis=0) if len(reach) else (1.0, 0.0, 0.0)
    # Rows 1 apart are frame numbers, unless labels reach as far and last as long as seconds do.
    numbered = np.isclose(step, 1.0, rtol=1e-6) and (labels < 0.1 * rows or lasting > 100.0)
    if _SHORTEST_STEP <= step <= _LONGEST_STEP and not numbered:
        return
    fitting = [factor for factor in _UNITS if np.isclose(step * factor, FRAME_PERIOD, rtol=0.01)]
    factor = (fitting or [1e-3 if step > 1.0 else FRAME_PERIOD / step])[0]
    unit = f" ({_UNITS[factor]})" if factor in _UNITS else ""
    raise CorpusError(
        f"{folder}: times of the rows cannot be seconds: rows lie {step:g} apart. Multiply the "
        f"intervals of the features by {factor:g}{unit}: then there is a row every "
        f"{step * factor:g} s."
    )


def _check_labels(folder: object, reach: np.ndarray) -> None:
    """Refuses label times that fit the rows only in another unit: most videos must agree."""
    if not len(reach):
        return
    rows, labels, lasting = np.median(reach, axis=0)
    ratio = float(np.median(reach[:, 1] / np.maximum(reach[:, 0], FRAME_PERIOD)))
    if ratio > 20:
        factor = next((f for f in _UNITS if ratio * f <= 1.2), FRAME_PERIOD)
        if lasting < 20 or lasting * factor < 0.2:
            return  # segments last as long as seconds do: features are of a part only
    elif 0 < ratio < 0.03 and lasting < 0.2:
        factor = 60.0
    else:
        return
    raise CorpusError(
        f"{folder}: times of the labels cannot be seconds: they end at {labels:g}, the rows of the "
        f"same videos at {rows:g} s (medians). Multiply the times of the labels by {factor:g} "
        f"({_UNITS[factor]})."
    )
