"""How much unlabelled speech pretraining takes: r over that of the identical random backbone.

    python benchmarks/pretrain_hours.py --speech DATA_DIR --studies STUDY.yaml ... --out FOLDER

The speech is all datasets in DATA_DIR (a folder of recordings each, `mosei-ssl build --unlabelled
all`) that hold nothing of the corpus scored. Studies say which corpora these are, their folds,
budgets and seeds (draws of labels). Backbones are pretrained on so many hours, drawn from all
speech alike, and frozen; heads are fitted as `mosei-ssl finetune --config small_finetune` does.
Results are kept in FOLDER/hours.jsonl: the same command does what is missing, and draws hours.png.
"""

import argparse
import functools
import itertools
import json
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import joblib
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mosei_ssl.config import DataConfig, PretrainConfig
from mosei_ssl.study.config import load_study_config
from mosei_ssl.study.folds import prepare_folds
from mosei_ssl.utils.parsing import from_mapping, merge, read_yaml

ROWS_PER_HOUR = 360_000
OBJECTIVES: dict[str, dict[str, Any]] = {
    "codebook": read_yaml("small_pretrain"),
    "masked timesteps": {"backbone": {"hidden_dim": 64, "pooling_factor": 10}, "epochs": 15},
    "large codebook": merge(read_yaml("small_pretrain"), {"backbone": {"hidden_dim": 1024}}),
}
TITLES = {
    "codebook": "codebook (what small_pretrain does)",
    "masked timesteps": "masked timesteps (the paper's objective)",
    "large codebook": "codebook of 1,024 entries",
}
STYLES: list[dict[str, Any]] = [
    {"color": "#56B4E9", "marker": "o", "linestyle": ":"},
    {"color": "#0072B2", "marker": "s", "linestyle": "-."},
    {"color": "#D55E00", "marker": "^", "linestyle": "--"},
    {"color": "#000000", "marker": "D", "linestyle": "-"},
]
WEIGHT_PRIOR = read_yaml("small_finetune")["weight_prior"]


@dataclass(frozen=True)
class Corpus:
    """What is scored: prepared datasets of its folds, and label budgets and seeds of draws."""

    name: str
    folds: list[DataConfig]
    budgets: list[int]
    seeds: list[int]


def read_corpus(study: Path) -> Corpus:
    """Take a corpus from a study's file; "all" labels are left out."""
    config = load_study_config(study)
    folds = [replace(config.data, dataset=fold.dataset) for fold in prepare_folds(config)]
    budgets = [int(budget) for budget in config.budgets or () if budget != "all"]
    return Corpus(study.stem, folds, budgets, config.seeds)


def strangers(speech: str, corpus: DataConfig) -> tuple[str, ...]:
    """Names of the datasets that hold nothing of a corpus."""
    from mosei_ssl.data import load_segments
    from mosei_ssl.data.recognition import recognise
    from tfds_mosei import list_prepared

    own = load_segments(replace(corpus, context=False), "train+validation+test")
    rows = list(zip(own.video_ids, own.frames, strict=True))
    names = list_prepared(speech)
    return tuple(name for name in names if not recognise(load(speech, (name,)).content, rows))


@functools.lru_cache(1)
def load(speech: str, names: tuple[str, ...]) -> Any:
    """Segments of unlabelled speech, each dataset standardised by itself."""
    from mosei_ssl.data import concatenate_segments, load_pretraining_segments

    parts = [load_pretraining_segments(DataConfig(data_dir=speech, dataset=n)) for n in names]
    return concatenate_segments(parts, match_statistics=True) if len(parts) > 1 else parts[0]


def pretrained(config: PretrainConfig, segments: Any, hours: float) -> Any:
    """A backbone that has heard so many hours."""
    from mosei_ssl.data import BatchPlan, make_training_dataset
    from mosei_ssl.models import build_pretraining_model
    from mosei_ssl.training.optimizer import make_optimizer
    from mosei_ssl.training.pretraining import adapt, backbone_for

    order = np.random.default_rng([0x686F7572, config.seed]).permutation(len(segments))
    heard = segments.subset(order[segments.lengths[order].cumsum() <= hours * ROWS_PER_HOUR])
    model = build_pretraining_model(
        config.task, backbone_for(config.backbone, heard, config.seed), config.seed
    )
    adapt(model, heard, config, config.seed)
    steps = BatchPlan(heard.lengths, config).steps_per_epoch * config.epochs
    model.compile(make_optimizer(config.optimizer, steps))
    batches = make_training_dataset(heard, config, seed=config.seed, with_labels=False)
    model.fit(batches, epochs=config.epochs, verbose=0)
    return model.backbone


