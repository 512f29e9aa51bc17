"""An interrupted run ends in the same numbers, to the bit, as one that was left alone."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import yaml
from children import start_child
from doomed import pretrain_until

from mosei_ssl.data import load_segments, make_training_dataset
from mosei_ssl.training import FinetuneConfig, Interrupted, PretrainConfig, finetune, pretrain
from mosei_ssl.training.callbacks import BestWeights, History, Validation
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.finetuning import load_model
from mosei_ssl.training.loop import make_optimizer, prepare
from mosei_ssl.training.reconstruction import ReconstructionImages
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.signals import stop_politely

EPOCHS = 2


@pytest.fixture(autouse=True, scope="module")
def no_pictures():
    """Pictures are tested elsewhere, and drawing them is much of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReconstructionImages, "on_epoch_end", lambda self, epoch, logs=None: None)
        yield


@pytest.fixture
def pretraining(options, tmp_path):
    def make(name: str, **changes) -> PretrainConfig:
        return PretrainConfig(run=str(tmp_path / name), **{**options, "epochs": EPOCHS, **changes})

    return make


@pytest.fixture(scope="module")
def undisturbed(options, tmp_path_factory):
    """A pretraining run that was left alone, the reference of all others; by precision."""
    done = {}

    def run(precision="float32"):
        if precision not in done:
            folder = tmp_path_factory.mktemp("whole") / "run"
            done[precision] = pretrain(
                PretrainConfig(run=str(folder), epochs=EPOCHS, precision=precision, **options)
            )
        return done[precision]

    return run


