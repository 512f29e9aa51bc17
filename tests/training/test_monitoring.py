"""What a run reports while it trains: speed, gradients, profiles, and what spoiled it."""

import json
import os
import re
import signal
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mosei_ssl.config import CodebookConfig, CodebookTaskConfig
from mosei_ssl.data import BatchPlan, load_pretraining_segments
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training import Interrupted, pretrain
from mosei_ssl.training.callbacks import (
    BestEpoch,
    History,
    Progress,
    SparseCallbackList,
    Validation,
)
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.finetuning import MONITORS
from mosei_ssl.training.resumable_fit import parse_profile_steps
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.progress import progress
from mosei_ssl.utils.signals import StopRequest

pytestmark = pytest.mark.usefixtures("quick")

CODEBOOK = {"backbone": CodebookConfig(hidden_dim=8, code_dim=4), "task": CodebookTaskConfig()}


def test_the_gradient_norm_is_the_mean_before_clipping():
    optimizer = LayerwiseAdamW(learning_rate=0.1, global_clipnorm=0.5)
    weights = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer.build(weights)
    optimizer.apply([np.array([3.0, 0.0], "float32"), np.array([4.0], "float32")])
    optimizer.apply([np.array([0.0, 0.0], "float32"), np.array([1.0], "float32")])
    assert optimizer.take_gradient_norm() == pytest.approx(3.0)
    assert np.isnan(optimizer.take_gradient_norm())


def test_tensorboard_gets_speed_gradients_and_a_profile_and_resumes_its_steps(
    graph, pretraining, monkeypatch
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def stop(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGTERM)
        validate(self, epoch, logs)

    validate = Validation.on_epoch_end
    config = pretraining("run", epochs=2, **CODEBOOK)
    monkeypatch.setattr(Validation, "on_epoch_end", stop)
    with pytest.raises(Interrupted):
        pretrain(config, profile_steps="2,3")
    monkeypatch.undo()
    run = pretrain(config)
    events = EventAccumulator(str(run / "train")).Reload()
    names = ("loss", "learning_rate", "gradient_norm", "steps_per_second")
    for name in names:
        assert [event.step for event in events.Tensors(f"epoch_{name}")] == [0, 1]
    assert list((run / "train").glob("plugins/profile/*/*.xplane.pb"))
    assert [row["epoch"] for row in run.history()] == [1, 2]


@pytest.mark.parametrize("steps", ["3", "0,2", "5,4", "a,b"])
def test_bad_profile_steps_are_told(pretraining, steps):
    with pytest.raises(UserError, match="first and the last step"):
        pretrain(pretraining("run"), profile_steps=steps)
    assert parse_profile_steps("10,20") == (10, 20)


def batch_names(config, epoch, step):
    segments = load_pretraining_segments(config, config.splits)
    spec = BatchPlan(segments.lengths, config, config.seed).epoch(epoch)[step]
    return [f"{segments.video_ids[i]}[{segments.segment_ids[i]}]" for i in spec.indices]


def test_a_spoiled_loss_names_step_segments_and_the_last_good_state(pretraining, monkeypatch):
    from mosei_ssl.training.callbacks import StopOnNonFinite

    hook = StopOnNonFinite.on_train_batch_end
    monkeypatch.setattr(
        StopOnNonFinite,
        "on_train_batch_end",
        lambda self, batch, logs=None: hook(
            self, batch, {"loss": np.nan} if self.checkpoint.epoch == 1 and batch == 1 else logs
        ),
    )
    config = pretraining("run", epochs=2, **CODEBOOK)
    with pytest.raises(UserError) as error:
        pretrain(config)
    listed = json.loads((Path(config.run) / "not_a_number.json").read_text())
    assert listed["segments"] == batch_names(config, 1, 1)
    assert (listed["epoch"], listed["step"]) == (2, 2)
    message = str(error.value)
    assert "loss is nan at epoch 2, step 2" in message
    assert listed["segments"][0] in message
    assert "last good state, after epoch 1, is in" in message


def test_of_steps_that_nobody_looked_at_all_are_named(pretraining, monkeypatch):
    from mosei_ssl.training.callbacks import StopOnNonFinite

    monkeypatch.setattr("mosei_ssl.training.resumable_fit.steps_between_looks", lambda: 2)
    hook = StopOnNonFinite.on_train_batch_end
    monkeypatch.setattr(
        StopOnNonFinite,
        "on_train_batch_end",
        lambda self, batch, logs=None: hook(self, batch, {"loss": np.nan} if batch > 1 else logs),
    )
    config = pretraining("run", epochs=1, **CODEBOOK)
    with pytest.raises(UserError, match=r"loss is nan at epoch 1, steps 2 to 3, on segments"):
        pretrain(config)
    listed = json.loads((Path(config.run) / "not_a_number.json").read_text())
    assert (listed["first_step"], listed["step"]) == (2, 3)
    assert listed["segments"] == [*batch_names(config, 0, 1), *batch_names(config, 0, 2)]


def test_callbacks_are_told_of_few_steps():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    told, shown = [], []
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: told.append(batch))
    model.fit(
        np.zeros((8, 1)),
        np.zeros((8, 1)),
        batch_size=1,
        epochs=2,
        verbose=0,
        callbacks=SparseCallbackList(
            [note, Progress(lambda steps, note="": shown.append(steps), 2)],
            every=3,
            model=model,
            steps=8,
        ),
    )
    assert told == [0, 3, 6, 7] * 2
    assert [steps for steps in shown if steps] == [1, 3, 3, 1] * 2
    assert model.history.history["loss"] == [0.0, 0.0]


