"""What becomes an example, on cases worked out by hand."""

import numpy as np
import pytest
from mosei_corpus import frames, label, ramp

from tfds_mosei.labels import VideoLabels, clip_labels
from tfds_mosei.segments import (
    VideoSummary,
    chunk_examples,
    plan_videos,
    segment_examples,
    video_examples,
)
from tfds_mosei.timing import RowTiming


def cut(segments, labels=None, rows=100, intervals=None, features=None):
    """Examples by segment, and the summary."""
    labels = [label()] * len(segments) if labels is None else labels
    table = VideoLabels(np.array(segments, float), np.array(labels, np.float32))
    intervals = frames(rows) if intervals is None else intervals
    features = ramp(len(intervals)) if features is None else features
    summary = VideoSummary("v", "train")
    examples = segment_examples(summary, intervals, features, table)
    return {item["segment_id"]: item for _, item in examples}, summary


def first_and_last(item):
    """Numbers of the first and last row (their first column tells)."""
    return round(float(item["features"][0, 0])), round(float(item["features"][-1, 0]))


def test_unsorted_segments_keep_their_row_number():
    found, summary = cut([[0.5, 0.6], [0.1, 0.2], [0.3, 0.4]])
    assert {i: first_and_last(x) for i, x in found.items()} == {
        0: (50, 59),
        1: (10, 19),
        2: (30, 39),
    }
    assert summary.irregularities == {"unsorted_videos": 1}


def test_overlapping_segments_share_rows():
    found, summary = cut([[0.1, 0.5], [0.4, 0.8]])
    assert {i: first_and_last(x) for i, x in found.items()} == {0: (10, 49), 1: (40, 79)}
    assert summary.irregularities == {"overlapping_neighbours": 1}


def test_negative_start_begins_with_the_first_row():
    found, summary = cut([[-0.25, 0.1]])
    assert first_and_last(found[0]) == (0, 9)
    assert found[0]["interval"][0] == -0.25
    assert summary.irregularities == {"negative_starts": 1}


def test_segments_past_the_end_of_the_features():
    found, summary = cut([[0.9, 1.4], [1.5, 2.0], [3.0, 4.0]])
    assert list(found) == [0]
    assert first_and_last(found[0]) == (90, 99)
    assert summary.dropped == [(1, "outside_features"), (2, "outside_features")]
    assert summary.irregularities == {"ends_after_features": 1}


def test_zero_length_and_backward_and_unusable_intervals():
    found, summary = cut([[0.5, 0.5], [0.6, 0.2], [np.nan, 1.0], [0.0, np.inf], [0.2, 0.3]])
    assert list(found) == [4]
    reasons = dict(summary.dropped)
    assert reasons == {0: "zero_length", 1: "bad_interval", 2: "bad_interval", 3: "bad_interval"}


def test_part_of_a_row_is_enough():
    found, _ = cut([[0.105, 0.125], [0.1001, 0.1002]])
    assert first_and_last(found[0]) == (10, 12)
    assert first_and_last(found[1]) == (10, 10)


def test_labels_above_three_are_clipped_and_counted():
    rows = [label(happy=3.5, sad=2), label(happy=4, fear=3.1, sentiment=-3.2), label(anger=3)]
    found, summary = cut([[0, 0.1]] * 3, rows)
    np.testing.assert_array_equal(found[0]["emotions"], [3, 2, 0, 0, 0, 0])
    np.testing.assert_array_equal(found[1]["emotions"], [3, 0, 0, 0, 0, 3])
    assert found[1]["sentiment"] == -3
    assert summary.clipped == {"sentiment": 1, "happy": 2, "fear": 1}
    np.testing.assert_array_equal(summary.labels[:, 1], [3, 3, 0])


def test_negative_emotions_become_zero():
    clipped, changed = clip_labels(np.array([label(sad=-0.5)], np.float32))
    assert clipped[0].tolist() == [0.0] * 7
    assert changed == {"sad": 1}


def test_label_that_is_not_a_number_drops_the_segment():
    found, summary = cut([[0, 0.1], [0, 0.1]], [label(sad=np.nan), label(sad=1)])
    assert list(found) == [1]
    assert summary.dropped == [(0, "bad_label")]


