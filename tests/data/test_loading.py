"""Reading prepared datasets."""

import json
import resource
import shutil
import sys

import numpy as np
import pytest
from children import start_child

from mosei_ssl.data import (
    DataConfig,
    concatenate_segments,
    load_prepared,
    load_pretraining_segments,
    load_segments,
    loading,
    normalization,
    segments_from_arrays,
)
from mosei_ssl.utils.errors import UserError


@pytest.fixture
def assert_holds(tiny_examples):
    def check(segments, split, seed=0):
        examples = dict(tiny_examples(split, seed=seed))
        assert len(segments) == len(examples)
        for index in range(len(segments)):
            number = int(segments.segment_ids[index])
            expected = examples[f"{split}_{number}"]
            np.testing.assert_array_equal(segments.rows(index), expected["features"])
            assert segments.lengths[index] == len(expected["features"])
            assert segments.video_ids[index] == expected["video_id"]
            np.testing.assert_array_equal(segments.emotions[index], expected["emotions"])
            np.testing.assert_array_equal(segments.intervals[index], expected["interval"])
            assert segments.sentiment[index] == expected["sentiment"]

    return check


def test_a_split_holds_what_was_prepared(tiny_dataset, assert_holds):
    assert_holds(load_prepared(tiny_dataset, "train"), "train")


def grow_by_the_frames(directory: str) -> int:
    """Loads a dataset in a process whose peak is still low; gives its exit code."""
    moved = {"context": True, "mean": np.ones(74)}
    load_prepared(directory, "test", **moved)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = sum(rows.nbytes for rows in load_prepared(directory, "train", **moved)) / 1024
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{size:.0f} KB of frames took {grown} KB", file=sys.stderr)
    return not (size > 100_000 and grown < 1.5 * size)


def test_frames_are_held_once(tmp_path, prepare_tiny):
    """Memory grows by the size of the frames, while loading too."""
    directory = prepare_tiny(seed=5, counts={"train": 1200, "test": 200}, longest=600)
    child = start_child(grow_by_the_frames, str(directory), log=tmp_path / "log")
    child.join()
    assert child.exitcode == 0, (tmp_path / "log").read_text()


def test_splits_can_be_joined(tiny_dataset, assert_holds):
    both = load_prepared(tiny_dataset, "train+test")
    assert len(both) == 14
    assert_holds(both.subset(np.arange(7)), "train")
    assert_holds(both.subset(np.arange(7, 14)), "test")
    assert both.name.endswith("train+tiny_mosei/test")


def test_unknown_split_and_damaged_data_are_told(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="no split 'dev'; it has test, train"):
        load_prepared(tiny_dataset, "dev")
    with pytest.raises(UserError, match="not a readable prepared dataset"):
        load_prepared(tmp_path, "train")
    copy = tmp_path / "tiny_mosei" / "1.0.0"
    shutil.copytree(tiny_dataset, copy)
    for path in copy.glob("*train.tfrecord*"):
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        load_prepared(copy, "train")
    for name in ("metadata.json", "dataset_info.json"):
        whole = (copy / name).read_text()
        (copy / name).write_text(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="not a readable prepared dataset"):
            load_prepared(copy, "test")


def test_a_dataset_for_random_access_is_not_called_damaged(tmp_path):
    import tfds_mosei

    built = tfds_mosei.build("synthetic", data_dir=tmp_path, size=3, file_format="array_record")
    with pytest.raises(UserError, match=r"kept as array_record.*--overwrite"):
        load_prepared(built.data_dir, "test")


