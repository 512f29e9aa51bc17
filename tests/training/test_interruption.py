"""An interrupted run ends in the same numbers, to the bit, as one that was left alone."""

import contextlib
import json
import os
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
from doomed import MOMENTS, pretrain_until
from quick_runs import quick_runs

from mosei_ssl.config import CodebookConfig, CodebookTaskConfig, PretrainConfig
from mosei_ssl.training import Interrupted, finetune, load_model, make_optimizer, pretrain
from mosei_ssl.training.callbacks import Validation
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.resumable_fit import prepare
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.signals import StopRequest, stop_politely

pytestmark = pytest.mark.usefixtures("quick")

EPOCHS = 2
# Random cuts, as the transformer's masks and dropout, in a program that is compiled sooner.
CODEBOOK = {"backbone": CodebookConfig(hidden_dim=16, code_dim=8), "task": CodebookTaskConfig()}


@pytest.fixture
def pretraining(options, tmp_path):
    def make(name: str, **changes) -> PretrainConfig:
        return PretrainConfig(run=str(tmp_path / name), **{**options, "epochs": EPOCHS, **changes})

    return make


@pytest.fixture(scope="module")
@quick_runs()
def undisturbed(options, tmp_path_factory):
    """A pretraining run that was left alone, the reference of all others."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return pretrain(PretrainConfig(run=str(folder), epochs=EPOCHS, **options))


@pytest.fixture(scope="module")
@quick_runs("graph")
def undisturbed_codebook(options, tmp_path_factory):
    """The same in a graph, of the other kind."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return pretrain(PretrainConfig(**{**options, **CODEBOOK, "run": str(folder), "epochs": EPOCHS}))


def weights(run, name="backbone.keras"):
    return load_model(run / name).get_weights()


