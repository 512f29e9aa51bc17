"""The report, from planted predictions."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from mosei_ssl.metrics import METRICS, PREDICTOR_LABELS, write_json
from mosei_ssl.study import ArmConfig, StudyConfig, report
from mosei_ssl.study.cells import CELL_FILE, Fold, grid_cells, preparation_cells
from mosei_ssl.study.document import Code, Figure, Section, Table, render
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
        if cell.kind == "train":
            ids, labels, found = predictions[cell.arm, cell.budget, cell.fold, cell.seed]
            arrays = {f"model/{key}": value for key, value in found.items()}
            arrays |= {"speakers": ids, "video_ids": ids, "labels": labels}
            np.savez(folder / "predictions.npz", **arrays)
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


FIGURES = [name for name in dir(report.figures) if name.endswith("_figure")]


@pytest.fixture(scope="module")
def pictures():
    """What was drawn for the report, by function, in the order of the calls."""
    return {name: [] for name in FIGURES}


def noted(draw, pictures):
    """A function that draws, and keeps what it drew."""

    def draw_and_note(*args, **options):
        pictures.append(draw(*args, **options))
        return pictures[-1]

    return draw_and_note


@pytest.fixture(scope="module")
def written(made, pictures, tmp_path_factory):
    """A folder with the study's report, which no other test writes to."""
    out, config, folds, cells = made
    with pytest.MonkeyPatch.context() as patch:
        for name in FIGURES:
            draw = getattr(report.figures, name)
            patch.setattr(report.figures, name, noted(draw, pictures[name]))
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
    assert "ssl and baseline: no difference in AUROC can be told at all 400 labels" in html
    assert "Planted &lt;study&gt;" in html
    # Self-contained: nothing is fetched from anywhere.
    assert not re.search(r"<(script|link|img|iframe)\b", html)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", html)
    assert html.count("<svg") >= 6
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
    assert "AUROC" in (written / "figures" / "differences.svg").read_text()


def test_an_arm_with_its_own_backbone_does_not_share_it():
    units = ArmConfig(name="units", backbone={"kind": "codebook"})
    config = StudyConfig(arms=[ArmConfig(name="baseline"), units])
    table = report._design_blocks(Path(), config, [FOLDS[0]], {})[0]
    assert table.caption.startswith("Arms. All share labelled subsets and data order")
    assert table.rows[1][3] == '{"backbone.kind": "codebook"}'


def use_of_validation_labels(arms, trials=(), chosen=()):
    config = StudyConfig(arms=arms)
    config.search.trials = list(trials)
    blocks = report._design_blocks(Path(), config, FOLDS, dict(chosen))
    said = next(b for b in blocks if isinstance(b, str) and b.startswith("Validation labels"))
    said = said.removeprefix("Validation labels: 15 over 3 fold(s). ")
    return said.split(" Test labels")[0].split(" No training")[0]


def test_only_arms_that_watch_a_validation_score_use_validation_labels():
    baseline, blind = ArmConfig(name="baseline"), ArmConfig(name="blind", early_stopping=False)
    alone = ArmConfig(name="alone", finetune={"monitor": "loss"})
    use = "use those of their fold, on top of the label budget, to choose the epoch."
    assert use_of_validation_labels([baseline, blind]) == f"Arms with early stopping {use}"
    without = "By the training loss, without them, it is chosen for: alone."
    assert use_of_validation_labels([baseline, alone]) == (
        f"Of the arms with early stopping baseline {use} {without}"
    )
    assert use_of_validation_labels([blind]) == "No arm uses them to choose an epoch."
    probe = ArmConfig(name="probe", finetune={"freeze_backbone": True})  # has no epochs
    assert use_of_validation_labels([probe]) == "No arm uses them to choose an epoch."
    # What the search chose counts, and only that.
    trials = [{"monitor": "loss"}, {"epochs": 3}]
    assert use_of_validation_labels([alone, baseline], trials, {"baseline": 0}) == (
        "By the training loss, without them, it is chosen for: alone, baseline."
    )


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


def test_the_same_cells_give_the_same_bytes(made, written, pictures, monkeypatch):
    out, config, folds, cells = made
    # One kind of figure is drawn again, which takes most of the time.
    for name in set(FIGURES) - {"difference_figure"}:
        drawn = iter(pictures[name])
        monkeypatch.setattr(report.figures, name, lambda *_, drawn=drawn, **__: next(drawn))
    first = (written / "report.html").read_bytes()
    path = report.write_report(out, config, folds, [25, "all"], cells, {}, {})
    assert path.read_bytes() == first


def test_failures_are_told_and_left_out(made, written, lost, monkeypatch):
    out, config, folds, cells = made
    # This is about words: drawing would take most of the time.
    for name in FIGURES:
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


