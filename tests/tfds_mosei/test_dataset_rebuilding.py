"""Building where another build is at work, or where a dataset already is."""

import contextlib
import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from mosei_corpus import examples, frames, ramp, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError, segments, workspace

PLAIN = {v: (frames(100), ramp(100)) for v in "abcd"}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus", PLAIN)


def first_value(builder):
    return examples(builder, "train")["a", 0]["features"][0, 0]


def wait_for(text, caplog):
    """Waits for a message of another thread."""
    for _ in range(1000):
        if text in caplog.text:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{text!r} never logged")


# === Two builds at once ===


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_builder_takes_over_what_another_build_finished_meanwhile(corpus, tmp_path, file_format):
    late = tfds_mosei.Builder(data_dir=tmp_path / "data", manual_dir=corpus)
    first = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=corpus, file_format=file_format)
    late.download_and_prepare()
    assert dict(late.info.metadata) == dict(first.info.metadata)
    assert late.info.file_format == first.info.file_format
    assert {name: split.num_examples for name, split in late.info.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
        "unlabelled": 2,
    }
    source = late.as_data_source("test") if file_format == "array_record" else None
    rows = source[0]["features"] if source else examples(late, "test")["d", 0]["features"]
    assert rows[0, 0] == 20


def test_what_another_build_finished_is_checked_like_any_other(corpus, tmp_path):
    import tensorflow_datasets as tfds

    other = write_corpus(tmp_path / "other", {v: (frames(100), 7 + ramp(100)) for v in "abcd"})
    late, early = (tfds.builder("tfds_mosei/covarep", data_dir=tmp_path / "data") for _ in "ab")
    records = tfds_mosei.Builder(data_dir=tmp_path / "data", file_format="array_record")
    early.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=corpus))
    with pytest.raises(CorpusError, match="holds a dataset with the fingerprint"):
        late.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=other))
    with pytest.raises(CorpusError, match="as tfrecord, not as array_record"):
        records.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=corpus)
        )


def test_a_build_says_that_it_waits_for_another(corpus, tmp_path, caplog):
    builder = tfds_mosei.Builder(data_dir=tmp_path / "data", manual_dir=corpus)
    thread = threading.Thread(target=builder.download_and_prepare)
    with (
        caplog.at_level("INFO"),
        workspace.exclusive(Path(builder.data_dir)),
    ):
        thread.start()
        wait_for(f"Another build is at work in {tmp_path / 'data' / 'tfds_mosei'}: wait", caplog)
        assert not builder.data_path.exists()
    thread.join()
    assert first_value(builder) == 20


def test_who_waited_for_a_build_that_failed_holds_the_lock(tmp_path, caplog):
    place = tmp_path / "tfds_mosei" / "config" / "1.0.0"
    entered, done = threading.Event(), threading.Event()

    def wait_and_hold():
        with workspace.exclusive(place):
            entered.set()
            done.wait(10)

    thread = threading.Thread(target=wait_and_hold)
    with (
        caplog.at_level("INFO"),
        contextlib.suppress(ZeroDivisionError),
        workspace.exclusive(place),
    ):
        place.with_name("incomplete.abc_1.0.0").mkdir(parents=True)
        thread.start()
        wait_for("waiting", caplog)
        raise ZeroDivisionError
    assert entered.wait(10)
    assert not place.with_name("incomplete.abc_1.0.0").exists()
    handle = os.open(tmp_path / "tfds_mosei", os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
    done.set()
    thread.join()


@pytest.mark.parametrize("name", ["dataset_info.json", "metadata.json"])
def test_a_damaged_dataset_is_told_with_its_place(corpus, tmp_path, name):
    built = tfds_mosei.build(data_dir=tmp_path, manual_dir=corpus)
    whole = (built.data_path / name).read_text()
    (built.data_path / name).write_text(whole[: len(whole) // 2])
    for overwrite in (False, True):
        with pytest.raises(CorpusError, match=r"damaged dataset.*Delete that directory") as told:
            tfds_mosei.build(data_dir=tmp_path, manual_dir=corpus, overwrite=overwrite)
        assert str(built.data_path) in str(told.value)


def test_a_few_examples_never_pass_for_the_whole(corpus, tmp_path):
    def build(cap=None):
        builder = tfds_mosei.Builder(data_dir=tmp_path, manual_dir=corpus)
        config = tfds.download.DownloadConfig(max_examples_per_split=cap)
        builder.download_and_prepare(download_config=config)
        return builder

    first = build(1)
    assert {info.num_examples for info in first.info.splits.values()} == {1}
    assert build(1).info.metadata["fingerprint"].endswith("-first1")
    with pytest.raises(CorpusError, match="-first1, but the corpus"):
        build()


# === Overwriting ===


def test_overwriting_prepares_again(corpus, tmp_path):
    data = tmp_path / "data"
    first = tfds_mosei.build(data_dir=data, manual_dir=corpus)
    mark = Path(first.data_path) / "mark"
    mark.touch()
    tfds_mosei.build(data_dir=data, manual_dir=corpus)
    assert mark.exists()
    again = tfds_mosei.build(data_dir=data, manual_dir=corpus, overwrite=True)
    assert not mark.exists()
    assert again.data_path == first.data_path
    assert first_value(again) == 20
    assert dict(again.info.metadata) == dict(first.info.metadata)
    assert [path.name for path in first.data_path.parent.iterdir()] == [first.data_path.name]
    # What the new builder knows is what is on disk.
    fresh = tfds_mosei.build(data_dir=data, manual_dir=corpus)
    assert str(fresh.info) == str(again.info)
    report = json.loads((again.data_path / "report.json").read_text())
    assert report["report"] == fresh.info.metadata["report"]


def test_overwriting_may_change_the_format(corpus, tmp_path):
    data = tmp_path / "data"
    tfds_mosei.build(data_dir=data, manual_dir=corpus)
    for file_format, name in (("array_record", "array_record"), (None, "tfrecord")):
        built = tfds_mosei.build(
            data_dir=data, manual_dir=corpus, overwrite=True, file_format=file_format
        )
        assert built.info.file_format.value == name
        assert {path.name.split(".")[1][:6] for path in built.data_path.glob("*of-*")} == {name[:6]}
    assert first_value(built) == 20


@pytest.mark.parametrize("failure", ["in the middle", "before it begins"])
def test_an_overwriting_build_that_fails_leaves_the_old_dataset(
    corpus, tmp_path, monkeypatch, failure
):
    data = tmp_path / "data"
    first = tfds_mosei.build(data_dir=data, manual_dir=corpus)
    before = {path.name: path.read_bytes() for path in Path(first.data_path).iterdir()}
    seen = []

    def fail(*_):
        # While the new one is made, the old one can still be read.
        seen.append(tfds_mosei.find_prepared(data) / "dataset_info.json")
        assert seen[-1].is_file()
        raise CorpusError("no")

    if failure == "in the middle":
        monkeypatch.setattr(segments, "video_examples", fail)
    else:
        (corpus / "folds.json").write_text("{")
    with pytest.raises(CorpusError):
        tfds_mosei.build(data_dir=data, manual_dir=corpus, overwrite=True)
    assert len(seen) == (failure == "in the middle")
    after = {path.name: path.read_bytes() for path in Path(first.data_path).iterdir()}
    assert after == before
    assert [path.name for path in first.data_path.parent.iterdir()] == [first.data_path.name]