def assert_same(ours, theirs, name="backbone.keras"):
    for a, b in zip(weights(ours, name), weights(theirs, name), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (ours / "history.csv").read_text() == (theirs / "history.csv").read_text()


@contextlib.contextmanager
def signalled(*numbers, step=0):
    """Sends this process signals, in the first epoch after so many steps or while it validates."""
    with pytest.MonkeyPatch.context() as patch:
        end_step, validate, done = Checkpoint.on_train_batch_end, Validation.on_epoch_end, []

        def send():
            for number in numbers:
                os.kill(os.getpid(), number)

        def on_train_batch_end(self, batch, logs=None):
            done.append(batch)
            if len(done) == step:
                send()
            end_step(self, batch, logs)

        def on_epoch_end(self, epoch, logs=None):
            if not step:
                send()
            validate(self, epoch, logs)

        patch.setattr(Checkpoint, "on_train_batch_end", on_train_batch_end)
        patch.setattr(Validation, "on_epoch_end", on_epoch_end)
        yield


def test_pretraining_stopped_within_an_epoch_or_in_validation_resumes_exactly(
    pretraining, undisturbed
):
    before = signal.getsignal(signal.SIGTERM)
    # The epoch under way is finished and saved; the second run resumes and is stopped too.
    for epoch, number, step in ((1, signal.SIGTERM, 2), (2, signal.SIGINT, 0)):
        message = f"stopped after epoch {epoch}; state saved"
        with signalled(number, step=step), pytest.raises(Interrupted, match=message) as stopped:
            pretrain(pretraining("parts"))
        assert stopped.value.exit_code == 128 + number
        assert signal.getsignal(signal.SIGTERM) is before
    resumed = pretrain(pretraining("parts"))
    assert_same(resumed, undisturbed)
    assert not resumed.checkpoints.exists()


def test_a_second_signal_stops_at_once_and_loses_the_epoch_under_way(pretraining):
    with signalled(signal.SIGINT, signal.SIGINT, step=2), pytest.raises(Interrupted) as stopped:
        pretrain(pretraining("run", **CODEBOOK))
    assert stopped.value.exit_code == 130
    assert not os.path.exists(os.path.join(pretraining("run").run, "checkpoints", "state.npz"))


def test_all_state_is_restored_the_loss_scale_and_random_generators_too(tmp_path):
    def make():
        prepare("mixed_float16", seed=0)
        model = keras.Sequential(
            [keras.layers.Input((3,)), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(2)]
        )
        model.compile(make_optimizer(PretrainConfig(run="").optimizer, 10), loss="mse")
        model.optimizer.build(model.trainable_variables)
        return model

    saved, restored = make(), make()
    variables = [*saved.variables, *saved.optimizer.variables]
    for number, variable in enumerate(variables):
        variable.assign(np.full(variable.shape, number + 1, variable.dtype))
    for model, act in ((saved, Checkpoint.save), (restored, lambda c: c.restore(restored))):
        checkpoint = Checkpoint(tmp_path / "state.npz", StopRequest())
        checkpoint.set_model(model)
        act(checkpoint)
    keras.config.set_dtype_policy("float32")
    others = [*restored.variables, *restored.optimizer.variables]
    assert any("seed_generator" in variable.path for variable in others)
    assert any("dynamic_scale" in variable.path for variable in others)
    for variable, other in zip(variables, others, strict=True):
        np.testing.assert_array_equal(variable.numpy(), other.numpy(), err_msg=other.path)


def test_finetuning_is_resumed_exactly_with_its_best_epoch_also_once_cut_off_at_its_end(
    finetuning, finetuned_once, monkeypatch
):
    config = finetuning("parts", from_scratch=True)
    with signalled(signal.SIGTERM, step=1), pytest.raises(Interrupted):
        finetune(config)

    def cut_off(model, path):
        raise ZeroDivisionError

    monkeypatch.setattr("mosei_ssl.training.finetuning.save_model", cut_off)
    with pytest.raises(ZeroDivisionError):
        finetune(config)
    monkeypatch.undo()
    resumed = finetune(config)
    assert_same(resumed, finetuned_once, "model.keras")
    assert resumed.info["result"] == finetuned_once.info["result"]


def command_options(config: PretrainConfig, file) -> list[str]:
    file.write_text(yaml.safe_dump(json.loads(json.dumps(config, default=vars))))
    return ["--config", str(file)]


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_in_the_same_weights(
    graph, pretraining, undisturbed_codebook, tmp_path
):
    options = command_options(pretraining("run", **CODEBOOK), tmp_path / "options.yaml")
    for moment in MOMENTS:
        child = start_child(pretrain_until, moment, options, log=tmp_path / "log")
        child.join(120)
        assert child.exitcode == -signal.SIGKILL, (moment, (tmp_path / "log").read_text())
    assert_same(pretrain(pretraining("run", **CODEBOOK)), undisturbed_codebook)


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
    assert process.returncode == 128 + signal.SIGTERM, messages
    assert "stopped; what was saved is kept. Give the same command" in messages
    assert not run.exists()


def test_sigterm_while_data_are_loaded_leaves_nothing_behind(pretraining, monkeypatch, capsys):
    from mosei_ssl.cli import main

    def load(config, splits):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("mosei_ssl.training.pretraining.load_pretraining_segments", load)
    config = pretraining("run")
    assert main(["pretrain", "--run", config.run, "--data-dir", config.data_dir]) == 143
    assert "Give the same command" in capsys.readouterr().err
    assert not os.path.exists(config.run)


def test_signals_keep_what_they_did_once_training_is_over_whatever_ended_it():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), stop_politely():
        raise ZeroDivisionError
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_is_noted_while_it_is_held_back_and_answered_at_the_end():
    reached = []

    def work():
        with stop_politely() as stop:
            with stop.held():
                os.kill(os.getpid(), signal.SIGTERM)
                with stop_politely() as inner:
                    reached.append(inner.number)
            reached.append("never")

    with pytest.raises(Interrupted) as stopped:
        work()
    assert reached == [signal.SIGTERM]
    assert stopped.value.exit_code == 143


class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_within_a_destructor_is_answered_when_training_begins():
    def work():
        with stop_politely() as stop:
            Destroyed()
            with stop.held():
                pytest.fail("it went on")

    with pytest.raises(Interrupted):
        work()


def test_another_thread_than_the_main_one_may_train():
    found = []

    def train():
        with stop_politely() as stop:
            found.append(stop.number)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert found == [0]


def test_a_damaged_state_and_one_of_another_model_are_named(tmp_path):
    def checkpoint(width):
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(width, name="a")])
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
        found = Checkpoint(tmp_path / "state.npz", StopRequest())
        found.set_model(model)
        return found, model

    checkpoint(2)[0].save()
    other, model = checkpoint(5)
    with pytest.raises(UserError, match=r"state\.npz belongs to another model"):
        other.restore(model)
    file = tmp_path / "state.npz"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(UserError, match=r"state\.npz is damaged"):
        other.restore(model)


def test_a_full_disk_keeps_the_last_state(graph, pretraining, undisturbed_codebook, monkeypatch):
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
        pretrain(pretraining("run", **CODEBOOK))
    monkeypatch.undo()
    assert_same(pretrain(pretraining("run", **CODEBOOK)), undisturbed_codebook)


def test_what_writing_raises_in_training_is_told_as_such(pretraining, monkeypatch):
    import tensorflow as tf

    def fail(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "/runs/x; No space left on device")

    monkeypatch.setattr(tf.summary, "create_file_writer", fail)
    with pytest.raises(UserError, match=r"No space left on device\. No state was saved before"):
        pretrain(pretraining("run"))
