"""Figures and tables of a study for a paper: PDF and PNG at the widths of journals, LaTeX."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mosei_ssl.metrics import EMOTIONS, LOWER_IS_BETTER, METRIC_LABELS, METRICS, PREDICTOR_LABELS
from mosei_ssl.study import figures
from mosei_ssl.study.tables import references, with_interval
from mosei_ssl.utils.files import write_text

COLUMN, DOUBLE = 3.5, 7.16
"""Widths in inches of one column and of both."""


def write_paper(folder: Path, result: Mapping[str, Any], arms: Sequence[str], stamp: str) -> None:
    """Write scores, scores by emotion and differences of MAE and of the primary metric.

    `NAME.pdf`, `NAME.png` (300 dpi) and `tables.tex` of a result of `analyse`; the stamp is written
    across every figure, and into every caption.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for metric in dict.fromkeys((result["primary"], "mae")):
        column: dict[str, Any] = {"stamp": stamp, "width": COLUMN}
        save = functools.partial(_save, folder)
        overall = [(metric, "overall")]
        draw = functools.partial(figures.budget_figure, result, arms, stamp=stamp)
        draw(overall, columns=1, width=COLUMN, finish=save(f"{metric}_column"))
        by_emotion = [(metric, emotion) for emotion in EMOTIONS]
        draw(by_emotion, columns=3, width=DOUBLE, finish=save(f"{metric}_emotions_double"))
        if result["differences"]:
            name = f"{metric}_difference_column"
            figures.difference_figure(result, [metric], **column, finish=save(name))
    write_text(folder / "tables.tex", latex(result, stamp))


def _save(folder: Path, name: str) -> figures.Finish:
    def finish(figure: Figure) -> str:
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.png", dpi=300)
        return name

    return finish


def latex(result: Mapping[str, Any], stamp: str = "") -> str:
    """Tables of scores with intervals by label budget, and of differences to the baseline."""
    tables = []
    for metric in METRICS:
        better = "lower" if metric in LOWER_IS_BETTER else "higher"
        caption = f"{METRIC_LABELS[metric]} ({better} is better) by number of labels"
        tables.append(_table(result, result["scores"], metric, caption, stamp))
    for metric in dict.fromkeys((result["primary"], "mae")) if result["differences"] else ():
        caption = f"{METRIC_LABELS[metric]}: difference to {references(result)} by number of labels"
        tables.append(_table(result, result["differences"], metric, caption, stamp, signed=True))
    return "% needs \\usepackage{booktabs}\n" + "\n".join(tables)


def _table(
    result: Mapping[str, Any],
    found: Mapping[str, Any],
    metric: str,
    caption: str,
    stamp: str,
    signed: bool = False,
) -> str:
    import pandas

    rows = {
        _escaped(PREDICTOR_LABELS.get(name, name)): [
            f"${with_interval(scores[b][metric]['overall'], signed=signed)}$" if b in scores else ""
            for b in result["budgets"]
        ]
        for name, scores in found.items()
    }
    frame = pandas.DataFrame.from_dict(rows, orient="index", columns=list(result["budgets"]))
    caption = _escaped(". ".join([caption, *filter(None, [stamp])]))
    return frame.to_latex(caption=caption, column_format="l" + "r" * frame.shape[1], escape=False)


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "_%&#$" else c for c in text)
