"""Damaged and absurd files end in a dataset or in one clear error.

Never in another exception, a crash of the process, a hang, or half a dataset. The reader runs in
worker processes, so that a crash inside HDF5 is seen as what it is.
"""

import json
import logging
import multiprocessing
import os
import queue
import resource
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mosei_corpus import FUZZ_CASES, checked, damage, frames

from tfds_mosei import CorpusError, csd

BUILDS = max(12, FUZZ_CASES // 40)
SECONDS_PER_CASE = 20
MEMORY = 6 * 2**30
BUILD_MEMORY = 24 * 2**30

numbers = st.one_of(
    st.floats(width=64, allow_nan=True, allow_infinity=True),
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e300, -1e-300, 0.01, -1.0]),
)
dtypes = st.sampled_from(["<f4", "<f8", "<f2", ">f4", "<i4", "u1", "?", "S4", "c8", "object"])
damages = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1)),
    st.tuples(
        st.just("flip"), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), max_size=40)
    ),
    st.tuples(st.just("blank"), st.tuples(st.floats(0, 1), st.integers(1, 3000))),
    st.tuples(st.just("insert"), st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=300))),
    st.tuples(st.just("none"), st.none()),
)


GOOD = {
    "rows": 40,
    "fewer_intervals": 0,
    "width": 74,
    "interval_width": 2,
    "feature_type": "<f4",
    "interval_type": "<f8",
    "gzip": True,
    "root": "COVAREP",
    "second_root": False,
    "shape": "",
    "missing": "",
    "metadata": "json",
    "values": [],
    "times": [],
    "damage": ("none", None),
}
DEPARTURES = {
    "rows": st.integers(0, 300),
    "fewer_intervals": st.sampled_from([1, -1, 5]),
    "width": st.sampled_from([0, 1, 7, 73, 300]),
    "interval_width": st.sampled_from([1, 3]),
    "feature_type": dtypes,
    "interval_type": dtypes,
    "root": st.sampled_from(["covarep", "ü ñ", "a"]),
    "second_root": st.just(True),
    "shape": st.sampled_from(["flat", "deep", "scalar", "huge", "wide", "empty"]),
    "missing": st.sampled_from(["features", "intervals", "data", "group"]),
    "metadata": st.sampled_from(["text", "none", "group", "number", "bytes"]),
    "values": st.lists(numbers, max_size=6),
    "times": st.lists(numbers, max_size=6),
    "damage": damages,
}


@st.composite
def structures(draw) -> dict:
    """How a file departs from what it should be: in a few ways at once, often by damage."""
    chosen = draw(st.lists(st.sampled_from(sorted(DEPARTURES)), max_size=3, unique=True))
    chosen += ["damage"] * draw(st.integers(0, 1))
    return {
        **GOOD,
        "gzip": draw(st.booleans()),
        **{name: draw(DEPARTURES[name]) for name in chosen},
    }


def write_fuzzed(path: Path, case: dict) -> None:
    """Writes the file that a case describes."""
    rows = case["rows"]
    features = np.resize(np.array([*case["values"], 0.5, 1.0]), (rows, case["width"]))
    times = frames(max(0, rows - case["fewer_intervals"]))[:, [0, 1, 1][: case["interval_width"]]]
    times.reshape(-1)[: len(case["times"])] = case["times"][: times.size]
    with h5py.File(path, "w") as file:
        root = file.create_group(case["root"])
        if case["second_root"]:
            file.create_group("other/data")
        if case["missing"] != "data":
            data = root.create_group("data")
            if case["missing"] == "group":
                data["v"] = np.zeros(3)
            else:
                data.create_group("v")
                _write_array(data["v"], "features", features, case["feature_type"], case)
                _write_array(data["v"], "intervals", times, case["interval_type"], case)
        if case["metadata"] != "none":
            _write_metadata(root, case["metadata"])
    damage(path, *case["damage"])


