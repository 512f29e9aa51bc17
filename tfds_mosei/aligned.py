"""Joins the segments of files that the SDK's ``align()`` has cut, with ids ``video[n]``.

A video's rows and label rows are put together again, so that the dataset is the same as from the
files before alignment.
"""

import collections
import logging
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tfds_mosei.csd import Rows
from tfds_mosei.labels import VideoLabels
from tfds_mosei.schema import LABEL_NAMES

if TYPE_CHECKING:
    from tfds_mosei.sources import FeatureSource

_logger = logging.getLogger(__name__)

_SEGMENT = re.compile(r"(.+)\[(\d{1,5})\]", re.DOTALL)


def segments_by_video(ids: Iterable[str], what: str) -> dict[str, dict[int, str]]:
    """Ids ``video[n]`` by video and n; empty unless all ids are of this form."""
    videos: dict[str, dict[int, str]] = collections.defaultdict(dict)
    for name in ids:
        match = _SEGMENT.fullmatch(name)
        if not match or int(match[2]) in videos[match[1]]:
            return {}
        videos[match[1]][int(match[2])] = name
    if videos:
        _logger.info(
            "%s: ids like %s: aligned to segments, joined to %d videos",
            what,
            next(iter(ids)),
            len(videos),
        )
    return dict(videos)


def join_labels(table: dict[str, VideoLabels]) -> dict[str, VideoLabels]:
    """Label rows by video; rows that alignment left out are NaN, so that numbers stay the same."""
    joined: dict[str, VideoLabels] = {}
    for video, names in segments_by_video(table, "labels").items():
        parts = {number: table[name] for number, name in names.items()}
        if any(len(part.values) != 1 for part in parts.values()):
            intervals = np.concatenate([parts[n].intervals for n in sorted(parts)])
            values = np.concatenate([parts[n].values for n in sorted(parts)])
        else:
            intervals = np.full((max(parts) + 1, 2), np.nan)
            values = np.full((max(parts) + 1, len(LABEL_NAMES)), np.nan, np.float32)
            for number, part in parts.items():
                intervals[number], values[number] = part.intervals[0], part.values[0]
        joined[video] = VideoLabels(intervals, values)
    return joined or table


def join_features(source: "FeatureSource") -> "FeatureSource":
    """A source whose ids are videos, whatever its ids are."""
    videos = segments_by_video(source.video_ids, "features")
    return AlignedFeatures(source, videos) if videos else source


class AlignedFeatures:
    """Rows of whole videos from a source of segments; a row of two segments counts once."""

    def __init__(self, source: "FeatureSource", videos: Mapping[str, Mapping[int, str]]):
        self._source = source
        self._videos = videos
        self.video_ids: tuple[str, ...] = tuple(sorted(videos))

    def open(self, video_id: str) -> tuple[np.ndarray, Rows]:
        """Intervals and rows of one video, in order of time."""
        names = self._videos[video_id]
        parts = [self._source.open(names[number]) for number in sorted(names)]
        intervals = np.concatenate([times for times, _ in parts])
        intervals, once = np.unique(intervals, axis=0, return_index=True)
        return intervals, np.concatenate([rows[:] for _, rows in parts])[once]

    def intervals(self, video_id: str) -> np.ndarray:
        names = self._videos[video_id].values()
        return np.unique(np.concatenate([*map(self._source.intervals, names)]), axis=0)

    @property
    def aligned_to_words(self) -> bool:
        return self._source.aligned_to_words

    def close(self) -> None:
        self._source.close()
