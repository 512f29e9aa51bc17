"""Joins segments of a package to the rows of a label table."""

import collections
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfds_mosei.convert.packages import Segment
from tfds_mosei.errors import CorpusError
from tfds_mosei.labels import VideoLabels

_SECONDS = 0.02
_SENTIMENT = 0.05
_ORDERS = ("row of the table", "place in time", "rank in time")


def join(
    segments: list[Segment], table: Mapping[str, VideoLabels], path: Path
) -> tuple[dict[int, int], str]:
    """Finds the label row of each segment: by its times, else by its number and sentiment.

    Numbers are rows of the table in the SDK's ids, places in time in others, and in MMSA's they
    leave out what is not annotated; the order is taken in which sentiments agree.

    Returns:
        Row of its video's labels by index of the segment, and a sentence for the report.

    Raises:
        CorpusError: nothing can be joined, or sentiments disagree.
    """
    videos = collections.defaultdict(list)
    for index, segment in enumerate(segments):
        if segment.video in table:
            videos[segment.video].append(index)
    timed = all(segment.times is not None for segment in segments)
    orders: dict[str, dict[int, int]] = {}
    for video, indices in videos.items():
        members, labels = [segments[i] for i in indices], table[video]
        found = {"times": _by_times(members, labels)} if timed else _by_order(members, labels)
        for order, rows in found.items():
            pairs = zip(indices, rows, strict=True)
            orders.setdefault(order, {}).update({i: row for i, row in pairs if row is not None})
    counts = {name: _agreement(segments, table, rows) for name, rows in orders.items()}
    best = max(counts, key=lambda name: (counts[name][0], -counts[name][1]), default="")
    rows, (agree, differ) = orders.get(best, {}), counts.get(best, (0, 0))
    if differ > (0.5 if timed else 0.01) * (agree + differ) or not (rows and (timed or agree)):
        raise CorpusError(
            f"{path}: of {len(segments)} segments, {len(rows)} are in the label table by their "
            f"{best or 'recording'}, {agree} of them with the same sentiment and {differ} with "
            "another one. These are labels of another corpus or release: give others, or none."
        )
    if not timed:  # numbers alone prove nothing
        doubtful = {
            segments[i].video for i, row in rows.items() if not _agrees(segments[i], table, row)
        }
        rows = {i: row for i, row in rows.items() if segments[i].video not in doubtful}
    return rows, (
        f"{len(rows)} of {len(segments)} segments joined to labels by recording and {best}; of "
        f"their sentiments, {agree} agree and {differ} do not"
    )


def _by_times(segments: list[Segment], labels: VideoLabels) -> list[int | None]:
    rows: list[int | None] = []
    for segment in segments:
        off = np.abs(labels.intervals - segment.times).max(axis=1)
        rows.append(int(np.nanargmin(off)) if np.nanmin(off, initial=np.inf) <= _SECONDS else None)
    return rows


def _by_order(segments: list[Segment], labels: VideoLabels) -> dict[str, list[int | None]]:
    numbers = [segment.number for segment in segments]
    in_time = np.argsort(labels.intervals[:, 0], kind="stable").tolist()
    ranks = {number: rank for rank, number in enumerate(sorted(set(numbers)))}
    whole = len(ranks) == len(in_time)
    return {
        _ORDERS[0]: [n if n < len(in_time) else None for n in numbers],
        _ORDERS[1]: [in_time[n] if n < len(in_time) else None for n in numbers],
        _ORDERS[2]: [in_time[ranks[n]] if whole else None for n in numbers],
    }


def _agrees(segment: Segment, table: Mapping[str, VideoLabels], row: int) -> bool:
    return bool(abs(segment.labels[0] - table[segment.video].values[row, 0]) <= _SENTIMENT)


def _agreement(
    segments: list[Segment], table: Mapping[str, VideoLabels], rows: dict[int, int]
) -> tuple[int, int]:
    agree = sum(_agrees(segments[i], table, row) for i, row in rows.items())
    known = sum(bool(np.isfinite(segments[i].labels[0])) for i in rows)
    return agree, known - agree
