"""Cutting recordings at pauses, on cases worked out by hand."""

import numpy as np
import pytest
from mosei_corpus import examples, frames, ramp, write_corpus
from quick_runs import quick_runs

import tfds_mosei
from mosei_ssl.config import DataConfig, PretrainConfig
from mosei_ssl.data import load_pretraining_segments
from mosei_ssl.training import pretrain
from mosei_ssl.utils.errors import UserError
from tfds_mosei import CorpusError
from tfds_mosei.alignment import FrameIndex
from tfds_mosei.chunks import cut_at_pauses


def lengths(voiced, intervals=None):
    intervals = frames(len(voiced)) if intervals is None else intervals
    chunks = cut_at_pauses(FrameIndex(intervals), np.asarray(voiced, float))
    assert sorted(np.concatenate(chunks)) == list(range(len(voiced)))
    return [len(chunk) for chunk in chunks]


def runs(*pieces):
    """Voiced seconds positive, silent seconds negative."""
    return np.concatenate([np.full(round(abs(p) * 100), p > 0) for p in pieces])


def test_cut_in_the_middle_of_a_pause():
    assert lengths(runs(2, -1, 3)) == [250, 350]


def test_short_silences_do_not_end_an_utterance():
    assert lengths(runs(2, -0.4, 3)) == [540]


def test_no_chunk_shorter_than_a_second():
    # The first pause comes after 0.5 s, and 0.5 s are left after the last one.
    assert lengths(runs(0.2, -0.6, 4, -0.6, 0.2)) == [560]


def test_rows_that_last_longer_than_a_chunk_may_are_chunks():
    times = 60.0 * np.arange(6)
    assert lengths(np.ones(5), np.stack([times[:-1], times[1:]], axis=1)) == [1] * 5


def test_silence_at_the_edges_is_no_pause():
    assert lengths(runs(-3, 2, -3)) == [800]


def test_long_speech_is_cut_at_its_longest_breath():
    # 20 s without a pause: the breath of 0.3 s at 8 s is longer than the one of 0.2 s at 12 s.
    assert lengths(runs(8, -0.3, 4, -0.2, 8)) == [815, 1235]


def test_speech_without_any_breath_is_cut_at_fifteen_seconds():
    assert lengths(runs(31)) == [1500, 1500, 100]
    assert lengths(runs(-31)) == [1500, 1500, 100]


@pytest.mark.parametrize("speech", [1, -1], ids=["voiced", "silent"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1500, [1500]),
        (1501, [1401, 100]),
        (1510, [1410, 100]),
        (1600, [1500, 100]),
        (3050, [1500, 1450, 100]),
    ],
)
def test_a_cut_for_length_leaves_no_chunk_shorter_than_a_second(rows, expected, speech):
    assert lengths(runs(speech * rows / 100)) == expected


def test_holes_in_the_rows_end_a_chunk():
    intervals = np.concatenate([frames(150), frames(30, first=5.0), frames(120, first=9.0)])
    assert lengths(np.ones(300), intervals) == [150, 30, 120]


def test_values_that_are_not_finite_count_as_silence():
    voiced = runs(2, -1, 3).astype(float)
    voiced[200:300] = np.nan
    assert lengths(voiced) == [250, 350]


def test_nothing_to_cut():
    assert cut_at_pauses(FrameIndex(np.zeros((0, 2))), np.zeros(0)) == []


def test_unlabelled_split_holds_all_rows_of_train_videos_and_no_other(tmp_path):
    features = {v: (frames(900), ramp(900, 10_000 * i)) for i, v in enumerate("abcdef")}
    for _, rows in features.values():
        rows[400:500, 1] = 0  # VUV off for a second
    del features["b"]
    labels = {v: ([[0.2, 0.5]], np.zeros((1, 7))) for v in "abcde"}
    folder = write_corpus(tmp_path / "corpus", features, labels)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    found = examples(built, "unlabelled")
    assert set(found) == {("a", 0.0), ("a", 4.5)}
    whole = np.concatenate([found["a", 0.0]["features"], found["a", 4.5]["features"]])
    np.testing.assert_array_equal(whole, features["a"][1])
    assert set(examples(built, "unassigned")) == {("e", 0)}

    with_all = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="all")
    assert with_all.data_path != built.data_path
    videos = {video for video, _ in examples(with_all, "unlabelled")}
    assert videos == {"a", "e", "f"}  # not c (validation), not d (test)
    without = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="none")
    assert "unlabelled" not in without.info.splits


def test_speech_that_nobody_has_labelled_is_a_corpus_for_pretraining(tmp_path):
    # A row every 50 ms, so that what is not measured shows.
    features = {v: (5 * frames(300), ramp(300)) for v in "ab"}
    folder = write_corpus(tmp_path / "corpus", features, folds=None)
    (folder / "labels.csd").unlink()
    with pytest.raises(CorpusError, match=r"\(labels\) in it\. .* built with --unlabelled all"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="all")
    assert list(built.info.splits) == ["unlabelled"]
    assert {video for video, _ in examples(built, "unlabelled")} == {"a", "b"}
    assert built.info.metadata["row_period"] == 0.05
    config = PretrainConfig(run=str(tmp_path / "run"), data_dir=str(tmp_path / "data"), epochs=1)
    with quick_runs():
        run = pretrain(config)
    assert [*run.history()[0]] == ["epoch", "gradient_norm", "loss", "relative_error"]
    other = tfds_mosei.build("synthetic", data_dir=tmp_path / "data", size=8)
    data = DataConfig(
        data_dir=str(tmp_path / "data"),
        dataset=other.builder_config.name,
        extra_datasets=[built.builder_config.name],
    )
    with pytest.raises(UserError, match="a row every 50 ms"):
        load_pretraining_segments(data, ["train"])

    (folder / "labels.csv").write_text("id,start,end,sentiment,angrry\n")
    with pytest.raises(CorpusError, match=r"labels\.csv.* lacks happy"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="all")
