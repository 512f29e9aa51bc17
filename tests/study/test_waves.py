"""Waves of cells: failures, workers that die, engines."""

import contextlib
import logging
import os
import select
import signal
import threading
import time
from concurrent.futures import Future
from multiprocessing import Pipe
from types import SimpleNamespace

from children import start_child
from joblib.externals.loky.process_executor import BrokenProcessPool

from mosei_ssl.metrics import write_json
from mosei_ssl.study import engines
from mosei_ssl.study.cells import CELL_FILE, Cell
from mosei_ssl.study.engines import LocalEngine
from mosei_ssl.study.waves import run_wave


def finish(cell, out):
    """Stand in for a cell's work."""
    write_json(out / cell.path / CELL_FILE, {"key": cell.key})
    return ""


def cells(*names):
    return [Cell("classical", name, {}) for name in names]


def test_a_failure_takes_along_only_what_needs_it(tmp_path, here):
    failed = {}

    def run(cell, out):
        return "it broke\ntraceback" if cell.path == "a" else finish(cell, out)

    run_wave(cells("a", "b"), tmp_path, here, "first", failed, run)
    second = [Cell("train", "c", {}, requires=("a",)), Cell("train", "d", {}, requires=("b",))]
    run_wave(second, tmp_path, here, "second", failed, run)
    assert failed == {"a": "it broke\ntraceback", "c": "needs a, which failed"}
    assert here.ran == ["a", "b", "d"]
    # Once more, a works.
    failed = {}
    run_wave(cells("a", "b"), tmp_path, here, "first", failed, finish)
    run_wave(second, tmp_path, here, "second", failed, finish)
    assert failed == {}
    assert here.ran[3:] == ["a", "c"]


def test_what_is_known_to_fail_is_not_tried(tmp_path, here):
    failed = {"a": "no options for it"}
    run_wave(cells("a", "b"), tmp_path, here, "x", failed, finish)
    assert here.ran == ["b"]
    assert failed == {"a": "no options for it"}


def test_the_log_gets_the_time_left(tmp_path, here, monkeypatch, caplog):
    monkeypatch.setattr("mosei_ssl.utils.progress.LOG_SECONDS", 0.0)
    told, handler = threading.Event(), logging.Handler()
    handler.emit = lambda record: told.set() if "2 of 4" in record.getMessage() else None
    monkeypatch.setattr(logging.getLogger("mosei_ssl.utils.progress"), "handlers", [handler])

    def finish_once_told(cell, out):
        # The log is written by a thread, which may not get its turn between two short cells.
        if cell.path == "c":
            told.wait(30)
        return finish(cell, out)

    with caplog.at_level(logging.INFO):
        run_wave(cells(*"abcd"), tmp_path, here, "grid", {}, finish_once_told)
    assert any("grid: 2 of 4 done (50 %), about" in line for line in caplog.messages)


def training(name, compiled):
    return Cell("train", name, {"run": {"jit_compile": compiled}})


def test_trainings_with_and_without_xla_share_no_process(tmp_path, here):
    mixed = [
        *cells("a"),
        training("b", True),
        training("c", "auto"),
        training("d", True),
        training("e", False),
    ]
    run_wave(mixed, tmp_path, here, "x", {}, finish)
    assert here.pools == [(False, ["a", "c", "e"]), (True, ["b", "d"])]


def dies(cell, out):
    """Finish, but for the cell whose worker is killed the first time."""
    with open(out / f"{cell.path}.runs", "a") as file:
        file.write("x")
    if cell.path == "once" and (out / "once.runs").stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return report(cell, out)


def report(cell, out):
    """What a worker is like."""
    print("said by a worker")
    write_json(out / cell.path / CELL_FILE, {"key": cell.key, "environment": dict(os.environ)})
    return ""


def test_a_study_survives_its_workers_which_have_fixed_threads_its_backend_and_a_log(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("mosei_ssl.study.engines.keras_backend", lambda: "jax")
    failed = {}
    wave = cells("once", "a")
    with contextlib.closing(LocalEngine(1, 3, tmp_path / "logs")) as engine:
        run_wave(wave, tmp_path, engine, "x", failed, dies)
    assert failed == {}
    assert "a worker process died" in caplog.text
    assert (tmp_path / "once.runs").read_text() == "xx"
    for cell in wave:
        found = cell.finished(tmp_path)["environment"]
        assert found["OMP_NUM_THREADS"] == found["TF_NUM_INTRAOP_THREADS"] == "3"
        assert found["KERAS_BACKEND"] == "jax"
    logs = [log.read_text() for log in (tmp_path / "logs").glob("worker-*.log")]
    assert "said by a worker\n" * 2 in logs


def test_only_the_cell_that_kills_its_workers_is_given_up(tmp_path, caplog):
    """With two workers; the cells that ran beside it are run again."""
    failed, running, ran = {}, [], []

    def submitter(workers, *, compiles):
        running.clear()

        def submit(run, cell, *rest):
            future = Future()
            running.append((cell, future))
            ran.append((workers, cell.path))
            if cell.path == "always":
                for _, other in running:
                    if not other.done():
                        other.set_exception(BrokenProcessPool())
            elif workers == 1 or cell.path != "beside":
                future.set_result(run(cell, *rest))
            return future

        return submit

    engine = SimpleNamespace(workers=2, submitter=submitter)
    run_wave(cells("beside", "always", "a", "b"), tmp_path, engine, "x", failed, finish)
    assert list(failed) == ["always"]
    assert "its worker process died 3 times" in failed["always"]
    assert "out of memory" in failed["always"]
    # Those that ran when a worker died are tried one at a time.
    assert ran == [
        (2, "beside"),
        (2, "always"),
        (1, "beside"),
        (1, "always"),
        (1, "always"),
        (2, "a"),
        (2, "b"),
    ]
    assert "a worker process died" in caplog.text


def hold_a_worker(folder, pipe) -> int:
    """A study with one worker that has much to do; the worker's number goes into the pipe."""
    engines.keras_backend = lambda: "tensorflow"  # to ask Keras takes seconds
    submit = engines.LocalEngine(1, 1, folder).submitter(1, compiles=False)
    pipe.send(submit(os.getpid).result())
    submit(time.sleep, 60).result()
    return 0


def test_workers_end_with_their_study(tmp_path):
    receiver, sender = Pipe()
    study = start_child(hold_a_worker, tmp_path, sender, log=tmp_path / "log")
    worker = os.pidfd_open(receiver.recv())
    study.kill()
    # Readable once the process has ended.
    assert select.select([worker], [], [], 10)[0], "the worker outlived its study"
    os.close(worker)
