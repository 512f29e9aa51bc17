"""Where a corpus may come from: .csd files, .mat archives, label tables."""

import json

import h5py
import numpy as np
import pytest
import scipy.io
from mosei_corpus import IDS, examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, CorpusError, csd
from tfds_mosei.labels import labels_from_csv, labels_from_sequence
from tfds_mosei.mat import read_mat
from tfds_mosei.sources import CsdFeatures, find_sources

HEADER = "id,link,segment_id,start,end,sentiment,happy,sad,anger,surprise,disgust,fear\n"


def write_mat(path, rows, names=FEATURE_NAMES):
    content = {"features": rows.astype(np.float64)}
    if names is not None:
        content["names"] = np.array([list(names)], dtype=object)
    scipy.io.savemat(path, content)


# === .csd ===


def test_csd_round_trip_and_metadata_of_every_kind(tmp_path):
    path = tmp_path / "x.csd"
    csd.write(path, "COVAREP", [("v", frames(3), ramp(3))], dimension_names=FEATURE_NAMES)
    with h5py.File(path, "r+") as file:
        metadata = file["COVAREP/metadata"]
        metadata.create_dataset("plain", data=["asdf qwer"], dtype=h5py.string_dtype())
        metadata.create_dataset("scalar", data=b"7")
        metadata.create_dataset("empty", shape=(0,), dtype="f4")
        metadata.create_group("group")
    with csd.ComputationalSequence(path) as sequence:
        assert sequence.root == "COVAREP"
        assert sequence.metadata["dimension names"] == list(FEATURE_NAMES)
        assert sequence.metadata["plain"] == "asdf qwer"
        assert sequence.metadata["scalar"] == 7
        assert "empty" not in sequence.metadata
        intervals, rows = sequence.read("v")
    np.testing.assert_array_equal(intervals, frames(3))
    np.testing.assert_array_equal(rows, ramp(3))
    # The official SDK reads metadata as [0] of an array of strings holding JSON.
    with h5py.File(path) as file:
        assert json.loads(file["COVAREP/metadata/root name"][0]) == "COVAREP"
        assert file["COVAREP/metadata/root name"].shape == (1,)


def test_writing_is_deterministic_and_leaves_nothing_half_written(tmp_path):
    for name in ("one.csd", "two.csd"):
        csd.write(tmp_path / name, "R", [("v", frames(3), ramp(3))], dimension_names=["x"])
    assert (tmp_path / "one.csd").read_bytes() == (tmp_path / "two.csd").read_bytes()
    with pytest.raises(CorpusError, match="given twice"):
        csd.write(tmp_path / "three.csd", "R", [("v", frames(1), ramp(1))] * 2, dimension_names=[])
    with pytest.raises(CorpusError, match=r"\[n, columns\] and \[n, 2\]"):
        csd.write(tmp_path / "four.csd", "R", [("v", frames(2), ramp(1))], dimension_names=[])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.csd", "two.csd"]


def test_numbers_of_other_types_and_text(tmp_path):
    path = tmp_path / "x.csd"
    words = np.array([[b"oh"], [b"yes"]])
    videos = [
        ("double", frames(2), np.array([[1e300, -1.5], [0, 2]])),
        ("half", frames(2), np.array([[1, 2], [3, 4]], np.float16)),
        ("integer", frames(2), np.array([[1, 2], [3, 4]])),
        ("text", frames(2), words),
    ]
    csd.write(path, "R", videos, dimension_names=[])
    with csd.ComputationalSequence(path) as sequence:
        np.testing.assert_array_equal(sequence.read("double")[1], [[np.inf, -1.5], [0, 2]])
        for name in ("half", "integer"):
            assert sequence.read(name)[1].dtype == np.float32
            np.testing.assert_array_equal(sequence.read(name)[1], [[1, 2], [3, 4]])
        np.testing.assert_array_equal(sequence.read("text")[1], words)
        with pytest.raises(CorpusError, match="no video 'other'"):
            sequence.read("other")[1]


def test_files_are_found_by_root_not_by_name(tmp_path):
    folder = write_corpus(tmp_path)
    (folder / "features.csd").rename(folder / "download (1)")
    (folder / "labels.csd").rename(folder / "zzz.h5")
    (folder / "notes.txt").write_text("nothing")
    files = find_sources(folder)
    assert files.features == (folder / "download (1)",)
    assert files.labels == folder / "zzz.h5"


def test_ids_that_begin_alike_are_kept_apart(tmp_path):
    folds = {"train": ["25522", "x"], "validation": ["255224"], "test": ["2552"]}
    ids = ["25522", "255224", "2552", "x"]
    folder = write_corpus(
        tmp_path / "corpus",
        {v: (frames(50), ramp(50, 100 * i)) for i, v in enumerate(ids)},
        {v: ([[0.1, 0.2]], [label(happy=i / 3)]) for i, v in enumerate(ids)},
        folds,
    )
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    for split, video, number in (("train", "25522", 0), ("validation", "255224", 1)):
        found = examples(built, split)
        assert (video, 0) in found
        assert len(found) == len(folds[split])
        assert found[video, 0]["features"][0, 0] == 100 * number + 10
        assert found[video, 0]["emotions"][0] == np.float32(number / 3)


