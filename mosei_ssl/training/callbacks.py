"""What Keras's callbacks lack: scores of all of validation, and state that survives a resume."""

import json
import logging
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mosei_ssl.data import BatchPlan, Segments
from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text

if TYPE_CHECKING:
    from mosei_ssl.training.checkpoint import Checkpoint

_log = logging.getLogger(__name__)

_NAMED = 4
_SLOW_START = 5.0
"""Seconds to the first step that are worth a line."""

_SHOWN = ("val_mae", "val_loss", "loss")


class SparseCallbackList(keras.callbacks.CallbackList):
    """Keras's, which tells callbacks of the end of every so many steps only.

    Those are an epoch's first, every `every`-th after it and the last: Keras reads the losses for
    its callbacks, and waits for the device to do so.
    """

    def __init__(self, callbacks: list[keras.callbacks.Callback], every: int, **options: Any):
        super().__init__(callbacks, add_history=True, **options)
        self.every = every

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch % self.every == 0 or batch == self.params["steps"] - 1:
            super().on_train_batch_end(batch, logs)


class Validation(keras.callbacks.Callback):
    """Adds the scores of a validation function to the epoch's logs, as `val_NAME`."""

    def __init__(self, score: Callable[[], dict[str, float]]):
        super().__init__()
        self.score = score

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs.update({f"val_{name}": value for name, value in self.score().items()})


class History(keras.callbacks.CSVLogger):
    """Keras's, with epochs counted from 1; rows beyond the finished epochs are dropped first."""

    def __init__(self, file: Path, epochs: int):
        if file.exists():
            with open(file, newline="") as rows:
                kept = rows.readlines()[: epochs + 1] if epochs else []
            write_text(file, "".join(kept))
        super().__init__(str(file), append=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch + 1, logs)


class BestEpoch(keras.callbacks.EarlyStopping):
    """Keras's early stopping, whose state survives interruption.

    Args:
        monitor: name of the score in the logs: a loss, or a metric, of one emotion or of all.
        patience: epochs without improvement after which training stops; 0 never stops.
    """

    def __init__(self, monitor: str, patience: int):
        lower = _lower_is_better(monitor)
        super().__init__(
            monitor=monitor,
            patience=patience or sys.maxsize,
            mode="min" if lower else "max",
            restore_best_weights=True,
        )
        # Keras compares in float32, and never again finds anything better than NaN.
        self.monitor_op = lambda value, best: (
            not math.isnan(value)
            and (math.isnan(best) or (value < best if lower else value > best))
        )
        self._restored = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self._restored:
            super().on_train_begin(logs)

    def get_state(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Numbers for JSON, and the best weights."""
        numbers = {"wait": self.wait, "best": float(self.best), "best_epoch": self.best_epoch}
        return numbers, self.best_weights

    def set_state(self, numbers: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Resume from what `get_state` gave."""
        super().on_train_begin()
        self.wait, self.best = numbers["wait"], numbers["best"]
        self.best_epoch, self.best_weights = numbers["best_epoch"], weights
        self._restored = True


def _lower_is_better(monitor: str) -> bool:
    name = monitor.removeprefix("val_")
    for emotion in EMOTIONS:
        name = name.removesuffix(f"_{emotion}")
    return name == "loss" or name in LOWER_IS_BETTER


class Progress(keras.callbacks.Callback):
    """Shows epoch and scores beside the steps done, see `mosei_ssl.utils.progress`.

    The time to the first step is logged.
    """

    def __init__(self, advance: Callable[..., None], epochs: int):
        super().__init__()
        self.advance = advance
        self.epochs = epochs
        self._begun: float | None = None
        self._seen = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._begun = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._seen = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self._begun is not None:
            seconds, self._begun = time.perf_counter() - self._begun, None
            level = logging.INFO if seconds > _SLOW_START else logging.DEBUG
            _log.log(level, "first step after %.1f s, spent building and compiling it", seconds)
        self.advance(batch + 1 - self._seen)
        self._seen = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        scores = [f"{name} {float(logs[name]):.4f}" for name in _SHOWN if name in logs]
        self.advance(0, note=f"epoch {epoch + 1}/{self.epochs}: {', '.join(scores)}")


class GradientNorm(keras.callbacks.Callback):
    """Adds to each epoch's logs the mean global norm of its gradients, before clipping."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if logs is not None:
            logs["gradient_norm"] = _watched(self.model).take_gradient_norm()


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends training, with a message, when loss or gradient is not finite.

    A step computes its loss before the gradient that may spoil all the following ones, so both are
    watched. On JAX the gradient cannot be looked at between steps, so there the step before may be
    the one to blame. The message names the step (or those since it last looked), segments of its
    batch and the last good state; all of them are listed in `file`.
    """

    def __init__(self, checkpoint: "Checkpoint", plan: BatchPlan, segments: Segments, file: Path):
        super().__init__()
        self.checkpoint = checkpoint
        self.plan = plan
        self.segments = segments
        self.file = file
        self._seen = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._seen = 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        first, self._seen = self._seen, batch + 1
        values = {
            "loss": float((logs or {}).get("loss", 0.0)),
            "gradient's norm": _gradient_norms(self._model),
        }
        wrong = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if wrong is None:
            return
        epoch = self.checkpoint.epoch
        table = self.segments
        names = [
            f"{table.video_ids[index]}[{table.segment_ids[index]}]"
            for spec in self.plan.epoch(epoch)[first : batch + 1]
            for index in spec.indices
        ]
        listed = {
            "epoch": epoch + 1,
            "step": batch + 1,
            "first_step": first + 1,
            wrong: str(values[wrong]),
            "segments": names,
        }
        write_text(self.file, json.dumps(listed, indent=1) + "\n")
        shown = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        before = " or of the step before" if keras.backend.backend() == "jax" else ""
        steps = f"step {batch + 1}" if first == batch else f"steps {first + 1} to {batch + 1}"
        raise UserError(
            f"the {wrong} is {values[wrong]} at epoch {epoch + 1}, {steps}, on segments "
            f"{shown}{more}{before} (all in {self.file}). {self.checkpoint.last_saved}. Look at "
            "those segments; try a lower --optimizer.learning_rate or --precision float32, with "
            "another --run."
        )


def _watched(model: keras.Model) -> LayerwiseAdamW:
    """The optimizer that keeps gradient norms; a loss scale may wrap it."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def _gradient_norms(model: keras.Model) -> float:
    """Sum of the epoch's gradient norms so far, where that is to be had between steps."""
    if keras.backend.backend() == "jax":
        return 0.0
    return float(keras.ops.convert_to_numpy(_watched(model).gradient_norms)[0])
