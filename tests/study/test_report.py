"""The report, from planted predictions."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.metrics import write_json
from mosei_ssl.study import StudyConfig, report
from mosei_ssl.study.cells import CELL_FILE, Fold, grid_cells, preparation_cells
from mosei_ssl.study.config import ArmConfig
from mosei_ssl.study.document import Code, Figure, Section, Table, to_html, to_markdown
from mosei_ssl.study.results import write_results

BUDGETS = {"25": 25.0, "all": 400.0}
FOLDS = [
    Fold("1", "d1", "p", False, 40, 5, 3, ("a", "b"), 9, ("c", "d")),
    Fold("2", "d2", "p", False, 40, 5, 3, ("c", "e"), 9, ("a", "d")),
    Fold("3", "d3", "p", False, 40, 5, 3, ("d", "f"), 9, ("a", "b")),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory, planted):
    """A finished study of planted predictions, without any training."""
    make, _ = planted
    out = tmp_path_factory.mktemp("study")
    config = StudyConfig(name="Planted <study>", seeds=[0, 1])
    config.statistics.samples = 200
    config.statistics.primary = "auroc"
    config.arms[0].pretrain = {"epochs": 3}
    config.arms[0].finetune = {"epochs": 9, "optimizer": {"learning_rate": 0.1}}
    folds = [Fold(f"{n}", f"d{n}", "p", True, 400, 50, 36, ("v",), 9) for n in range(6)]
    gain = {"25": 0.6, "all": 0.0}
    predictions = make(0, gain, budgets=BUDGETS)
    preparation = preparation_cells(config, folds)
    grid = grid_cells(config, folds, [25, "all"], {})
    for cell in [*preparation, *grid]:
        folder = out / cell.path
        (folder / "run").mkdir(parents=True)
        write_json(folder / CELL_FILE, {"key": cell.key, "labels": 25})
        if cell.kind == "pretrain":
            (folder / "run" / "history.csv").write_text(
                "epoch,loss,val_loss\n1,0.9,0.95\n2,0.7,0.8\n"
            )
            rng = np.random.default_rng(0)
            np.savez(
                folder / "example.npz",
                target=rng.normal(size=(20, 8)),
                reconstruction=rng.normal(size=(20, 8)),
                hidden=np.arange(20) % 5 == 0,
            )
        if cell.kind == "train":
            ids, labels, found = predictions[cell.arm, cell.budget, cell.fold, cell.seed]
            arrays = {f"model/{key}": value for key, value in found.items()}
            np.savez(folder / "predictions.npz", video_ids=ids, labels=labels, **arrays)
    write_json(out / "study.json", {"study": {}, "command": "mosei-ssl study --config a"})
    (out / "study.yaml").write_text("name: Planted <study>\n")
    cells = [*preparation, *[cell for cell in grid if cell.kind == "train"]]
    return out, config, folds, cells


@pytest.fixture(scope="module", autouse=True)
def no_corpus():
    """Stand in for the data report, which needs prepared datasets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report.tables, "data_blocks", lambda config, folds: ["Data."])
        yield


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """A folder with the study's report, which no other test writes to."""
    out, config, folds, cells = made
    report.write_report(out, config, folds, [25, "all"], cells, {}, {})
    kept = tmp_path_factory.mktemp("report")
    shutil.copytree(out / "figures", kept / "figures")
    for name in ("report.html", "report.md"):
        shutil.copy(out / name, kept)
    return kept


@pytest.fixture
def lost(made):
    """A function that takes away a cell's marker until the test is over."""
    out = made[0]
    taken = {}

    def take(cell):
        marker = out / cell.path / CELL_FILE
        taken[marker] = marker.read_bytes()
        marker.unlink()

    yield take
    for marker, content in taken.items():
        marker.write_bytes(content)


def test_the_report_holds_what_was_planted(written):
    html = (written / "report.html").read_text()
    assert "ssl is better than baseline in AUROC at 25 labels" in html
    assert "No difference in AUROC can be told at all 400 labels" in html
    assert "Planted &lt;study&gt;" in html
    # Self-contained: nothing is fetched from anywhere.
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert html.count("<svg") >= 8
    for metric in ("MAE", "4-class accuracy", "Pearson r", "balanced accuracy", "AUROC"):
        assert metric in html
    for emotion in ("happy", "sad", "anger", "surprise", "disgust", "fear"):
        assert emotion in html
    markdown = (written / "report.md").read_text()
    for name in re.findall(r"\(figures/(\w+)\.svg\)", markdown):
        ElementTree.parse(written / "figures" / f"{name}.svg")


