"""What is watched while a model trains: broken numbers, speed, gradients, a profile on request."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from mosei_ssl.data import TrainingData
from mosei_ssl.models import LayerwiseAdamW
from mosei_ssl.training.checkpoint import Checkpoint
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text

_NAMED = 4


class StopOnNaN(keras.callbacks.Callback):
    """Ends training at once, with a message, when loss or gradient is not a number.

    A step computes its loss before the gradient that may spoil all the following ones, so both are
    watched. On JAX the gradient cannot be looked at between steps, so there the step before may be
    the one to blame. The message names the step, segments of its batch and the last good state;
    the whole batch is listed in `not_a_number.json` of the run.

    Args:
        checkpoint: knows where training is and what was saved last.
        batch_names: (epoch, step) -> names of the segments in that batch.
        file: where the batch is listed.
    """

    def __init__(
        self, checkpoint: Checkpoint, batch_names: Callable[[int, int], list[str]], file: Path
    ):
        super().__init__()
        self.checkpoint = checkpoint
        self.batch_names = batch_names
        self.file = Path(file)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        values = {
            "loss": float((logs or {}).get("loss", 0.0)),
            "gradient's norm": _gradient_norms(self.model),
        }
        wrong = next((name for name, value in values.items() if not math.isfinite(value)), None)
        if wrong is None:
            return
        # The checkpoint counts this step only after this callback.
        epoch, step = self.checkpoint.epoch, self.checkpoint.step
        names = self.batch_names(epoch, step)
        listed = {
            "epoch": epoch + 1,
            "step": step + 1,
            wrong: str(values[wrong]),
            "segments": names,
        }
        write_text(self.file, json.dumps(listed, indent=1) + "\n")
        shown = ", ".join(names[:_NAMED])
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        before = " or of the step before" if keras.backend.backend() == "jax" else ""
        raise UserError(
            f"the {wrong} is {values[wrong]} at epoch {epoch + 1}, step {step + 1}, on segments "
            f"{shown}{more}{before} (all in {self.file}). {self.checkpoint.last_saved}. Look at "
            "those segments; try a lower --optimizer.learning_rate or --precision float32, with "
            "another --run."
        )


def _watched(model: keras.Model) -> LayerwiseAdamW | None:
    """The optimizer that keeps gradient norms; a loss scale may wrap it."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return optimizer if isinstance(optimizer, LayerwiseAdamW) else None


def _gradient_norms(model: keras.Model) -> float:
    """Sum of the epoch's gradient norms so far, where that is to be had between steps."""
    optimizer = _watched(model)
    if optimizer is None or keras.backend.backend() == "jax":
        return 0.0
    return float(keras.ops.convert_to_numpy(optimizer.gradient_norms)[0])


class GradientNorm(keras.callbacks.Callback):
    """Adds to each epoch's logs the mean global norm of its gradients, before clipping."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        optimizer = _watched(self.model)
        if logs is not None and optimizer is not None:
            logs["gradient_norm"] = optimizer.take_gradient_norm()


class Throughput(keras.callbacks.Callback):
    """Measures frames per second, the share of padding, and what a step waits for.

    A step waits for its input from when it begins until its batch is ready; the rest is
    computation. The first step after a start is left out: it makes the graph.

    Attributes:
        values: of the last epoch: `frames_per_second` (real frames), `padding_share`,
            `step_ms`, `input_ms` and `compute_ms`; empty if it had no step to measure.
    """

    def __init__(self):
        super().__init__()
        self.values: dict[str, float] = {}

    def watch(self, data: TrainingData, step: int) -> None:
        """Tell which batches come now.

        Args:
            data: the batches.
            step: the step of the epoch that they begin with.
        """
        self.data, self.first = data, step
        self.number = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.steps: list[int] = []
        self.waited = self.worked = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        spent = time.perf_counter() - self.began
        ready = self.data.ready_at(self.number)
        if self.number:
            wait = min(max(0.0, ready - self.began), spent) if ready else 0.0
            self.waited += wait
            self.worked += spent - wait
            self.steps.append(self.first + batch)
        self.number += 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.values = {}
        if self.steps:
            specs = self.data.plan.epoch(epoch)
            specs = [specs[step] for step in self.steps]
            real = sum(int(spec.lengths.sum()) for spec in specs)
            computed = sum(spec.padded_length * len(spec.lengths) for spec in specs)
            thousand = 1000 / len(self.steps)
            self.values = {
                "frames_per_second": real / (self.waited + self.worked),
                "padding_share": 1 - real / computed,
                "step_ms": (self.waited + self.worked) * thousand,
                "input_ms": self.waited * thousand,
                "compute_ms": self.worked * thousand,
            }
        self.first = 0


class Profile(keras.callbacks.Callback):
    """Captures a profile of some steps, for TensorBoard's profile page.

    Args:
        directory: TensorBoard log directory; the profile goes to `plugins/profile` there.
        steps: `"FIRST,LAST"`, counted from 1 at the start of this process.

    Raises:
        UserError: `steps` is not of that form.
    """

    def __init__(self, directory: Path, steps: str):
        super().__init__()
        self.directory = Path(directory)
        self.first, self.last = parse_profile_steps(steps)
        self.step = 0
        self.running = False

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1
        if self.step == self.first:
            self.directory.mkdir(parents=True, exist_ok=True)
            _profiler()["start"](str(self.directory))
            self.running = True

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.step == self.last:
            self.close()

    def on_train_end(self, logs: dict | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Write the profile, also of fewer steps than were asked for."""
        if self.running:
            self.running = False
            _profiler()["stop"]()


def parse_profile_steps(steps: str) -> tuple[int, int]:
    """First and last step of `"FIRST,LAST"`, or a UserError."""
    try:
        first, last = (int(part) for part in steps.split(","))
    except ValueError:
        first = last = 0
    if not 1 <= first <= last:
        raise UserError(
            f"--profile-steps {steps!r}: give the first and the last step, such as 10,20"
        )
    return first, last


def _profiler() -> dict[str, Callable[..., Any]]:
    if keras.backend.backend() == "jax":
        import jax

        return {"start": jax.profiler.start_trace, "stop": jax.profiler.stop_trace}
    import tensorflow as tf

    return {"start": tf.profiler.experimental.start, "stop": tf.profiler.experimental.stop}
