"""The report, from planted predictions."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mosei_ssl.metrics import write_json
from mosei_ssl.study import StudyConfig, report
from mosei_ssl.study.cells import CELL_FILE, Fold, grid_cells, preparation_cells
from mosei_ssl.study.document import Code, Figure, Section, Table, to_html, to_markdown
from mosei_ssl.study.results import write_results

BUDGETS = {"25": 25.0, "all": 400.0}


@pytest.fixture
def study(tmp_path, planted, monkeypatch):
    """A finished study of planted predictions, without any training."""
    make, _ = planted
    config = StudyConfig(name="Planted <study>", seeds=[0, 1])
    config.statistics.samples = 200
    folds = [Fold(f"{n}", f"d{n}", "p", True, 400, 50, 36, ("v",), 9) for n in range(6)]
    gain = {"25": 0.6, "all": 0.0}
    predictions = make(0, gain, budgets=BUDGETS)
    preparation = preparation_cells(config, folds)
    grid = grid_cells(config, folds, [25, "all"], {})
    for cell in [*preparation, *grid]:
        folder = tmp_path / cell.path
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
    write_json(tmp_path / "study.json", {"study": {}, "command": "mosei-ssl study --config a"})
    (tmp_path / "study.yaml").write_text("name: Planted <study>\n")
    monkeypatch.setattr(report.tables, "data_blocks", lambda config, folds: ["Data."])
    cells = [*preparation, *[cell for cell in grid if cell.kind == "train"]]
    return tmp_path, config, folds, cells


def test_the_report_holds_what_was_planted(study):
    out, config, folds, cells = study
    path = report.write_report(out, config, folds, [25, "all"], cells, {}, {})
    html = path.read_text()
    assert "ssl is better than baseline in MAE at 25 labels" in html
    assert "No difference in MAE can be told at all 400 labels" in html
    assert "Planted &lt;study&gt;" in html
    # Self-contained: nothing is fetched from anywhere.
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert html.count("<svg") >= 7
    for metric in ("MAE", "4-class accuracy", "Pearson r", "balanced accuracy", "AUROC"):
        assert metric in html
    for emotion in ("happy", "sad", "anger", "surprise", "disgust", "fear"):
        assert emotion in html
    markdown = (out / "report.md").read_text()
    for name in re.findall(r"\(figures/(\w+)\.svg\)", markdown):
        ElementTree.parse(out / "figures" / f"{name}.svg")


def test_synthetic_data_is_stamped_on_every_page_and_figure(study):
    out, config, folds, cells = study
    html = report.write_report(out, config, folds, [25, "all"], cells, {}, {}).read_text()
    assert f'<div class="stamp">{report.STAMP}</div>' in html
    assert html.count("SYNTHETIC DATA") == 1 + html.count("<svg")
    markdown = (out / "report.md").read_text()
    assert markdown.count(f"**{report.STAMP}**") == markdown.count("\n## ")


def test_the_same_cells_give_the_same_bytes(study):
    out, config, folds, cells = study
    arguments = (out, config, folds, [25, "all"], cells, {}, {})
    first = report.write_report(*arguments).read_bytes()
    assert report.write_report(*arguments).read_bytes() == first


def test_failures_are_told_and_left_out(study):
    out, config, folds, cells = study
    lost = next(c for c in cells if c.arm == "ssl" and c.budget == "all")
    (out / lost.path / CELL_FILE).unlink()
    failed = {lost.path: "out of memory\ntraceback"}
    html = report.write_report(out, config, folds, [25, "all"], cells, {}, failed).read_text()
    assert "out of memory" in html
    assert "Incomplete and left out: ssl at all." in html


def test_without_a_baseline_there_is_no_report(study):
    out, config, folds, cells = study
    for cell in cells:
        if cell.arm == "baseline":
            (out / cell.path / CELL_FILE).unlink()
    assert report.write_report(out, config, folds, [25, "all"], cells, {}, {}) is None


def test_results_of_cells_without_scores_are_no_rows(study):
    out, _, _, cells = study
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
