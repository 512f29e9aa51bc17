"""Videos known by their content, under whatever name.

Features of a recording are the same whenever they are computed. So a few of its rows tell it from
all others, however it was renamed, cut into segments, or joined with others of its speaker.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np

from tfds_mosei.schema import FEATURE_NAMES

_log = logging.getLogger(__name__)

Content = dict[str, frozenset[int]]
"""Hashes of a few rows of each video, by its id; none where nothing is known or voiced."""

_VUV = FEATURE_NAMES.index("VUV")
# Neither the random phases of an extraction, which are its seed's, nor tracks that are often flat.
_MCEP = slice(FEATURE_NAMES.index("MCEP_0"), FEATURE_NAMES.index("MCEP_24") + 1)
_GRID = 0.01  # far above what differs from one processor to another
_FACTORS = np.random.PCG64(0).random_raw(_MCEP.stop - _MCEP.start) | np.uint64(1)
_SAMPLED = np.uint64(2**64 // 500)
"""Hashes below are part of every sample: a row in 500, which are 5 seconds of voiced speech."""


def sample_content(segments: Iterable[tuple[str, np.ndarray]]) -> Content:
    """Samples the rows of videos: a row in 500, and of each segment the one of the lowest hash.

    Args:
        segments: Ids of videos with raw rows, float [T, 74], of a segment of each.
    """
    found: dict[str, set[int]] = defaultdict(set)
    for video, rows in segments:
        hashes = _hashes(rows)
        found[str(video)].update(hashes[:1].tolist(), hashes[hashes < _SAMPLED].tolist())
    return {video: frozenset(hashes) for video, hashes in found.items()}


def merge_content(parts: Iterable[Content]) -> Content:
    """The samples of all parts, of which several may have a video."""
    merged: Content = {}
    for part in parts:
        for video, hashes in part.items():
            merged[video] = merged.get(video, frozenset()) | hashes
    return merged


def recognise(known: Content, segments: Iterable[tuple[str, np.ndarray]]) -> dict[str, str]:
    """Finds videos that are known already, by their content, or by their ids where that is unknown.

    Videos share content if at least half of what could be found is: not those that share a jingle.
    Of videos with one id and nothing in common a warning says that they are taken for two.
    `segments` are as for `sample_content`; gives the id that a video is known under, by its id at
    hand.
    """
    owners: dict[int, list[str]] = defaultdict(list)
    for name, sample in known.items():
        for value in sample:
            owners[value].append(name)
    wanted = np.array(sorted(owners), np.uint64)
    matched: dict[str, set[int]] = defaultdict(set)
    sampled: dict[str, set[int]] = defaultdict(set)
    voiced: set[str] = set()
    for video, rows in segments:
        hashes = _hashes(rows)
        voiced.update([str(video)] if len(hashes) else [])
        place = np.searchsorted(wanted[:-1], hashes)
        matched[str(video)].update(hashes[wanted[place] == hashes].tolist() if owners else ())
        sampled[str(video)].update(hashes[hashes < _SAMPLED].tolist())
    found = {}
    for video, values in matched.items():
        if video in known and not (known[video] and video in voiced):
            found[video] = video
        elif values:
            counts = Counter(owner for value in values for owner in owners[value])
            name, count = counts.most_common(1)[0]
            if 2 * count >= min(len(known[name]), max(len(sampled[video]), 1)):
                found[video] = name
    if namesakes := [video for video in matched if video in known and video not in found]:
        message = "%d videos have ids that are known, but other content: taken for others (%s)"
        _log.warning(message, len(namesakes), namesakes[0])
    return found


def named(found: Mapping[str, str]) -> str:
    """The first of recognised videos, and what they are known as if that differs."""
    names = [f"{a!r}" if a == b else f"{a!r} (known as {b!r})" for a, b in found.items()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _hashes(rows: np.ndarray) -> np.ndarray:
    """Hashes of the voiced rows, uint64, sorted; silence is the same everywhere."""
    envelope = rows[rows[:, _VUV] > 0.5, _MCEP]
    envelope = envelope[np.isfinite(envelope).all(axis=1)]
    words = np.rint(envelope / _GRID).astype(np.int64).view(np.uint64)
    mixed = words @ _FACTORS
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return np.unique(mixed ^ (mixed >> np.uint64(33)))
