"""Reading prepared datasets."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.data import DataConfig, concatenate_segments, load_prepared, segments_from_arrays
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


def test_memory_and_disk_hold_the_same(tiny_dataset, tmp_path, caplog, assert_holds):
    memory = load_prepared(tiny_dataset, "train", DataConfig(cache="memory"))
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    with caplog.at_level(logging.INFO, logger="mosei_ssl.data.loading"):
        disk = load_prepared(tiny_dataset, "train", config)
        again = load_prepared(tiny_dataset, "train", config)
    assert sum("Writing the frames" in message for message in caplog.messages) == 1
    for segments in (memory, disk, again):
        assert_holds(segments, "train")
    assert isinstance(disk.sources[0].frames, np.memmap)
    assert not list(tmp_path.rglob("*.tmp"))


def test_auto_goes_to_disk_above_the_limit(tiny_dataset, tmp_path):
    config = DataConfig(memory_limit_mb=0, cache_dir=str(tmp_path))
    assert isinstance(load_prepared(tiny_dataset, "train", config).sources[0].frames, np.memmap)
    in_memory = load_prepared(tiny_dataset, "train").sources[0].frames
    assert not isinstance(in_memory, np.memmap)


def test_a_cache_of_another_dataset_is_written_anew(prepare_tiny, tmp_path, assert_holds):
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    load_prepared(prepare_tiny(seed=1), "train", config)
    assert_holds(load_prepared(prepare_tiny(seed=2), "train", config), "train", seed=2)


def test_the_cache_of_a_dataset_that_was_prepared_again_is_written_anew(
    prepare_tiny, tmp_path, caplog
):
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    directory = Path(prepare_tiny(seed=1))
    with caplog.at_level(logging.INFO, logger="mosei_ssl.data.loading"):
        load_prepared(directory, "train", config)
        later = (directory / "dataset_info.json").stat().st_mtime + 2
        os.utime(directory / "dataset_info.json", (later, later))
        load_prepared(directory, "train", config)
    assert sum("Writing the frames" in message for message in caplog.messages) == 2


@pytest.mark.parametrize("file", ["frames.f32", "segments.npz", "stamp.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_cache_that_is_not_all_there_is_written_anew(
    tiny_dataset, tmp_path, assert_holds, caplog, file, damage
):
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    load_prepared(tiny_dataset, "train", config)
    (path,) = tmp_path.rglob(file)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -4 * 74 if damage == "cut" else 0])
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="mosei_ssl.data.loading"):
        assert_holds(load_prepared(tiny_dataset, "train", config), "train")
        assert_holds(load_prepared(tiny_dataset, "train", config), "train")
    assert sum("Writing the frames" in message for message in caplog.messages) == 1


def test_a_cache_that_another_process_has_finished_is_left_alone(
    tiny_dataset, tmp_path, monkeypatch
):
    from mosei_ssl.data import loading

    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    open_cache = loading._open_cache
    found = [None]

    def first_too_early(folder, stamp):
        return found.pop() if found else open_cache(folder, stamp)

    load_prepared(tiny_dataset, "train", config)
    (frames,) = tmp_path.rglob("frames.f32")
    before = frames.stat().st_ino
    monkeypatch.setattr(loading, "_open_cache", first_too_early)
    load_prepared(tiny_dataset, "train", config)
    assert frames.stat().st_ino == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_a_killed_process_left_of_a_cache_is_removed(tiny_dataset, tmp_path):
    config = DataConfig(cache="disk", cache_dir=str(tmp_path))
    load_prepared(tiny_dataset, "test", config)
    (folder,) = (path.parent.parent for path in tmp_path.rglob("stamp.json"))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    kept = {
        f".train.{host}.{os.getppid()}.tmp": "of a process at work",
        f".train.elsewhere.{dead.pid}.tmp": "of another machine",
        f".test.{host}.{dead.pid}.tmp": "of another split",
    }
    for name in (*kept, f".train.{host}.{dead.pid}.tmp"):
        (folder / name).mkdir()
        (folder / name / "frames.f32").write_bytes(bytes(100))
    load_prepared(tiny_dataset, "train", config)
    assert {path.name for path in folder.glob(".*.tmp")} == set(kept)


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


def test_an_unwritable_cache_is_told_and_leaves_nothing(tiny_dataset, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UserError, match=r"data\.cache_dir"):
        load_prepared(tiny_dataset, "train", DataConfig(cache="disk", cache_dir=str(blocked)))


def test_another_corpus_is_mapped_to_the_first_ones_statistics():
    rng = np.random.default_rng(0)

    def corpus(mean, std):
        rows = [(rng.normal(size=(400, 74)) * std + mean).astype(np.float32)]
        every = rows[0]
        statistics = {"mean": every.mean(0).tolist(), "std": every.std(0).tolist()}
        metadata = {"feature_statistics": statistics}
        return segments_from_arrays(rows, np.zeros((1, 6)), metadata=metadata)

    first, second = corpus(0.0, 1.0), corpus(50.0, 9.0)
    second.sources[0].frames[3, 7] = -np.inf
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
