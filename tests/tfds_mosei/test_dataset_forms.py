"""MOSEI in the forms that people have it: other roots, names, tables, folders, units."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from mosei_corpus import IDS, examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, LABEL_NAMES, CorpusError, csd
from tfds_mosei.labels import labels_from_csv
from tfds_mosei.mat import read_mat
from tfds_mosei.sources import Corpus, CsdFeatures, find_sources

VIDEOS = ["a", "b", "c", "d"]


def write(path, root, videos, names):
    csd.write(path, root, videos, dimension_names=names, compression=None)


def rows_of(folder):
    """Intervals and rows of all videos, and labels, as a build sees them."""
    with Corpus(find_sources(folder)) as corpus:
        features = {video: corpus.features.open(video) for video in corpus.features.video_ids}
        return {v: (times, rows[:]) for v, (times, rows) in features.items()}, dict(corpus.labels)


# === Roots, ids, files ===


def test_several_sequences_in_one_file_under_any_root(tmp_path):
    write_corpus(tmp_path / "plain")
    folder = tmp_path / "one"
    folder.mkdir()
    with h5py.File(folder / "everything.h5", "w") as file:
        for name, root, new in (
            ("features", "COVAREP", "acoustic"),
            ("labels", "All Labels", "Opinion Segment Lables"),
        ):
            with h5py.File(tmp_path / "plain" / f"{name}.csd") as source:
                source.copy(root, file, new)
        file["words/data/a/features"] = np.zeros((2, 300))
        file["words/data/a/intervals"] = np.zeros((2, 2))
    (features, labels), (wanted, wanted_labels) = rows_of(folder), rows_of(tmp_path / "plain")
    assert [*features] == [*wanted] == [*labels] == VIDEOS
    for video in VIDEOS:
        np.testing.assert_array_equal(features[video][1], wanted[video][1])
        np.testing.assert_array_equal(labels[video].values, wanted_labels[video].values)
    taken = find_sources(folder).taken
    assert taken[0] == "features: everything.h5 (root 'acoustic')"


def test_columns_without_names_are_taken_by_their_number_if_nothing_else_fits(tmp_path, caplog):
    folder = write_corpus(tmp_path)
    (folder / "features.csd").unlink()
    write(folder / "x.csd", "sound", [(v, frames(50), ramp(50)) for v in VIDEOS], [])
    assert find_sources(folder).features == (folder / "x.csd",)
    assert "'sound' does not name its columns" in caplog.text
    write(folder / "y.csd", "sound", [(v, frames(50), ramp(50)) for v in VIDEOS], [])
    with pytest.raises(CorpusError, match=r"were found: x\.csd, y\.csd"):
        find_sources(folder)
    write(folder / "z.csd", "speech", [("a", frames(5), ramp(5))], FEATURE_NAMES)
    assert find_sources(folder).features == (folder / "z.csd",)


def test_another_feature_set_of_74_named_columns_is_not_taken(tmp_path):
    folder = write_corpus(tmp_path)
    names = ["F0", "loudness", *(f"mfcc_{i}" for i in range(72))]
    write(folder / "features.csd", "openSMILE", [("a", frames(5), ramp(5))], names)
    with pytest.raises(CorpusError, match=r"Roots found: .*'openSMILE' in features\.csd"):
        find_sources(folder)


def test_files_aligned_to_overlapping_segments_give_each_row_once(tmp_path):
    """The third label row has no rows, so alignment left it out; numbers stay as they were."""
    cuts = [(0.0, 0.3), (0.25, 0.6), (5.0, 6.0), (0.6, 0.9)]
    values = [label(happy=k, sentiment=-1) for k in range(4)]
    original = write_corpus(
        tmp_path / "original",
        {v: (frames(100), ramp(100, 7 * i)) for i, v in enumerate(VIDEOS)},
        dict.fromkeys(VIDEOS, (cuts, values)),
    )
    folder = tmp_path / "aligned"
    folder.mkdir()
    (folder / "folds.json").write_text(json.dumps(IDS))
    features, labels = [], []
    for i, video in enumerate(VIDEOS):
        for k in (0, 1, 3):
            first, last = round(100 * cuts[k][0]), round(100 * cuts[k][1])
            name = f"{video}[{k}]"
            features.append((name, frames(100)[first:last], ramp(100, 7 * i)[first:last]))
            labels.append((name, np.array(cuts[k : k + 1]), np.array(values[k : k + 1], "f4")))
    write(folder / "f.csd", "COVAREP", features, FEATURE_NAMES)
    write(folder / "l.csd", "All Labels", labels, LABEL_NAMES)
    rows, _ = rows_of(folder)
    np.testing.assert_array_equal(rows["b"][0], frames(100)[:90])
    np.testing.assert_array_equal(rows["b"][1], ramp(100, 7)[:90])
    built, plain = (
        tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=f) for f in (folder, original)
    )
    for split in IDS:
        found, wanted = examples(built, split), examples(plain, split)
        assert sorted(found) == sorted(wanted)
        for key in wanted:
            np.testing.assert_array_equal(found[key]["features"], wanted[key]["features"])
            np.testing.assert_array_equal(found[key]["emotions"], wanted[key]["emotions"])


def test_sentiment_joins_emotions_by_interval_and_may_be_missing(tmp_path):
    folder = write_corpus(tmp_path)
    (folder / "labels.csd").unlink()
    times = np.array([[0.1, 0.2], [0.3, 0.5]])
    emotions = np.array([[0, 1, 0, 0, 0, 2], [3, 0, 0, 0, 0, 0]], "f4")
    order = [5, 0, 1, 2, 3, 4]
    names = [LABEL_NAMES[1:][i] for i in order]
    write(folder / "e.csd", "Emotions v1", [(v, times, emotions[:, order]) for v in "abc"], names)
    write(folder / "s.csd", "Sentiment", [("a", times[::-1], [[2.0], [-1.0]])], ["Sentiment"])
    _, labels = rows_of(folder)
    np.testing.assert_array_equal(labels["a"].values, np.c_[[-1, 2], emotions])
    np.testing.assert_array_equal(labels["b"].values, np.c_[[np.nan, np.nan], emotions])


def test_folders_below_mac_files_and_archives(tmp_path):
    folder = write_corpus(tmp_path / "x")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    (folder / "features.csd").rename(folder / "deep" / "er" / "f.hdf5")
    for place in (folder, folder / "deep" / "er", folder / "__MACOSX"):
        (place / "._f.csd").write_bytes(bytes(99))
    (folder / "__MACOSX" / "a.mat").write_bytes(bytes(99))
    assert find_sources(folder).features == (folder / "deep" / "er" / "f.hdf5",)
    (folder / "deep" / "er" / "f.hdf5").unlink()
    (folder / "raw.tar.gz").write_bytes(b"x")
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("f.csd", "x")
    with pytest.raises(CorpusError, match=r"all\.zip is an archive: unpack it.*raw\.tar\.gz is an"):
        find_sources(folder)


def test_a_file_that_may_not_be_read_is_reported_as_such(tmp_path, monkeypatch):
    folder = write_corpus(tmp_path)
    opened = h5py.File

    def refuse(path, *args, **kwargs):
        if str(path).endswith("features.csd"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(CorpusError, match=r"features\.csd cannot be read: no permission"):
        find_sources(folder)


def test_octave_text_is_named(tmp_path):
    path = tmp_path / "v.mat"
    path.write_text("# name: features\n# type: matrix\n# rows: 1\n# columns: 74\n 0\n")
    with pytest.raises(CorpusError, match=r"written by Octave as text\. Save it with `save -v7`"):
        read_mat(path)


@pytest.mark.parametrize("named", [True, False])
def test_tables_of_74_columns_are_features(tmp_path, named):
    folder = write_corpus(tmp_path)
    (folder / "features.csd").unlink()
    order = np.arange(74)[::-1] if named else np.arange(74)
    header = ",".join(FEATURE_NAMES[i] for i in order) + "\n" if named else ""
    rows = ramp(60)
    rows[3, 7] = -np.inf
    for video in VIDEOS:
        lines = [",".join(map(repr, row.tolist())) for row in rows[:, order]]
        (folder / f"{video}_COVAREP.csv").write_text(header + "\n".join(lines) + "\n")
    features, _ = rows_of(folder)
    assert [*features] == VIDEOS
    np.testing.assert_array_equal(features["c"][1], rows)
    np.testing.assert_allclose(features["c"][0], frames(60))


def test_folds_with_a_byte_order_mark(tmp_path):
    folder = write_corpus(tmp_path)
    (folder / "folds.json").write_text(json.dumps(IDS), encoding="utf-8-sig")
    from tfds_mosei.folds import load_folds

    assert load_folds(folder / "folds.json").videos["train"] == ("a", "b")


# === Columns by name ===


def test_columns_under_other_spellings_and_in_another_order(tmp_path):
    order = np.random.default_rng(3).permutation(74)
    names = [FEATURE_NAMES[i].lower().replace("_", " ") for i in order]
    names = ["Creak_Prob" if name == "creak" else name for name in names]
    write(tmp_path / "f.csd", "COVAREP", [("a", frames(9), ramp(9)[:, order])], names)
    np.testing.assert_array_equal(CsdFeatures(tmp_path / "f.csd").open("a")[1][:], ramp(9))
    scipy.io.savemat(
        tmp_path / "v.mat",
        {"features": ramp(9)[:, order], "names": np.array([names], dtype=object)},
    )
    np.testing.assert_array_equal(read_mat(tmp_path / "v.mat"), ramp(9))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([*FEATURE_NAMES[:-1], "HRF"], "not known: HRF; missing: HMPDD_12"),
        ([*FEATURE_NAMES[:-13], *(f"HRF_{i}" for i in range(13))], "not known: HRF_0, HRF_1"),
        ([*FEATURE_NAMES[1:36]], "35 names; missing: F0, HMPDM_0"),
    ],
)
def test_columns_with_unknown_names_are_never_taken_by_position(tmp_path, names, told):
    write(tmp_path / "f.csd", "COVAREP", [("a", frames(9), ramp(9))], names)
    with pytest.raises(CorpusError, match=told):
        CsdFeatures(tmp_path / "f.csd")


def test_the_first_36_names_are_those_of_older_covarep(tmp_path):
    write(tmp_path / "f.csd", "COVAREP", [("a", frames(9), ramp(9))], FEATURE_NAMES[:36])
    np.testing.assert_array_equal(CsdFeatures(tmp_path / "f.csd").open("a")[1][:], ramp(9))


# === Label tables ===


def test_a_table_of_tabs_with_synonyms_blank_rows_and_a_mark(tmp_path):
    path = tmp_path / "labels.tsv"
    head = ["Video ID", " Start Time", "END_TIME", "Fear", "Happiness", "Sadness", "Angry"]
    lines = [
        [*head, "surprise", "disgust"],
        ["v", "0.5", "1", "3", "1", "2", "0", "0", "0.5"],
        ["", "", "", "", "", "", "", "", ""],
    ]
    path.write_text("\r\n".join("\t".join(line) for line in lines), encoding="utf-8-sig")
    labels = labels_from_csv(path)["v"]
    np.testing.assert_array_equal(labels.intervals, [[0.5, 1]])
    np.testing.assert_array_equal(labels.values, [[np.nan, 1, 2, 0, 0, 0.5, 3]])


def test_tables_of_splits_are_one_and_repeated_rows_count_once(tmp_path, caplog):
    folder = write_corpus(tmp_path)
    (folder / "labels.csd").unlink()
    head = "video;start;end;happy;sad;anger;surprise;disgust;fear\n"
    (folder / "one.csv").write_text(head + "a;0.2;0.5;1;0;0;0;0;0\nb;0.2;0.5;0;1;0;0;0;0\n")
    (folder / "two.csv").write_text(head + "c;0.2;0.5;0;0;1;0;0;0\na;0.2;0.5;1;0;0;0;0;0\n")
    (folder / "tri.csv").write_text(head + "d;0.2;0.5;0;0;0;2;0;0\n")
    assert find_sources(folder).taken[1] == "labels: one.csv, tri.csv, two.csv"
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert "1 row(s) repeat an earlier one and count once (two.csv, line 3)" in caplog.text
    assert sorted(examples(built, "train")) == [("a", 0), ("b", 0)]
    found = examples(built, "test")["d", 0]
    np.testing.assert_array_equal(found["emotions"], [0, 0, 0, 2, 0, 0])
    assert np.isnan(found["sentiment"])
    (folder / "tri.csv").write_text(head + "d;0.2;0.5;0;0;0;2;0;0\nb;0.2;0.5;0;2;0;0;0;0\n")
    told = (
        r"tri\.csv, line 3: the labels differ from .*one\.csv, line 3 for the same stretch of 'b'"
    )
    with pytest.raises(CorpusError, match=told):
        Corpus(find_sources(folder))


def test_label_tables_that_cannot_serve_are_named(tmp_path):
    path = tmp_path / "label.csv"
    path.write_text("video_id,clip_id,text,label,annotation,mode\nv,0,um,1.0,Positive,train\n")
    with pytest.raises(CorpusError, match=r"MMSA's label table: .* no times and no emotions"):
        labels_from_csv(path)
    path.write_bytes("id,start,end,Zufälle\0\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"cannot be read .*as UTF-8"):
        labels_from_csv(path)


# === A corpus for testing only ===


@pytest.mark.parametrize("tested", ["test", "validation"])
def test_a_corpus_with_one_fold_only(tmp_path, tested):
    """From .mat files, whose rows lie every 10 ms by definition."""
    folds = {split: VIDEOS if split == tested else [] for split in IDS}
    folder = write_corpus(tmp_path, folds=folds)
    (folder / "features.csd").unlink()
    for video in VIDEOS:
        scipy.io.savemat(folder / f"{video}.mat", {"features": ramp(60)})
    built = tfds_mosei.build(data_dir=tmp_path / "data", manual_dir=folder)
    assert [*built.info.splits] == [tested]
    assert sorted(examples(built, tested)) == [(video, 0) for video in VIDEOS]
    metadata = built.info.metadata
    assert metadata["row_period"] == 0.01
    # Rows 20 to 49 of each video: column 0 counts rows.
    assert metadata["feature_statistics"]["mean"][0] == pytest.approx(34.5)