@pytest.fixture(scope="module")
def undisturbed_finetuning(finetuning_options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return finetune(FinetuneConfig(run=str(folder), from_scratch=True, **finetuning_options))


@pytest.fixture(scope="module")
def steps(options) -> int:
    """Steps of one epoch."""
    segments = load_segments(options["data"], "train")
    return make_training_dataset(segments, options["data"], seed=0).steps_per_epoch


def weights(run, name="backbone.keras"):
    return load_model(run / name).get_weights()


def assert_same(ours, theirs, name="backbone.keras"):
    for a, b in zip(weights(ours, name), weights(theirs, name), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (ours / "history.csv").read_text() == (theirs / "history.csv").read_text()


@contextlib.contextmanager
def terminated(step=0, validation=False):
    """Sends this process SIGTERM once, after so many steps, or while it validates."""
    with pytest.MonkeyPatch.context() as patch:
        end_step, validate, done = Checkpoint.on_train_batch_end, Validation.on_epoch_end, []

        def on_train_batch_end(self, batch, logs=None):
            done.append(batch)
            if len(done) == step:
                os.kill(os.getpid(), signal.SIGTERM)
            end_step(self, batch, logs)

        def on_epoch_end(self, epoch, logs=None):
            if validation:
                self.score()  # leaves its marks on metrics and random generators
                os.kill(os.getpid(), signal.SIGTERM)
            validate(self, epoch, logs)

        patch.setattr(Checkpoint, "on_train_batch_end", on_train_batch_end)
        patch.setattr(Validation, "on_epoch_end", on_epoch_end)
        yield


def test_pretraining_stopped_at_any_step_or_in_validation_goes_on_exactly(
    pretraining, undisturbed, steps
):
    before = signal.getsignal(signal.SIGTERM)
    # Each goes on from where the one before was stopped.
    for moment, place in (
        ({"step": 2}, "epoch 1, step 2"),
        ({"step": steps - 2}, f"epoch 1, step {steps}"),
        ({"validation": True}, "the end of an epoch"),
        ({"step": steps}, f"epoch 2, step {steps}"),
    ):
        with terminated(**moment), pytest.raises(Interrupted, match=f"{place}; state saved"):
            pretrain(pretraining("parts"))
        assert signal.getsignal(signal.SIGTERM) is before
    resumed = pretrain(pretraining("parts"))
    assert_same(resumed, undisturbed())
    assert not resumed.checkpoints.exists()


@pytest.mark.slow
def test_half_precision_stopped_within_an_epoch_goes_on_exactly(pretraining, undisturbed):
    with terminated(step=3), pytest.raises(Interrupted):
        pretrain(pretraining("parts", precision="mixed_float16"))
    resumed = pretrain(pretraining("parts", precision="mixed_float16"))
    assert_same(resumed, undisturbed("mixed_float16"))


def test_the_loss_scale_is_restored(tmp_path):
    def make():
        prepare("mixed_float16", seed=0)
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
        model.compile(make_optimizer(PretrainConfig("").optimizer, 10), loss="mse")
        model.optimizer.build(model.trainable_variables)
        return model

    saved, restored = make(), make()
    saved.optimizer.dynamic_scale.assign(4321.0)
    saved.optimizer.step_counter.assign(1999)
    for model, act in ((saved, Checkpoint.save), (restored, lambda c: c.restore(restored))):
        checkpoint = Checkpoint(tmp_path, steps_per_epoch=5)
        checkpoint.set_model(model)
        act(checkpoint)
    keras.config.set_dtype_policy("float32")
    assert float(restored.optimizer.dynamic_scale) == 4321.0
    assert int(restored.optimizer.step_counter) == 1999


def test_finetuning_stopped_within_an_epoch_goes_on_exactly(finetuning, undisturbed_finetuning):
    with terminated(step=7), pytest.raises(Interrupted):
        finetune(finetuning("parts", from_scratch=True))
    resumed = finetune(finetuning("parts", from_scratch=True))
    assert_same(resumed, undisturbed_finetuning, "model.keras")
    assert resumed.info["result"] == undisturbed_finetuning.info["result"]


def test_a_run_cut_off_after_its_last_epoch_is_completed(
    finetuning, undisturbed_finetuning, monkeypatch
):
    def cut_off(model, path):
        raise KeyboardInterrupt

    monkeypatch.setattr("mosei_ssl.training.finetuning.save_model", cut_off)
    with pytest.raises(KeyboardInterrupt):
        finetune(finetuning("parts", from_scratch=True))
    monkeypatch.undo()
    resumed = finetune(finetuning("parts", from_scratch=True))
    assert_same(resumed, undisturbed_finetuning, "model.keras")


def test_best_weights_are_never_half_written(tmp_path, monkeypatch):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    best = BestWeights(tmp_path / "best.npz", "val_loss", 0)
    best.set_model(model)
    best.on_epoch_end(0, {"val_loss": 2.0})
    before = (tmp_path / "best.npz").read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        best.on_epoch_end(1, {"val_loss": 1.0})
    assert (tmp_path / "best.npz").read_bytes() == before


def command_options(config: PretrainConfig, file) -> list[str]:
    file.write_text(yaml.safe_dump(json.loads(json.dumps(config, default=vars))))
    return ["--config", str(file)]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_in_the_same_weights(pretraining, undisturbed, tmp_path):
    # How often a run is saved changes nothing about its numbers.
    options = command_options(pretraining("run", checkpoint_steps=1), tmp_path / "options.yaml")
    draw = random.Random(7)
    for moment, *arguments in (
        ("start",),
        ("sometime", draw.uniform(0.2, 1.5), False),
        ("state file",),
        ("sometime", draw.uniform(0.0, 0.3), True),
        ("validation",),
        ("epoch end",),
        ("sometime", draw.uniform(0.0, 0.3), True),
        ("last save",),
    ):
        child = start_child(pretrain_until, moment, arguments, options, log=tmp_path / "log")
        child.join(120)
        assert child.exitcode == -signal.SIGKILL, (moment, (tmp_path / "log").read_text())
    child = start_child(pretrain_until, "none", (), options, log=tmp_path / "log")
    child.join(120)
    assert child.exitcode == 0, (tmp_path / "log").read_text()
    assert_same(tmp_path / "run", undisturbed().path)


@pytest.mark.slow
def test_sigterm_in_a_long_validation_ends_the_command_within_seconds(
    pretraining, undisturbed, tmp_path
):
    options = command_options(pretraining("run"), tmp_path / "options.yaml")
    mark, log = tmp_path / "validating", tmp_path / "log"
    child = start_child(pretrain_until, "endless validation", (str(mark),), options, log=log)
    deadline = time.monotonic() + 90
    while not mark.exists() and time.monotonic() < deadline and child.is_alive():
        time.sleep(0.05)
    time.sleep(1.0)
    assert child.is_alive(), log.read_text()
    began = time.monotonic()
    child.terminate()
    child.join(30)
    assert child.exitcode == 0, log.read_text()
    assert time.monotonic() - began < 10
    assert "Give the same command to go on" in log.read_text()
    # Nothing of the epoch is lost.
    assert_same(pretrain(pretraining("run")), undisturbed())


def test_sigterm_while_tensorflow_is_imported_ends_the_command_politely(tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "mosei_ssl", "pretrain", "--run", str(run)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    catches = 0
    while process.poll() is None and not catches & 1 << (signal.SIGTERM - 1):
        with open(f"/proc/{process.pid}/status") as status:
            catches = int(next(line for line in status if line.startswith("SigCgt")).split()[1], 16)
    process.terminate()
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 0, messages
    assert "stopped; nothing is lost. Give the same command" in messages
    assert not run.exists()


def test_sigterm_while_data_are_loaded_leaves_nothing_behind(pretraining, monkeypatch, capsys):
    from mosei_ssl.cli import main

    def load(config, splits):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("mosei_ssl.training.pretraining.load_pretraining_segments", load)
    config = pretraining("run")
    assert main(["pretrain", "--run", config.run, "--data.data_dir", config.data.data_dir]) == 0
    assert "Give the same command to go on" in capsys.readouterr().err
    assert not os.path.exists(config.run)


def test_signals_keep_what_they_did_once_training_is_over_whatever_ended_it():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stop_politely():
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_is_noted_while_it_is_held_back_and_answered_when_released():
    reached = []

    def work():
        with stop_politely() as stop:
            stop.hold()
            os.kill(os.getpid(), signal.SIGTERM)
            with stop_politely() as inner:
                reached.append(inner.asked)
            stop.release()
            reached.append("never")

    with pytest.raises(Interrupted):
        work()
    assert reached == [True]


def test_another_thread_than_the_main_one_may_train():
    found = []

    def train():
        with stop_politely() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_damaged_state_is_named(pretraining):
    config = pretraining("run")
    with terminated(step=1), pytest.raises(Interrupted):
        pretrain(config)
    file = os.path.join(config.run, "checkpoints", "state.npz")
    os.truncate(file, os.path.getsize(file) // 2)
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        pretrain(config)


def test_a_full_disk_keeps_the_last_state(pretraining, undisturbed, monkeypatch):
    # The second write of the state fails as a full disk makes it fail.
    writes = []
    original = os.fsync

    def fsync(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.endswith("state.npz.tmp"):
            writes.append(name)
            if len(writes) == 2:
                raise OSError(28, "No space left on device")
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match=r"No space left.*last good state, after epoch 1, is in"):
        pretrain(pretraining("run"))
    monkeypatch.undo()
    assert_same(pretrain(pretraining("run")), undisturbed())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True
    )
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place) -> None:
    with contextlib.suppress(OSError), open(place / "filler", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def test_a_disk_that_fills_up_is_told_with_the_last_state(
    small_disk, pretraining, undisturbed, monkeypatch
):
    monkeypatch.setattr("mosei_ssl.training.run_directory._FREE_BYTES", 0)
    write = History.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            fill(small_disk)
        write(self, epoch, logs)

    monkeypatch.setattr(History, "on_epoch_end", on_epoch_end)
    config = pretraining("run")
    config.run = str(small_disk / "run")
    last = r"No space left.*last good state, after epoch 1, is in .*Make room"
    with pytest.raises(UserError, match=last):
        pretrain(config)
    # So does starting again while it is full.
    with pytest.raises(UserError, match=r"cannot write to .*No space left"):
        pretrain(config)
    monkeypatch.setattr(History, "on_epoch_end", write)
    (small_disk / "filler").unlink()
    assert_same(pretrain(config), undisturbed())


@pytest.mark.parametrize("kind", ["python", "tensorflow"])
def test_what_writing_raises_in_training_is_told_as_such(kind, pretraining, monkeypatch):
    import tensorflow as tf

    error = (
        OSError(28, "No space left on device")
        if kind == "python"
        else tf.errors.ResourceExhaustedError(None, None, "/runs/x; No space left on device")
    )

    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(tf.summary, "create_file_writer", fail)
    with pytest.raises(UserError, match=r"No space left on device\. No state was saved before"):
        pretrain(pretraining("run"))


def test_a_loss_that_is_not_a_number_stops_with_step_and_remedy(pretraining, monkeypatch):
    from mosei_ssl.models import MaskedTimestepModel

    original = MaskedTimestepModel.objective

    def objective(self, outputs):
        loss, values = original(self, outputs)
        return loss * np.nan, values

    monkeypatch.setattr(MaskedTimestepModel, "objective", objective)
    with pytest.raises(UserError, match=r"loss is nan at epoch 1, step 1.*learning_rate"):
        pretrain(pretraining("run"))
