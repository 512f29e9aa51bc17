"""The builder: from files to examples and back."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from mosei_corpus import examples, frames, ramp, write_corpus

import tfds_mosei
from tfds_mosei import CorpusError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    return tfds_mosei.build("covarep", data_dir=tmp_path_factory.mktemp("data"), manual_dir=folder)


def test_examples_hold_the_rows_that_intersect(built):
    found = examples(built, "train")
    assert set(found) == {("a", 0), ("b", 0)}
    item = found["b", 0]
    # 0.2 to 0.5 s: rows 20 to 49; row 50 starts where the segment ends.
    np.testing.assert_array_equal(item["features"], ramp(100, 1000)[20:50])
    np.testing.assert_allclose(item["emotions"], [2, 0, 0, 0, 0, 1 / 3])
    assert item["sentiment"] == 1
    np.testing.assert_allclose(item["interval"], [0.2, 0.5])


def test_statistics_are_those_of_the_train_rows(built):
    rows = np.concatenate([ramp(100, 0)[20:50], ramp(100, 1000)[20:50]]).astype(np.float64)
    statistics = built.info.metadata["feature_statistics"]
    assert statistics["count"] == 60
    np.testing.assert_allclose(statistics["mean"], rows.mean(axis=0))
    np.testing.assert_allclose(statistics["std"], rows.std(axis=0))
    np.testing.assert_allclose(statistics["min"], rows.min(axis=0))
    np.testing.assert_allclose(statistics["max"], rows.max(axis=0))
    assert statistics["non_finite"] == [0] * 74


def test_reading_back_without_the_builder(built):
    name = built.builder_config.name
    assert name.startswith("covarep-")
    root = built.data_path.parents[2]
    again = tfds.builder_from_directory(tfds_mosei.find_prepared(root))
    assert again.info.metadata["fingerprint"] == name.removeprefix("covarep-")
    assert again.info.metadata["synthetic"] is False
    loaded = tfds.load(f"tfds_mosei/{name}", data_dir=root, split="test")
    assert len(list(loaded)) == 1


def test_another_corpus_and_other_folds_get_directories_of_their_own(tmp_path):
    first = write_corpus(tmp_path / "first")
    second = write_corpus(
        tmp_path / "second",
        features={v: (frames(100), ramp(100, 7)) for v in "abcd"},
    )
    swapped = {"train": ["b", "c"], "validation": ["a"], "test": ["d"]}
    data = tmp_path / "data"
    one = tfds_mosei.build(data_dir=data, manual_dir=first)
    two = tfds_mosei.build(data_dir=data, manual_dir=second)
    three = tfds_mosei.build(data_dir=data, manual_dir=first, folds=swapped)
    assert len(tfds_mosei.list_prepared(data)) == 3
    assert examples(one, "train")["a", 0]["features"][0, 0] == 20
    assert examples(two, "train")["a", 0]["features"][0, 0] == 27
    assert set(examples(three, "train")) == {("b", 0), ("c", 0)}
    means = [b.info.metadata["feature_statistics"]["mean"][0] for b in (one, two, three)]
    assert means == [534.5, 41.5, 1534.5]
    with pytest.raises(CorpusError, match="several prepared datasets"):
        tfds_mosei.find_prepared(data)


def test_plain_config_never_returns_another_corpus(tmp_path):
    def prepare(folder):
        builder = tfds.builder("tfds_mosei/covarep", data_dir=tmp_path / "data")
        settings = tfds.download.DownloadConfig(manual_dir=folder)
        builder.download_and_prepare(download_config=settings)
        return builder

    first = write_corpus(tmp_path / "first")
    second = write_corpus(
        tmp_path / "second", folds={"train": ["a"], "validation": ["b", "c"], "test": ["d"]}
    )
    built = prepare(first)
    assert built.data_path.parent.name == "covarep"
    prepare(first)
    with pytest.raises(CorpusError) as error:
        prepare(second)
    assert built.info.metadata["fingerprint"] in str(error.value)
    loaded = tfds.load("tfds_mosei/covarep", data_dir=tmp_path / "data", split="train")
    assert len(list(loaded)) == 2


def test_synthetic_is_deterministic_and_its_size_selectable(tmp_path):
    one = tfds_mosei.build("synthetic", data_dir=tmp_path / "one", size=4)
    two = tfds_mosei.build("synthetic", data_dir=tmp_path / "two", size=4)
    assert one.info.metadata["synthetic"] is True
    assert one.info.metadata == two.info.metadata
    assert one.builder_config.name.startswith("synthetic-")
    labelled = [one.info.splits[split].num_examples for split in ("train", "validation", "test")]
    assert labelled == [40, 20, 20]
    left, right = examples(one, "test"), examples(two, "test")
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key]["features"], right[key]["features"])
    assert not list(one.data_path.glob("corpus*"))


def test_importing_the_package_does_not_import_tensorflow():
    code = "import sys, tfds_mosei; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_asking_for_the_plain_config_names_what_is_prepared(tmp_path):
    data = tmp_path / "data"
    built = tfds_mosei.build(data_dir=data, manual_dir=write_corpus(tmp_path / "corpus"))
    name = built.builder_config.name
    with pytest.raises(CorpusError) as refused:
        tfds.load("tfds_mosei/covarep", data_dir=data, split="train")
    message = str(refused.value)
    assert f"prepared here: {name}." in message
    assert message.index(name) < message.index("must be fetched by hand")
    # Of another config, or in a folder without any, there is nothing to name.
    with pytest.raises(CorpusError) as refused:
        tfds_mosei.build(data_dir=tmp_path / "other")
    assert "prepared here" not in str(refused.value)
