"""What the tests of interruption do to a training in a process of its own."""

import os
import signal


def die() -> None:
    """End this process as the machine's end would."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_state_file() -> None:
    """Die when half of the second state has been written."""
    from mosei_ssl.utils import files

    original, seen = files.put_in_place, []

    def put_in_place(temporary, path):
        if path.name == "state.npz":
            seen.append(path)
        if len(seen) == 2:
            os.truncate(temporary, temporary.stat().st_size // 2)
            die()
        original(temporary, path)

    files.put_in_place = put_in_place


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
    from mosei_ssl.training import saved_models

    original = saved_models.put_in_place

    def put_in_place(temporary, path):
        if path.name == "backbone.keras":
            die()
        original(temporary, path)

    saved_models.put_in_place = put_in_place


MOMENTS = {
    "epoch end": at_epoch_end,
    "state file": in_state_file,
    "last save": in_last_save,
}


def pretrain_until(moment: str, options: list[str]) -> int:
    """Run `mosei-ssl pretrain`, in a graph, with one of these things done to it."""
    from quick_runs import padded_to_one_length, quick_runs

    from mosei_ssl.cli import main

    MOMENTS[moment]()
    with padded_to_one_length(), quick_runs("graph"):
        return main(["pretrain", *options])
