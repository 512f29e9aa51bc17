"""Which feature rows belong to a segment."""

import numpy as np

MIN_SEGMENT_SECONDS = 1e-5
"""Segments shorter than this hold no speech; the official SDK leaves them out too."""


class FrameIndex:
    """Finds the rows that intersect a segment, by binary search.

    A row belongs to a segment when ``row end > segment start`` and ``row start < segment end``,
    which is what the official SDK's ``align`` gives.

    Args:
        intervals: float64 [n, 2], start and end of each row in seconds, in any order.

    Attributes:
        order: int64 [m], the usable rows in order of time. Rows whose times are not finite, or
            that end before they start, are not in it.
        unusable: how many rows were left out for that.

    Example:
        ```python
        index = FrameIndex(intervals)
        rows = features[index.rows(2.5, 7.25)]
        ```
    """

    def __init__(self, intervals: np.ndarray):
        starts, ends = intervals[:, 0], intervals[:, 1]
        usable = np.isfinite(starts) & np.isfinite(ends) & (ends >= starts)
        self.unusable = int(len(intervals) - np.count_nonzero(usable))
        order = np.flatnonzero(usable)
        if np.any(np.diff(starts[order]) < 0):
            order = order[np.argsort(starts[order], kind="stable")]
        self.order = order
        self._contiguous = self.unusable == 0 and bool(np.all(np.diff(order) == 1))
        self._starts = starts[order]
        self._ends = ends[order]
        # Rows of different length may nest; then ends are not sorted where starts are.
        self._nested = bool(np.any(np.diff(self._ends) < 0))

    @property
    def starts(self) -> np.ndarray:
        """float64 [m], starts of the usable rows in order of time."""
        return self._starts

    @property
    def ends(self) -> np.ndarray:
        """float64 [m], ends of the usable rows in order of their starts."""
        return self._ends

    def rows(self, start: float, end: float) -> np.ndarray | slice:
        """Rows that intersect a segment.

        Args:
            start: start of the segment in seconds; may be negative.
            end: its end in seconds; may lie past the last row.

        Returns:
            An index into the rows as they were given, in order of time: a slice where that is
            possible, else an int64 array. Empty where nothing intersects.
        """
        last = int(np.searchsorted(self._starts, end, side="left"))
        if self._nested:
            found = np.flatnonzero(self._ends[:last] > start)
            return self.order[found]
        first = int(np.searchsorted(self._ends, start, side="right"))
        if self._contiguous:
            return slice(first, max(first, last))
        return self.order[first:last]
