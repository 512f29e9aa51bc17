"""Several corpora as one result: the mean over their studies."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from mosei_ssl.metrics import METRIC_LABELS, write_json
from mosei_ssl.study.analysis import with_holm
from mosei_ssl.study.document import Block, Section, Table
from mosei_ssl.study.report import STAMP, difference_blocks, score_blocks, write_documents
from mosei_ssl.study.tables import with_interval
from mosei_ssl.utils.errors import UserError

_NUMBERS = ("value", "low", "high", "p", "speakers_low", "speakers_high")


def pool_studies(studies: Sequence[str | Path], out: str | Path) -> Path:
    """Average finished studies of the same arms on several corpora, and write the report.

    A score is the mean over corpora; so is a difference, which is paired within each corpus. The
    interval is Student's over corpora: what further corpora would give. It covers speakers and
    seeds as well, since their noise is part of what corpora differ by; a corpus counts as one,
    however large it is. A second one, from `speakers_low` to `speakers_high`, has the studies' own
    intervals put together: what further speakers of the same corpora would give.

    Args:
        studies: folders of finished studies, one per corpus.
        out: folder for `report.html`, `report.md`, `statistics.json`, `figures` and `paper`.

    Returns:
        The path of report.html.

    Raises:
        UserError: fewer than two studies, one is not finished, or they have other baselines,
            primary metrics or levels, or no arm and budget in common.

    Examples:
        >>> pool_studies(["studies/one", "studies/two"], "studies/pooled")  # doctest: +SKIP
    """
    folders = [Path(study) for study in studies]
    if len(folders) < 2:
        raise UserError("give at least two studies to pool")
    found = [_read(folder) for folder in folders]
    for key in ("baseline", "primary", "level"):
        values = {json.dumps(result["design"].get(key, result.get(key))) for result in found}
        if len(values) > 1:
            raise UserError(f"the studies differ in {key}: {', '.join(sorted(values))}")
    for arm, other in found[0]["against"].items():
        others = {result["against"].get(arm, other) for result in found}
        if len(others) > 1:
            raise UserError(f"the studies compare {arm} with {' and '.join(sorted(others))}")
    result = _pooled(found)
    if not any(result["scores"].values()):
        raise UserError("the studies have no arm and label budget in common")
    stamp = STAMP if result["synthetic"] else ""
    shown = [arm for arm in result["arms"] if result["scores"].get(arm)]
    names = ", ".join(folder.name for folder in folders)
    summary = (
        f"Means over {len(folders)} studies: {names}. Intervals are Student's over studies, if "
        "nothing else is said: with few of them they are wide."
    )
    sections = [
        Section("Summary", [summary, *_by_study(folders, found, result)]),
        Section("Scores against labels", score_blocks(result, shown, stamp)),
        Section("Differences", [_over_speakers(result), *difference_blocks(result, stamp)]),
    ]
    out = Path(out)
    write_json(out / "statistics.json", result)
    return write_documents(out, "Pooled studies", sections, result, shown, stamp)


def _read(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is not a finished study ({error}): run `mosei-ssl study` with it as --out"
        ) from None


def _pooled(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A result as `analyse` gives it, of what all studies have."""
    first = found[0]
    level = first["design"]["level"]
    shared = (b for b in first["budgets"] if all(b in result["budgets"] for result in found))
    means = {b: float(np.mean([result["budgets"][b] for result in found])) for b in shared}
    budgets = dict(sorted(means.items(), key=lambda item: item[1]))  # the files are by name

    def merged(kind: str) -> dict[str, Any]:
        arms = [arm for arm in first[kind] if all(arm in result[kind] for result in found)]
        return {
            arm: {
                budget: _mean([result[kind][arm][budget] for result in found], level)
                for budget in budgets
                if all(budget in result[kind][arm] for result in found)
            }
            for arm in arms
        }

    differences = merged("differences")
    for arm in differences.values():
        for table in arm.values():
            with_holm(table, first["primary"])
    return {
        "design": {"studies": len(found), "level": level},
        **{key: first[key] for key in ("arms", "baseline", "against", "primary")},
        "budgets": budgets,
        "synthetic": any(result.get("synthetic") for result in found),
        "scores": merged("scores"),
        "differences": differences,
    }


def _mean(tables: Sequence[dict[str, Any]], level: float) -> dict[str, Any]:
    return {
        metric: {
            column: _estimate([table[metric][column] for table in tables], level)
            for column in columns
        }
        for metric, columns in tables[0].items()
    }


def _estimate(found: Sequence[dict[str, Any]], level: float) -> dict[str, float | None]:
    """Mean of what is defined, its two intervals, and the p value of its being zero."""
    known = [each for each in found if each["value"] is not None]
    if not known:
        return dict.fromkeys(_NUMBERS)
    values = np.array([each["value"] for each in known])
    numbers = {"value": values.mean()}
    if len(known) > 1 and np.ptp(values) > 0:
        test = stats.ttest_1samp(values, 0.0)
        low, high = test.confidence_interval(level)
        numbers |= {"low": low, "high": high, "p": test.pvalue}
    if all(each["low"] is not None for each in known):
        half = np.hypot.reduce([(each["high"] - each["low"]) / 2 for each in known]) / len(known)
        numbers |= {"speakers_low": values.mean() - half, "speakers_high": values.mean() + half}
    return {key: round(float(numbers[key]), 6) if key in numbers else None for key in _NUMBERS}


def _over_speakers(result: dict[str, Any]) -> Table:
    """Differences of the primary metric with the interval over speakers of these corpora."""
    metric = result["primary"]
    rows = []
    for arm, found in result["differences"].items():
        cells = [by_metric[metric]["overall"] for by_metric in found.values()]
        texts = [
            with_interval(
                {"value": c["value"], "low": c["speakers_low"], "high": c["speakers_high"]},
                signed=True,
            )
            for c in cells
        ]
        by_budget = dict(zip(found, texts, strict=True))
        against = f"{arm} minus {result['against'][arm]}"
        rows.append([against, *(by_budget.get(budget, "-") for budget in result["budgets"])])
    caption = f"{METRIC_LABELS[metric]}, intervals over speakers and seeds of these corpora alone"
    return Table(["difference", *result["budgets"]], rows, caption)


def _by_study(
    folders: Sequence[Path], found: Sequence[dict[str, Any]], result: dict[str, Any]
) -> list[Block]:
    """The primary metric of every arm in every study."""
    metric, budgets = result["primary"], result["budgets"]
    rows = [
        [
            *(folder.name, arm),
            *(with_interval(scores[b][metric]["overall"]) if b in known else "-" for b in budgets),
        ]
        for arm, known in result["scores"].items()
        for folder, study in zip(folders, found, strict=True)
        for scores in [study["scores"][arm]]
    ]
    return [Table(["study", "arm", *budgets], rows, METRIC_LABELS[metric])]
