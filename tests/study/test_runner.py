"""Single cells, the choice of trials, results, and what makes a study's folder its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from mosei_ssl.metrics import write_json
from mosei_ssl.study import ArmConfig, SearchConfig, StudyConfig
from mosei_ssl.study.cells import CELL_FILE, Cell, grid_cells, preparation_cells, search_cells
from mosei_ssl.study.execute import _run_options, execute
from mosei_ssl.study.identity import LOCK_FILE, check_same, describe, write_description
from mosei_ssl.study.results import collect_sums, write_results
from mosei_ssl.study.runner import choose_trials, run_study, without_choice
from mosei_ssl.study.waves import run_wave
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import lock


def finish(cell, out):
    """Stand in for a cell's work."""
    write_json(out / cell.path / CELL_FILE, {"key": cell.key})
    return ""


def test_a_marker_of_other_options_does_not_count(tmp_path):
    cell = Cell("train", "x", {"n": 1})
    write_json(tmp_path / "x" / CELL_FILE, {"key": cell.key})
    assert cell.finished(tmp_path) is not None
    assert replace(cell, options={"n": 2}).finished(tmp_path) is None
    (tmp_path / "x" / CELL_FILE).write_text('{"key"')
    assert cell.finished(tmp_path) is None


def test_results_have_a_row_per_score_and_no_timings(classical_study):
    out, cells = classical_study
    for cell in cells:
        assert execute(cell, out) == ""
    table = write_results(out, cells).read_text()
    lines = table.splitlines()
    assert lines[0] == "arm,labels,budget,fold,seed,metric,emotion,value"
    # 4 predictors, 2 budgets, 2 seeds, 5 metrics, overall and 6 emotions.
    assert len(lines) == 1 + 4 * 2 * 2 * 5 * 7
    assert "seconds" not in table
    sums, missing = collect_sums(out, cells, [0, 1])
    assert missing == []
    assert set(sums["ridge"]["10"]) == {("1", 0), ("1", 1)}


@pytest.mark.parametrize(("speakers", "units"), [(5, 5), (4, 30)])
def test_intervals_are_over_speakers_where_enough_are_known(classical_study, speakers, units):
    out, cells = classical_study
    with np.load(next(out.rglob("pooled.npz"))) as file:
        arrays = dict(file)
    arrays["test_speakers"] = np.array([f"s{i % speakers}" for i in range(30)])
    arrays["test_videos"] = np.array([f"v{i}" for i in range(30)])
    np.savez(next(out.rglob("pooled.npz")), **arrays)
    for cell in cells:
        assert execute(cell, out) == ""
    sums, _ = collect_sums(out, cells, [0, 1])
    assert len(sums["ridge"]["10"]["1", 0].videos) == units


def test_an_incomplete_budget_is_left_out(classical_study):
    out, cells = classical_study
    for cell in cells[:-1]:
        execute(cell, out)
    sums, missing = collect_sums(out, cells, [0, 1])
    gone = cells[-1].budget
    assert f"ridge at {gone}" in missing
    assert gone not in sums["ridge"]


def test_a_budget_that_failed_altogether_is_left_out_by_name(classical_study, fold):
    out, cells = classical_study
    trained = [c for c in grid_cells(StudyConfig(seeds=[0, 1]), [fold], [10, 20], {}) if c.arm]
    lost = cells[0].budget
    for cell in cells:
        if cell.budget != lost:
            execute(cell, out)
    sums, missing = collect_sums(out, [*cells, *trained], [0, 1])
    names = ("all_zero", "ridge", "svr", "train_median")
    arms = ("ssl", "baseline")
    assert sorted(missing) == sorted(
        [*(f"{n} at {lost}" for n in names), *(f"{a} at {b}" for a in arms for b in (10, 20))]
    )
    assert set(sums) == set(names)
    # Where nothing classical finished, not even its predictors are known.
    (out / "empty").mkdir()
    missing = collect_sums(out / "empty", cells, [0, 1])[1]
    assert sorted(missing) == ["classical predictors at 10", "classical predictors at 20"]