SCORES = ("value", "low", "high")


def drawn(monkeypatch, draw, *args):
    """The figure itself where it would be drawn."""
    monkeypatch.setattr(report.figures, "svg", lambda figure: figure)
    return draw(*args)


def points(value):
    """Scores of every metric at both budgets."""
    row = {"overall": dict.fromkeys(SCORES, value)}
    return {budget: dict.fromkeys(METRICS, row) for budget in BUDGETS}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_names_what_any_panel_shows(monkeypatch):
    scores = {name: points(0.5) for name in ("all_zero", "ssl")}
    for budget in BUDGETS:
        # A constant has no correlation.
        row = {"overall": dict.fromkeys(SCORES)}
        scores["all_zero"][budget] = {**scores["all_zero"][budget], "pearson_r": row}
    result = {"budgets": BUDGETS, "scores": scores, "arms": ["ssl"]}
    panels = [("pearson_r", "overall"), ("auroc", "overall")]
    figure = drawn(monkeypatch, report.figures.budget_figure, result, ["ssl"], panels)
    assert sorted(legend(figure)) == sorted([PREDICTOR_LABELS["all_zero"], "ssl"])


def colours(figure):
    handles, labels = figure.axes[0].get_legend_handles_labels()
    lines = [handle[0] if isinstance(handle, tuple) else handle for handle in handles]
    return {label: line.get_color() for label, line in zip(labels, lines, strict=True)}


def test_an_arm_looks_the_same_in_every_figure(monkeypatch):
    arms = ("baseline", "gone", "ssl", "probe")
    shown = ["ssl", "baseline", "probe"]
    needed = {"baseline_labels": 25.0, "low": None, "high": None, "below": False, "beyond": False}
    result = {
        "baseline": "baseline",
        "against": {"ssl": "baseline"},
        "budgets": BUDGETS,
        "scores": {arm: points(0.5) for arm in shown},
        "arms": arms,
        "differences": {"ssl": points(0.1), "probe": points(0.2)},
        "label_savings": {arm: {"mae": dict.fromkeys(BUDGETS, needed)} for arm in ("probe", "ssl")},
    }
    figures = report.figures
    scores = colours(drawn(monkeypatch, figures.budget_figure, result, shown, [("mae", "overall")]))
    assert len(set(scores.values())) == 3
    for draw in (figures.difference_figure, figures.savings_figure):
        found = colours(drawn(monkeypatch, draw, result, ["mae"]))
        assert {arm: found[arm] for arm in ("ssl", "probe")} == {
            arm: scores[arm] for arm in ("ssl", "probe")
        }


def needed(value, low, high, *flags):
    names = ("below", "low_below", "high_below", "beyond", "low_beyond", "high_beyond")
    found = {"baseline_labels": value, "low": low, "high": high}
    return {**found, **{name: name in flags for name in names}}


def test_convergence_and_savings_say_where_the_budgets_of_both_end(monkeypatch):
    # At the largest budget the arm has no complete cells.
    result = {
        "baseline": "baseline",
        "against": {"ssl": "baseline"},
        "budgets": {"25": 25.0, "100": 100.0, "all": 400.0},
        "differences": {"ssl": {"25": {}, "100": {}}},
        "convergence": {
            "ssl": {"mae": {"budget": None, "low": "100", "high": None, "ever_differs": True}}
        },
        "arms": ["baseline", "ssl"],
        "label_savings": {
            "ssl": {
                "mae": {
                    "25": needed(25.0, 25.0, 31.4, "below", "low_below"),
                    "100": needed(100.0, 80.0, 100.0, "beyond", "high_beyond"),
                }
            }
        },
    }
    convergence, savings = report.tables.convergence_tables(result, "ssl")
    assert convergence.rows == [["MAE", "beyond 100", "100 to beyond 100"]]
    assert savings.rows == [["MAE", "≤ 25 [≤ 25, 31]", "≥ 100 [80, ≥ 100]"]]
    figure = drawn(monkeypatch, report.figures.savings_figure, result, ["mae"])
    signs = {text.xy: text.get_text() for text in figure.axes[0].texts}
    assert signs == {(25.0, 25.0): "≤", (100.0, 100.0): "≥"}


def test_documents_render_every_block():
    sections = [
        Section("S", ["a < b", Table(["x|y"], [["1|2"]], "cap"), Figure("f", "<svg/>"), Code("c")])
    ]
    html = render("html", "T", sections, "STAMP")
    assert "a &lt; b" in html
    assert "<svg/>" in html
    assert "<pre>c</pre>" in html
    assert "STAMP" in html
    markdown = render("md", "T", sections, "STAMP")
    assert "| x\\|y |" in markdown
    assert "**STAMP**" in markdown
