"""Rows taken from the file are the right ones however they are stored, and errors are clear."""

import os

import h5py
import numpy as np
import pytest
from mosei_corpus import examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, CorpusError, csd, segments


def write_plain(path, count=50, **options):
    """A .csd file whose arrays lie in one piece."""
    with h5py.File(path, "w", **options) as file:
        video = file.create_group("COVAREP/data/v")
        video["features"] = ramp(count)
        video["intervals"] = frames(count)
    return path


@pytest.mark.parametrize("userblock", [0, 512])
def test_rows_in_one_piece_are_read_when_they_are_taken(tmp_path, userblock):
    path = write_plain(tmp_path / "x.csd", userblock_size=userblock)
    with csd.ComputationalSequence(path) as sequence:
        intervals, rows = sequence.open("v")
        assert not isinstance(rows, np.ndarray)
        assert rows.shape == (50, 74)
        np.testing.assert_array_equal(intervals, frames(50))
        np.testing.assert_array_equal(rows[:], ramp(50))
        np.testing.assert_array_equal(rows[3:7], ramp(50)[3:7])
        np.testing.assert_array_equal(rows[40:90], ramp(50)[40:])
        np.testing.assert_array_equal(rows[np.array([9, 4, 30])], ramp(50)[[9, 4, 30]])
        for nothing in (slice(7, 7), slice(60, 70), np.array([], int)):
            assert rows[nothing].shape == (0, 74)


@pytest.mark.parametrize(
    "options",
    [{"dtype": ">f4"}, {"dtype": "<f8"}, {"dtype": "<f2"}, {"chunks": (7, 74)}],
    ids=str,
)
def test_rows_stored_in_another_way_come_out_the_same(tmp_path, options):
    rows = ramp(50).astype(np.float16).astype(np.float32)
    path = write_plain(tmp_path / "x.csd")
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/v/features"]
        file["COVAREP/data/v"].create_dataset("features", data=rows, **options)
    with csd.ComputationalSequence(path) as sequence:
        found = sequence.open("v")[1]
        assert isinstance(found, np.ndarray)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, rows)


def test_rows_never_written_are_zeros(tmp_path):
    path = write_plain(tmp_path / "x.csd")
    with h5py.File(path, "a") as file:
        del file["COVAREP/data/v/features"]
        file["COVAREP/data/v"].create_dataset("features", (50, 74), "<f4")
    with csd.ComputationalSequence(path) as sequence:
        assert not sequence.read("v")[1].any()


