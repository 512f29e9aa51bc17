"""Reading and checking study.yaml."""

from pathlib import Path

import pytest

from mosei_ssl.study import ArmConfig, StudyConfig, load_study_config
from mosei_ssl.study.cells import ExtraDataset, Fold, grid_cells, preparation_cells
from mosei_ssl.study.config import check, finetune_options, pretrain_options
from mosei_ssl.study.folds import resolve_budgets
from mosei_ssl.study.identity import describe
from mosei_ssl.utils.errors import UserError


def fold(name="1", train=600, extras=()):
    return Fold(
        name, f"covarep-{name}", f"print{name}", False, train, 180, 180, ("v",), 9999, (), extras
    )


def read(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load_study_config(path)


def test_a_whole_file(tmp_path):
    config = read(
        tmp_path,
        """
name: all of it
data: {data_dir: data, batch_size: 16}
datasets: [covarep-1, covarep-2]
budgets: [25, 100, all]
seeds: [3, 4]
arms:
  - {name: ssl, pretrained: true}
  - {name: probe, pretrained: true, finetune: {freeze_backbone: true}}
  - {name: blind, early_stopping: false}
  - {name: baseline}
backbone: {kind: codebook, code_dim: 30}
pretrain: {epochs: 3, optimizer: {learning_rate: 1e-3}}
search: {labels: 25, metric: pearson_r, trials: [{optimizer.learning_rate: 2e-3}]}
""",
    )
    ssl, probe, blind, _ = config.arms
    pretrain = pretrain_options(config, ssl, "covarep-1", 3)
    assert pretrain["optimizer"]["learning_rate"] == 1e-3
    assert pretrain["backbone"]["code_dim"] == 30
    assert pretrain["dataset"] == "covarep-1"
    assert pretrain["batch_size"] == 16
    tuned = finetune_options(config, probe, "covarep-2", "all", 4, config.search.trials[0])
    assert tuned["freeze_backbone"]
    assert not tuned["from_scratch"]
    assert tuned["optimizer"]["learning_rate"] == 2e-3
    assert (tuned["labels"], tuned["seed"]) == ("all", 4)
    assert finetune_options(config, blind, "x", 25, 3)["keep_best"] is False
    assert finetune_options(config, blind, "x", 25, 3)["patience"] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bugdets: [25]", ["bugdets", "budgets", "seeds"]),
        ("data: {batchsize: 3}", ["data.batchsize", "batch_size"]),
        ("data: {batch_size: 0}", ["data.batch_size"]),
        ("finetune: {optimizer: {lr: 1}}", ["finetune.optimizer.lr", "learning_rate"]),
        ("finetune: {labels: 25}", ["finetune.labels", "set by the study"]),
        ("pretrain: {data_dir: x}", ["pretrain.data_dir", "set by the study"]),
        ("pretrain: {epochs: many}", ["pretrain.epochs", "whole number"]),
        ("pretrain: {precision: float8}", ["pretrain.precision", "mixed_bfloat16"]),
        ("arms: [{name: a}]", ["baseline", "a"]),
        ("arms: [{name: baseline}, {name: baseline}]", ["arms[1].name", "twice"]),
        ("arms: [{name: baseline}, {name: svr}]", ["svr", "built-in"]),
        ("arms: [{name: baseline}, {name: a/b}]", ["arms[1].name"]),
        ("arms: [{name: baseline}, {name: b, against: c}]", ["arms[1].against 'c'"]),
        ("arms: [{name: baseline}, {name: b, against: b}]", ["arms[1].against 'b'"]),
        ("arms: [{name: baseline, finetune: {x: 1}}]", ["arms[0].finetune.x"]),
        ("budgets: [0]", ["budget 0"]),
        ("budgets: [half]", ["budgets", "half"]),
        ("budgets: []", ["budgets"]),
        ("seeds: [1, 1]", ["seeds"]),
        ("statistics: {seed: -1}", ["statistics.seed", "at least 0"]),
        ("statistics: {primary: f1}", ["statistics.primary", "'f1'", "mae, accuracy"]),
        ("search: {metric: loss}", ["search.metric", "pearson_r"]),
        ("search: {trials: [{optimizer.rate: 1}]}", ["finetune.optimizer.rate"]),
        ("search: {trials: [{}, {}, {}, {}, {}, {}, {}, {}, {}]}", ["search.trials", "8"]),
        ("finetune: {monitor: val_f1}", ["finetune.monitor", "val_pearson_r", "val_mae_happy"]),
        ("finetune: {epochs: 0}", ["finetune.epochs", "at least 1"]),
        ("finetune: {optimizer: {learning_rate: -1}}", ["finetune.optimizer.learning_rate", "0"]),
        ("pretrain: {optimizer: {warmup_fraction: 2}}", ["pretrain.optimizer.warmup_fraction"]),
        ("finetune: {head: {kind: foo}}", ["finetune.head.kind", "weight_penalty"]),
        ("finetune: {head: {dropout: 3}}", ["finetune.head.dropout", "below 1"]),
        ("backbone: {kind: transformr}", ["backbone.kind", "transformer, codebook"]),
        ("backbone: {hidden_dim: 30, num_heads: 4}", ["hidden_dim 30", "num_heads 4"]),
        ("pretrain: {task: {name: foo}}", ["pretrain.task.name", "masked_timestep"]),
        ("pretrain: {task: {mask_ratio: 3}}", ["pretrain.task.mask_ratio", "below 1"]),
        ("pretrain: {task: {name: codebook}}", ["arms[0]", "pretrain.task.name", "transformer"]),
        ("pretrain: {splits: [test]}", ["pretrain.splits", "held-out"]),
        ("pretrain: {splits: [train+test]}", ["pretrain.splits", "held-out"]),
        (
            "arms: [{name: baseline, pretrain: {epoch: 2}}]",
            ["arms[0].pretrain.epoch", "epochs"],
        ),
        (
            "arms: [{name: baseline}, {name: b, finetune: {patience: -1}}]",
            ["arms[1].finetune.patience", "at least 0"],
        ),
        ("arms: [{name: baseline, backbone: {kind: gru}}]", ["arms[0].backbone.kind"]),
        ("search: {trials: [{}, {epochs: 0}]}", ["finetune.epochs"]),
        ("search: {labels: 0}", ["search.labels", "at least 1"]),
        ("folds: [a.json]", ["folds", "manual_dir"]),
        ("data: {dataset: a}", ["datasets"]),
        ("threads: 0", ["threads"]),
        ("seeds: 3", ["seeds", "list"]),
        ("- a", ["options", "['a']"]),
        ("a: [", ["YAML"]),
    ],
)
def test_errors_name_the_key_and_what_is_allowed(tmp_path, text, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    for word in [*words, "study.yaml"]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_section_with_nothing_in_it_sets_nothing(tmp_path):
    text = """
data: {batch_size: 16}
pretrain: {batch_size: 64, optimizer: {learning_rate: 0.5}}
finetune: {optimizer: , epochs: 3}
arms: [{name: ssl, pretrained: true, pretrain: {optimizer: }, finetune: }, {name: baseline}]
"""
    config = read(tmp_path, text)
    ssl = config.arms[0]
    pretrain = pretrain_options(config, ssl, "covarep-1", 0)
    assert pretrain["batch_size"] == 64
    assert pretrain["optimizer"]["learning_rate"] == 0.5
    tuned = finetune_options(config, ssl, "covarep-1", 25, 0)
    assert (tuned["batch_size"], tuned["epochs"]) == (16, 3)


def test_an_arm_that_is_not_pretrained_needs_no_backbone_for_the_task(tmp_path):
    text = "arms: [{name: baseline, backbone: {num_layers: 1}}]\npretrain: {task: {name: codebook}}"
    assert read(tmp_path, text).arms[0].backbone == {"num_layers": 1}
    with pytest.raises(UserError, match=r"arms\[0\]: pretrain\.task\.name codebook .* transformer"):
        read(tmp_path, text.replace("name: baseline", "name: baseline, pretrained: true"))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        load_study_config(tmp_path / "none.yaml")


def test_budgets_follow_the_smallest_fold():
    folds = [fold("1", 600), fold("2", 300)]
    assert resolve_budgets(StudyConfig(), folds) == [25, 50, 100, 200, "all"]
    with pytest.raises(UserError, match=r"budget 400 is impossible.*300.*1 to 300, or all"):
        resolve_budgets(StudyConfig(budgets=["all", 400]), folds)
    assert resolve_budgets(StudyConfig(budgets=["all", 200, 25]), folds) == [25, 200, "all"]


def test_the_grid_is_complete_and_pretraining_is_shared():
    config = StudyConfig(
        arms=[
            ArmConfig(name="ssl", pretrained=True),
            ArmConfig(name="probe", pretrained=True, finetune={"freeze_backbone": True}),
            ArmConfig(name="other", pretrained=True, pretrain={"epochs": 2}),
            ArmConfig(name="baseline"),
        ],
        seeds=[0, 1],
    )
    check(config)
    folds = [fold("1"), fold("2")]
    before = preparation_cells(config, folds)
    grid = grid_cells(config, folds, [25, "all"], {})
    kinds = [cell.kind for cell in before]
    # ssl and probe pretrain alike, so two pretrainings per fold and seed serve three arms.
    assert kinds.count("pretrain") == 2 * 2 * 2
    assert kinds.count("features") == 2
    assert sum(cell.kind == "train" for cell in grid) == 4 * 2 * 2 * 2
    assert sum(cell.kind == "classical" for cell in grid) == 2 * 2 * 2
    paths = [cell.path for cell in [*before, *grid]]
    assert len(set(paths)) == len(paths)
    known = {cell.path for cell in before}
    for cell in grid:
        assert set(cell.requires) <= known
    by_arm = {c.arm: c for c in grid if (c.fold, c.budget, c.seed) == ("1", "25", 0) and c.arm}
    assert by_arm["ssl"].requires == by_arm["probe"].requires != by_arm["other"].requires
    assert by_arm["baseline"].requires == ()


def test_pretrainings_with_other_data_are_others():
    config = StudyConfig(
        arms=[
            ArmConfig(name="ssl", pretrained=True),
            ArmConfig(name="short", pretrained=True, pretrain={"max_frames": 200}),
            ArmConfig(name="more", pretrained=True, pretrain={"extra_datasets": ["b"]}),
            ArmConfig(name="baseline"),
        ],
        seeds=[0],
    )
    b = ExtraDataset("b", "b-1", "print")
    cells = [c for c in preparation_cells(config, [fold(extras=(b,))]) if c.kind == "pretrain"]
    lengths = [c.options["run"]["max_frames"] for c in cells]
    extra = [c.options["run"]["extra_datasets"] for c in cells]
    assert (lengths, extra) == ([1660, 200, 1660], [[], [], ["b-1"]])
    assert len({cell.path for cell in cells}) == len({cell.key for cell in cells}) == 3


def test_extra_data_counts_by_its_content_and_not_by_its_name():
    config = StudyConfig(
        arms=[
            ArmConfig(name="ssl", pretrained=True),
            ArmConfig(name="more", pretrained=True, pretrain={"extra_datasets": ["b"]}),
            ArmConfig(name="same", pretrained=True, pretrain={"extra_datasets": ["b-1"]}),
            ArmConfig(name="baseline"),
        ],
        seeds=[0],
    )

    def study(*extras):
        folds = [fold(extras=tuple(ExtraDataset(given, *is_) for given, *is_ in extras))]
        cells = [*preparation_cells(config, folds), *grid_cells(config, folds, [25], {})]
        return {cell.path: cell for cell in cells}, describe(config, folds, [25])

    before, described = study(("b", "b-1", "old"), ("b-1", "b-1", "old"))
    again, described_again = study(("b", "b-1", "new"), ("b-1", "b-1", "new"))
    assert described["extra_datasets"] == [{"name": "b-1", "fingerprint": "old"}]
    assert described_again["extra_datasets"] == [{"name": "b-1", "fingerprint": "new"}]
    # "b" and "b-1" mean the same dataset, so their arms share a pretraining.
    train = "cells/train/{}/labels-25/fold-1/seed-0"
    assert before[train.format("more")].requires == before[train.format("same")].requires
    changed = {path for path, cell in before.items() if cell.key != again[path].key}
    assert changed == {
        *before[train.format("more")].requires,
        train.format("more"),
        train.format("same"),
    }
    # A name that has come to mean another dataset.
    moved, described_moved = study(("b", "b-2", "new"), ("b-1", "b-1", "old"))
    assert described_moved["extra_datasets"] == [
        {"name": "b-1", "fingerprint": "old"},
        {"name": "b-2", "fingerprint": "new"},
    ]
    assert moved[train.format("more")].requires != moved[train.format("same")].requires


def test_both_arms_get_the_same_options_but_for_the_start():
    config = StudyConfig()
    ssl, baseline = config.arms
    one, two = (finetune_options(config, arm, "d", 25, 0) for arm in (ssl, baseline))
    assert {key for key in one if one[key] != two[key]} == {"from_scratch"}


def test_an_arm_may_start_from_a_preset_or_a_run_of_any_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    arms = [ArmConfig(name="heard", pretrained="emotion-small"), ArmConfig(name="baseline")]
    arms.append(ArmConfig(name="mine", pretrained="mine"))
    config = StudyConfig(arms=arms)
    check(config)
    # Nothing is pretrained for them, and no fine-tuning waits for one.
    assert {cell.kind for cell in preparation_cells(config, [fold()])} == {"features"}
    trained = {cell.arm: cell for cell in grid_cells(config, [fold()], [25], {}) if cell.arm}
    options = {name: cell.options["run"] for name, cell in trained.items()}
    assert all(cell.requires == () for cell in trained.values())
    assert options["heard"]["pretrained"] == "emotion-small"
    assert options["mine"]["pretrained"] == str(tmp_path / "mine")
    assert "pretrained" not in options["baseline"]
    assert [options[name]["from_scratch"] for name in ("heard", "baseline")] == [False, True]


def test_without_labels_only_emotion_models_are_compared():
    arms = [ArmConfig(name="heard", pretrained="emotion-small"), ArmConfig(name="baseline")]
    config = StudyConfig(arms=arms, budgets=[0, 25], seeds=[0])
    check(config)
    grid = grid_cells(config, [fold()], [0, 25], {})
    assert [(cell.arm, cell.kind) for cell in grid if cell.budget == "0"] == [("heard", "train")]
    assert len(grid) == 1 + 3


def test_a_changed_option_changes_the_key():
    folds = [fold()]
    one = grid_cells(StudyConfig(), folds, [25], {})
    two = grid_cells(StudyConfig(finetune={"epochs": 99}), folds, [25], {})
    for first, second in zip(one, two, strict=True):
        assert (first.key == second.key) == (first.kind == "classical")


def test_the_papers_study_is_valid():
    path = Path(__file__).parents[2] / "configs" / "mosei_paper.yaml"
    config = load_study_config(path)
    assert config.budgets == [25, 50, 100, 200, 400, 800, 1600, "all"]
    assert len(config.seeds) >= 3
    assert {arm.name for arm in config.arms} >= {"ssl", "baseline"}


def test_shipped_studies_are_valid_and_pretraining_may_have_its_own_batches():
    folder = Path(__file__).parents[2] / "configs"
    for name in ("small_study.yaml", "mosei_paper.yaml"):
        config = load_study_config(folder / name)
        for arm in config.arms:
            assert pretrain_options(config, arm, "covarep-1", 0)["dataset"] == "covarep-1"
            assert finetune_options(config, arm, "covarep-1", 25, 0)["labels"] == 25
    small = load_study_config(folder / "small_study.yaml")
    assert pretrain_options(small, small.arms[0], "covarep-1", 0)["batch_size"] == 128
    assert finetune_options(small, small.arms[0], "covarep-1", 25, 0)["batch_size"] == 32
