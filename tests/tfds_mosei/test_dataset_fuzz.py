"""Damaged and absurd files end in a dataset or in one clear error.

Never in another exception, a crash of the process, a hang, or half a dataset. The reader runs in
worker processes, so that a crash inside HDF5 is seen as what it is. MOSEI_SSL_FUZZ_CASES=2000 runs
more cases than by default.
"""

import json
import logging
import multiprocessing
import os
import queue
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from mosei_corpus import examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, CorpusError, csd, report_page

READER_CASES = int(os.environ.get("MOSEI_SSL_FUZZ_CASES", "200"))
BUILDS = max(12, READER_CASES // 40)
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
    _damage(path, *case["damage"])


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


def _damage(path: Path, kind: str, how) -> None:
    content = bytearray(path.read_bytes())
    if kind == "cut":
        del content[int(how * len(content)) :]
    elif kind == "flip":
        for place, bit in how:
            content[int(place * (len(content) - 1))] ^= 1 << bit
    elif kind == "blank":
        start = int(how[0] * len(content))
        content[start : start + how[1]] = bytes(len(content[start : start + how[1]]))
    elif kind == "insert":
        start = int(how[0] * len(content))
        content[start:start] = how[1]
    path.write_bytes(content)


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


def checked(error: CorpusError, path: Path) -> str:
    """A message must name the file and be one line."""
    message = str(error)
    one_line = "\n" not in message
    return "refused" if str(path) in message and one_line else f"unclear message: {message}"


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
    outcomes = check_reader(worker, tmp_path, READER_CASES)
    assert sum(outcomes.values()) >= READER_CASES
    assert outcomes["read"] > READER_CASES / 40
    assert outcomes["refused"] > READER_CASES / 4


# === Whole builds ===


def write_fuzzed_corpus(folder: Path, rng: random.Random) -> None:
    """A good corpus, then something done to one of its files."""
    values = np.random.default_rng(rng.randrange(2**32))
    features, labels = {}, {}
    for video in "abcd":
        rows = rng.randrange(0, 300)
        array = ramp(rows)
        if rows:
            array[values.integers(0, rows, 5), values.integers(0, 74, 5)] = values.choice(
                [np.nan, np.inf, -np.inf, 3e38]
            )
        times = frames(rows)
        if rows and rng.random() < 0.3:
            times[values.integers(0, rows, 3)] = values.choice([np.nan, -1.0, 1e9], (3, 2))
        features[video] = (times, array)
        count = rng.randrange(0, 5)
        segments = values.choice([-1.0, 0.0, 0.1, 0.5, 1.5, 9.0, np.nan], (count, 2))
        if rng.random() < 0.5:
            segments.sort(axis=1)
        levels = values.choice([0, 1 / 3, 3, 9, -1, np.nan, np.inf], count)
        found = [label(happy=level) for level in levels]
        labels[video] = ([[0.0, 0.4], *segments], [label(), *found])
    write_corpus(folder, features, labels)
    name = rng.choice(["features.csd", "labels.csd", "folds.json", "", ""])
    if name == "" and rng.random() < 0.4:
        (folder / "labels.csd").unlink()
        lines = [f"{v},0,0.4,0,0,0,{rng.choice(['0', 'x', 'nan', ''])},0,0,0" for v in "abcd"]
        header = "id,start,end,sentiment,happy,sad,anger,surprise,disgust,fear"
        (folder / "labels.csv").write_text("\n".join([header, *lines]))
    elif name == "" and rng.random() < 0.5:
        (folder / "features.csd").unlink()
        for video in "abcd":
            content = {"features": ramp(60), "names": np.array([list(FEATURE_NAMES)], object)}
            scipy.io.savemat(folder / f"{video}.mat", content)
        if rng.random() < 0.7:
            _damage(folder / "b.mat", "flip", [(rng.random(), rng.randrange(8)) for _ in range(5)])
    elif name == "" and rng.random() < 0.3:
        claim_much(folder / "labels.csd", rng.randrange(8, 4000))
    elif name:
        kind = rng.choice(["cut", "flip", "blank"])
        how = {
            "cut": rng.random(),
            "flip": [(rng.random(), rng.randrange(8)) for _ in range(rng.randrange(1, 20))],
            "blank": (rng.random(), rng.randrange(1, 4000)),
        }[kind]
        _damage(folder / name, kind, how)


def claim_much(path: Path, width: int) -> None:
    """Labels of video a become two million rows that were never written: a few kilobytes."""
    with h5py.File(path, "r+") as file:
        del file["All Labels/data/a"]
        for name, columns in (("features", width), ("intervals", 2)):
            file.create_dataset(
                f"All Labels/data/a/{name}", (2_000_000, columns), "f8", chunks=(100, columns)
            )


def wanted(folder: Path) -> dict[tuple[str, int], tuple[np.ndarray, list[float]]]:
    """Rows and labels of the train segments, found in the slow and obvious way."""
    found = {}
    for video, segments in read_labels(folder).items():
        if video not in json.loads((folder / "folds.json").read_text())["train"]:
            continue
        times, rows = read_features(folder, video)
        for number, (start, end, *labels) in enumerate(segments):
            if not np.isfinite([start, end, *labels]).all() or end - start < 1e-5:
                continue
            inside = sorted(
                (times[i, 0], i)
                for i in range(len(rows))
                if np.isfinite(times[i]).all()
                and times[i, 1] - times[i, 0] > 1e-5
                and times[i, 1] > start + 1e-5
                and times[i, 0] < end - 1e-5
            )
            if inside:
                clipped = [max(-3, min(3, labels[0])), *(max(0, min(3, x)) for x in labels[1:])]
                found[video, number] = rows[[i for _, i in inside]], clipped
    return found


def read_labels(folder: Path) -> dict[str, list[list[float]]]:
    """Start, end and seven labels of each segment, by video."""
    table: dict[str, list[list[float]]] = {}
    if (folder / "labels.csv").exists():
        for line in (folder / "labels.csv").read_text().splitlines()[1:]:
            video, *cells = line.split(",")
            table.setdefault(video, []).append([float(cell or "nan") for cell in cells])
        return table
    with h5py.File(folder / "labels.csd") as file:
        for video, group in file["All Labels/data"].items():
            table[video] = np.hstack([group["intervals"][()], group["features"][()]]).tolist()
    return table


def read_features(folder: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Times and rows of a video."""
    if (folder / f"{video}.mat").exists():
        rows = scipy.io.loadmat(folder / f"{video}.mat")["features"]
        return frames(len(rows)), rows.astype(np.float32)
    with h5py.File(folder / "features.csd") as file:
        group = file["COVAREP/data"][video]
        return group["intervals"][()], group["features"][()]


def check_built(built, corpus: Path) -> None:
    """A dataset that came out of a fuzzed corpus is right, whole and described."""
    expected = wanted(corpus)
    found = examples(built, "train")
    assert found.keys() == expected.keys()
    for key, (rows, labels) in expected.items():
        np.testing.assert_array_equal(found[key]["features"], rows)
        np.testing.assert_array_equal(found[key]["sentiment"], np.float32(labels[0]))
        np.testing.assert_array_equal(found[key]["emotions"], np.float32(labels[1:]))
    metadata = dict(built.info.metadata)
    finite = np.concatenate([rows for rows, _ in expected.values()])
    assert metadata["feature_statistics"]["count"] == len(finite)
    counts = np.sum(~np.isfinite(finite), axis=0).tolist()
    assert metadata["feature_statistics"]["non_finite"] == counts
    assert built.builder_config.name == f"covarep-{metadata['fingerprint']}"
    report = json.loads((built.data_path / "report.json").read_text())
    assert report["fingerprint"] == metadata["fingerprint"]
    for split, info in built.info.splits.items():
        assert report["report"]["splits"][split]["segments"] == info.num_examples
    assert "</html>" in (built.data_path / "report.html").read_text()


def _build(folder: str, data: str, answers) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (BUILD_MEMORY, BUILD_MEMORY))
    draw = report_page.render_page
    for number in range(BUILDS):
        corpus, target = Path(folder) / str(number), Path(data) / str(number)
        write_fuzzed_corpus(corpus, random.Random(number))
        try:
            if number % 4:  # drawing takes most of a build
                report_page.render_page = lambda *_: "</html>"
            else:
                report_page.render_page = draw
            built = tfds_mosei.build(data_dir=target, manual_dir=corpus)
            check_built(built, corpus)
            answers.put((number, "built"))
        except CorpusError as error:
            left = [p for p in target.glob("tfds_mosei/*/*") if p.parent.name != ".config"]
            answers.put((number, f"left behind: {left}" if left else checked(error, corpus)))
        except BaseException as error:
            answers.put((number, f"{type(error).__name__}: {error}"))


@pytest.mark.slow
def test_whole_builds(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(
        target=_build, args=(str(tmp_path / "corpora"), str(tmp_path / "data"), answers)
    )
    process.start()
    outcomes = {}
    while len(outcomes) < BUILDS:
        try:
            number, outcome = answers.get(timeout=120)
        except queue.Empty:
            process.kill()
            pytest.fail(f"build {len(outcomes)} hangs or the process died ({process.exitcode})")
        outcomes[number] = outcome
    process.join()
    assert {n: o for n, o in outcomes.items() if o not in ("built", "refused")} == {}
    assert list(outcomes.values()).count("built") >= BUILDS / 10
    assert list(outcomes.values()).count("refused") >= BUILDS / 10