def test_rows_in_another_file_are_those_of_that_file(tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["v/features"], file["v/intervals"] = 7 + ramp(50), frames(50, first=3.0)
    outer = write_plain(tmp_path / "outer.csd")
    with h5py.File(outer, "a") as file:
        data = file["COVAREP/data"]
        data["linked"] = h5py.ExternalLink("other.h5", "v")
        data["soft"] = h5py.SoftLink("/COVAREP/data/v")
        data["half/intervals"] = frames(50)
        data["half/features"] = h5py.ExternalLink("other.h5", "v/features")
        layout = h5py.VirtualLayout((50, 74), "<f4")
        layout[:] = h5py.VirtualSource("other.h5", "v/features", (50, 74))
        data.create_group("virtual").create_virtual_dataset("features", layout)
        data["virtual/intervals"] = frames(50)
    first = {"linked": 7, "half": 7, "virtual": 7, "v": 0, "soft": 0}
    with csd.ComputationalSequence(outer) as sequence:
        for video, offset in first.items():
            intervals, rows = sequence.open(video)
            np.testing.assert_array_equal(rows[:], offset + ramp(50), err_msg=video)
            np.testing.assert_array_equal(intervals, frames(50, 3.0 * (video == "linked")))
    # A whole sequence behind a link.
    with h5py.File(tmp_path / "link.csd", "w") as file:
        file["COVAREP"] = h5py.ExternalLink("outer.csd", "COVAREP")
    with csd.ComputationalSequence(tmp_path / "link.csd") as sequence:
        np.testing.assert_array_equal(sequence.read("v")[1], ramp(50))


def test_a_file_cut_short_while_it_is_read_is_a_clear_error(tmp_path, monkeypatch):
    """HDF5 itself returns zeros for what is gone."""
    corpus = write_corpus(tmp_path / "corpus")
    path = corpus / "features.csd"
    read = segments.segment_examples

    def read_and_cut(summary, *arguments):
        if summary.split == "test":
            os.truncate(path, path.stat().st_size // 2)
        return read(summary, *arguments)

    monkeypatch.setattr(segments, "segment_examples", read_and_cut)
    with pytest.raises(CorpusError, match=str(corpus)):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=corpus, unlabelled="none")
    assert tfds_mosei.list_prepared(tmp_path / "data") == {}


def test_a_file_that_changes_while_it_is_read_is_a_clear_error(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    read = segments.segment_examples

    def read_and_change(summary, *arguments):
        if summary.split == "test":
            write_corpus(corpus, {v: (frames(100), 3 + ramp(100)) for v in "abcd"})
        return read(summary, *arguments)

    monkeypatch.setattr(segments, "segment_examples", read_and_change)
    with pytest.raises(CorpusError, match=f"{corpus}: a file changed while it was read"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=corpus, unlabelled="none")
    assert tfds_mosei.list_prepared(tmp_path / "data") == {}


def test_rows_of_a_closed_file_are_an_error(tmp_path):
    with csd.ComputationalSequence(write_plain(tmp_path / "x.csd")) as sequence:
        _, rows = sequence.open("v")
    with pytest.raises(CorpusError, match=r"x\.csd: features of video 'v' cannot be read"):
        rows[0:3]


def test_no_file_stays_open(tmp_path):
    def opened():
        return sorted(os.listdir("/proc/self/fd"))

    path, cut = write_plain(tmp_path / "x.csd"), tmp_path / "cut.csd"
    cut.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "other.csd").write_bytes(b"no HDF5")
    before = opened()
    with csd.ComputationalSequence(path) as sequence:
        sequence.open("v")[1][2:4]
    for bad in (cut, tmp_path / "other.csd"):
        with pytest.raises(CorpusError):
            csd.ComputationalSequence(bad)
    assert opened() == before


def test_metadata_that_hdf5_never_finishes_reading_is_given_up(tmp_path, monkeypatch):
    path = write_plain(tmp_path / "x.csd")
    with h5py.File(path, "a") as file:
        file["COVAREP/metadata/a"] = 1

    def loop(_):
        while True:
            pass

    monkeypatch.setattr(csd, "_decode_text", loop)
    monkeypatch.setattr(csd, "METADATA_SECONDS", 1)
    with (
        csd.ComputationalSequence(path) as sequence,
        pytest.raises(CorpusError, match=r"x\.csd: its metadata cannot be read"),
    ):
        _ = sequence.metadata


def test_packed_and_plain_features_give_the_same_examples(tmp_path):
    packed, plain = write_corpus(tmp_path / "packed"), write_corpus(tmp_path / "plain")
    with csd.ComputationalSequence(packed / "features.csd") as source:
        videos = [(video, *source.read(video)) for video in source.video_ids]
    csd.write(
        plain / "features.csd", "COVAREP", videos, dimension_names=FEATURE_NAMES, compression=None
    )
    built = [
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
        for folder in (packed, plain)
    ]
    for split in built[0].info.splits:
        first, second = (examples(builder, split) for builder in built)
        assert first.keys() == second.keys()
        for key, item in first.items():
            np.testing.assert_array_equal(item["features"], second[key]["features"])


def test_rows_out_of_order_are_taken_in_order_of_time(tmp_path):
    """Four rows in the order 2, 0, 3, 1; the segment covers the second and the third in time."""
    order = np.array([2, 0, 3, 1])
    corpus = write_corpus(tmp_path, labels={v: ([[0.012, 0.028]], [label()]) for v in "abcd"})
    csd.write(
        corpus / "features.csd",
        "COVAREP",
        [(video, frames(4)[order], ramp(4)[order]) for video in "abcd"],
        dimension_names=FEATURE_NAMES,
        compression=None,
    )
    builder = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=corpus)
    np.testing.assert_array_equal(examples(builder, "test")["d", 0]["features"], ramp(4)[1:3])