def scores(
    config: PretrainConfig, backbone: Any, fold: DataConfig, corpus: Corpus
) -> dict[int, float]:
    """r on a fold's test split by label budget, mean over draws; no backbone is a random one."""
    import keras

    from mosei_ssl.data import draw_label_budget, load_segments, make_evaluation_dataset
    from mosei_ssl.metrics import evaluate_predictions
    from mosei_ssl.models import EmotionModel, emotion_predictions
    from mosei_ssl.training.head_fit import fit_head
    from mosei_ssl.training.pretraining import adapt, backbone_for

    train, test = (load_segments(fold, split) for split in ("train", "test"))
    model = EmotionModel(backbone_for(config.backbone, train, config.seed))
    if backbone is not None:
        own = model.backbone.learned_variables
        for target, value in zip(own, backbone.learned_variables, strict=True):
            target.assign(value)
    adapt(model, train, fold, config.seed)

    def embed(split: Any) -> tuple[np.ndarray, np.ndarray]:
        split = split.labelled()
        split = split.subset(split.length_order())
        batches = make_evaluation_dataset(split, fold, with_labels=False)
        return np.concatenate([np.asarray(model.embedding(x)) for x in batches]), split

    (known, train), (unknown, test) = embed(train), embed(test)
    found: dict[int, list[float]] = defaultdict(list)
    for budget, seed in itertools.product(corpus.budgets, corpus.seeds):
        if budget > len(train):
            continue
        chosen = draw_label_budget(train.emotions, budget, seed, train.group_ids)
        labels = train.emotions[chosen]
        strength = WEIGHT_PRIOR * labels.shape[1]
        model.distribution.dense.set_weights(fit_head(known[chosen], labels, strength))
        answers = emotion_predictions(model.distribution(unknown))
        answers = {k: keras.ops.convert_to_numpy(value) for k, value in answers.items()}
        found[budget].append(evaluate_predictions(test.emotions, answers)["overall"]["pearson_r"])
    return {budget: float(np.mean(values)) for budget, values in found.items()}


def measure(
    speech: str,
    names: tuple[str, ...],
    corpora: list[Corpus],
    objective: str,
    hours: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Pretrain once, and score on all folds of some corpora."""
    from mosei_ssl.training.resumable_fit import prepare

    prepare("float32", seed)
    config = from_mapping(PretrainConfig, OBJECTIVES[objective] | {"run": "", "seed": seed})
    backbone = pretrained(config, load(speech, names), hours) if hours else None
    task = {"objective": objective, "hours": hours, "seed": seed}
    return [
        task | {"corpus": corpus.name, "fold": number, "r": scores(config, backbone, fold, corpus)}
        for corpus in corpora
        for number, fold in enumerate(corpus.folds)
    ]


def curves(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """r minus the random backbone's: by objective, corpus or "mean", hours and budget."""
    cells = defaultdict(list)
    for row in rows:
        for budget, r in row["r"].items():
            cells[row["objective"], row["corpus"], row["hours"], int(budget)].append(r)
    means = {key: float(np.mean(values)) for key, values in cells.items()}
    found: dict[str, Any] = {}
    for objective, corpus, hours, budget in sorted(means):
        r, random = (means[objective, corpus, h, budget] for h in (hours, 0.0))
        by_budget = found.setdefault(objective, {}).setdefault(corpus, {}).setdefault(hours, {})
        by_budget[budget] = r - random if hours else r
    for by_corpus in found.values():
        first = next(iter(by_corpus.values()))
        by_corpus["mean"] = {
            h: {b: float(np.mean([c[h][b] for c in by_corpus.values()])) for b in first[h]}
            for h in first
        }
    return found


def draw(found: dict[str, Any], out: Path) -> None:
    """One panel for each objective, a line for each label budget, mean over corpora."""
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figure = Figure(figsize=(7.16, 2.8), layout="constrained", dpi=200)
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for panel, (objective, by_corpus) in zip(panels, found.items(), strict=True):
            hours = [h for h in by_corpus["mean"] if h]
            for number, budget in enumerate(by_corpus["mean"][0.0]):
                gains = [by_corpus["mean"][h][budget] for h in hours]
                style = STYLES[number % len(STYLES)]
                panel.plot(hours, gains, label=f"{budget} labels", markersize=5, **style)
            panel.axhline(0, color="black", linewidth=0.8)
            panel.set_xscale("log", base=2)
            panel.set_xticks(hours, [f"{h:g}" for h in hours])
            panel.set_title(TITLES[objective], fontsize=9)
            panel.set_xlabel("hours of unlabelled speech")
            panel.grid(axis="y", linewidth=0.4, alpha=0.6)
        panels[0].set_ylabel("r minus that of the identical\nrandom backbone")
        panels[-1].legend(frameon=False, loc="lower center", ncols=2)
        figure.savefig(out / "hours.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--speech", required=True)
    parser.add_argument("--studies", nargs="+", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", nargs="+", type=float, default=[0.5, 1, 2, 4, 8, 14])
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=[*OBJECTIVES][:2])
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "hours.jsonl"
    groups = defaultdict(list)
    for corpus in map(read_corpus, args.studies):
        groups[strangers(args.speech, corpus.folds[0])].append(corpus)
    load.cache_clear()
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["objective"], row["hours"], row["seed"], row["corpus"]) for row in known}
    tasks = [
        (names, missing, objective, hours, seed)
        for seed in range(args.draws)
        for hours in [0.0, *args.hours]
        for objective in args.objectives
        for names, corpora in groups.items()
        if (missing := [c for c in corpora if (objective, hours, seed, c.name) not in done])
    ]
    jobs = (joblib.delayed(measure)(args.speech, *task) for task in tasks)
    pool = joblib.Parallel(args.workers, return_as="generator_unordered")
    with log.open("a") as file:
        for number, rows in enumerate(pool(jobs), start=1):
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.flush()
            print(
                f"{number} of {len(tasks)}: {rows[0]['objective']}, {rows[0]['hours']:g} h",
                flush=True,
            )
    known = [json.loads(line) for line in log.read_text().splitlines()]
    found = curves([row for row in known if row["objective"] in args.objectives])
    for objective, by_corpus in found.items():
        for hours in by_corpus["mean"]:
            cells = [" ".join(f"{r:+.3f}" for r in c[hours].values()) for c in by_corpus.values()]
            print(f"| {objective} | {hours:g} | {' | '.join(cells)} |")
    draw(found, args.out)


if __name__ == "__main__":
    # Workers keep the speech that they have read in a module's cache, not in that of __main__.
    import pretrain_hours

    pretrain_hours.main()
