"""The full state of an unfinished training, saved atomically and restored exactly.

`keras.callbacks.BackupAndRestore` keeps weights and optimizer but not the state of the random
generators, so a resumed run with dropout or random masks differs from an undisturbed one.
"""

import io
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mosei_ssl.training.callbacks import BestEpoch
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_bytes
from mosei_ssl.utils.signals import Interrupted, StopRequest

_log = logging.getLogger(__name__)


class Checkpoint(keras.callbacks.Callback):
    """Saves all that the next epoch depends on, and ends the training if a signal asked for it.

    That is Keras's state tree (weights, optimizer, loss scale, random generators), the number of
    finished epochs, and the best epoch so far. Must be the last of the callbacks.

    Raises:
        Interrupted: from `fit`, once it is to stop and the state is saved.
        UserError: the state cannot be read or written, or holds numbers that are not finite.
    """

    def __init__(self, file: Path, stop: StopRequest, best: BestEpoch | None = None):
        super().__init__()
        self.file = Path(file)
        self.stop = stop
        self.best = best
        self.epoch = 0
        self.stopped = False
        self.last_saved = "No state was saved before"

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch + 1
        self.stopped = bool(self.model.stop_training)
        self.save()
        if self.stop.number:
            raise Interrupted(f"stopped after epoch {self.epoch}; state saved", self.stop.number)

    def save(self) -> None:
        """Write the state; an earlier one stays intact until the new one is complete."""
        paths, arrays = _flat(self.model.get_state_tree(value_format="numpy_array"))
        # A step may spoil the weights although its own loss, computed before, was finite.
        for path, array in zip(paths, arrays, strict=True):
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise UserError(
                    f"{path} is no longer finite after epoch {self.epoch}. {self.last_saved}. "
                    "Try a lower --optimizer.learning_rate or --precision float32, with another "
                    "--run."
                )
        header: dict[str, Any] = {"epoch": self.epoch, "stopped": self.stopped, "paths": paths}
        best_weights: list[np.ndarray] = []
        if self.best:
            header["best"], best_weights = self.best.get_state()
        content = {f"state{index}": array for index, array in enumerate(arrays)}
        content |= {f"best{index}": array for index, array in enumerate(best_weights)}
        buffer = io.BytesIO()
        np.savez(buffer, header=np.array(json.dumps(header)), **content)  # type: ignore[arg-type]
        try:
            write_bytes(self.file, buffer.getvalue())
        except OSError as error:
            raise UserError(
                f"cannot save the training state to {self.file}: {error.strerror}. "
                f"{self.last_saved}. Make room and give the same command again to resume."
            ) from None
        self._note_saved()

    def restore(self, model: keras.Model) -> None:
        """Put a saved state, if there is one, into a compiled and built model."""
        self.set_model(model)
        if self.best:
            self.best.set_model(model)
        if not self.file.exists():
            return
        try:
            with np.load(self.file, allow_pickle=False) as state:
                header = json.loads(str(state["header"]))
                arrays = [state[f"state{index}"] for index in range(len(header["paths"]))]
                best_weights = [state[name] for name in state.files if name.startswith("best")]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(
                f"the training state {self.file} is damaged ({error}): delete the run directory "
                "and start again."
            ) from None
        tree = model.get_state_tree(value_format="numpy_array")
        paths, current = _flat(tree)
        if paths != header["paths"] or [a.shape for a in current] != [a.shape for a in arrays]:
            raise UserError(
                f"the training state {self.file} belongs to another model: delete the run "
                "directory and start again."
            )
        model.set_state_tree(keras.tree.pack_sequence_as(tree, arrays))
        if self.best:
            self.best.set_state(header["best"], best_weights)
        self.epoch, self.stopped = header["epoch"], header["stopped"]
        self._note_saved()
        _log.info("resuming at epoch %d", self.epoch + 1)

    def _note_saved(self) -> None:
        self.last_saved = f"The last good state, after epoch {self.epoch}, is in {self.file}"


def _flat(tree: dict[str, Any]) -> tuple[list[str], list[np.ndarray]]:
    """Paths and values of a state tree."""
    found = keras.tree.flatten_with_path(tree)
    return ["/".join(path) for path, _ in found], [array for _, array in found]
