"""Which rows belong to a segment, on cases worked out by hand."""

import numpy as np
import pytest

from tfds_mosei.alignment import FrameIndex

# Five rows of a second each: [0,1) [1,2) [2,3) [3,4) [4,5)
SECONDS = np.stack([np.arange(5.0), np.arange(1.0, 6.0)], axis=1)


def rows(intervals, start, end):
    return np.arange(len(intervals))[
        FrameIndex(intervals).rows_of_each(np.array([[start, end]]))[0]
    ].tolist()


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1.0, 3.0, [1, 2]),  # touching rows do not intersect
        (0.5, 2.5, [0, 1, 2]),
        (1.2, 1.4, [1]),
        (-2.0, 0.5, [0]),
        (4.5, 99.0, [4]),
        (5.0, 9.0, []),
        (-3.0, 0.0, []),
        (-1.0, 50.0, [0, 1, 2, 3, 4]),
    ],
)
def test_rows_that_intersect(start, end, expected):
    assert rows(SECONDS, start, end) == expected


def test_unsorted_rows_come_in_order_of_time():
    shuffled = SECONDS[[3, 0, 4, 1, 2]]
    assert rows(shuffled, 0.5, 3.5) == [1, 3, 4, 0]


def test_rows_that_touch_by_a_rounding_error_do_not_intersect():
    starts = np.arange(1000) * 0.01
    intervals = np.stack([starts, starts + 0.01], axis=1)
    assert (intervals[:-1, 1] != intervals[1:, 0]).any()  # by 1e-15 and less
    for first in range(0, 990, 7):
        start, end = first * 0.01, (first + 3) * 0.01
        assert rows(intervals, start, end) == [first, first + 1, first + 2]


def test_gap_between_rows():
    gappy = SECONDS[[0, 1, 4]]
    assert rows(gappy, 1.5, 4.5) == [1, 2]
    assert rows(gappy, 2.0, 4.0) == []


def test_nested_rows():
    nested = np.array([[0.0, 10.0], [1.0, 2.0], [3.0, 4.0]])
    assert rows(nested, 2.5, 5.0) == [0, 2]
    assert rows(nested, 5.0, 6.0) == [0]


def test_rows_without_usable_times_are_left_out_and_counted():
    broken = SECONDS.copy()
    broken[1] = np.nan
    broken[3] = [4.0, 2.0]
    index = FrameIndex(broken)
    assert index.unusable == 2
    assert np.arange(5)[index.rows_of_each(np.array([[0.0, 5.0]]))[0]].tolist() == [0, 2, 4]


def test_same_as_the_definition_on_random_rows():
    rng = np.random.default_rng(0)
    for _ in range(50):
        starts = rng.uniform(0, 10, 40).round(1)
        intervals = np.stack([starts, starts + rng.uniform(0.1, 2, 40).round(1)], axis=1)
        start, end = np.sort(rng.uniform(-1, 12, 2).round(1))
        # Tenths, so that a twentieth tells touching from overlapping without rounding errors.
        left, right = intervals[:, 0] + 0.05, intervals[:, 1] - 0.05
        expected = np.flatnonzero((right > start) & (left < end))
        assert sorted(rows(intervals, start, end)) == expected.tolist()
