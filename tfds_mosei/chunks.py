"""Cuts a whole recording into utterance-like chunks at its pauses.

Every usable row lands in exactly one chunk, so that nothing is lost to pretraining.
"""

import itertools

import numpy as np

from tfds_mosei.alignment import FrameIndex
from tfds_mosei.schema import FRAME_PERIOD

MIN_SECONDS = 1.0
MAX_SECONDS = 15.0
PAUSE_SECONDS = 0.5  # of silence end an utterance
BREATH_SECONDS = 0.1  # of silence are where an overlong utterance may be cut
GAP_SECONDS = 0.05  # between rows end a chunk: a chunk is continuous in time


def cut_at_pauses(index: FrameIndex, voiced: np.ndarray) -> list[np.ndarray]:
    """Cuts a recording into chunks: row numbers of each, in order of time.

    A chunk ends in the middle of a silence of 0.5 s or more, once it is at least 1 s long. One
    that would grow past 15 s ends in its longest silence of 0.1 s or more, else at 15 s, or
    earlier where less than 1 s would be left over. A hole in the rows always ends it, so only
    chunks beside holes, and recordings shorter than that, can be shorter than 1 s. `voiced` is
    non-zero where the voice is on; values that are not finite count as off.
    """
    order = index.order
    if not len(order):
        return []
    on = np.nan_to_num(voiced[order], nan=0.0, posinf=0.0, neginf=0.0) != 0
    borders = [0, *(np.flatnonzero(holes_after(index)) + 1), len(order)]
    steps = np.diff(index.starts)
    measured = float(np.median(steps)) if len(steps) else FRAME_PERIOD
    period = FRAME_PERIOD if 0.9 < measured / FRAME_PERIOD < 1.1 else max(measured, 1e-3)
    chunks = []
    for first, last in itertools.pairwise(borders):
        cuts = [0, *_cuts(on[first:last], period), last - first]
        chunks += [order[first + left : first + right] for left, right in itertools.pairwise(cuts)]
    return chunks


def holes_after(index: FrameIndex) -> np.ndarray:
    """Whether a hole follows each usable row but the last, in order of time."""
    return index.starts[1:] - np.maximum.accumulate(index.ends)[:-1] >= GAP_SECONDS


def _cuts(on: np.ndarray, period: float) -> list[int]:
    """Where to cut a stretch without holes: row numbers, each the first of a new chunk."""
    shortest, longest = (max(1, round(x / period)) for x in (MIN_SECONDS, MAX_SECONDS))
    middles, lengths = _silences(on)
    cuts: list[int] = []
    start, total = 0, len(on)
    while total - start > shortest:
        inside = (middles >= start + shortest) & (middles <= start + longest)
        inside &= middles <= total - shortest
        pauses = np.flatnonzero(inside & (lengths >= round(PAUSE_SECONDS / period)))
        breaths = np.flatnonzero(inside & (lengths >= round(BREATH_SECONDS / period)))
        if len(pauses):
            cut = int(middles[pauses[0]])
        elif total - start <= longest:
            break
        elif len(breaths):
            cut = int(middles[breaths[np.argmax(lengths[breaths])]])
        else:
            # Never so late that less than the shortest chunk is left over.
            cut = min(start + longest, total - shortest)
        cuts.append(cut)
        start = cut
    return cuts


def _silences(on: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle and length, in rows, of each silence between two voiced rows."""
    voiced = np.flatnonzero(on)
    steps = np.diff(voiced)
    silent = np.flatnonzero(steps > 1)
    lengths = steps[silent] - 1
    return voiced[silent] + 1 + lengths // 2, lengths