def test_a_failing_cell_reports_its_error(classical_study):
    out, cells = classical_study
    bad = replace(cells[0], options={**cells[0].options, "budget": 999})
    assert "budget 999 is impossible" in execute(bad, out)
    assert bad.finished(out) is None
    lost = replace(cells[0], options={**cells[0].options, "features": {"path": "none"}})
    first, *trace = execute(lost, out).splitlines()
    assert first.startswith("FileNotFoundError")
    assert any("_classical" in line for line in trace)


def test_another_study_is_not_overwritten(tmp_path, fold):
    mine = describe(StudyConfig(), [fold], [25])
    check_same(tmp_path / "new", mine)
    write_json(tmp_path / "study.json", {"study": mine})
    check_same(tmp_path, mine)
    other = describe(StudyConfig(finetune={"epochs": 3}), [fold], [25])
    with pytest.raises(UserError, match=r"other settings .*finetune\.epochs: now 3, before 30"):
        check_same(tmp_path, other)
    write_json(tmp_path / "study.json", {"study": {**mine, "format": 0}})
    with pytest.raises(UserError, match="another version"):
        check_same(tmp_path, mine)
    (tmp_path / "study.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        check_same(tmp_path, mine)


def test_a_study_grows_by_seeds_budgets_and_arms(tmp_path, fold):
    arms = [ArmConfig(name="baseline"), ArmConfig(name="ssl", pretrained=True)]
    small = StudyConfig(seeds=[0], arms=arms[:1])
    first = describe(small, [fold], [25])
    write_description(tmp_path, small, first)
    large = StudyConfig(seeds=[0, 1], arms=arms)
    grown = describe(large, [fold], [0, 25])
    check_same(tmp_path, grown)
    write_description(tmp_path, large, grown)
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["seeds"] == [0, 1]
    # But what is there is not dropped.
    with pytest.raises(UserError, match=r"other settings \(arms\.ssl, budgets: .*, seeds: "):
        check_same(tmp_path, first)


def test_a_study_of_other_versions_is_refused(tmp_path, fold):
    mine = describe(StudyConfig(), [fold], [25])
    assert set(mine["versions"]) == {"mosei_ssl", "tensorflow", "keras", "numpy", "scikit-learn"}
    theirs = {**mine, "versions": {**mine["versions"], "numpy": "1.0"}}
    write_json(tmp_path / "study.json", {"study": theirs})
    with pytest.raises(UserError, match=r"other versions \(numpy: now .*, before 1\.0\): "):
        check_same(tmp_path, mine)


def test_a_study_of_another_backend_is_refused(tmp_path, monkeypatch, fold):
    theirs = describe(StudyConfig(), [fold], [25])
    assert theirs["backend"] == "tensorflow"
    write_json(tmp_path / "study.json", {"study": theirs})
    monkeypatch.setattr("mosei_ssl.study.identity.keras_backend", lambda: "jax")
    mine = describe(StudyConfig(), [fold], [25])
    # Its numbers are those of JAX, whose version therefore counts too.
    assert set(mine["versions"]) - set(theirs["versions"]) == {"jax", "jaxlib"}
    with pytest.raises(UserError, match=r"Keras \(tensorflow there, jax here\).*KERAS_BACKEND"):
        check_same(tmp_path, mine)


def test_a_default_that_changes_makes_another_study(tmp_path, fold):
    mine = describe(StudyConfig(), [fold], [25])
    # What a version with another default would have written for the same file.
    theirs = json.loads(json.dumps(mine))
    theirs["arms"]["ssl"]["pretrain"]["optimizer"]["weight_decay"] = 0.5
    write_json(tmp_path / "study.json", {"study": theirs})
    with pytest.raises(UserError, match=r"optimizer\.weight_decay: now 0\.01, before 0\.5"):
        check_same(tmp_path, mine)


def test_killed_while_the_folder_was_begun(tmp_path, fold):
    config = StudyConfig()
    mine = describe(config, [fold], [25])
    (tmp_path / LOCK_FILE).touch()
    (tmp_path / ".study.json.123.tmp").write_text("{")
    check_same(tmp_path, mine)
    write_description(tmp_path, config, mine)
    # Now as if killed between the two files.
    (tmp_path / "study.yaml").unlink()
    check_same(tmp_path, mine)
    write_description(tmp_path, config, mine)
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["seeds"] == [0, 1, 2]


def test_a_file_is_not_a_folder_for_a_study(tmp_path, fold):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out is a file"):
        check_same(tmp_path / "out", describe(StudyConfig(), [fold], [25]))


def test_a_folder_with_something_else_is_left_alone(tmp_path, fold):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds no study"):
        check_same(tmp_path, describe(StudyConfig(), [fold], [25]))


def test_an_arm_whose_search_fails_does_not_stop_the_others(tmp_path, here, fold):
    config = StudyConfig(seeds=[0])
    config.search = SearchConfig(trials=[{"epochs": 1}, {"epochs": 2}], labels=25)
    preparation, search = preparation_cells(config, [fold]), search_cells(config, [fold])
    scores = {0: 0.5, 1: 0.4}

    def run(cell, out):
        if cell.kind == "pretrain":
            return "it broke"
        metrics = {"model": {"overall": {"mae": scores.get(cell.trial)}}}
        write_json(out / cell.path / CELL_FILE, {"key": cell.key, "metrics": metrics})
        return ""

    failed = {}
    run_wave(preparation, tmp_path, here, "x", failed, run)
    run_wave(search, tmp_path, here, "x", failed, run)
    chosen = choose_trials(config, search, tmp_path)
    assert chosen == {"baseline": 1}
    assert json.loads((tmp_path / "search.json").read_text())["chosen"] == chosen
    grid = grid_cells(config, [fold], [25], chosen)
    failed |= without_choice(config, chosen, grid)
    run_wave(grid, tmp_path, here, "x", failed, run)
    lost = {cell.path for cell in grid if cell.finished(tmp_path) is None}
    assert lost == {cell.path for cell in grid if cell.arm == "ssl"} != set()
    for path in lost:
        assert failed[path] == "the search of arm 'ssl' gave no score for mae"


def test_two_runs_of_one_study_are_kept_apart(tmp_path, monkeypatch, fold):
    monkeypatch.setattr("mosei_ssl.study.runner.prepare_folds", lambda config: [fold])
    with (
        lock(tmp_path / LOCK_FILE, "first"),
        pytest.raises(UserError, match="another process"),
    ):
        run_study(StudyConfig(), tmp_path)
    assert not (tmp_path / "study.json").exists()


def test_moving_the_data_does_not_make_another_study(tmp_path, here, fold):
    at_home, elsewhere = StudyConfig(), StudyConfig()
    elsewhere.data = replace(elsewhere.data, data_dir="elsewhere")
    assert describe(at_home, [fold], [25]) == describe(elsewhere, [fold], [25])
    json.dumps(describe(at_home, [fold], [25]))
    before, after = (
        [*preparation_cells(config, [fold]), *grid_cells(config, [fold], [25], {})]
        for config in (at_home, elsewhere)
    )
    assert [(c.path, c.key) for c in before] == [(c.path, c.key) for c in after]
    run_wave(before, tmp_path, here, "x", {}, finish)
    count = len(here.ran)
    run_wave(after, tmp_path, here, "x", {}, finish)
    assert len(here.ran) == count > 0


def test_a_training_interrupted_before_the_data_moved_begins_anew(tmp_path, fold):
    config = StudyConfig()
    at_home = preparation_cells(config, [fold])[0]
    config.data = replace(config.data, data_dir="elsewhere")
    elsewhere = preparation_cells(config, [fold])[0]
    assert at_home.kind == "pretrain"
    run = tmp_path / at_home.path / "run"
    write_json(run / "run.json", {})
    _run_options(at_home, tmp_path)
    write_json(run / "run.json", {"state": "running"})
    _run_options(at_home, tmp_path)
    assert (run / "run.json").exists()
    _run_options(elsewhere, tmp_path)
    assert not run.exists()
