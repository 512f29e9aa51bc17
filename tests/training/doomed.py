"""What the tests of interruption do to a training in a process of its own."""

import os
import signal
import threading
import time

import numpy as np


def die() -> None:
    """End this process as the machine's end would."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_start() -> None:
    """Die between the first two files of a run."""
    from mosei_ssl.training import run_directory

    write = run_directory.write_text

    def write_text(path, text):
        if path.name == "config.yaml":
            die()
        write(path, text)

    run_directory.write_text = write_text


def in_state_file() -> None:
    """Die when half of the second state has been written."""
    from mosei_ssl import storage

    original, seen = storage.put_in_place, []

    def put_in_place(temporary, path):
        if path.name == "state.npz":
            seen.append(path)
        if len(seen) == 2:
            os.truncate(temporary, temporary.stat().st_size // 2)
            die()
        original(temporary, path)

    storage.put_in_place = put_in_place


def in_validation() -> None:
    """Die when validation is done but not noted."""
    from mosei_ssl.training.callbacks import Validation

    def on_epoch_end(self, epoch, logs=None):
        self.score()
        die()

    Validation.on_epoch_end = on_epoch_end


def at_epoch_end() -> None:
    """Die between the history and the state of an epoch."""
    from mosei_ssl.training.callbacks import History

    original = History.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        original(self, epoch, logs)
        die()

    History.on_epoch_end = on_epoch_end


def in_last_save() -> None:
    """Die with the final backbone written, but not in its place."""
    from mosei_ssl.training import pretraining

    original = pretraining.put_in_place

    def put_in_place(temporary, path):
        if path.name == "backbone.keras":
            die()
        original(temporary, path)

    pretraining.put_in_place = put_in_place


def sometime(seconds: float, after_first_step: bool) -> None:
    """Die after a while, counted from now or from the first step; steps are slowed to last."""
    from mosei_ssl.training.checkpoint import Checkpoint

    original, timer = Checkpoint.on_train_batch_end, threading.Timer(seconds, die)
    timer.daemon = True

    def on_train_batch_end(self, batch, logs=None):
        if not timer.is_alive():
            timer.start()
        time.sleep(0.2)
        original(self, batch, logs)

    Checkpoint.on_train_batch_end = on_train_batch_end
    if not after_first_step:
        timer.start()


def endless_validation(mark: str) -> None:
    """Make validation last for minutes, and tell when it has begun."""
    from mosei_ssl.data import Segments
    from mosei_ssl.training.callbacks import Validation

    order, validate = Segments.length_order, Validation.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        Segments.length_order = lambda segments: np.tile(order(segments), 100_000)
        open(mark, "w").close()
        validate(self, epoch, logs)

    Validation.on_epoch_end = on_epoch_end


MOMENTS = {
    "start": at_start,
    "state file": in_state_file,
    "validation": in_validation,
    "epoch end": at_epoch_end,
    "last save": in_last_save,
    "sometime": sometime,
    "endless validation": endless_validation,
    "none": lambda: None,
}


def pretrain_until(moment: str, arguments: tuple, options: list[str]) -> int:
    """Run `mosei-ssl pretrain` with one of these things done to it; pictures are left out."""
    from mosei_ssl.cli import main
    from mosei_ssl.training.reconstruction import ReconstructionImages

    ReconstructionImages.on_epoch_end = lambda self, epoch, logs=None: None
    MOMENTS[moment](*arguments)
    return main(["pretrain", *options])
