"""Screens a pretraining recipe against its baseline, on validation speakers only.

Both arms share backbone, head, labelled segments, order and schedule; only the backbone's initial
weights differ. Every number is a score on the validation split; the test split is not loaded. Runs
that have finished are kept, so the same command goes on where it was interrupted.

Example:
    mosei-ssl build --manual-dir DIR --folds DIR/folds_cv1.json --data-dir data   # prints a name
    python benchmarks/ssl_screen.py --data-dir data --datasets NAME1 NAME4 \
        --pretrain configs/small_pretrain.yaml --finetune configs/small_finetune.yaml \
        --labels 50 100 --seeds 0 1 2 --out screens/whitening
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mosei_ssl.data import DataConfig
from mosei_ssl.models import BackboneConfig, HeadConfig, PretrainingTaskConfig
from mosei_ssl.training import (
    FinetuneConfig,
    OptimizerConfig,
    PretrainConfig,
    evaluate,
    finetune,
    pretrain,
)

METRICS = ("pearson_r", "balanced_accuracy", "mae", "accuracy", "auroc")
PARTS = {
    "data": DataConfig,
    "backbone": BackboneConfig,
    "task": PretrainingTaskConfig,
    "head": HeadConfig,
    "optimizer": OptimizerConfig,
}


def read_config(kind: type, path: Path, run: Path, data: dict[str, Any], **options: Any) -> Any:
    """Makes a config of a YAML file, with some options set."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["data"] = {**values.get("data", {}), **data}
    parts = {
        key: PARTS[key](**value) if key in PARTS else value
        for key, value in values.items()
        if key in kind.__dataclass_fields__
    }
    return kind(run=str(run), **{**parts, **options})


def screen(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs all cells; one row of scores each."""
    rows = []
    for dataset in options.datasets:
        data = {"data_dir": options.data_dir, "dataset": dataset}
        for seed in options.seeds:
            pretrained = options.out / f"pretrain-{dataset}-{seed}"
            extra = {**data, "extra_datasets": options.extra_datasets}
            pretrain(read_config(PretrainConfig, options.pretrain, pretrained, extra, seed=seed))
            for labels in options.labels:
                for arm in ("baseline", "ssl"):
                    run = options.out / f"{arm}-{dataset}-{seed}-{labels}"
                    start = (
                        {"from_scratch": True}
                        if arm == "baseline"
                        else {"pretrained": str(pretrained)}
                    )
                    config = read_config(
                        FinetuneConfig,
                        options.finetune,
                        run,
                        data,
                        seed=seed,
                        labels=labels,
                        **start,
                    )
                    finetune(config)
                    scores = evaluate(run, "validation")["predictors"]
                    names = {"model": arm}
                    if arm == "baseline":
                        names.update({"all_zero": "all-zero", "ridge": "ridge", "svr": "svr"})
                    for name, shown in names.items():
                        overall = scores[name]["overall"]
                        rows.append(
                            {
                                "dataset": dataset,
                                "seed": seed,
                                "labels": labels,
                                "arm": shown,
                                **{metric: overall[metric] for metric in METRICS},
                            }
                        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Means over folds and seeds, and SSL minus baseline with its standard error over cells."""
    lines = [f"{'labels':>7} {'arm':>14} " + " ".join(f"{m:>18}" for m in METRICS)]
    for labels in dict.fromkeys(row["labels"] for row in rows):
        here = [row for row in rows if row["labels"] == labels]
        scores: dict[str, np.ndarray] = {}
        for arm in ("all-zero", "ridge", "svr", "baseline", "ssl"):
            own = [row for row in here if row["arm"] == arm]
            scores[arm] = np.array(
                [[np.nan if row[m] is None else row[m] for m in METRICS] for row in own]
            )
            means = " ".join(f"{value:18.4f}" for value in scores[arm].mean(axis=0))
            lines.append(f"{labels:>7} {arm:>14} {means}")
        gain = scores["ssl"] - scores["baseline"]
        error = gain.std(axis=0, ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else gain[0] * np.nan
        cells = [f"{g:+.4f} ± {e:.4f}" for g, e in zip(gain.mean(axis=0), error, strict=True)]
        lines.append(f"{labels:>7} {'ssl - baseline':>14} " + " ".join(f"{c:>18}" for c in cells))
    return "\n".join(lines)


def budget(text: str) -> int | str:
    """A number of labels, or all."""
    return text if text == "all" else int(text)


def main() -> None:
    """Reads the command line, runs the screen, prints and keeps its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", default="data", help="folder of prepared datasets")
    parser.add_argument("--datasets", nargs="+", required=True, help="prepared datasets, by fold")
    parser.add_argument("--extra-datasets", nargs="*", default=[], help="pretrain on these too")
    parser.add_argument("--pretrain", type=Path, required=True, help="recipe (YAML)")
    parser.add_argument("--finetune", type=Path, required=True, help="recipe (YAML), both arms")
    parser.add_argument("--labels", nargs="+", type=budget, default=[50, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="folder of runs and scores")
    options = parser.parse_args()
    rows = screen(options)
    (options.out / "scores.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
