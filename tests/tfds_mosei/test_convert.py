"""Other people's packages: every form gives the rows, labels and folds that went into it."""

import json

import h5py
import numpy as np
import pytest
from mosei_packages import SPLITS, Truth, check, dump, mmsa, mult, read_corpus

import tfds_mosei
from mosei_ssl.cli.main import main
from tfds_mosei import csd
from tfds_mosei.convert import convert_package, recognise


@pytest.fixture(scope="module")
def truth():
    return Truth()


@pytest.fixture(scope="module")
def labels(truth, tmp_path_factory):
    return truth.write_labels(tmp_path_factory.mktemp("labels") / "CMU_MOSEI_Labels.csd")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_mmsa_unaligned_cuts_at_the_lengths(truth, labels, tmp_path, protocol):
    path = dump(mmsa(truth, fill=5), tmp_path / "unaligned_50.pkl", protocol)
    report = convert_package(path, tmp_path / "out", labels)
    check(tmp_path / "out", truth)
    text = "\n".join(report)
    assert "MMSA" in text
    assert "every 0.05 s" in text
    assert "train: 12 segments" in text
    assert "20 agree, 0 do not" in text
    removed = sum(60 - len(x) for s in SPLITS for _, _, x, *_ in truth.segments(s))
    assert f"{removed:,} rows of padding removed" in text


def test_mmsa_numbers_that_skip_pieces_are_ranked_in_time(truth, labels, tmp_path):
    """MMSA counts all pieces of a recording, also those that nobody annotated."""

    def number(video, k):
        return 3 + 2 * int(truth.labels[video][0][:, 0].argsort().argsort()[k])

    path = dump(mmsa(truth, number=number), tmp_path / "unaligned_50.pkl")
    report = convert_package(path, tmp_path / "out", labels)
    check(tmp_path / "out", truth)
    assert any("rank in time" in line for line in report)


def test_mmsa_aligned_to_words(truth, labels, tmp_path):
    package = mmsa(truth, length=50, lengths=False)
    for split, entry in package.items():
        mask = [np.arange(50) < len(x) for _, _, x, *_ in truth.segments(split)]
        entry["text_bert"] = np.stack([np.stack([m * 7, m, m * 0]) for m in mask]).astype(
            np.float32
        )
    path = dump(package, tmp_path / "aligned_50.pkl")
    convert_package(path, tmp_path / "out", labels)
    check(tmp_path / "out", truth, period=None)


def test_mult_joins_by_times_and_drops_leading_zeros(truth, labels, tmp_path):
    path = dump(mult(truth), tmp_path / "mosei_senti_data_noalign.pkl")
    report = convert_package(path, tmp_path / "out", labels)
    check(tmp_path / "out", truth)
    assert any("front: " in line for line in report)
    assert any("recording and times" in line for line in report)
    origins = json.loads((tmp_path / "out" / "conversion.json").read_text())["segments"]
    assert origins["d[0]"]["times"] == pytest.approx(truth.labels["d"][0][0])


def test_other_row_periods_can_be_given(truth, labels, tmp_path):
    path = dump(mult(truth), tmp_path / "mosei_senti_data_noalign.pkl")
    convert_package(path, tmp_path / "out", labels, row_period=0.04)
    check(tmp_path / "out", truth, period=0.04)


def test_a_label_row_without_a_segment_keeps_the_numbers_of_the_others(truth, labels, tmp_path):
    package = mult(truth)
    for name in package["train"]:
        package["train"][name] = np.delete(package["train"][name], 1, axis=0)
    path = dump(package, tmp_path / "mosei_senti_data_noalign.pkl")
    report = convert_package(path, tmp_path / "out", labels)
    found, _, _ = read_corpus(tmp_path / "out")
    assert len(found["-aB_1", 1][0]) == 0
    np.testing.assert_array_equal(found["-aB_1", 2][0], truth.rows["-aB_1"][2])
    assert any(line.startswith("1 label rows") for line in report)