def test_label_columns_follow_the_names_in_the_file(tmp_path):
    path = tmp_path / "labels.csd"
    names = ["happy", "sad", "anger", "surprise", "disgust", "fear", "sentiment"]
    row = np.array([[1, 2, 3, 0, 0, 0.5, -2]], np.float32)
    csd.write(path, "All Labels", [("v", frames(1), row)], dimension_names=names)
    with csd.ComputationalSequence(path) as sequence:
        values = labels_from_sequence(sequence)["v"].values
    np.testing.assert_array_equal(values, [[-2, 1, 2, 3, 0, 0, 0.5]])


@pytest.mark.parametrize("first", ["sentiment", "envy"], ids=["one name twice", "another name"])
def test_label_columns_of_other_names_are_refused(tmp_path, first):
    path = tmp_path / "labels.csd"
    names = [first, "sad", "anger", "surprise", "disgust", "fear", "sentiment"]
    csd.write(path, "All Labels", [("v", frames(1), np.ones((1, 7)))], dimension_names=names)
    with csd.ComputationalSequence(path) as sequence, pytest.raises(CorpusError) as error:
        labels_from_sequence(sequence)
    message = str(error.value)
    assert f"{path}: the columns are named {', '.join(names)};" in message
    assert "sentiment, happy, sad, anger, surprise, disgust, fear are needed" in message


@pytest.mark.parametrize("names", [[], ["x"], [1, 2, 3, 4, 5, 6, 7], None, "sentiment"])
def test_label_columns_without_usable_names_are_taken_in_our_order(tmp_path, names, caplog):
    path = tmp_path / "labels.csd"
    row = np.array([[-1, 1, 2, 3, 0, 0, 0.5]], np.float32)
    csd.write(
        path,
        "All Labels",
        [("v", frames(1), row)],
        dimension_names=[],
        metadata={"dimension names": names},
    )
    with csd.ComputationalSequence(path) as sequence:
        values = labels_from_sequence(sequence)["v"].values
    np.testing.assert_array_equal(values, row)
    assert "does not name 7 columns; they are taken to be sentiment, happy" in caplog.text


def test_names_in_capitals_are_the_same_and_no_warning_is_given(tmp_path, caplog):
    path = tmp_path / "labels.csd"
    names = ["Sad", " Happy", "Anger", "Surprise", "Disgust", "Fear", "Sentiment"]
    row = np.array([[2, 1, 0, 0, 0, 0, -1]], np.float32)
    csd.write(path, "All Labels", [("v", frames(1), row)], dimension_names=names)
    with csd.ComputationalSequence(path) as sequence:
        values = labels_from_sequence(sequence)["v"].values
    np.testing.assert_array_equal(values, [[-1, 1, 2, 0, 0, 0, 0]])
    assert not caplog.records


@pytest.mark.parametrize("compression", [1, None])
def test_feature_columns_follow_the_names_in_the_file(tmp_path, compression):
    path = tmp_path / "features.csd"
    order = np.random.default_rng(0).permutation(74)
    names = [FEATURE_NAMES[i] for i in order]
    video = ("v", frames(9), ramp(9)[:, order])
    csd.write(path, "COVAREP", [video], dimension_names=names, compression=compression)
    np.testing.assert_array_equal(CsdFeatures(path).open("v")[1][:], ramp(9))
    np.testing.assert_array_equal(CsdFeatures(path).open("v")[1][2:4], ramp(9)[2:4])
    # Names of their own say nothing about the order.
    csd.write(path, "COVAREP", [video], dimension_names=[f"f{i}" for i in range(74)])
    np.testing.assert_array_equal(CsdFeatures(path).open("v")[1][:], ramp(9)[:, order])


# === .mat and CSV ===


def test_archive_of_mat_files_with_a_label_table(tmp_path):
    folder = tmp_path / "corpus"
    (folder / "COVAREP" / "part").mkdir(parents=True)
    order = np.random.default_rng(0).permutation(74)
    write_mat(folder / "COVAREP" / "a.mat", ramp(100))
    write_mat(
        folder / "COVAREP" / "part" / "b.mat",
        ramp(100, 500)[:, order],
        [FEATURE_NAMES[i] for i in order],
    )
    write_mat(folder / "COVAREP" / "c.mat", ramp(100, 900), names=None)
    write_mat(folder / "COVAREP" / "d.MAT", ramp(100))
    lines = [
        "b,l,7,0.2,0.5,-1,0,0,3,0,0,0",
        "b,l,8,0.5,0.6,1,3,0,0,0,0,0",
        *(f"{v},l,0,0.2,0.5,0,0,0,0,0,0,0" for v in "acd"),
    ]
    (folder / "labels.csv").write_text(HEADER + "\n".join(lines))
    (folder / "folds.json").write_text(json.dumps(IDS))
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    found = examples(built, "train")
    np.testing.assert_array_equal(found["b", 0]["features"], ramp(100, 500)[20:50])
    np.testing.assert_array_equal(found["b", 1]["emotions"], [3, 0, 0, 0, 0, 0])
    assert examples(built, "validation")["c", 0]["features"][0, 0] == 920
    assert built.info.metadata["sources"][0]["files"] == 4

    # The same files under another video's name are another corpus.
    (folder / "COVAREP" / "d.MAT").rename(folder / "COVAREP" / "e.mat")
    with pytest.raises(CorpusError, match="'test' is empty"):
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)