def _write_array(group: h5py.Group, name: str, values: np.ndarray, kind: str, case: dict) -> None:
    if case["missing"] == name:
        return
    if name == "features" and case["shape"]:
        shape = {"flat": (5,), "deep": (2, 3, 4), "scalar": (), "huge": (10**9, 74)}
        shape["wide"] = (case["rows"], 4000)
        if case["shape"] == "empty":
            group[name] = h5py.Empty("f4")
        else:
            wanted = shape[case["shape"]]
            group.create_dataset(name, shape=wanted, dtype="f4", chunks=bool(wanted) or None)
        return
    with np.errstate(all="ignore"):
        if kind == "object":
            values = np.full(values.shape, "text", object)
            group.create_dataset(name, data=values, dtype=h5py.string_dtype())
            return
        values = values.astype(np.float64)
        converted = np.nan_to_num(values).astype(kind) if kind[-1] not in "248" else values
        converted = np.nan_to_num(values).astype(kind) if kind in ("<i4", "u1", "?") else converted
        converted = converted.astype(kind) if kind.startswith("S") or "f" in kind else converted
    group.create_dataset(
        name, data=converted, compression="gzip" if case["gzip"] and values.size else None
    )


def _write_metadata(root: h5py.Group, kind: str) -> None:
    if kind == "number":
        root["metadata"] = 3
        return
    metadata = root.create_group("metadata")
    if kind == "group":
        metadata.create_group("root name")
    elif kind == "bytes":
        metadata["root name"] = np.array([b"\xff\xfe\x00"])
    else:
        text = json.dumps("COVAREP") if kind == "json" else "asdf{"
        metadata.create_dataset("root name", data=[text], dtype=h5py.string_dtype())
        metadata.create_dataset("dimension names", data=[json.dumps([1, None])])


def read_everything(path: Path) -> str:
    """What the builder does with a file: opens it, reads all videos, as features and labels."""
    from tfds_mosei.alignment import FrameIndex
    from tfds_mosei.chunks import cut_at_pauses
    from tfds_mosei.labels import labels_from_sequence
    from tfds_mosei.sources import CsdFeatures

    outcome = ""
    for read in ("features", "labels", "raw"):
        try:
            if read == "features":
                source = CsdFeatures(path)
                try:
                    for video in source.video_ids:
                        intervals, rows = source.open(video)
                        index = FrameIndex(intervals)
                        cut_at_pauses(index, rows[:][:, 1])
                        for found in index.rows_of_each(np.array([[0.0, 0.3], [-1.0, 9.0]])):
                            rows[found]
                finally:
                    source.close()
            else:
                with csd.ComputationalSequence(path) as sequence:
                    if read == "labels":
                        labels_from_sequence(sequence)
                    else:
                        for video in sequence.video_ids:
                            sequence.read(video)
            outcome = "read"
        except CorpusError as error:
            found = checked(error, path)
            if found != "refused":
                return found
            outcome = outcome or found
    return outcome


# === Workers ===


def _work(tasks, answers) -> None:
    logging.disable()
    csd.METADATA_SECONDS = 2
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in iter(tasks.get, None):
        try:
            answers.put(read_everything(Path(path)))
        except BaseException as error:  # everything but a CorpusError is a finding
            answers.put(f"{type(error).__name__}: {error}")


class Worker:
    """A process that reads files, replaced when it dies."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process = None

    def ask(self, path: Path) -> str:
        """What reading a file ends in."""
        if self._process is None:
            self._tasks, self._answers = self._context.Queue(), self._context.Queue()
            self._process = self._context.Process(
                target=_work, args=(self._tasks, self._answers), daemon=True
            )
            self._process.start()
            self._tasks.put(os.fspath(path.with_name("no such file")))
            self._answers.get(timeout=120)
        self._tasks.put(os.fspath(path))
        waited = 0.0
        while waited < SECONDS_PER_CASE:
            try:
                return self._answers.get(timeout=0.5)
            except queue.Empty:
                waited += 0.5
                if not self._process.is_alive():
                    code = self._process.exitcode
                    self._process = None
                    return f"the process died with {code}"
        self.close()
        return "it hangs"

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


def check_reader(worker: Worker, folder: Path, cases: int) -> dict[str, int]:
    """Runs drawn cases through the reader; returns how they ended."""
    outcomes: dict[str, int] = {}

    @seed(20261123)
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(structures())
    def run(case: dict) -> None:
        path = folder / "fuzzed.csd"
        write_fuzzed(path, case)
        outcome = worker.ask(path)
        assert outcome in ("read", "refused"), outcome
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    run()
    return outcomes


def test_reader(worker, tmp_path):
    outcomes = check_reader(worker, tmp_path, FUZZ_CASES)
    assert sum(outcomes.values()) >= FUZZ_CASES
    assert outcomes["read"] > FUZZ_CASES / 40
    assert outcomes["refused"] > FUZZ_CASES / 4
