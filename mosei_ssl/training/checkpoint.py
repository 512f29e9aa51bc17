"""The full state of an unfinished training, saved atomically and restored exactly.

`keras.callbacks.BackupAndRestore` keeps weights and optimizer but not the state of the random
generators, so a resumed run with dropout or random masks differs from an undisturbed one. This
callback keeps everything that the next step depends on.
"""

import io
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_bytes
from mosei_ssl.utils.signals import Interrupted, StopRequest

_log = logging.getLogger(__name__)


class Stateful(Protocol):
    """A callback whose state belongs to the training state."""

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


class Checkpoint(keras.callbacks.Callback):
    """Saves and restores weights, optimizer, loss scale, random generators and position.

    The data order is a pure function of (seed, epoch, step), so the position is enough to go on
    with the very next batch. Must be the last of the callbacks: it also keeps the state of those
    given as `stateful`.

    A state of an epoch's last step lacks what comes at the epoch's end, validation above all: who
    restores one has to make up for it.

    Args:
        directory: where `state.npz` is kept. `stopped` tells whether early stopping had ended it.
        steps_per_epoch: steps of a whole epoch.
        every_steps: save also every so many steps; 0 saves at the end of each epoch.
        stateful: callbacks whose state is kept too, by name.
        writes: whether this process saves; of several that train together, one does.
        metrics: whether the model's metrics are in use. Replicas keep their own means, and to read
            these variables all of them would have to take part.
        stop: the request of a signal. It is held back while steps are under way, and released
            between the last one of an epoch and the epoch's end, which may take long.
        stopping: whether to stop after this step; None asks `stop` alone. Processes that train
            together have to agree on it.

    Raises:
        Interrupted: from `fit`, once it is to stop and the state is saved.
        UserError: the state cannot be read or written, or holds numbers that are not finite.
    """

    def __init__(
        self,
        directory: Path,
        steps_per_epoch: int,
        every_steps: int = 0,
        stateful: dict | None = None,
        writes: bool = True,
        metrics: bool = True,
        stop: StopRequest | None = None,
        stopping: Callable[[], bool] | None = None,
    ):
        super().__init__()
        self.steps_per_epoch = steps_per_epoch
        self.stop = stop or StopRequest()
        self.stopping = stopping or (lambda: self.stop.asked)
        self.writes = writes
        self.metrics = metrics
        self.last_saved = "No state was saved before"
        self.file = Path(directory) / "state.npz"
        self.every_steps = every_steps
        self.stateful: dict[str, Stateful] = stateful or {}
        self.epoch = 0
        self.step = 0
        self.stopped = False
        self._metrics: list[np.ndarray] | None = None
        self._last_step: bytes | None = None

    # === Saving ===

    def save(self) -> None:
        """Write the state; an earlier one stays intact until the new one is complete."""
        if self.writes:
            self._write(self._collect())

    def save_last_step(self) -> None:
        """Write the state of after the last step of an epoch, if what ends it is under way."""
        if self._last_step is not None:
            self._write(self._last_step)

    def _collect(self) -> bytes:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        arrays: dict[str, Any] = {
            f"{index:04d}": self._read(v) for index, v in enumerate(self._variables)
        }
        # A step may spoil the weights although its own loss, computed before, was a number.
        for variable, array in zip(self._variables, arrays.values(), strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(
                    f"{variable.path} is no longer finite after {self._place()}. "
                    f"{self.last_saved}. Try a lower --optimizer.learning_rate or "
                    "--precision float32, with another --run."
                )
        header = {
            "epoch": self.epoch,
            "step": self.step,
            "stopped": self.stopped,
            "paths": [v.path for v in self._variables],
            "callbacks": {name: c.get_state() for name, c in self.stateful.items()},
        }
        buffer = io.BytesIO()
        np.savez(buffer, header=np.array(json.dumps(header)), **arrays)
        return buffer.getvalue()

    def _write(self, state: bytes) -> None:
        try:
            write_bytes(self.file, state)
        except OSError as error:
            raise UserError(
                f"cannot save the training state to {self.file}: {error.strerror}. "
                f"{self.last_saved}. Make room and give the same command again to go on."
            ) from None
        self._note_saved()

    def _place(self) -> str:
        if self.step:
            return f"epoch {self.epoch + 1}, step {self.step}"
        return f"epoch {self.epoch}"

    def _note_saved(self) -> None:
        self.last_saved = f"The last good state, after {self._place()}, is in {self.file}"

    def restore(self, model: keras.Model) -> tuple[int, int]:
        """Put a saved state, if there is one, into a compiled and built model.

        Returns:
            The epoch and the step within it to go on from; (0, 0) without a saved state.
        """
        self.set_model(model)
        if not self.file.exists():
            return 0, 0
        try:
            with np.load(self.file, allow_pickle=False) as state:
                header = json.loads(str(state["header"]))
                arrays = [state[f"{index:04d}"] for index in range(len(header["paths"]))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"the training state {self.file} is damaged ({error}): delete the run directory "
                "and start again."
            ) from None
        variables = self._variables
        shapes = [tuple(v.shape) for v in variables]
        if shapes != [a.shape for a in arrays]:
            raise UserError(
                f"the training state {self.file} belongs to another model: delete the run "
                "directory and start again."
            )
        for variable, array in zip(variables, arrays, strict=True):
            if self.metrics or not self._is_metric(variable):
                variable.assign(array)
        for name, callback in self.stateful.items():
            # One device and several keep the means of an unfinished epoch in different places.
            if name in header["callbacks"]:
                callback.set_state(header["callbacks"][name])
        self.epoch, self.step = header["epoch"], header["step"]
        self.stopped = header["stopped"]
        self._note_saved()
        if self.step and self.metrics:
            count = len(model.metrics_variables)
            self._metrics = arrays[len(arrays) - count :] if count else []
        _log.info("resuming at epoch %d, step %d", self.epoch + 1, self.step)
        return self.epoch, self.step

    def _read(self, variable: Any) -> np.ndarray:
        if not self.metrics and self._is_metric(variable):
            return np.zeros(variable.shape, variable.dtype)
        return keras.ops.convert_to_numpy(variable)

    def _is_metric(self, variable: Any) -> bool:
        return any(variable is other for other in self.model.metrics_variables)

    @property
    def _variables(self) -> list:
        seen: dict[int, Any] = {}
        everything = [
            *self.model.variables,
            *self.model.optimizer.variables,
            *self.model.metrics_variables,
        ]
        for variable in everything[::-1]:
            seen.setdefault(id(variable), variable)
        return list(seen.values())[::-1]

    # === Keras hooks ===

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # fit() has just reset the metrics; in a resumed epoch they go on from where they were.
        if self._metrics is not None:
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = None
        if self.step == self.steps_per_epoch and self.writes:
            # Taken up after its last step: only what ends it is left, and its state is saved.
            self.stop.release()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1
        stopping = self.stopping()
        if stopping or (self.every_steps and self.step % self.every_steps == 0):
            self.save()
        if stopping:
            raise self._interrupted()
        if self.step == self.steps_per_epoch and self.writes:
            # Validation uses the metrics for itself: a signal that comes meanwhile needs the state
            # as it is now.
            self._last_step = self._collect()
            self.stop.release()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.stop.hold()
        self.epoch, self.step = epoch + 1, 0
        self.stopped = bool(self.model.stop_training)
        self.save()
        self._last_step = None
        if self.stopping():
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"stopped after {self._place()}; state saved")
