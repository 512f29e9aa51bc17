"""The command `tfds build`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from mosei_corpus import IDS, examples, frames, label, ramp, write_corpus

TFDS = Path(sys.executable).with_name("tfds")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """With the SDK's folds file. Nothing is left of `unassigned`.

    e and f are in no fold; both segments of e lie after its rows, f has no rows.
    """
    features = {v: (frames(100), ramp(100, 1000 * i)) for i, v in enumerate("abcde")}
    labels = {v: ([[0.2, 0.5]], [label(happy=1)]) for v in "abcdf"}
    labels["e"] = ([[5.0, 6.0], [7.0, 8.0]], [label(), label()])
    folder = write_corpus(tmp_path_factory.mktemp("corpus"), features, labels, folds=None)
    names = {"train": "train", "validation": "valid", "test": "test"}
    lists = [f"standard_{names[split]}_fold = {ids!r}\n" for split, ids in IDS.items()]
    (folder / "cmu_mosei_std_folds.py").write_text("".join(lists))
    return folder


def command(corpus, data_dir, *options):
    line = ["tfds", "build", "tfds_mosei/covarep", "--imports", "tfds_mosei"]
    return [*line, f"--manual_dir={corpus}", f"--data_dir={data_dir}", *options]


@pytest.fixture(scope="module")
def built(corpus, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    line = [TFDS, *command(corpus, data_dir)[1:]]
    done = subprocess.run(line, capture_output=True, text=True, cwd=data_dir)
    assert done.returncode == 0, done.stderr
    return tfds.builder("tfds_mosei/covarep", data_dir=data_dir)


def test_tfds_build_makes_the_dataset(built):
    assert {name: split.num_examples for name, split in built.info.splits.items()} == {
        "train": 2,
        "validation": 1,
        "test": 1,
        "unlabelled": 2,
    }
    assert set(examples(built, "train")) == {("a", 0), ("b", 0)}
    assert examples(built, "validation")["c", 0]["features"][0, 0] == 2020
    assert examples(built, "test")["d", 0]["emotions"].tolist() == [1, 0, 0, 0, 0, 0]
    assert built.info.metadata["folds"]["source"] == "cmu_mosei_std_folds.py"
    assert built.info.metadata["folds"]["videos"] == {"train": 2, "validation": 1, "test": 1}


def test_splits_that_nothing_is_left_of_are_in_the_report(built):
    report = json.loads((built.data_path / "report.json").read_text())["report"]
    assert (built.data_path / "report.html").read_text().count("<svg") == 4
    assert report["dropped"]["outside_features"] == 2
    assert report["dropped"]["no_features"] == 1
    assert report["splits"]["unassigned"]["segments"] == 0
    assert report["splits"]["train"]["segments"] == 2
