"""Rows relative to whoever speaks: voices and microphones differ, moods are what changes."""

from collections.abc import Iterable, Sequence

import numpy as np

CONTEXT_FRAMES = 2500
"""Rows of a speaker at which their means are moved half of the way: 25 s of a row every 10 ms."""

Context = tuple[int, np.ndarray]
"""How many rows a speaker (or a recording) has, and the means [74] of their finite values."""


def context_of(parts: Iterable[np.ndarray]) -> Context:
    """The context of rows [T, 74] that belong together; columns without finite values count as 0.

    Examples:
        >>> count, means = context_of([np.full((1, 74), 6.0), np.zeros((2, 74))])
        >>> count, float(means[0])
        (3, 2.0)
    """
    count, finite, total = 0, np.zeros(1), np.zeros(1)
    for rows in parts:
        known = np.isfinite(rows)
        count += len(rows)
        finite = finite + known.sum(axis=0)
        total = total + np.where(known, rows, 0).sum(axis=0, dtype=np.float64)
    return count, total / np.maximum(finite, 1)


def contexts(frames: Sequence[np.ndarray], speakers: Sequence[str]) -> dict[str, Context]:
    """The context of each speaker, given the rows [T, 74] and the speaker of N segments."""
    own: dict[str, list[np.ndarray]] = {}
    for rows, speaker in zip(frames, speakers, strict=True):
        own.setdefault(speaker, []).append(rows)
    return {speaker: context_of(parts) for speaker, parts in own.items()}


def in_context(
    rows: np.ndarray,
    context: Context | None,
    mean: np.ndarray | Sequence[float] | None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Rows float32 [T, 74] moved as the means of their context move to those of the training.

    A model is to answer to what changes with a speaker, not to who speaks through which microphone.
    The share of the way grows with what is known of the speaker: half at 25 s. Without a context,
    or the means [74] of the training, rows stay as they are. The result may be put into `out`.

    References:
        Kaya and Karpov, Efficient and effective strategies for cross-corpus acoustic emotion
        recognition, Neurocomputing 275, 2018, for normalisation by speaker.
    """
    if context is None or mean is None:
        return rows
    count, own = context
    share = count / (count + CONTEXT_FRAMES)
    return np.subtract(rows, (share * (own - np.asarray(mean))).astype(np.float32), out=out)
