"""What a run tells while it trains: speed, gradients, profiles, and what spoiled it."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mosei_ssl.data import DataConfig, load_segments, make_training_dataset
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training import pretrain
from mosei_ssl.training.callbacks import BestWeights, ProgressLine
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.training.finetuning import MONITORS
from mosei_ssl.training.monitoring import Throughput, parse_profile_steps
from mosei_ssl.utils.errors import UserError


def test_throughput_counts_real_frames_and_splits_a_steps_time(options, monkeypatch):
    config = DataConfig(**{**vars(options["data"]), "batch_size": 8})
    data = make_training_dataset(load_segments(config, "train"), config, seed=0)
    clock = iter([0.0, 9.0, 10.0, 12.0, 12.0, 15.0])
    ready = {0: 8.0, 1: 11.5, 2: 11.0}
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(type(data), "ready_at", lambda self, number: ready[number])
    throughput = Throughput()
    throughput.watch(data, 0)
    throughput.on_epoch_begin(0)
    for batch in range(3):
        throughput.on_train_batch_begin(batch)
        throughput.on_train_batch_end(batch)
    throughput.on_epoch_end(0)
    # The first step is left out. The second begins at 10, has its input at 11.5, ends at 12; the
    # third has had its input before it began at 12.
    specs = data.plan.epoch(0)[1:3]
    real = sum(spec.lengths.sum() for spec in specs)
    computed = sum(spec.padded_length * 8 for spec in specs)
    assert throughput.values == {
        "frames_per_second": pytest.approx(real / 5),
        "padding_share": pytest.approx(1 - real / computed),
        "step_ms": pytest.approx(2500),
        "input_ms": pytest.approx(750),
        "compute_ms": pytest.approx(1750),
    }


def test_batches_are_timed_and_named(options):
    config = DataConfig(**{**vars(options["data"]), "batch_size": 8})
    segments = load_segments(config, "train")
    data = make_training_dataset(segments, config, seed=0, start_epoch=1, start_step=2)
    next(iter(data.dataset))
    assert data.ready_at(0) > 0
    assert data.ready_at(0) is None
    spec = data.plan.epoch(1)[2]
    index = spec.indices[3]
    expected = f"{segments.video_ids[index]}[{segments.segment_ids[index]}]"
    assert data.batch_names(1, 2)[3] == expected


def test_the_gradient_norm_is_the_mean_before_clipping():
    optimizer = LayerwiseAdamW(learning_rate=0.1, global_clipnorm=0.5)
    weights = [keras.Variable(np.zeros(2, "float32")), keras.Variable(np.zeros(1, "float32"))]
    optimizer.build(weights)
    optimizer.apply([np.array([3.0, 0.0], "float32"), np.array([4.0], "float32")])
    optimizer.apply([np.array([0.0, 0.0], "float32"), np.array([1.0], "float32")])
    assert optimizer.take_gradient_norm() == pytest.approx(3.0)
    assert np.isnan(optimizer.take_gradient_norm())


def test_tensorboard_gets_speed_gradients_and_a_profile(pretraining):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = pretrain(pretraining("run", epochs=1), profile_steps="2,3")
    tags = set(EventAccumulator(str(run / "train")).Reload().Tags()["tensors"])
    speed = {"frames_per_second", "padding_share", "step_ms", "input_ms", "compute_ms"}
    assert {f"speed/{name}" for name in speed} | {"epoch/gradient_norm"} <= tags
    assert list((run / "train").glob("plugins/profile/*/*.xplane.pb"))
    header = (run / "history.csv").read_text().splitlines()[0]
    assert "gradient_norm" in header
    assert "frames_per_second" not in header


@pytest.mark.parametrize("steps", ["3", "0,2", "5,4", "a,b"])
def test_bad_profile_steps_are_told(pretraining, steps):
    with pytest.raises(UserError, match="first and the last step"):
        pretrain(pretraining("run"), profile_steps=steps)
    assert parse_profile_steps("10,20") == (10, 20)


def test_a_spoiled_loss_names_step_segments_and_the_last_good_state(pretraining, monkeypatch):
    from mosei_ssl.training.monitoring import StopOnNaN

    hook = StopOnNaN.on_train_batch_end
    monkeypatch.setattr(
        StopOnNaN,
        "on_train_batch_end",
        lambda self, batch, logs=None: hook(
            self, batch, {"loss": np.nan} if self.checkpoint.epoch == 1 and batch == 1 else logs
        ),
    )
    config = pretraining("run", epochs=2)
    with pytest.raises(UserError) as error:
        pretrain(config)
    listed = json.loads((Path(config.run) / "not_a_number.json").read_text())
    segments = load_segments(config.data, "train")
    data = make_training_dataset(segments, config.data, seed=config.seed)
    assert listed["segments"] == data.batch_names(1, 1)
    assert (listed["epoch"], listed["step"]) == (2, 2)
    message = str(error.value)
    assert "loss is nan at epoch 2, step 2" in message
    assert listed["segments"][0] in message
    assert "last good state, after epoch 1, is in" in message


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
    data = make_training_dataset(load_segments(config.data, "train"), config.data, seed=config.seed)
    assert listed["segments"] == data.batch_names(0, 1)


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    checkpoint = Checkpoint(tmp_path, steps_per_epoch=3)
    checkpoint.set_model(model)
    checkpoint.on_epoch_end(0)
    saved = checkpoint.file.read_bytes()
    model.trainable_variables[0].assign(model.trainable_variables[0] * np.inf)
    last = "The last good state, after epoch 1, is in"
    with pytest.raises(UserError, match=f"kernel is no longer finite after epoch 2. {last}"):
        checkpoint.on_epoch_end(1)
    checkpoint.step = 2
    with pytest.raises(UserError, match=f"no longer finite after epoch 3, step 2. {last}"):
        checkpoint.save()
    assert checkpoint.file.read_bytes() == saved


def test_a_log_tells_the_time_left_within_an_epoch(caplog, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    line = ProgressLine("pretraining", epochs=2, steps=100)
    line.on_train_begin()
    line.progress.disable = True
    line.on_epoch_begin(0)
    with caplog.at_level("INFO", logger="mosei_ssl"):
        for batch in range(41):
            now[0] += 1.0
            line.on_train_batch_end(batch)
    line.close()
    # Every 15 s, of 1 s a step.
    assert [message.split(" left")[0] for message in caplog.messages] == [
        "pretraining: epoch 1/2, step 15/200, 0:03:05",
        "pretraining: epoch 1/2, step 30/200, 0:02:50",
    ]


def test_progress_goes_on_at_the_step_where_the_run_was_stopped(monkeypatch):
    line = ProgressLine("pretraining", epochs=2, steps=100)
    line.skip(70)
    line.on_train_begin()
    places = []
    monkeypatch.setattr(line, "_show", places.append)
    for epoch, batches in ((0, 2), (1, 1)):
        line.on_epoch_begin(epoch)
        for batch in range(batches):
            line.on_train_batch_end(batch)
        line.on_epoch_end(epoch)
    line.close()
    assert places == [71, 72, 100, 101, 200]


@pytest.mark.parametrize("monitor", MONITORS)
def test_the_kept_epoch_is_the_best_by_any_score(monitor, tmp_path):
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    best = BestWeights(tmp_path / "best.npz", monitor, patience=2)
    best.set_model(model)
    model.stop_training = False
    rises = any(name in monitor for name in ("accuracy", "pearson_r", "auroc"))
    values = [0.5, 0.7, 0.6] if rises else [0.5, 0.3, 0.4]
    for epoch, value in enumerate(values):
        best.on_epoch_end(epoch, {monitor: value})
    assert (best.best_epoch, model.stop_training) == (1, False)
    best.on_epoch_end(3, {monitor: values[0]})
    assert model.stop_training


@pytest.mark.parametrize(
    ("title", "epochs", "steps", "columns", "shown", "bar"),
    [
        ("fine-tuning (baseline)", 30, 32, 80, "val_mae 0.3389 ", False),
        ("fine-tuning (baseline)", 100, 500, 80, "", False),
        ("pretraining", 30, 320, 80, "val_mae 0.3389 ", False),
        ("pretraining", 30, 320, 160, "val_mae 0.3389  val_loss 0.4500  loss 0.5665 ", True),
    ],
)
def test_progress_fits_the_terminal(title, epochs, steps, columns, shown, bar, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    line = ProgressLine(title, epochs, steps)
    line.on_train_begin()
    line.on_epoch_begin(epochs - 1)
    line.on_epoch_end(epochs - 1, {"loss": 0.5665, "val_loss": 0.45, "val_mae": 0.3389})
    line.close()
    said = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", capsys.readouterr().err)
    last = [piece for piece in re.split(r"[\r\n]+", said) if piece.strip()][-1]
    place = f"epoch {epochs}/{epochs}, step {epochs * steps}/{epochs * steps}"
    pattern = rf"{re.escape(title)} (━* )?{place} {shown}\s*\d:\d\d:\d\d \d:\d\d:\d\d\s*"
    found = re.fullmatch(pattern, last)
    assert found, last
    assert bool(found[1]) == bar
    assert len(last) <= columns