def test_infinite_labels_drop_the_segment_and_are_not_taken_for_three():
    rows = [label(happy=np.inf), label(sentiment=-np.inf), label(fear=-np.inf), label(sad=1)]
    found, summary = cut([[0, 0.1]] * 4, rows)
    assert list(found) == [3]
    assert summary.dropped == [(0, "bad_label"), (1, "bad_label"), (2, "bad_label")]
    assert summary.clipped == {}


def test_only_labels_of_examples_are_counted_as_clipped():
    rows = [label(happy=4), label(happy=5, sad=np.nan), label(happy=6), label(fear=7)]
    found, summary = cut([[0, 0.1], [0, 0.1], [9, 9.5], [0.3, 0.3]], rows)
    assert list(found) == [0]
    assert summary.clipped == {"happy": 1}
    np.testing.assert_array_equal(summary.labels, [label(happy=3)])


def test_several_emotions_stay_several():
    third = np.float32(1 / 3)
    found, _ = cut([[0, 0.1]], [label(happy=third, sad=2 * third, fear=1 / 6)])
    np.testing.assert_array_equal(
        found[0]["emotions"], np.array([third, 2 * third, 0, 0, 0, 1 / 6], np.float32)
    )


def test_values_that_are_not_finite_are_kept_and_counted():
    rows = ramp(100)
    rows[10:13, 7] = -np.inf
    rows[11, 0] = np.nan
    rows[50, 7] = np.inf  # outside the segment
    found, summary = cut([[0.1, 0.2]], features=rows)
    np.testing.assert_array_equal(found[0]["features"], rows[10:20])
    counts = np.array(summary.moments.to_dict()["non_finite"])
    assert counts[7] == 3
    assert counts[0] == 1
    assert counts.sum() == 4
    assert summary.moments.to_dict()["mean"][0] == pytest.approx((145 - 11) / 9)


def test_rows_of_zeros_are_rows():
    found, _ = cut([[0.0, 0.5]], features=np.zeros((100, 74), np.float32))
    assert found[0]["features"].shape == (50, 74)


def test_video_without_rows():
    found, summary = cut([[0, 1]], intervals=np.zeros((0, 2)), features=np.zeros((0, 74)))
    assert not found
    assert summary.dropped == [(0, "outside_features")]


def test_summary_survives_json():
    _, summary = cut([[0.1, 0.2], [9, 9.5]], [label(happy=5), label()])
    again = VideoSummary.from_json(summary.to_json())
    assert again.to_json() == summary.to_json()
    assert again.dropped == [(1, "outside_features")]
    np.testing.assert_array_equal(again.moments.minimum, summary.moments.minimum)


def test_chunk_examples_have_no_labels():
    features = ramp(100)
    summary = VideoSummary("v", "unlabelled")
    ((key, item),) = chunk_examples(summary, frames(100), features)
    assert key == "v/0"
    assert item["segment_id"] == -1
    assert np.isnan(item["emotions"]).all()
    assert np.isnan(item["sentiment"])
    np.testing.assert_array_equal(item["features"], features)
    np.testing.assert_allclose(item["interval"], [0, 1], atol=1e-6)
    assert summary.lengths == [100]


class FakeCorpus:
    """Videos a..f have features; a..e have labels."""

    def __init__(self):
        self.labels = {
            v: VideoLabels(np.array([[0.0, 0.1]]), np.zeros((1, 7), np.float32)) for v in "abcde"
        }
        self.features = self
        self.video_ids = tuple("abcdf")

    def has_features(self, video_id):
        return video_id in self.video_ids

    def open(self, _):
        return frames(20), ramp(20)


def test_which_video_goes_where():
    from tfds_mosei.folds import make_folds

    folds = make_folds({"train": ["a", "b"], "validation": ["c"], "test": ["d"]})
    plan = plan_videos(FakeCorpus(), folds, "train")
    assert plan == {
        "train": ("a", "b"),
        "validation": ("c",),
        "test": ("d",),
        "unassigned": ("e",),
        "unlabelled": ("a", "b"),
    }
    assert plan_videos(FakeCorpus(), folds, "all")["unlabelled"] == ("a", "b", "f")
    assert "unlabelled" not in plan_videos(FakeCorpus(), folds, "none")


def test_labels_without_features_are_dropped_and_counted():
    examples, summary = video_examples(FakeCorpus(), "unassigned", "e", RowTiming(0.01, 0.01, 0.0))
    assert list(examples) == []
    assert summary.dropped == [(0, "no_features")]
