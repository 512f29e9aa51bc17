"""Running cells: order, failures, workers that die, studies that differ."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from rich.console import Console
from rich.progress import Progress

from mosei_ssl.metrics import write_json
from mosei_ssl.study import SearchConfig, StudyConfig
from mosei_ssl.study.cells import CELL_FILE, Cell, Fold, grid_cells, preparation_cells
from mosei_ssl.study.execute import _run_directory, run_cell
from mosei_ssl.study.identity import check_same, describe, exclusive, write_description
from mosei_ssl.study.results import collect_sums, write_results
from mosei_ssl.study.scheduling import run_cells
from mosei_ssl.study.search import choose_trials, without_choice
from mosei_ssl.study.workers import (
    LocalPool,
    Outcome,
    RayPool,
    _Worker,
    environment,
    execute,
)
from mosei_ssl.utils.errors import UserError


@pytest.fixture
def console():
    return Console(file=io.StringIO())


class FakePool:
    """Runs cells in order, two at a time, failing those asked for."""

    def __init__(self, out, fail=()):
        self.out, self.fail, self.order, self.running = out, fail, [], []

    def free(self):
        return 2 - len(self.running)

    def submit(self, cell):
        self.running.append(cell)
        self.order.append(cell.path)

    def wait(self):
        cell = self.running.pop()
        if cell.path in self.fail:
            return [Outcome(cell, None, "it broke\ntraceback")]
        write_json(self.out / cell.path / CELL_FILE, {"key": cell.key})
        return [Outcome(cell, {})]

    def close(self):
        pass


class HerePool(FakePool):
    """Runs cells for real, in this process, where starting workers would take longer."""

    def wait(self):
        cell = self.running.pop()
        return [Outcome(cell, *execute(cell, str(self.out)))]


def chain():
    a = Cell("pretrain", "a", {"n": 1})
    b = Cell("train", "b", {"n": 2}, ("a",))
    return [b, a, Cell("train", "c", {"n": 3}, ("b",)), Cell("train", "d", {"n": 4})]


def test_cells_wait_for_what_they_need(tmp_path, console):
    pool = FakePool(tmp_path)
    assert run_cells(chain(), tmp_path, pool, console, "x") == {}
    assert sorted(pool.order) == ["a", "b", "c", "d"]
    assert pool.order.index("a") < pool.order.index("b") < pool.order.index("c")


def test_a_log_gets_a_line_per_cell_with_the_time_left(tmp_path, monkeypatch):
    now = [1000.0]

    class SlowPool(FakePool):
        def wait(self):
            now[0] += 100.0
            return super().wait()

    monkeypatch.setattr("mosei_ssl.study.scheduling.time.monotonic", lambda: now[0])
    said = io.StringIO()
    cells = chain()
    write_json(tmp_path / "d" / CELL_FILE, {"key": cells[3].key})
    run_cells(cells, tmp_path, SlowPool(tmp_path), Console(file=said), "grid")
    assert said.getvalue().splitlines() == [
        "grid: 2/4 a, about 0:03:20 left",
        "grid: 3/4 b, about 0:01:40 left",
        "grid: 4/4 c, about 0:00:00 left",
    ]


def test_the_bar_knows_the_time_left_of_long_cells(tmp_path, monkeypatch):
    now = [0.0]
    bars = []

    class Bar(Progress):
        def __init__(self, *columns, **options):
            super().__init__(*columns, **options, get_time=lambda: now[0], auto_refresh=False)
            bars.append(self)

    left = []

    class SlowPool(FakePool):
        def wait(self):
            left.append(bars[0].tasks[0].time_remaining)
            now[0] += 600.0
            return super().wait()

    monkeypatch.setattr("mosei_ssl.study.scheduling.Progress", Bar)
    terminal = Console(file=io.StringIO(), force_terminal=True)
    run_cells(
        [Cell("train", f"c{n}", {}) for n in range(5)], tmp_path, SlowPool(tmp_path), terminal, "x"
    )
    # With two cells ended there is a speed: one in ten minutes.
    assert left[2:] == [1800, 1200, 600]


def test_a_failure_takes_along_only_what_needs_it(tmp_path, console):
    pool = FakePool(tmp_path, fail=("a",))
    failed = run_cells(chain(), tmp_path, pool, console, "x")
    assert set(failed) == {"a", "b", "c"}
    assert failed["a"].startswith("it broke")
    assert failed["b"] == "needs a, which failed"
    again = FakePool(tmp_path)
    assert run_cells(chain(), tmp_path, again, console, "x") == {}
    assert sorted(again.order) == ["a", "b", "c"]


def test_failures_of_an_earlier_round_count(tmp_path, console):
    pool = FakePool(tmp_path)
    cells = [Cell("train", "b", {}, ("a",))]
    failed = run_cells(cells, tmp_path, pool, console, "x", {"a": "broke"})
    assert failed == {"b": "needs a, which failed"}


def test_a_marker_of_other_options_does_not_count(tmp_path):
    cell = Cell("train", "x", {"n": 1})
    write_json(tmp_path / "x" / CELL_FILE, {"key": cell.key})
    assert cell.finished(tmp_path) is not None
    assert replace(cell, options={"n": 2}).finished(tmp_path) is None
    (tmp_path / "x" / CELL_FILE).write_text('{"key"')
    assert cell.finished(tmp_path) is None


FOLD = Fold("1", "covarep-1", "print", False, 60, 20, 30, ("t0", "t1", "t2"), 5000)


@pytest.fixture
def classical_study(tmp_path):
    """A study folder whose features exist, so that classical cells run without TensorFlow."""
    config = StudyConfig(seeds=[0, 1])
    features = preparation_cells(config, [FOLD])[0]
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("test", 30)):
        labels = rng.integers(0, 4, (count, 6)) * (rng.random((count, 6)) < 0.5) * 1.0
        arrays[f"{split}_features"] = rng.normal(size=(count, 8)) + labels[:, :1]
        arrays[f"{split}_labels"] = labels
        arrays[f"{split}_videos"] = np.array([f"{split[1]}{i % 3}" for i in range(count)])
    folder = tmp_path / features.path
    folder.mkdir(parents=True)
    np.savez(folder / "pooled.npz", **arrays)
    write_json(folder / CELL_FILE, {"key": features.key})
    cells = [c for c in grid_cells(config, [FOLD], [10, 20], {}) if c.kind == "classical"]
    return tmp_path, cells


def test_workers_run_cells_and_results_do_not_depend_on_their_number(classical_study, console):
    out, cells = classical_study
    tables = []
    for workers in (1, 2):
        for cell in cells:
            (out / cell.path / CELL_FILE).unlink(missing_ok=True)
        pool = LocalPool(out, workers, 1)
        try:
            assert run_cells(cells, out, pool, console, "x") == {}
        finally:
            pool.close()
        tables.append(write_results(out, cells).read_bytes())
    assert tables[0] == tables[1]
    lines = tables[0].decode().splitlines()
    assert lines[0] == "arm,labels,budget,fold,seed,metric,emotion,value"
    # 5 predictors, 2 budgets, 2 seeds, 5 metrics, overall and 6 emotions.
    assert len(lines) == 1 + 5 * 2 * 2 * 5 * 7
    assert "seconds" not in tables[0].decode()
    sums, missing = collect_sums(out, cells, [0, 1])
    assert missing == []
    assert set(sums["ridge"]["10"]) == {("1", 0), ("1", 1)}


def test_the_per_speaker_svr_knows_speakers_with_one_labelled_clip(tmp_path):
    # Each speaker's clips lie at its own offset from -1, 0, 1; their labels are 0, 1 and 2.
    def clips(speakers, letter):
        place = np.tile([-1.0, 0.0, 1.0], speakers)
        offset = np.repeat(np.random.default_rng(0).normal(0, 50, speakers), 3)
        names = np.repeat([f"{letter}{n}" for n in range(speakers)], 3)
        return (place + offset)[:, None], np.repeat(place[:, None] + 1, 6, axis=1), names

    config = StudyConfig(seeds=[0])
    features = preparation_cells(config, [FOLD])[0]
    arrays = {}
    for split, count in (("train", 24), ("test", 8)):
        for key, values in zip(("features", "labels", "videos"), clips(count, split), strict=True):
            arrays[f"{split}_{key}"] = values
    (tmp_path / features.path).mkdir(parents=True)
    np.savez(tmp_path / features.path / "pooled.npz", **arrays)
    cell = next(c for c in grid_cells(config, [FOLD], [24], {}) if c.kind == "classical")
    result = run_cell(cell, tmp_path)
    # Speakers take turns, so that 24 labels are one of each.
    assert result["labels"] == 24
    assert result["metrics"]["svr_per_speaker"]["overall"]["pearson_r"] > 0.9
    assert abs(result["metrics"]["svr"]["overall"]["pearson_r"]) < 0.5


def test_an_incomplete_budget_is_left_out(classical_study, console):
    out, cells = classical_study
    run_cells(cells[:-1], out, HerePool(out), console, "x")
    sums, missing = collect_sums(out, cells, [0, 1])
    gone = cells[-1].budget
    assert f"ridge at {gone}" in missing
    assert gone not in sums["ridge"]


def test_a_budget_that_failed_altogether_is_left_out_by_name(classical_study, console):
    out, cells = classical_study
    trained = [c for c in grid_cells(StudyConfig(seeds=[0, 1]), [FOLD], [10, 20], {}) if c.arm]
    lost = cells[0].budget
    run_cells([c for c in cells if c.budget != lost], out, HerePool(out), console, "x")
    sums, missing = collect_sums(out, [*cells, *trained], [0, 1])
    names = ("all_zero", "ridge", "svr", "svr_per_speaker", "train_median")
    arms = ("ssl", "baseline")
    assert sorted(missing) == sorted(
        [*(f"{n} at {lost}" for n in names), *(f"{a} at {b}" for a in arms for b in (10, 20))]
    )
    assert set(sums) == set(names)
    # Where nothing classical finished, not even its predictors are known.
    (out / "empty").mkdir()
    missing = collect_sums(out / "empty", cells, [0, 1])[1]
    assert sorted(missing) == ["classical predictors at 10", "classical predictors at 20"]


def test_a_failing_cell_reports_its_error(classical_study, console):
    out, cells = classical_study
    bad = replace(cells[0], options={**cells[0].options, "budget": 999})
    pool = LocalPool(out, 1, 1)
    try:
        failed = run_cells([bad, cells[1]], out, pool, console, "x")
    finally:
        pool.close()
    assert list(failed) == [bad.path]
    assert "budget 999 is impossible" in failed[bad.path]
    assert cells[1].finished(out)


def test_a_worker_that_dies_is_replaced(classical_study, console):
    out, cells = classical_study
    pool = LocalPool(out, 1, 1)
    try:
        pool.submit(cells[0])
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        (outcome,) = pool.wait()
        assert "worker died" in outcome.error
        assert pool.free() == 1
        assert run_cells(cells[:1], out, pool, console, "x") == {}
        # Now one that has nothing to do.
        idle = pool._workers[0].process
        os.kill(idle.pid, signal.SIGKILL)
        idle.join()
        assert run_cells(cells[1:2], out, pool, console, "x") == {}
        assert pool._workers[0].process.pid != idle.pid
    finally:
        pool.close()


def test_workers_end_with_their_study(classical_study):
    out, _ = classical_study
    program = (
        "import time; from pathlib import Path; from mosei_ssl.study import workers\n"
        "from mosei_ssl.study.cells import Cell\n"
        # To ask Keras takes seconds, in which TensorFlow is loaded.
        "workers.keras_backend = lambda: 'tensorflow'\n"
        "if __name__ == '__main__':\n"
        f"    pool = workers.LocalPool(Path({str(out)!r}), 1, 1)\n"
        "    pool.submit(Cell('nothing', 'x', {}))\n"
        "    pool.wait(); print(pool._workers[0].process.pid, flush=True); time.sleep(60)\n"
    )
    script = out / "study_program.py"
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    ) as study:
        worker = int(study.stdout.readline())
        study.kill()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its study")


def test_another_study_is_not_overwritten(tmp_path):
    mine = describe(StudyConfig(), [FOLD], [25])
    check_same(tmp_path / "new", mine)
    write_json(tmp_path / "study.json", {"study": mine})
    check_same(tmp_path, mine)
    other = describe(StudyConfig(finetune={"epochs": 3}), [FOLD], [25])
    with pytest.raises(UserError, match=r"other settings .*ssl\.finetune\.epochs: 30 there, 3"):
        check_same(tmp_path, other)
    write_json(tmp_path / "study.json", {"study": {**mine, "format": 0}})
    with pytest.raises(UserError, match="another version"):
        check_same(tmp_path, mine)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        check_same(tmp_path, mine)


def test_a_study_of_other_versions_is_refused(tmp_path):
    mine = describe(StudyConfig(), [FOLD], [25])
    assert set(mine["versions"]) == {"mosei_ssl", "tensorflow", "keras", "numpy", "scikit-learn"}
    theirs = {**mine, "versions": {**mine["versions"], "numpy": "1.0"}}
    write_json(tmp_path / "study.json", {"study": theirs})
    with pytest.raises(UserError, match=r"other versions \(numpy: 1\.0 there, .* here\): "):
        check_same(tmp_path, mine)


def test_a_study_of_another_backend_is_refused(tmp_path, monkeypatch):
    theirs = describe(StudyConfig(), [FOLD], [25])
    assert theirs["backend"] == "tensorflow"
    write_json(tmp_path / "study.json", {"study": theirs})
    monkeypatch.setattr("mosei_ssl.study.identity.keras_backend", lambda: "jax")
    mine = describe(StudyConfig(), [FOLD], [25])
    # Its numbers are those of JAX, whose version therefore counts too.
    assert set(mine["versions"]) - set(theirs["versions"]) == {"jax", "jaxlib"}
    with pytest.raises(UserError, match=r"Keras \(tensorflow there, jax here\).*KERAS_BACKEND"):
        check_same(tmp_path, mine)


def test_a_default_that_changes_makes_another_study(tmp_path):
    mine = describe(StudyConfig(), [FOLD], [25])
    # What a version with another default would have written for the same file.
    theirs = json.loads(json.dumps(mine))
    theirs["arms"]["ssl"]["pretrain"]["optimizer"]["weight_decay"] = 0.5
    write_json(tmp_path / "study.json", {"study": theirs})
    with pytest.raises(UserError, match=r"ssl\.pretrain\.optimizer\.weight_decay: 0\.5 there"):
        check_same(tmp_path, mine)


def test_killed_while_the_folder_was_begun(tmp_path):
    config = StudyConfig()
    mine = describe(config, [FOLD], [25])
    (tmp_path / "study.lock").touch()
    (tmp_path / ".study.json.123.tmp").write_text("{")
    check_same(tmp_path, mine)
    write_description(tmp_path, config, mine)
    # Now as if killed between the two files.
    (tmp_path / "study.yaml").unlink()
    check_same(tmp_path, mine)
    write_description(tmp_path, config, mine)
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["seeds"] == [0, 1, 2]


def test_a_file_is_no_folder_for_a_study(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out is a file"):
        check_same(tmp_path / "out", describe(StudyConfig(), [FOLD], [25]))


def test_an_arm_whose_search_fails_does_not_stop_the_others(tmp_path, console):
    config = StudyConfig(seeds=[0])
    config.search = SearchConfig([{"epochs": 1}, {"epochs": 2}], labels=25)
    preparation = preparation_cells(config, [FOLD])
    scores = {0: 0.5, 1: 0.4}
    for cell in preparation:
        if cell.arm == "baseline":
            metrics = {"model": {"overall": {"mae": scores[cell.trial]}}}
            write_json(tmp_path / cell.path / CELL_FILE, {"key": cell.key, "metrics": metrics})
    pretraining = next(cell.path for cell in preparation if cell.kind == "pretrain")
    pool = FakePool(tmp_path, fail=(pretraining,))
    failed = run_cells(preparation, tmp_path, pool, console, "x")
    chosen = choose_trials(config, preparation, tmp_path)
    assert chosen == {"baseline": 1}
    grid = grid_cells(config, [FOLD], [25], chosen)
    failed |= without_choice(config, chosen, grid)
    failed |= run_cells(grid, tmp_path, FakePool(tmp_path), console, "x", failed)
    lost = {cell.path for cell in grid if cell.finished(tmp_path) is None}
    assert lost == {cell.path for cell in grid if cell.arm == "ssl"} != set()
    for path in lost:
        assert failed[path] == "the search of arm 'ssl' gave no score for mae"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no study"):
        check_same(tmp_path, describe(StudyConfig(), [FOLD], [25]))


def test_two_runs_of_one_study_are_kept_apart(tmp_path):
    with (
        exclusive(tmp_path / "s"),
        pytest.raises(UserError, match="another process"),
        exclusive(tmp_path / "s"),
    ):
        pass


def test_moving_the_data_is_no_other_study(tmp_path, console):
    here, there = StudyConfig(), StudyConfig(pretrain={"data": {"cache": "disk"}})
    there.data = replace(
        there.data, data_dir="elsewhere", cache_dir="c", memory_limit_mb=1, prefetch=9
    )
    assert describe(here, [FOLD], [25]) == describe(there, [FOLD], [25])
    json.dumps(describe(here, [FOLD], [25]))
    before, after = (
        [*preparation_cells(config, [FOLD]), *grid_cells(config, [FOLD], [25], {})]
        for config in (here, there)
    )
    assert [(c.path, c.key) for c in before] == [(c.path, c.key) for c in after]
    assert run_cells(before, tmp_path, FakePool(tmp_path), console, "x") == {}
    again = FakePool(tmp_path)
    assert run_cells(after, tmp_path, again, console, "x") == {}
    assert again.order == []


def test_a_training_cut_off_before_the_data_moved_begins_anew(tmp_path):
    config = StudyConfig()
    here = preparation_cells(config, [FOLD])[1]
    config.data = replace(config.data, data_dir="elsewhere")
    there = preparation_cells(config, [FOLD])[1]
    assert here.kind == "pretrain"
    run = tmp_path / here.path / "run"
    write_json(run / "run.json", {})
    _run_directory(here, tmp_path)
    write_json(run / "run.json", {"state": "running"})
    _run_directory(here, tmp_path)
    assert (run / "run.json").exists()
    _run_directory(there, tmp_path)
    assert not run.exists()


def test_threads_are_fixed_for_every_library():
    found = environment(3)
    assert found["OMP_NUM_THREADS"] == found["TF_NUM_INTRAOP_THREADS"] == "3"


def test_workers_compute_with_the_backend_of_the_study(monkeypatch):
    monkeypatch.setattr("mosei_ssl.study.workers.keras_backend", lambda: "jax")
    assert environment(1)["KERAS_BACKEND"] == "jax"


def training(name, compiled):
    return Cell("train", name, {"run": {"jit_compile": compiled}})


def test_trainings_with_and_without_xla_share_no_process(tmp_path, monkeypatch):
    begun = []

    class Pipe:
        def send(self, values):
            begun[-1].append(values["path"])

        def close(self):
            pass

    process = SimpleNamespace(join=lambda timeout=None: None, is_alive=lambda: False)

    def start(self, number):
        begun.append([])
        return _Worker(process, Pipe())

    monkeypatch.setattr(LocalPool, "_start", start)
    pool = LocalPool(tmp_path, 1, 1)
    for cell in (
        Cell("classical", "a", {}),
        training("b", True),
        Cell("features", "c", {}),
        training("d", True),
        training("e", "auto"),
        training("f", False),
        Cell("classical", "g", {}),
        training("h", True),
    ):
        pool.submit(cell)
        pool._workers[0].cell = None
    assert begun == [["a", "b", "c", "d"], ["e", "f", "g"], ["h"]]


class FakeRay:
    """Notes what it is asked for; tasks are done at once."""

    def __init__(self):
        self.began, self.sent = None, []

    def init(self, **options):
        self.began = options

    def remote(self, function):
        return self

    def options(self, **options):
        def remote(cell, study):
            self.sent.append((cell, study, options["runtime_env"]["env_vars"]))
            return len(self.sent)

        return SimpleNamespace(remote=remote)


@pytest.fixture
def ray(monkeypatch):
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


def test_on_ray_too_trainings_with_and_without_xla_share_no_process(tmp_path, ray):
    pool = RayPool(tmp_path, 2, 1)
    for cell in (training("a", True), training("b", "auto"), Cell("classical", "c", {})):
        pool.submit(cell)
    compiled, plain, classical = (variables for _, _, variables in ray.sent)
    # Ray gives tasks of different environments different processes.
    assert compiled != plain == classical
    assert compiled["KERAS_BACKEND"] == plain["KERAS_BACKEND"] == "tensorflow"


def test_a_cluster_is_told_whole_paths(tmp_path, ray, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = StudyConfig(seeds=[0], pretrain={"data": {"cache_dir": "frames"}})
    cells = preparation_cells(config, [FOLD])
    pool = RayPool(Path("study"), 2, 1)
    for cell in cells:
        pool.submit(cell)
    (features, _, _), (pretraining, study, _) = ray.sent
    assert study == str(tmp_path / "study")
    assert features.options["data"]["data_dir"] == str(tmp_path / "data")
    assert features.options["data"]["cache_dir"] is None
    assert pretraining.options["run"]["data"]["data_dir"] == str(tmp_path / "data")
    assert pretraining.options["run"]["data"]["cache_dir"] == str(tmp_path / "frames")
    assert [features.key, pretraining.key] == [cell.key for cell in cells]


def test_without_an_address_no_cluster_is_looked_for(tmp_path, ray):
    RayPool(tmp_path, 2, 3)
    assert (ray.began["address"], ray.began["num_cpus"]) == ("local", 6)
    RayPool(tmp_path, 2, 3, "head:6379")
    assert ray.began["address"] == "head:6379"
    assert "num_cpus" not in ray.began


def test_an_address_that_is_none_is_told(tmp_path, monkeypatch):
    def init(**options):
        raise ValueError(f"Malformed address: {options['address']}")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(UserError, match="cannot reach the Ray cluster foo: Malformed"):
        RayPool(tmp_path, 1, 1, "foo")


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_results(classical_study, console):
    pytest.importorskip("ray", reason="Ray is not installed (extra: ray)")
    out, cells = classical_study
    tables = []
    for kind in (LocalPool, RayPool):
        for cell in cells:
            (out / cell.path / CELL_FILE).unlink(missing_ok=True)
        pool = kind(out, 2, 1)
        try:
            assert run_cells(cells, out, pool, console, "x") == {}
            bad = replace(cells[0], path="bad", options={**cells[0].options, "budget": 999})
            assert "impossible" in run_cells([bad], out, pool, console, "x")["bad"]
        finally:
            pool.close()
        tables.append(write_results(out, cells).read_bytes())
    assert tables[0] == tables[1]
