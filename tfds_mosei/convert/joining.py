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


def join(
    segments: list[Segment], table: Mapping[str, VideoLabels], path: Path
) -> tuple[dict[int, int], str]:
    """Finds each segment's label row by times, else by number and sentiment; a report sentence."""
    # A number is a row of the table in the SDK's ids, a place in time in others, and in MMSA's
    # only its rank counts: unannotated pieces have numbers too. Most agreeing sentiments decide.
    videos = collections.defaultdict(list)
    for index, segment in enumerate(segments):
        if segment.video in table:
            videos[segment.video].append(index)
    timed = all(segment.times is not None for segment in segments)
    ways: dict[str, dict[int, int]] = {"recording": {}}
    for video, indices in videos.items():
        members, labels = [segments[i] for i in indices], table[video]
        by_way = _by_times(members, labels) if timed else _by_number(members, labels)
        for way, rows in by_way.items():
            pairs = zip(indices, rows, strict=True)
            ways.setdefault(way, {}).update({i: row for i, row in pairs if row is not None})
    off = {
        way: {
            i: abs(segments[i].labels[0] - table[segments[i].video].values[row, 0])
            for i, row in found.items()
        }
        for way, found in ways.items()
    }
    agree = {way: sum(x <= _SENTIMENT for x in each.values()) for way, each in off.items()}
    way = max(ways, key=lambda way: (agree[way], len(ways[way])))
    differ = {i for i, x in off[way].items() if x > _SENTIMENT}
    sentence = (
        f"{len(ways[way])} of {len(segments)} segments found in the label table by {way}; of their "
        f"sentiments {agree[way]} agree, {len(differ)} do not"
    )
    if not (ways[way] if timed else agree[way]) or len(differ) > len(ways[way]) * (
        0.5 if timed else 0.01
    ):
        raise CorpusError(
            f"{path}: {sentence}. Labels of another corpus or release? Give others, or none."
        )
    if timed:
        return ways[way], sentence
    # Only sentiments prove what a number means.
    doubtful = {segments[i].video for i, x in off[way].items() if not x <= _SENTIMENT}
    return {i: row for i, row in ways[way].items() if segments[i].video not in doubtful}, sentence


def _by_times(segments: list[Segment], labels: VideoLabels) -> dict[str, list[int | None]]:
    rows: list[int | None] = []
    for segment in segments:
        off = np.nan_to_num(np.abs(labels.intervals - segment.times).max(axis=1), nan=np.inf)
        rows.append(int(off.argmin()) if off.min(initial=np.inf) <= _SECONDS else None)
    return {"recording and times": rows}


def _by_number(segments: list[Segment], labels: VideoLabels) -> dict[str, list[int | None]]:
    numbers = [segment.number for segment in segments]
    in_time = np.argsort(labels.intervals[:, 0], kind="stable").tolist()
    ranks = {number: rank for rank, number in enumerate(sorted(set(numbers)))}
    ranked = len(ranks) == len(in_time)
    return {
        "recording and row": [n if n < len(in_time) else None for n in numbers],
        "recording and place in time": [in_time[n] if n < len(in_time) else None for n in numbers],
        "recording and rank in time": [in_time[ranks[n]] if ranked else None for n in numbers],
    }