def test_multibench_pickle_holds_all_labels(truth, tmp_path):
    def sdk_id(video, k):
        return [f"{video}[{k}]"]

    path = dump(mult(truth, sdk_id, values=lambda v: v, length=50), tmp_path / "mosei_raw.pkl")
    convert_package(path, tmp_path / "out")
    found, folds, metadata = read_corpus(tmp_path / "out")
    np.testing.assert_array_equal(found["c_02", 3][0], truth.rows["c_02"][3])
    np.testing.assert_allclose(found["c_02", 3][1], truth.labels["c_02"][1][3])
    assert folds["test"] == SPLITS["test"]
    assert metadata["aligned to words"] is True


@pytest.mark.parametrize("step", [0.01, None])
def test_multibench_hdf5_of_segments(truth, tmp_path, step):
    path = tmp_path / "mosei_unalign.hdf5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for split in SPLITS:
            for video, k, x, interval, values in truth.segments(split):
                borders = np.r_[
                    0, np.cumsum(rng.uniform(0.1, 0.9, len(x)) if step is None else [step] * len(x))
                ]
                key = f"{video}[{k}]"
                file[f"COVAREP/{key}/features"] = x
                file[f"COVAREP/{key}/intervals"] = np.stack([borders[:-1], borders[1:]], axis=1)
                file[f"All Labels/{key}/features"] = values[None]
                file[f"All Labels/{key}/intervals"] = interval[None]
    report = convert_package(path, tmp_path / "out")
    found, folds, metadata = read_corpus(tmp_path / "out")
    in_time = {v: np.argsort(t[:, 0]) for v, (t, _) in truth.labels.items()}
    for (video, k), (rows, values, _) in found.items():
        np.testing.assert_array_equal(rows, truth.rows[video][in_time[video][k]])
        np.testing.assert_allclose(values, truth.labels[video][1][in_time[video][k]])
    assert folds is None
    assert metadata["row period"] == step
    assert any("no split" in line for line in report)


def test_hdf5_with_a_group_for_each_split(truth, labels, tmp_path):
    with h5py.File(tmp_path / "mosei.h5", "w") as file:
        for split, entry in mult(truth, length=70, kind=np.float32).items():
            for name, values in entry.items():
                text = values.dtype.kind == "U"
                file[f"{split}/{name}"] = values.astype(h5py.string_dtype()) if text else values
    convert_package(tmp_path / "mosei.h5", tmp_path / "out", labels)
    check(tmp_path / "out", truth)


def test_misa_lists_in_three_files(truth, tmp_path):
    for split, word in (("train", "train"), ("valid", "dev"), ("test", "test")):
        items = [
            (
                (np.arange(len(x)), np.zeros((len(x), 35)), x, ["word"] * len(x)),
                v[None],
                f"{video}[{k}]",
            )
            for video, k, x, _, v in truth.segments(split)
        ]
        dump(items, tmp_path / f"{word}.pkl")
    convert_package(tmp_path / "train.pkl", tmp_path / "out")
    found, folds, metadata = read_corpus(tmp_path / "out")
    assert folds["validation"] == SPLITS["valid"]
    np.testing.assert_array_equal(found["b[x]", 2][0], truth.rows["b[x]"][2])
    np.testing.assert_allclose(found["b[x]", 2][1], truth.labels["b[x]"][1][2])
    assert metadata["aligned to words"] is True