def test_a_spoiled_gradient_names_its_own_step_although_the_loss_is_a_number(
    pretraining, monkeypatch
):
    from mosei_ssl.models import MaskedTimestepModel

    objective, begin = MaskedTimestepModel.objective, Checkpoint.on_train_batch_begin
    spoiled = tf.Variable(0.0, trainable=False)

    def with_spoiled_gradient(self, outputs):
        loss, values = objective(self, outputs)
        weight = self.trainable_variables[0]
        # The square root of 0 is a number, its slope is none.
        return loss + tf.sqrt(0.0 * tf.reduce_sum(weight) + 1.0 - spoiled), values

    def on_train_batch_begin(self, batch, logs=None):
        spoiled.assign(float(batch == 1))
        begin(self, batch, logs)

    monkeypatch.setattr(MaskedTimestepModel, "objective", with_spoiled_gradient)
    monkeypatch.setattr(Checkpoint, "on_train_batch_begin", on_train_batch_begin)
    config = pretraining("run", epochs=1)
    with pytest.raises(UserError, match=r"gradient's norm is nan at epoch 1, step 2, on segments"):
        pretrain(config)
    listed = json.loads((Path(config.run) / "not_a_number.json").read_text())
    assert listed["segments"] == batch_names(config, 0, 1)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    checkpoint = Checkpoint(tmp_path / "state.npz", StopRequest())
    checkpoint.set_model(model)
    model.stop_training = False
    checkpoint.on_epoch_end(0)
    saved = checkpoint.file.read_bytes()
    model.trainable_variables[0].assign(model.trainable_variables[0] * np.inf)
    last = "The last good state, after epoch 1, is in"
    with pytest.raises(UserError, match=f"kernel is no longer finite after epoch 2. {last}"):
        checkpoint.on_epoch_end(1)
    assert checkpoint.file.read_bytes() == saved


def test_history_keeps_finished_epochs_only_when_a_run_is_resumed(tmp_path):
    file, model = tmp_path / "history.csv", keras.Sequential([keras.layers.Dense(1)])
    for finished, epochs in ((0, 2), (1, 3)):  # the second time, epoch 2 was not saved
        history = History(file, finished)
        history.set_model(model)
        history.on_train_begin()
        for epoch in range(finished, epochs):
            history.on_epoch_end(epoch, {"loss": epoch + 0.5, "val_loss": 10.0 * finished})
        history.on_train_end()
    with open(file, "a") as half:
        half.write("4,")
    History(file, 3)
    assert file.read_text().splitlines() == [
        "epoch,loss,val_loss",
        "1,0.5,0.0",
        "2,1.5,10.0",
        "3,2.5,10.0",
    ]


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_kept_epoch_is_the_best_by_any_score(monitor):
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    rises = any(name in monitor for name in ("accuracy", "pearson_r", "auroc"))
    values = [0.5, 0.7, 0.6] if rises else [0.5, 0.3, 0.4]
    best = BestEpoch(monitor, patience=2)
    best.set_model(model)
    best.on_train_begin()
    model.stop_training = False
    for epoch, value in enumerate([np.nan, *values]):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        best.on_epoch_end(epoch, {monitor: value})
    assert (best.best_epoch, model.stop_training) == (2, False)
    resumed = BestEpoch(monitor, patience=2)
    resumed.set_state(*json_copy(best.get_state()))
    resumed.set_model(model)
    resumed.on_train_begin()
    resumed.on_epoch_end(4, {monitor: values[0]})
    assert model.stop_training
    resumed.on_train_end()
    assert model.get_weights()[0] == 2.0


def json_copy(state):
    numbers, weights = state
    return json.loads(json.dumps(numbers)), weights


def test_progress_shows_steps_time_left_epoch_and_scores(caplog, monkeypatch):
    monkeypatch.setattr("mosei_ssl.utils.progress.LOG_SECONDS", 0.05)
    logged = threading.Event()

    def note(record):
        if "epoch 2/3" in record.getMessage():
            logged.set()
        return True

    monkeypatch.setattr(caplog.handler, "filters", [note])
    with (
        caplog.at_level("INFO", logger="mosei_ssl"),
        progress("pretraining", total=12, done=4) as advance,
    ):
        line = Progress(advance, epochs=3)
        for batch in range(4):
            line.on_train_batch_end(batch)
        line.on_epoch_end(1, {"loss": 0.5665, "val_loss": 0.45, "accuracy": 0.5})
        assert logged.wait(10)
    pattern = r"pretraining: 8 of 12 done \(67 %\), about .* left; epoch 2/3: val_loss 0.4500, loss"
    assert re.search(pattern, caplog.text)
