"""What a study is said to cost."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from quick_runs import padded_to_one_length, quick_runs
from rich.console import Console

from mosei_ssl.config import DataConfig, TransformerConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import write_json
from mosei_ssl.models import build_backbone
from mosei_ssl.study import (
    ArmConfig,
    SearchConfig,
    StudyConfig,
    estimate,
    execute,
    run_study,
    runner,
)
from mosei_ssl.study.cells import (
    CELL_FILE,
    ExtraDataset,
    Fold,
    grid_cells,
    preparation_cells,
    search_cells,
)
from mosei_ssl.study.estimate import Measured, estimate_table, measure
from mosei_ssl.study.identity import describe

FOLD = Fold("1", "covarep-1", "print", False, 100, 20, 30, ("t",), 5000)
TWIN = ExtraDataset("synthetic-a", "synthetic-a", "print")
SMALL = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16}


def listed(config, cells, out):
    said = io.StringIO()
    Console(file=said, width=200).print(estimate_table(config, [FOLD], cells, out, 2))
    return said.getvalue()


def test_every_kind_of_training_is_measured_once_and_counted(tmp_path, monkeypatch, here):
    config = StudyConfig(
        data=DataConfig(data_dir=str(tmp_path), batch_size=10),
        arms=[
            ArmConfig(name="ssl", pretrained=True),
            ArmConfig(name="probe", pretrained=True, finetune={"freeze_backbone": True}),
            ArmConfig(name="large", finetune={"head": {"dropout": 0.5}}),
            ArmConfig(name="baseline"),
        ],
        seeds=[0, 1],
        pretrain={"epochs": 10},
        finetune={"epochs": 10, "min_steps_per_epoch": 1},
    )
    measured = []

    class Engine:
        """Measures nothing, but says what kinds of training would have cost."""

        def __init__(self, workers, threads, logs):
            self.submitter, self.close = here.submitter, here.close

    def measure(cell):
        run = cell.options["run"]
        measured.append(cell.path)
        step = {True: 1.0, False: 2.0, None: 4.0}[run.get("freeze_backbone")]
        if run.get("head", {}).get("dropout") == 0.5:
            step = 8.0
        return Measured(0.0, step, 90, 0.0, disk_mb=10.0, memory_mb=100.0 * step)

    monkeypatch.setattr(estimate, "LocalEngine", Engine)
    monkeypatch.setattr(estimate, "measure", measure)
    cells = [*preparation_cells(config, [FOLD]), *grid_cells(config, [FOLD], ["all"], {})]
    cells = [cell for cell in cells if cell.kind in ("pretrain", "train")]
    said = listed(config, cells, tmp_path / "out")
    # Two seeds, an arm and its baseline alike: four measurements.
    assert len(measured) == 4
    # Two pretrainings of 10 epochs of 90 steps; of each arm but the frozen one, which has no
    # epochs, two trainings of 10 epochs of 10 steps, at 2, 8 and 2 seconds a step.
    hours = (2 * 10 * 90 * 4 + 2 * 10 * 10 * (2 + 8 + 2)) / 3600
    assert f"{hours:.2f} h of work" in said
    assert f"about {hours / 2:.2f} h with 2 worker(s)" in said
    assert "800 MB each worker" in said
    for name, each in (("ssl", 200), ("probe", 0), ("large", 800), ("baseline", 200)):
        assert re.search(rf"train\W+{name}\W+all\W+2\W+0\W+{each}\.0\b", said)


@pytest.fixture
def without_a_graph():
    with quick_runs(), padded_to_one_length():
        yield


def test_pretraining_is_measured_on_what_it_sees(corpora, monkeypatch, without_a_graph):
    monkeypatch.setattr(estimate, "_STEPS", 1)
    data = DataConfig(
        data_dir=str(corpora), batch_size=8, extra_datasets=["synthetic-a"], max_frames=100
    )
    config = StudyConfig(
        data=data, seeds=[0], backbone=SMALL, pretrain={"splits": ["train", "unlabelled"]}
    )
    fold = Fold(**{**vars(FOLD), "dataset": "speech", "extras": (TWIN,)})
    found = measure(preparation_cells(config, [fold])[0])
    count = 2 * sum(
        len(load_segments(DataConfig(data_dir=str(corpora), dataset="speech"), split))
        for split in ("train", "unlabelled")
    )
    # Each bucket of lengths may end in an incomplete batch.
    assert count / 8 <= found.steps_per_epoch <= count / 8 + 12
    assert 0 < found.step < found.start
    # Two files hold the backbone, and the task adds a layer that predicts 148 columns at least.
    backbone = build_backbone(TransformerConfig(**SMALL), [0.0] * 74, [1.0] * 74).count_params()
    assert found.disk_mb * 1e6 > 4 * (2 * backbone + 16 * 148)


def test_a_small_program_does_not_inherit_the_memory_of_a_large_one():
    module = execute.__file__
    # Alone, without the imports of its module.
    source = Path(module).read_text()
    function = source[source.index("def peak_memory_mb") : source.index("def _run_options")]
    header = "import resource; from pathlib import Path\n"
    small = f"{header}{function}print(peak_memory_mb())"
    large = (
        "import subprocess, sys; x = bytearray(400_000_000); x[::4096] = x[1::4096];"
        f"subprocess.run([sys.executable, '-c', {small!r}])"
    )
    said = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True)
    assert 1 < float(said.stdout) < 100


def test_a_finished_study_with_a_search_costs_nothing_more(tmp_path, monkeypatch):
    config = StudyConfig(seeds=[0], budgets=[25])
    config.search = SearchConfig(trials=[{"epochs": 1}, {"epochs": 2}], labels=25)
    preparation = [*preparation_cells(config, [FOLD]), *search_cells(config, [FOLD])]
    grid = grid_cells(config, [FOLD], [25], {"ssl": 1, "baseline": 0})
    mae = {("ssl", 0): 0.5, ("ssl", 1): 0.4, ("baseline", 0): 0.3, ("baseline", 1): 0.4}
    for cell in [*preparation, *grid]:
        metrics = {"model": {"overall": {"mae": mae.get((cell.arm, cell.trial))}}}
        write_json(tmp_path / cell.path / CELL_FILE, {"key": cell.key, "metrics": metrics})
    write_json(tmp_path / "study.json", {"study": describe(config, [FOLD], [25])})
    left = []

    def table(config, folds, cells, out, workers):
        left.extend(cell.path for cell in cells if cell.finished(out) is None)
        assert len(cells) == len(preparation) + len(grid)
        return "table"

    monkeypatch.setattr(runner, "prepare_folds", lambda config: [FOLD])
    monkeypatch.setattr(runner, "estimate_table", table)
    run_study(config, tmp_path, dry_run=True)
    assert left == []
    assert not Path(tmp_path / "search.json").exists()


@pytest.mark.parametrize("kind", ["pretrain", "search", "train"])
def test_options_that_cost_nothing_share_a_measurement(kind):
    config = StudyConfig(seeds=[0, 1])
    config.search = SearchConfig(
        trials=[{"optimizer.learning_rate": 0.1}, {"epochs": 3}], labels=25
    )
    folds = [FOLD, Fold("2", "covarep-2", "other", False, 90, 20, 30, ("u",), 5000)]
    cells = [*preparation_cells(config, folds), *search_cells(config, folds)]
    cells += grid_cells(config, folds, [25, "all"], {})
    assert len({estimate.cost_key(cell) for cell in cells if cell.kind == kind}) == 1
