"""Bad corpora: one clear message, and nothing left behind."""

import errno
import json
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
from mosei_corpus import frames, ramp, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError, csd


def refuse(tmp_path, match, **kwargs):
    """The build must fail with a message of one exception and leave no dataset."""
    data = tmp_path / "data"
    with pytest.raises(CorpusError, match=match):
        tfds_mosei.build("covarep", data_dir=data, manual_dir=tmp_path / "corpus", **kwargs)
    # All that TFDS may leave is its note of the default config.
    assert [p for p in data.glob("tfds_mosei/*/*") if p.parent.name != ".config"] == []


def test_missing_and_empty_folder(tmp_path):
    refuse(tmp_path, "no such folder")
    (tmp_path / "corpus").mkdir()
    refuse(tmp_path, "must hold the corpus")


def test_truncated_file(tmp_path):
    path = write_corpus(tmp_path / "corpus") / "features.csd"
    path.write_bytes(path.read_bytes()[:-2000])
    refuse(tmp_path, "features.csd is not a readable HDF5 file")


def test_file_that_is_not_hdf5(tmp_path):
    (write_corpus(tmp_path / "corpus") / "features.csd").write_text("<html>404</html>")
    refuse(tmp_path, "features.csd is not a readable HDF5 file")


def test_no_file_with_the_root(tmp_path):
    (write_corpus(tmp_path / "corpus") / "labels.csd").unlink()
    refuse(tmp_path, r"no file with the root 'All Labels'.*'COVAREP' in features.csd")


def test_two_files_with_the_same_root(tmp_path):
    folder = write_corpus(tmp_path / "corpus")
    (folder / "copy.csd").write_bytes((folder / "features.csd").read_bytes())
    refuse(tmp_path, r"\(root 'COVAREP'\) were found: copy.csd, features.csd")


def test_features_and_intervals_of_different_length(tmp_path):
    path = write_corpus(tmp_path / "corpus") / "features.csd"
    with h5py.File(path, "r+") as file:
        del file["COVAREP/data/a/intervals"]
        file["COVAREP/data/a/intervals"] = frames(99)
    refuse(tmp_path, "video 'a' has 100 rows of features and 99 intervals")


def test_another_feature_width(tmp_path):
    wide = {v: (frames(100), np.zeros((100, 35), np.float32)) for v in "abcd"}
    write_corpus(tmp_path / "corpus", features=wide)
    refuse(tmp_path, "'a' have 35 columns; COVAREP has 74")


def test_empty_split(tmp_path):
    write_corpus(
        tmp_path / "corpus", folds={"train": ["a"], "validation": ["elsewhere"], "test": ["d"]}
    )
    refuse(tmp_path, "split 'validation' is empty")


def test_folds_that_overlap_or_lack_a_split(tmp_path):
    folder = write_corpus(tmp_path / "corpus")
    folds = {"train": ["a", "c"], "validation": ["c"], "test": ["d"]}
    refuse(tmp_path, "'c' is in both train and validation", folds=folds)
    refuse(tmp_path, "'test' is missing", folds={"train": ["a"], "validation": ["c"]})
    (folder / "folds.json").write_text("{")
    refuse(tmp_path, "folds.json: not valid JSON")
    refuse(tmp_path, r"^\S+nowhere\.json: no such folds file", folds=tmp_path / "nowhere.json")


def test_damage_inside_the_data_is_found_while_reading(tmp_path):
    folder = write_corpus(tmp_path / "corpus")
    csd.write(
        folder / "features.csd",
        "COVAREP",
        [(v, frames(4000), np.random.default_rng(0).normal(size=(4000, 74))) for v in "abcd"],
        dimension_names=[],
    )
    content = bytearray((folder / "features.csd").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    (folder / "features.csd").write_bytes(content)
    refuse(tmp_path, "features.csd: .*video 'b'|features.csd: .*video 'c'")


def test_label_file_of_another_corpus(tmp_path):
    folder = write_corpus(tmp_path / "corpus")
    csd.write(
        folder / "labels.csd",
        "All Labels",
        [("a", np.array([[0.0, 1.0]]), np.ones((1, 1), np.float32))],
        dimension_names=["sentiment"],
    )
    refuse(tmp_path, "have 1 columns")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2_000_000, 3584), r"claims the shape \(2000000, 3584\), more than .* bytes"),
        ((2_000_000, 74), "labels of video 'a' have 74 columns"),
    ],
)
def test_a_small_label_file_cannot_ask_for_all_memory(tmp_path, shape, message, monkeypatch):
    folder = write_corpus(tmp_path / "corpus")
    with h5py.File(folder / "labels.csd", "r+") as file:
        del file["All Labels/data/a"]
        for name, width in (("features", shape[1]), ("intervals", 2)):
            file["All Labels/data"].require_group("a").create_dataset(
                name, (shape[0], width), "f4", chunks=(1000, width), compression="gzip"
            )
    assert (folder / "labels.csd").stat().st_size < 60_000

    read_any = h5py.Dataset.__getitem__

    def read(dataset, *arguments):
        assert dataset.name.split("/")[2] == "metadata", "read before its shape was checked"
        return read_any(dataset, *arguments)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    refuse(tmp_path, message)