def test_another_corpus_is_mapped_to_the_first_ones_statistics():
    rng = np.random.default_rng(0)

    def corpus(mean, std):
        rows = [(rng.normal(size=(400, 74)) * std + mean).astype(np.float32)]
        every = rows[0]
        statistics = {"mean": every.mean(0).tolist(), "std": every.std(0).tolist()}
        metadata = {"feature_statistics": statistics}
        return segments_from_arrays(rows, np.zeros((1, 6)), metadata=metadata)

    first, second = corpus(0.0, 1.0), corpus(50.0, 9.0)
    second.frames[0][3, 7] = -np.inf
    both = concatenate_segments([first, second], match_statistics=True)
    np.testing.assert_array_equal(both.rows(0), first.rows(0))
    mapped = both.rows(1)
    assert np.isneginf(mapped[3, 7])
    finite = np.delete(mapped, 7, axis=1)
    wanted = np.delete(first.rows(0), 7, axis=1)
    np.testing.assert_allclose(finite.mean(0), wanted.mean(0), atol=1e-4)
    np.testing.assert_allclose(finite.std(0), wanted.std(0), rtol=1e-4)


def test_constant_columns_are_shifted_not_blown_up():
    metadata = [
        {"feature_statistics": {"mean": [1.0] * 74, "std": [1.0] * 74}},
        {"feature_statistics": {"mean": [5.0] * 74, "std": [0.0] * 74}},
    ]
    parts = [
        segments_from_arrays([np.full((2, 74), value)], np.zeros((1, 6)), metadata=data)
        for value, data in zip((1.0, 5.0), metadata, strict=True)
    ]
    both = concatenate_segments(parts, match_statistics=True)
    np.testing.assert_allclose(both.rows(1), 1.0)


def test_labelled_drops_unlabelled_segments():
    emotions = np.zeros((3, 6), np.float32)
    emotions[1] = np.nan
    segments = segments_from_arrays([np.full((2, 74), i) for i in range(3)], emotions)
    assert [float(rows[0, 0]) for rows in segments.labelled()] == [0.0, 2.0]


def test_dataset_metadata_survives(prepare_tiny):
    metadata = {"fingerprint": "x", "synthetic": True, "feature_statistics": {"mean": [0.0] * 74}}
    directory = prepare_tiny(seed=3, metadata=metadata)
    segments = load_prepared(directory, "test")
    assert segments.synthetic
    assert segments.statistics["mean"] == [0.0] * 74
    assert json.loads(json.dumps(segments.metadata))["fingerprint"] == "x"


def test_normalization_is_at_hand_with_and_without_frames(synthetic_data):
    found = normalization(synthetic_data)
    assert {key: len(values) for key, values in found.items()} == {"mean": 74, "std": 74}
    segments = load_segments(DataConfig(data_dir=str(synthetic_data)), "test")
    assert segments.normalization == found
    finite = [
        rows[np.isfinite(rows).all(axis=1)]
        for rows in load_segments(DataConfig(data_dir=str(synthetic_data)), "train")
    ]
    np.testing.assert_allclose(found["mean"][0], np.concatenate(finite)[:, 0].mean(), rtol=0.1)


@pytest.mark.parametrize(("period", "described"), [(0.05, "every 50 ms"), (None, "per word")])
def test_an_extra_dataset_with_another_row_period_is_refused(
    prepare_tiny, monkeypatch, period, described
):
    statistics = {"mean": [0.0] * 74, "std": [1.0] * 74}
    places = {
        None: prepare_tiny(1, {"feature_statistics": statistics}),
        "extra": prepare_tiny(2, {"row_period": period, "feature_statistics": statistics}),
    }
    monkeypatch.setattr(loading, "find_prepared", lambda data_dir, name=None: places[name])
    with pytest.raises(UserError, match=rf"'extra' has a row {described};.* has a row every 10 ms"):
        load_pretraining_segments(DataConfig(extra_datasets=["extra"]))


def test_what_is_kept_is_loaded_once_until_something_else_is(tiny_dataset):
    def load():
        return load_prepared(tiny_dataset, "test")

    loading.keep_loaded("")
    assert load() is not load()
    try:
        loading.keep_loaded("a")
        first = load()
        loading.keep_loaded("a")
        assert load() is first
        loading.keep_loaded("b")
        assert load() is not first
    finally:
        loading.keep_loaded("")
    assert load() is not load()