def test_the_report_names_arms_by_what_they_differ_in(written):
    markdown = (written / "report.md").read_text()
    differs = {
        "finetune.epochs": 9,
        "finetune.optimizer.learning_rate": 0.1,
        "pretrain.epochs": 3,
    }
    assert f"| ssl | yes | yes | {json.dumps(differs)} | - |" in markdown
    assert "All share backbone, labelled subsets and data order" in markdown


def test_the_primary_metric_is_shown_wherever_differences_are(written):
    markdown = (written / "report.md").read_text()
    for metric in ("AUROC", "MAE", "4-class accuracy"):
        assert f"ssl minus baseline, {metric} per emotion" in markdown
    for name in ("differences", "curves"):
        assert "AUROC" in (written / "figures" / f"{name}.svg").read_text()


def test_an_arm_with_a_backbone_of_its_own_does_not_share_it():
    config = StudyConfig(arms=[ArmConfig("baseline"), ArmConfig("gru", backbone={"kind": "gru"})])
    table = report._design_blocks(Path(), config, [FOLDS[0]], {})[0]
    assert table.caption.startswith("Arms. All share labelled subsets and data order")
    assert table.rows[1][3] == '{"backbone.kind": "gru"}'


def test_test_labels_that_the_search_saw_are_told():
    def said(folds, trials):
        config = StudyConfig()
        config.search.trials = trials
        blocks = report._design_blocks(Path(), config, folds, {})
        return next(b for b in blocks if isinstance(b, str) and b.startswith("Validation labels"))

    blind = "Test labels are used for nothing but the final scores."
    assert said(FOLDS, []).endswith(blind)
    assert said(FOLDS[:1], [{"epochs": 3}]).endswith(blind)
    # Fold 1 trains and validates on c and d; folds 2 and 3 test on c, d, e and f.
    searched = said(FOLDS, [{"epochs": 3}])
    assert "2 of the 4 test videos of the other folds" in searched
    assert blind not in searched


def test_synthetic_data_is_stamped_on_every_page_and_figure(written):
    html = (written / "report.html").read_text()
    assert f'<div class="stamp">{report.STAMP}</div>' in html
    assert html.count("SYNTHETIC DATA") == 1 + html.count("<svg")
    markdown = (written / "report.md").read_text()
    assert markdown.count(f"**{report.STAMP}**") == markdown.count("\n## ")


def test_the_same_cells_give_the_same_bytes(made, written):
    out, config, folds, cells = made
    first = (written / "report.html").read_bytes()
    path = report.write_report(out, config, folds, [25, "all"], cells, {}, {})
    assert path.read_bytes() == first


def test_failures_are_told_and_left_out(made, written, lost, monkeypatch):
    out, config, folds, cells = made
    # This is about words: drawing would take most of the time.
    for name in dir(report.figures):
        if name.endswith("_figure"):
            monkeypatch.setattr(report.figures, name, lambda *args, **options: "<svg/>")
    cell = next(c for c in cells if c.arm == "ssl" and c.budget == "all")
    lost(cell)
    failed = {cell.path: "out of memory\ntraceback"}
    html = report.write_report(out, config, folds, [25, "all"], cells, {}, failed).read_text()
    assert "out of memory" in html
    assert "Incomplete and left out: ssl at all." in html


def test_without_a_baseline_there_is_no_report(made, written, lost):
    out, config, folds, cells = made
    for cell in cells:
        if cell.arm == "baseline":
            lost(cell)
    assert report.write_report(out, config, folds, [25, "all"], cells, {}, {}) is None


def test_results_of_cells_without_scores_are_no_rows(made):
    out, _, _, cells = made
    assert write_results(out, cells).read_text().count("\n") == 1


def test_documents_render_every_block():
    sections = [
        Section("S", ["a < b", Table(["x|y"], [["1|2"]], "cap"), Figure("f", "<svg/>"), Code("c")])
    ]
    html = to_html("T", sections, "STAMP")
    assert "a &lt; b" in html
    assert "<svg/>" in html
    assert "<pre>c</pre>" in html
    assert "STAMP" in html
    markdown = to_markdown("T", sections, "STAMP")
    assert "| x\\|y |" in markdown
    assert "**STAMP**" in markdown
