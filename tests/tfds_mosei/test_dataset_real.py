"""On real files: corpora in MOSEI's layout, the official pipeline's own files, MOSEI's labels."""

import functools
import itertools
import json

import h5py
import numpy as np
import pytest
import scipy.io
import tensorflow_datasets as tfds
from mosei_corpus import examples

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, CorpusError, csd, segments, sources
from tfds_mosei.folds import STANDARD_FOLDS_DIGEST, load_folds
from tfds_mosei.labels import labels_from_csv
from tfds_mosei.mat import read_mat

COUNTS = {"train": 16327, "validation": 1871, "test": 4662, "unassigned": 399}


def test_two_corpora_in_one_data_dir_are_each_right(shared_data, tmp_path):
    expected = {
        "ravdess": ({"train": 600, "validation": 180, "test": 300}, 140374),
        "emodb": ({"train": 278, "validation": 130, "test": 127}, 53378),
    }
    built = {}
    for name, (counts, frames) in expected.items():
        builder = tfds_mosei.build(
            data_dir=tmp_path, manual_dir=shared_data / f"{name}_covarep", unlabelled="none"
        )
        found = {split: info.num_examples for split, info in builder.info.splits.items()}
        assert found == counts
        assert builder.info.metadata["report"]["splits"]["train"]["frames"] == frames
        built[name] = builder
    assert len(tfds_mosei.list_prepared(tmp_path)) == 2
    # Read again, after both are there.
    found = examples(built["ravdess"], "validation")
    source = next((shared_data / "ravdess_covarep").glob("*COVAREP.csd"))
    with h5py.File(source) as file:
        rows = file["COVAREP/data/actor_11/features"][()]
    # The first clip begins with the first row.
    item = found["actor_11", 0]
    np.testing.assert_array_equal(item["features"], rows[: len(item["features"])])
    folds = json.loads((shared_data / "emodb_covarep" / "folds.json").read_text())
    videos = {video for video, _ in examples(built["emodb"], "test")}
    assert videos == set(folds["test"])


def test_official_files_open_but_are_not_a_corpus(shared_data, tmp_path):
    folder = shared_data / "official_files"
    with csd.ComputationalSequence(folder / "CMU_MOSI_Labels.csd") as sequence:
        assert sequence.root == "Opinion Segment Labels"
        assert len(sequence.video_ids) == 93
        assert sum(len(sequence.read(v)[1]) for v in sequence.video_ids) == 2199
        assert sequence.metadata["creator"] == "Amir Zadeh"
    with csd.ComputationalSequence(folder / "CMU_MOSI_ModifiedTimestampedWords.csd") as sequence:
        assert sequence.metadata["creator"] == "asdfasdfasdf"  # bare text, not JSON
        intervals, words = sequence.read("03bSnISJMiM")
        assert len(intervals) == len(words) == 480
        assert words[0, 0] == b"oh"
    with pytest.raises(CorpusError) as error:
        tfds_mosei.build(data_dir=tmp_path, manual_dir=folder)
    assert "no file with the root 'All Labels'" in str(error.value)
    assert "'Opinion Segment Labels' in CMU_MOSI_Labels.csd" in str(error.value)
    assert tfds_mosei.list_prepared(tmp_path) == {}


def test_genuine_mat_file(shared_data):
    path = shared_data / "official_files" / "ZUXBRvtny7o_9.mat"
    rows = read_mat(path)
    raw = scipy.io.loadmat(path)
    assert rows.shape == (349, 74)
    assert [str(cell[0]) for cell in raw["names"][0]] == list(FEATURE_NAMES)
    np.testing.assert_array_equal(rows, raw["features"].astype(np.float32))


def write_coarse_mosei(shared_data, folder):
    """MOSEI's real labels and folds, with drawn features of one row a second."""
    folder.mkdir()
    for name in ("mosei_labels.csv", "folds.json"):
        (folder / name).write_bytes((shared_data / "mosei_labels" / name).read_bytes())
    table = labels_from_csv(folder / "mosei_labels.csv")
    rng = np.random.default_rng(0)

    def videos():
        for video_id, labels in table.items():
            starts = np.arange(np.ceil(labels.intervals.max()))
            rows = rng.integers(0, 2, (len(starts), 74)).astype(np.float32)
            yield video_id, np.stack([starts, starts + 1], axis=1), rows

    names = FEATURE_NAMES
    csd.write(folder / "f.csd", "COVAREP", videos(), dimension_names=names, compression=None)
    return folder


def test_build_of_real_mosei_labels(shared_data, tmp_path, monkeypatch):
    # Every example is made and counted. A hundredth is written, which would take as long again.
    writer, numbers = tfds.core.writer.Writer, itertools.count()
    write = writer.write
    monkeypatch.setattr(writer, "write", lambda *args: next(numbers) % 100 or write(*args))
    # The build reads the table, and so does the plan below.
    monkeypatch.setattr(sources, "labels_from_csv", functools.cache(labels_from_csv))
    folder = write_coarse_mosei(shared_data, tmp_path / "corpus")
    folds = load_folds(folder / "folds.json")
    assert folds.digest == STANDARD_FOLDS_DIGEST
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder, unlabelled="none")
    report = built.info.metadata["report"]
    assert {split: report["splits"][split]["segments"] for split in COUNTS} == COUNTS
    assert sum(report["dropped"].values()) == 0
    assert report["clipped"] == {}
    assert report["irregularities"]["unsorted_videos"] == 1318
    assert report["irregularities"]["overlapping_neighbours"] == 13608
    assert report["irregularities"]["negative_starts"] == 239
    none = sum(report["splits"][split]["no_emotion"] for split in COUNTS)
    assert none == 3486
    assert report["folds"]["test"]["without_labels"] == 2
    assert {k: v["videos"] for k, v in report["folds"].items()} == {
        "train": 2249,
        "validation": 300,
        "test": 678,
    }
    zeros = report["splits"]["test"]["emotion_levels"]
    shares = [zeros[name][0] / COUNTS["test"] for name in tfds_mosei.EMOTIONS]
    np.testing.assert_allclose(shares, [0.654, 0.876, 0.859, 0.973, 0.909, 0.963], atol=5e-4)
    # Whole recordings would take much longer to write than the segments.
    with sources.Corpus(sources.find_sources(folder)) as corpus:
        plan = segments.plan_videos(corpus, folds, "train")
    assert set(plan["unlabelled"]) <= set(folds.videos["train"])
