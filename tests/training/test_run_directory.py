"""Run directories: what they refuse, and that nothing is overwritten."""

import dataclasses
import json

import pytest

from mosei_ssl.errors import UserError
from mosei_ssl.training.run_directory import RunDirectory

DATASET = {"name": "covarep-1", "version": "1.0.0", "fingerprint": "aaaa"}


@dataclasses.dataclass
class Options:
    run: str
    seed: int = 0
    rate: float = 0.1


def test_an_interrupted_run_is_taken_up_with_the_same_options(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    again = RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    assert again.info["state"] == "running"
    assert not again.finished


def test_other_options_are_named_and_nothing_is_overwritten(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    before = (path / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"other options \(rate\)"):
        RunDirectory(path).start("pretrain", Options(str(path), rate=0.5), DATASET)
    assert (path / "config.yaml").read_text() == before


def test_another_dataset_is_refused(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    with pytest.raises(UserError, match="trained on dataset aaaa, not on bbbb"):
        RunDirectory(path).start("pretrain", Options(str(path)), {**DATASET, "fingerprint": "bbbb"})


def test_another_version_of_the_layout_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "format": 99}))
    with pytest.raises(UserError, match="run format 99"):
        RunDirectory(path).open()


@pytest.mark.parametrize("content", [None, "{", ""])
def test_missing_or_damaged_run_file(tmp_path, content):
    path = tmp_path / "run"
    path.mkdir()
    if content is not None:
        (path / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json"):
        RunDirectory(path).open()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not empty and holds no run"):
        RunDirectory(tmp_path).start("pretrain", Options(str(tmp_path)), DATASET)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_place_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        RunDirectory(tmp_path / "file" / "run").start("pretrain", Options("x"), DATASET)


def test_the_wrong_kind_and_an_unfinished_run_are_told(tmp_path):
    path = tmp_path / "run"
    run = RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    with pytest.raises(UserError, match="is a pretrain run; a finetune run is needed"):
        RunDirectory(path).open("finetune")
    with pytest.raises(UserError, match="has not finished"):
        RunDirectory(path).open().require_finished()
    run.finish()
    assert RunDirectory(path).open("pretrain").require_finished().finished