def test_mfn_emotions_are_put_into_our_order(tmp_path):
    rng = np.random.default_rng(3)
    rows = {}
    for split, n in (("train", 6), ("valid", 2), ("test", 3)):
        rows[split] = np.abs(rng.normal(size=(n, 20, 74)))
        rows[split][:, :4] = 0
        emotions = np.tile(np.arange(6) / 3, (n, 1))  # anger disgust fear happy sad surprise
        for kind, values in (("audio", rows[split]), ("y", np.full((n, 1), -1)), ("ey", emotions)):
            with h5py.File(tmp_path / f"{kind}_{split}.h5", "w") as file:
                file["d1"] = values
    report = convert_package(tmp_path / "audio_train.h5", tmp_path / "out")
    found, folds, _ = read_corpus(tmp_path / "out")
    assert len(folds["train"]) == 6
    assert len(folds["validation"]) == 2
    taken, values, _ = found["train_00004", 0]
    np.testing.assert_allclose(taken, rows["train"][4, 4:], rtol=1e-6)
    np.testing.assert_allclose(values, np.array([-3, 3, 4, 0, 5, 1, 2]) / 3, rtol=1e-6)
    assert "[6, 20, 74]" in report[0]
    assert "cannot be cut again" in report[0]


def test_npz_of_segments_one_after_the_other(truth, labels, tmp_path):
    members = [(s, *rest) for s in SPLITS for rest in truth.segments(s)]
    np.savez_compressed(
        tmp_path / "mosei.npz",
        features=np.concatenate([x for _, _, _, x, _, _ in members]),
        lengths=np.array([len(x) for _, _, _, x, _, _ in members]),
        ids=np.array([f"{v}[{k}]" for _, v, k, *_ in members]),
        labels=np.array([v[0] for *_, v in members]),
        split=np.array([s for s, *_ in members]),
    )
    convert_package(tmp_path / "mosei.npz", tmp_path / "out", labels, row_period=0.05)
    check(tmp_path / "out", truth)


def test_without_labels_segments_have_no_emotions_and_it_is_said(truth, tmp_path):
    path = dump(mmsa(truth), tmp_path / "unaligned_50.pkl")
    report = convert_package(path, tmp_path / "out")
    check(tmp_path / "out", truth, emotions=False)
    assert any(line.startswith("20 segments have no emotions") for line in report)


