"""Times that are not seconds, rows that are not every 10 ms."""

import numpy as np
import pytest
from mosei_corpus import examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError

VIDEOS = ["a", "b", "c", "d"]


def spaced(count, period, first=0.0):
    """Intervals of `count` rows, `period` apart."""
    starts = first + np.arange(count) * period
    return np.stack([starts, starts + period], axis=1)


def test_the_row_period_is_measured_and_stored(tmp_path, caplog):
    folder = write_corpus(tmp_path, {v: (spaced(90, 0.025), ramp(90)) for v in VIDEOS})
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert built.info.metadata["row_period"] == 0.025
    assert "there is a row every 0.025 s, not every 10 ms" in caplog.text
    assert (
        "rows: one every 0.025 s; 0.00% of the steps deviate"
        in (built.info.metadata["report"]["taken"])
    )
    # From 0.2 to 0.5 s: rows 8 to 19.
    np.testing.assert_array_equal(examples(built, "train")["a", 0]["features"], ramp(90)[8:20])


def test_rows_of_words_have_no_period_and_gaps_are_counted(tmp_path, caplog):
    rng = np.random.default_rng(4)
    features = {}
    for video in VIDEOS:
        ends = np.cumsum(rng.uniform(0.05, 0.6, 30))
        times = np.stack([np.r_[0, ends[:-1]], ends], axis=1)
        times[20:] += 3.0
        features[video] = (times[::-1], ramp(30))
    folder = write_corpus(tmp_path, features)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert built.info.metadata["row_period"] is None
    assert "aligned to words" in caplog.text
    odd = built.info.metadata["report"]["irregularities"]
    assert odd["gaps_in_rows"] == 4
    assert odd["unsorted_rows"] == 4 * 29


@pytest.mark.parametrize(
    ("scale", "told"),
    [
        (1000, r"rows lie 10 apart\. Multiply .* by 0\.001 \(milliseconds\)"),
        (100, r"rows lie 1 apart\. Multiply .* by 0\.01 \(frame numbers\)"),
        (1e7, r"by 1e-07 \(units of 100 ns\)"),
        (1 / 60, r"by 60 \(minutes\)"),
    ],
)
def test_row_times_that_cannot_be_seconds_are_refused(tmp_path, scale, told):
    folder = write_corpus(tmp_path, {v: (scale * frames(99), ramp(99)) for v in VIDEOS})
    with pytest.raises(CorpusError, match=told):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert not tfds_mosei.list_prepared(tmp_path / "data")


@pytest.mark.parametrize(
    ("scale", "told"), [(100, r"by 0\.01 \(frame"), (1000, r"by 0\.001 \(milli"), (1 / 60, "by 60")]
)
def test_label_times_that_cannot_be_seconds_are_refused(tmp_path, scale, told):
    cuts = np.array([[1.0, 4.0], [5.0, 9.0]])
    folder = write_corpus(
        tmp_path,
        {v: (frames(1000), ramp(1000)) for v in VIDEOS},
        {v: (cuts * scale, [label(), label()]) for v in VIDEOS},
    )
    with pytest.raises(CorpusError, match=f"times of the labels cannot be seconds: .*{told}"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)


def test_labels_far_beyond_the_rows_are_counted_where_segments_last_as_seconds_do(tmp_path):
    """Features of the first half second alone: no unit would make the others fit."""
    cuts = np.array([[0.1, 3.0], [3.0, 20.0]])
    folder = write_corpus(
        tmp_path,
        {v: (frames(50), ramp(50)) for v in VIDEOS},
        {v: (cuts, [label(), label()]) for v in VIDEOS},
    )
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="none")
    assert built.info.metadata["report"]["dropped"]["outside_features"] == 4
    assert sorted(examples(built, "train")) == [("a", 0), ("b", 0)]


def words(count):
    """Intervals of words, one after the other."""
    ends = np.cumsum(np.random.default_rng(count).uniform(0.05, 0.6, count))
    return np.stack([np.r_[0, ends[:-1]], ends], axis=1)


@pytest.mark.parametrize("other", [spaced(60, 0.05), words(60)], ids=["20 a second", "words"])
def test_rows_of_different_kinds_are_not_one_dataset(tmp_path, other):
    kinds = [frames(300), frames(300), other, frames(300)]
    features = {v: (times, ramp(len(times))) for v, times in zip(VIDEOS, kinds, strict=True)}
    folder = write_corpus(tmp_path, features)
    with pytest.raises(CorpusError, match=r"rows of 1 of 4 videos \(c, .*one every 0\.01 s"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)


def test_a_video_of_other_rows_that_was_not_looked_at_before_is_left_out(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("tfds_mosei.timing.VIDEOS", 1)
    features = {v: (frames(300), ramp(300)) for v in VIDEOS}
    features["b"] = (spaced(60, 0.05), ramp(60))
    built = tfds_mosei.build(
        data_dir=tmp_path / "data", manual_dir=write_corpus(tmp_path, features)
    )
    assert sorted(examples(built, "train")) == [("a", 0)]
    assert {video for video, _ in examples(built, "unlabelled")} == {"a"}
    assert built.info.metadata["report"]["dropped"]["other_rows"] == 1
    assert "'b' is left out: rows of the video do not come as those of the" in caplog.text