def test_mat_files_of_version_7_3(tmp_path):
    path = tmp_path / "v.mat"
    with h5py.File(path, "w") as file:
        file["features"] = ramp(20).T.astype(np.float64)
        cells = [
            file.create_dataset(f"#refs#/{i}", data=[[ord(c)] for c in name]).ref
            for i, name in enumerate(FEATURE_NAMES)
        ]
        file.create_dataset("names", data=np.array(cells, dtype=h5py.ref_dtype)[:, None])
    np.testing.assert_array_equal(read_mat(path), ramp(20))


@pytest.mark.parametrize("shape", [(2_000_000, 2_000_000), (2_000_000, 74), (73, 20)])
def test_mat_files_of_version_7_3_that_claim_too_much_are_not_read(tmp_path, shape):
    path = tmp_path / "v.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("features", shape, "f8", chunks=(1, 20))
    with pytest.raises(CorpusError, match=r"v\.mat: 'features' claims the shape"):
        read_mat(path)


@pytest.mark.parametrize("damage", ["cut", "width", "variable", "names"])
def test_bad_mat_files(tmp_path, damage):
    path = tmp_path / "v.mat"
    if damage == "cut":
        write_mat(path, ramp(20))
        path.write_bytes(path.read_bytes()[:4000])
    elif damage == "width":
        scipy.io.savemat(path, {"features": ramp(20)[:, :70]})
    elif damage == "variable":
        scipy.io.savemat(path, {"other": ramp(20)})
    else:
        write_mat(path, ramp(20), ["F0"] * 74)
    with pytest.raises(CorpusError, match=r"v\.mat"):
        read_mat(path)


def test_label_table_needs_its_columns_and_numbers(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("id,start,end\na,0,1\n")
    with pytest.raises(CorpusError, match="its first line is 'id,start,end'; it lacks happy"):
        labels_from_csv(path)
    path.write_text(HEADER + "a,l,0,0,1,0,0,0,0,0,0,much\n")
    with pytest.raises(CorpusError, match=r"labels.csv, line 2: .*'much'"):
        labels_from_csv(path)
    path.write_text(HEADER + "a,l,0,0,1\n")
    with pytest.raises(CorpusError, match="line 2"):
        labels_from_csv(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (HEADER.replace(",", "|").encode(), "its first line is 'id|link|segment_id|start"),
        (HEADER.replace("happy", "envy").encode(), "sentiment,envy,sad"),
        (HEADER.replace("id,", "nom,", 1).encode("utf-16"), "its first line is 'nom,link"),
        (HEADER.replace("happy", "gaieté").encode("latin-1"), "sentiment,gaieté,sad"),
        (b"", "its first line is ''"),
    ],
    ids=["bars", "names", "utf-16", "latin-1", "empty"],
)
def test_a_table_that_is_no_label_table_is_named_with_what_it_lacks(tmp_path, content, found):
    folder = write_corpus(tmp_path)
    (folder / "labels.csd").unlink()
    (folder / "My labels.csv").write_bytes(content)
    with pytest.raises(CorpusError, match="no file with the root 'All Labels'") as error:
        find_sources(folder)
    message = str(error.value)
    assert f"{folder / 'My labels.csv'}: " in message
    assert found in message
    assert (
        "label table has the columns id, start, end, sentiment, happy, sad, anger, surprise, "
        "disgust, fear, separated by commas, in UTF-8"
    ) in message
    assert "\n" not in message


def test_tables_of_something_else_may_lie_beside_the_corpus(tmp_path):
    folder = write_corpus(tmp_path)
    (folder / "speakers.csv").write_text("speaker;sex\n")
    assert find_sources(folder).labels == folder / "labels.csd"


def test_features_or_labels_twice(tmp_path):
    folder = write_corpus(tmp_path)
    (folder / "labels.csv").write_text(HEADER)
    with pytest.raises(CorpusError, match=r"2 sets of labels .* labels.csd, labels.csv"):
        find_sources(folder)
    (folder / "labels.csv").unlink()
    write_mat(folder / "a.mat", ramp(3))
    with pytest.raises(CorpusError, match=r"2 sets of features .* features.csd, a.mat"):
        find_sources(folder)