def test_labels_whose_sentiments_disagree_are_refused_with_counts(truth, tmp_path):
    def moved(video, values):
        return values[::-1] if video == "d" else values

    other = truth.write_labels(tmp_path / "other.csd", change=moved)
    path = dump(mmsa(truth), tmp_path / "unaligned_50.pkl")
    with pytest.raises(tfds_mosei.CorpusError, match="16 agree, 4 do not"):
        convert_package(path, tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_standardised_features_are_pointed_out(truth, tmp_path):
    package = mult(truth)
    for entry in package.values():
        entry["audio"][:, :, 1] -= 0.5
    report = convert_package(dump(package, tmp_path / "mosei_senti_data.pkl"), tmp_path / "out")
    assert any("standardised" in line for line in report)


def test_other_feature_sets_are_refused(truth, tmp_path):
    package = mult(truth)
    for entry in package.values():
        entry["audio"] = entry["audio"][:, :, :5]
    with pytest.raises(tfds_mosei.CorpusError, match=r"another feature set"):
        convert_package(dump(package, tmp_path / "mosi_data.pkl"), tmp_path / "out")


def test_a_recording_in_two_splits_is_refused(truth, tmp_path):
    package = mmsa(truth)
    package["test"]["id"][0] = "d$_$9"
    with pytest.raises(tfds_mosei.CorpusError, match="'d' is in the splits"):
        convert_package(dump(package, tmp_path / "unaligned_50.pkl"), tmp_path / "out")


def test_a_folder_with_files_is_left_alone(truth, tmp_path):
    path = dump(mmsa(truth), tmp_path / "unaligned_50.pkl")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(tfds_mosei.CorpusError, match="exists already"):
        convert_package(path, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_conversion_that_fails_leaves_nothing(truth, tmp_path, monkeypatch):
    path = dump(mmsa(truth), tmp_path / "unaligned_50.pkl")
    write = csd.write

    def full(place, root, *rest, **options):
        if root == "All Labels":
            raise OSError(28, "No space left on device")
        return write(place, root, *rest, **options)

    monkeypatch.setattr("tfds_mosei.convert.corpus.csd.write", full)
    with pytest.raises(tfds_mosei.CorpusError.__base__, match="No space left"):
        convert_package(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_converted_can_be_built(truth, labels, tmp_path):
    dump(mmsa(truth), tmp_path / "unaligned_50.pkl")
    command = ["convert", str(tmp_path / "unaligned_50.pkl"), "--labels", str(labels)]
    assert main([*command, "--out", str(tmp_path / "corpus")]) == 0
    builder = tfds_mosei.build(
        "covarep", data_dir=tmp_path / "data", manual_dir=tmp_path / "corpus"
    )
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        expected = {(v, k): (x, y) for v, k, x, _, y in truth.segments(split)}
        for example in builder.as_dataset(name).as_numpy_iterator():
            x, y = expected.pop((example["video_id"].decode(), int(example["segment_id"])))
            np.testing.assert_array_equal(example["features"], x)
            np.testing.assert_allclose(example["emotions"], y[1:], atol=1e-6)
        assert not expected


def test_without_emotions_a_corpus_is_built_for_pretraining_alone(truth, tmp_path):
    convert_package(dump(mmsa(truth), tmp_path / "unaligned_50.pkl"), tmp_path / "corpus")
    places = {"data_dir": tmp_path / "data", "manual_dir": tmp_path / "corpus"}
    builder = tfds_mosei.build("covarep", **places)
    assert list(builder.info.splits) == ["unlabelled"]
    built = [e["features"] for e in builder.as_dataset("unlabelled").as_numpy_iterator()]
    expected = [x for _, _, x, *_ in truth.segments("train")]
    assert sorted(map(len, built)) == sorted(map(len, expected))
    mean = builder.info.metadata["feature_statistics"]["mean"][0]
    assert mean == pytest.approx(np.concatenate(expected)[:, 0].mean(), abs=1e-5)
    with pytest.raises(tfds_mosei.CorpusError, match="'train' is empty"):
        tfds_mosei.build("covarep", **places | {"data_dir": tmp_path / "none"}, unlabelled="none")


def test_recognised_without_being_opened(truth, labels, tmp_path):
    files = {
        dump(mmsa(truth), tmp_path / "mine.pkl"): "MMSA's",
        dump(mult(truth), tmp_path / "mosei_senti_data.pkl"): "MulT's",
    }
    np.savez(tmp_path / "a.npz", audio=np.zeros((1, 2, 74)))
    files[tmp_path / "a.npz"] = "NumPy archive"
    for kind in ("audio", "y"):
        with h5py.File(tmp_path / f"{kind}_train.h5", "w") as file:
            file["d1"] = np.zeros((4, 20, 74) if kind == "audio" else 4)
        files[tmp_path / f"{kind}_train.h5"] = "[4, 20, 74]"
    for path, text in files.items():
        line = recognise(path)
        assert text in line, path
        assert "mosei-ssl convert" in line
    assert recognise(labels) is None
    assert recognise(tmp_path / "missing.pkl") is None


def test_build_names_packages_and_the_command_once(truth, tmp_path):
    dump(mult(truth), tmp_path / "mosei_senti_data.pkl")
    for kind in ("audio", "y", "ey"):
        for split in ("train", "test"):
            with h5py.File(tmp_path / f"{kind}_{split}.h5", "w") as file:
                file["d1"] = np.zeros((4, 20, 74) if kind == "audio" else (4, 6))
    with pytest.raises(tfds_mosei.CorpusError) as error:
        tfds_mosei.build("covarep", data_dir=tmp_path / "data", manual_dir=tmp_path)
    text = str(error.value)
    assert text.count("mosei_senti_data.pkl is MulT's") == 1
    assert text.count("[4, 20, 74]") == 1
    assert text.count("`mosei-ssl convert ") == 2
    assert "not a .csd file" not in text
