"""Run directories: what they refuse, and that nothing is overwritten."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import keras
import pytest

from mosei_ssl.training.run_directory import RunDirectory
from mosei_ssl.training.saved_models import save_model
from mosei_ssl.utils.errors import UserError

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


def test_a_run_is_for_one_process_at_a_time(tmp_path):
    run = RunDirectory(tmp_path / "run").start("pretrain", Options("run"), DATASET)
    program = (
        "import fcntl, os, sys\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    begun = ("pretrain", Options("run"), DATASET)
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="is being trained by another process"), run.begun(*begun):
        pass
    other.kill()
    other.wait()
    for _ in range(2):
        with run.begun(*begun):
            assert not run.finished
    # One that the other has finished needs nobody any more.
    run.finish()
    with RunDirectory(run.path).begun(*begun):
        pass


def test_a_run_is_taken_up_with_the_backend_it_was_begun_with(tmp_path, monkeypatch):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    here = keras.backend.backend()
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(UserError, match=rf"set KERAS_BACKEND={here}"):
        RunDirectory(path).start("pretrain", Options(str(path)), DATASET)


def test_other_options_are_named_and_nothing_is_overwritten(tmp_path):
    path = tmp_path / "run"
    RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    before = (path / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"other options \(rate: now 0.5, before 0.1\)"):
        RunDirectory(path).start("pretrain", Options(str(path), rate=0.5), DATASET)
    assert (path / "config.yaml").read_text() == before


@dataclasses.dataclass
class Places:
    run: str
    pretrained: str | None
    data_dir: str
    seed: int = 0


def test_a_place_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    def start_at(data_dir, pretrained):
        options = Places("run", pretrained, str(data_dir))
        return RunDirectory(tmp_path / "run").start("finetune", options, DATASET)

    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    run = start_at("data", "runs/pre/")
    options = run.config()
    assert options["pretrained"] == str(tmp_path / "runs" / "pre")
    assert options["data_dir"] == str(tmp_path / "data")
    start_at(tmp_path / "data", str(tmp_path / "runs" / "pre"))
    start_at("./link", "elsewhere/../runs/pre")
    monkeypatch.chdir(tmp_path / "elsewhere")
    start_at("../data", "../runs/pre")
    with pytest.raises(UserError) as error:
        start_at("data", "../runs/pre")
    here = tmp_path / "elsewhere"
    assert f"data_dir: now {here / 'data'}, before {tmp_path / 'data'}" in str(error.value)
    assert "pretrained" not in str(error.value)


def test_a_run_that_recorded_relative_places_is_still_taken_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = Places("run", "runs/pre", "data")
    run = RunDirectory(tmp_path / "run").start("finetune", options, DATASET)
    written = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(written.replace(f"{tmp_path}/", ""))
    assert RunDirectory(run.path).config()["data_dir"] == "data"
    RunDirectory(run.path).start("finetune", options, DATASET)


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


def start(path):
    return RunDirectory(path).start("pretrain", Options(str(path)), DATASET)


@pytest.mark.parametrize("place", ["file", "file/run", "x" * 300])
def test_a_place_that_cannot_be_written_is_told_before_training(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to|is a file"):
        start(tmp_path / place)
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_place_without_permission_is_told_at_the_start_and_when_resuming(
    tmp_path, monkeypatch, begun
):
    if begun:
        start(tmp_path / "run")

    def refuse(descriptor):
        raise PermissionError(13, "Permission denied")

    # As root, who may run these tests, nothing is without permission.
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=r"cannot write to .*run: Permission denied"):
        start(tmp_path / "run")


def test_too_little_space_is_told_and_once_there_is_some_the_run_begins(tmp_path, monkeypatch):
    path, usage = tmp_path / "runs" / "run", shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=3 * 2**20))
    message = "only 3 MiB are free at .*run; a run needs 256 MiB"
    with pytest.raises(UserError, match=message):
        start(path)
    assert not path.parent.exists()
    monkeypatch.undo()
    assert start(path).info["state"] == "running"
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=3 * 2**20))
    with pytest.raises(UserError, match=message):
        start(path)
    RunDirectory(path).open().finish()
    assert start(path).finished


@pytest.mark.parametrize("last", [".probe", ".probe.tmp", "run.json.tmp", "run.json"])
def test_a_run_killed_while_it_starts_can_be_started_again(tmp_path, monkeypatch, last):
    path = tmp_path / "run"
    replace = os.replace

    class Killed(BaseException):
        pass

    def stop(temporary, target):
        if f"{target.name}.tmp" == last:
            raise Killed
        replace(temporary, target)
        if target.name == last:
            raise Killed

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(Killed):
        start(path)
    monkeypatch.undo()
    assert [f.name for f in path.iterdir()] == [last]
    start(path)
    assert start(path).config()["rate"] == 0.1


def test_a_folder_with_a_users_own_options_is_no_run(tmp_path):
    (tmp_path / "config.yaml").write_text("rate: 0.5\n")
    with pytest.raises(UserError, match="not empty and holds no run"):
        start(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "rate: 0.5\n"


@pytest.mark.parametrize("content", ["{", "text", "\xff"])
def test_damaged_options_are_told(tmp_path, content):
    start(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"config\.yaml is damaged"):
        start(tmp_path / "run")


def test_a_run_is_not_called_finished_before_its_files_are_on_disk(tmp_path, monkeypatch):
    run = start(tmp_path / "run")
    synced, replace, fsync = [], os.replace, os.fsync

    def noting_fsync(descriptor):
        synced.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        fsync(descriptor)

    def noting_replace(temporary, target):
        synced.append(("rename", target.name))
        replace(temporary, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    save_model(keras.Sequential([keras.layers.Input((1,))]), run / "backbone.keras")
    run.finish()
    assert synced == [
        ("sync", "partial-backbone.keras"),
        ("rename", "backbone.keras"),
        ("sync", "run"),
        ("sync", "run.json.tmp"),
        ("rename", "run.json"),
        ("sync", "run"),
    ]


def test_the_wrong_kind_and_an_unfinished_run_are_told(tmp_path):
    path = tmp_path / "run"
    run = RunDirectory(path).start("pretrain", Options(str(path)), DATASET)
    with pytest.raises(UserError, match="is a pretrain run; a finetune run is needed"):
        RunDirectory(path).open("finetune")
    with pytest.raises(UserError, match="has not finished"):
        RunDirectory(path).open().require_finished()
    run.finish()
    assert RunDirectory(path).open("pretrain").require_finished().finished
