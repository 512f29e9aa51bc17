"""Which feature rows belong to a segment."""

import numpy as np

EPSILON = 1e-5
"""Seconds that count as nothing, as in the official SDK: times are sums of binary fractions, so
rows and segments that only touch may seem to overlap by a rounding error."""


class FrameIndex:
    """Finds the rows that intersect a segment, by binary search.

    A row belongs to a segment when ``row end > segment start`` and ``row start < segment end``, by
    more than a rounding error; this is what the official SDK's ``align`` gives. Of the rows,
    float64 [n, 2] in seconds, those that last no time or are not finite are left out.
    """

    def __init__(self, intervals: np.ndarray):
        # Searching in every second number of an array is slow.
        starts, ends = np.ascontiguousarray(intervals.T)
        self._order: np.ndarray | None = None
        self.unusable = 0
        # Rows of real corpora are in order; then nothing needs to be moved or copied. NaN fails
        # every comparison, so only the outermost times can still be infinite.
        self.in_order = not len(intervals) or bool(
            (ends - starts).min() > EPSILON
            and (intervals[1:] >= intervals[:-1]).all()
            and np.isfinite(starts[0])
            and np.isfinite(ends[-1])
        )
        self._nested = False
        if not self.in_order:
            usable = np.isfinite(starts) & np.isfinite(ends) & (ends - starts > EPSILON)
            self.unusable = int(len(intervals) - np.count_nonzero(usable))
            order = np.flatnonzero(usable)
            self._order = order[np.argsort(starts[order], kind="stable")]
            starts, ends = starts[self._order], ends[self._order]
            # Rows of different length may nest; then ends are not sorted where starts are.
            self._nested = bool(np.any(np.diff(ends) < 0))
        self.starts = starts
        self.ends = ends

    @property
    def order(self) -> np.ndarray:
        """int64 [m], numbers of the usable rows in order of time."""
        if self._order is None:
            self._order = np.arange(len(self.starts))
        return self._order

    def rows_of_each(self, segments: np.ndarray) -> list[np.ndarray | slice]:
        """Numbers, in order of time, of the rows that intersect each of finite segments [m, 2]."""
        firsts = np.searchsorted(self.ends, segments[:, 0] + EPSILON, side="right").tolist()
        lasts = np.searchsorted(self.starts, segments[:, 1] - EPSILON, side="left").tolist()
        pairs = zip(firsts, lasts, strict=True)
        if self.in_order:
            return [slice(first, max(first, last)) for first, last in pairs]
        if not self._nested:
            return [self.order[first:last] for first, last in pairs]
        return [
            self.order[np.flatnonzero(self.ends[:last] > start + EPSILON)]
            for last, start in zip(lasts, segments[:, 0], strict=True)
        ]
