"""An interrupted run ends in the same numbers, to the bit, as one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from mosei_ssl.errors import UserError
from mosei_ssl.training import Interrupted, finetune, pretrain
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.finetuning import load_model


def weights(run, name):
    return load_model(run / name).get_weights()


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def terminate_at(monkeypatch):
    """Sends this process SIGTERM once, when training has done so many steps in all."""

    def arm(steps: int) -> None:
        original = Checkpoint.on_train_batch_end
        done = 0

        def hook(self, batch, logs=None):
            nonlocal done
            done += 1
            if done == steps:
                os.kill(os.getpid(), signal.SIGTERM)
            original(self, batch, logs)

        monkeypatch.setattr(Checkpoint, "on_train_batch_end", hook)

    return arm


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_pretraining_stopped_within_an_epoch_goes_on_exactly(
    pretraining, terminate_at, precision, monkeypatch
):
    undisturbed = pretrain(pretraining("whole", precision=precision))
    terminate_at(5)
    with pytest.raises(Interrupted, match="state saved"):
        pretrain(pretraining("parts", precision=precision))
    monkeypatch.undo()
    resumed = pretrain(pretraining("parts", precision=precision))
    assert_same(weights(undisturbed, "backbone.keras"), weights(resumed, "backbone.keras"))
    assert (resumed / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    assert not resumed.checkpoints.exists()


def test_finetuning_stopped_within_an_epoch_goes_on_exactly(finetuning, terminate_at, monkeypatch):
    undisturbed = finetune(finetuning("whole", from_scratch=True))
    terminate_at(7)
    with pytest.raises(Interrupted):
        finetune(finetuning("parts", from_scratch=True))
    monkeypatch.undo()
    resumed = finetune(finetuning("parts", from_scratch=True))
    assert_same(weights(undisturbed, "model.keras"), weights(resumed, "model.keras"))
    assert (resumed / "history.csv").read_text() == (undisturbed / "history.csv").read_text()
    assert resumed.info["result"] == undisturbed.info["result"]


def test_a_run_cut_off_after_its_last_epoch_is_completed(finetuning, monkeypatch):
    undisturbed = finetune(finetuning("whole", from_scratch=True))

    def cut_off(model, path):
        raise KeyboardInterrupt

    monkeypatch.setattr("mosei_ssl.training.finetuning.save_model", cut_off)
    with pytest.raises(KeyboardInterrupt):
        finetune(finetuning("parts", from_scratch=True))
    monkeypatch.undo()
    resumed = finetune(finetuning("parts", from_scratch=True))
    assert_same(weights(undisturbed, "model.keras"), weights(resumed, "model.keras"))


@pytest.mark.slow
def test_kill_9_at_any_moment(pretraining, tmp_path):
    undisturbed = pretrain(pretraining("whole"))
    file = tmp_path / "options.yaml"
    options = json.loads(json.dumps(pretraining("parts", checkpoint_steps=1), default=vars))
    # Where a run lies and how often it is saved changes nothing about its numbers.
    file.write_text(yaml.safe_dump(options))
    command = [sys.executable, "-m", "mosei_ssl", "pretrain", "--config", str(file)]
    state = tmp_path / "parts" / "checkpoints" / "state.npz"
    for _ in range(2):
        seen = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == seen):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    assert_same(
        weights(undisturbed, "backbone.keras"),
        load_model(tmp_path / "parts" / "backbone.keras").get_weights(),
    )


def test_sigterm_ends_the_command_with_exit_code_0(pretraining, terminate_at, monkeypatch, capsys):
    from mosei_ssl.cli import main

    config = pretraining("run")
    terminate_at(2)
    data, backbone = config.data, config.backbone
    code = main(
        [
            *("pretrain", "--run", config.run, "--data.data_dir", data.data_dir),
            *("--data.batch_size", "16", "--backbone.hidden_dim", str(backbone.hidden_dim)),
        ]
    )
    assert code == 0
    assert "Give the same command to go on" in capsys.readouterr().err


def test_a_damaged_state_is_named(pretraining, terminate_at, monkeypatch, tmp_path):
    terminate_at(2)
    with pytest.raises(Interrupted):
        pretrain(pretraining("run"))
    monkeypatch.undo()
    file = tmp_path / "run" / "checkpoints" / "state.npz"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        pretrain(pretraining("run"))


def test_a_full_disk_keeps_the_last_state(pretraining, monkeypatch):
    # The second write of the state fails as a full disk makes it fail.
    writes = []
    original = os.fsync

    def fsync(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.endswith("state.tmp"):
            writes.append(name)
            if len(writes) == 2:
                raise OSError(28, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match=r"No space left.*last good state is kept"):
        pretrain(pretraining("run"))
    monkeypatch.undo()
    resumed = pretrain(pretraining("run"))
    assert_same(
        weights(resumed, "backbone.keras"),
        weights(pretrain(pretraining("whole")), "backbone.keras"),
    )


def test_a_loss_that_is_not_a_number_stops_with_step_and_remedy(pretraining, monkeypatch):
    from mosei_ssl.models import MaskedTimestepModel

    original = MaskedTimestepModel.objective

    def objective(self, outputs):
        loss, values = original(self, outputs)
        return loss * np.nan, values

    monkeypatch.setattr(MaskedTimestepModel, "objective", objective)
    with pytest.raises(UserError, match=r"loss is nan at epoch 1, step 1.*learning_rate"):
        pretrain(pretraining("run"))
