"""The full state of an unfinished training, saved atomically and restored exactly.

`keras.callbacks.BackupAndRestore` keeps weights and optimizer but not the state of the random
generators, so a resumed run with dropout or random masks differs from an undisturbed one. This
callback keeps everything that the next step depends on.
"""

import io
import json
import logging
import os
import signal
import zipfile
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from mosei_ssl.errors import UserError

_log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Training was asked to stop (SIGTERM or Ctrl-C) and its state has been saved."""


class Stateful(Protocol):
    """A callback whose state belongs to the training state."""

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any]) -> None: ...


class Checkpoint(keras.callbacks.Callback):
    """Saves and restores weights, optimizer, loss scale, random generators and position.

    The data order is a pure function of (seed, epoch, step), so the position is enough to go on
    with the very next batch. Must be the last of the callbacks: it also keeps the state of those
    given as `stateful`.

    Args:
        directory: where `state.npz` is kept. `stopped` tells whether early stopping had ended it.
        every_steps: save also every so many steps; 0 saves at the end of each epoch.
        stateful: callbacks whose state is kept too, by name.
        writes: whether this process saves; of several that train together, one does.
        metrics: whether the model's metrics are in use. Replicas keep their own means, and to read
            these variables all of them would have to take part.

    Raises:
        Interrupted: from `fit`, after a SIGTERM or SIGINT, once the state is saved.
        UserError: the state cannot be read or written, or holds numbers that are not finite.
    """

    def __init__(
        self,
        directory: Path,
        every_steps: int = 0,
        stateful: dict | None = None,
        writes: bool = True,
        metrics: bool = True,
    ):
        super().__init__()
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
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    # === Saving ===

    def save(self) -> None:
        """Write the state; an earlier one stays intact until the new one is complete."""
        if not self.writes:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        arrays: dict[str, Any] = {
            f"{index:04d}": self._read(v) for index, v in enumerate(self._variables)
        }
        # A step may spoil the weights although its own loss, computed before, was a number.
        for variable, array in zip(self._variables, arrays.values(), strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(
                    f"{variable.path} is no longer finite after epoch {self.epoch + 1}, step "
                    f"{self.step}. {self.last_saved}. Try a lower --optimizer.learning_rate or "
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
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_suffix(".tmp")
        try:
            with open(temporary, "wb") as file:
                file.write(buffer.getvalue())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"cannot save the training state to {self.file}: {error.strerror}. The last good "
                "state is kept: make room and give the same command again to resume."
            ) from None
        self._note_saved()

    def _note_saved(self) -> None:
        place = f"epoch {self.epoch + 1}, step {self.step}" if self.step else f"epoch {self.epoch}"
        self.last_saved = f"The last good state, after {place}, is in {self.file}"

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

    def on_train_begin(self, logs: dict | None = None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._remember)

    def on_train_end(self, logs: dict | None = None) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # fit() has just reset the metrics; in a resumed epoch they go on from where they were.
        if self._metrics is not None:
            for variable, value in zip(self.model.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self._metrics = None

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.step += 1
        if self._signal is not None:
            self.save()
            self.on_train_end()
            raise Interrupted(f"stopped at epoch {self.epoch + 1}, step {self.step}; state saved")
        if self.every_steps and self.step % self.every_steps == 0:
            self.save()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch, self.step = epoch + 1, 0
        self.stopped = bool(self.model.stop_training)
        self.save()

    def _remember(self, number: int, frame: Any) -> None:
        self._signal = number