def test_a_small_file_cannot_ask_for_all_memory_by_long_text(tmp_path):
    path = tmp_path / "x.csd"
    with h5py.File(path, "w") as file:
        video = file.create_group("R/data/v")
        video.create_dataset("features", (1000, 10), "S200000", chunks=(1, 1), compression="gzip")
        video["intervals"] = frames(1000)
    with (
        csd.ComputationalSequence(path) as sequence,
        pytest.raises(CorpusError, match=r"x\.csd: features of video 'v' cannot be read \(2000"),
    ):
        sequence.read("v")


def test_a_data_dir_that_is_a_file(tmp_path):
    write_corpus(tmp_path / "corpus")
    (tmp_path / "data").write_text("not a folder")
    refuse(tmp_path, r"data/.*: the dataset cannot be written \(.*Not a directory.*another one")
    assert (tmp_path / "data").read_text() == "not a folder"


def test_a_data_dir_that_may_not_be_written_to(tmp_path, monkeypatch):
    """The system refuses every new folder below; as root it would not."""
    write_corpus(tmp_path / "corpus")
    data, mkdir = tmp_path / "data", Path.mkdir

    def refused(self, *arguments, **options):
        if data in (self, *self.parents):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refused)
    refuse(tmp_path, r"data/.*: the dataset cannot be written \(.*Permission denied")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_full_disk(tmp_path, file_format):
    """Where no more than 200 kB may be written into a file, errors are those of a full disk."""
    features = {v: (frames(2000), ramp(2000)) for v in "abcd"}
    labels = {v: ([[0.0, 20.0]], np.zeros((1, 7))) for v in "abcd"}
    folder, data = write_corpus(tmp_path / "corpus", features, labels), tmp_path / "data"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(CorpusError) as error:
            tfds_mosei.build(data_dir=data, manual_dir=folder, file_format=file_format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(error.value)
    assert message.startswith(f"{data}/tfds_mosei/covarep-")
    assert "the dataset cannot be written (" in message
    assert "File too large" in message
    assert "make room" in message
    assert [p for p in data.glob("tfds_mosei/*/*") if p.parent.name != ".config"] == []


def test_a_corpus_that_may_not_be_read_says_so_itself(tmp_path, monkeypatch):
    folder, iterdir = write_corpus(tmp_path / "corpus"), Path.iterdir

    def refused(self):
        if self == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refused)
    refuse(tmp_path, f"{folder}: the folder cannot be read .*Permission denied")


def test_what_mosei_contains_is_counted_not_refused(tmp_path):
    features = {v: (frames(100), ramp(100)) for v in "abcd"}
    del features["b"]
    labels = {
        "a": ([[0.2, 0.5], [5.0, 6.0]], np.zeros((2, 7))),
        "b": ([[0.2, 0.5]], np.zeros((1, 7))),
        "c": ([[0.2, 0.5]], np.zeros((1, 7))),
        "d": ([[0.2, 0.5]], np.zeros((1, 7))),
    }
    folds = {"train": ["a", "b"], "validation": ["c"], "test": ["d", "ghost"]}
    folder = write_corpus(tmp_path / "corpus", features, labels, folds)
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    counted = json.loads(json.dumps(built.info.metadata["report"]))
    assert counted["dropped"]["outside_features"] == 1
    assert counted["dropped"]["no_features"] == 1
    assert counted["folds"]["test"]["ids_without_labels"] == ["ghost"]
    assert counted["folds"]["test"]["ids_without_features"] == ["ghost"]
    assert counted["folds"]["train"]["ids_without_features"] == ["b"]
    assert built.info.splits["train"].num_examples == 1
