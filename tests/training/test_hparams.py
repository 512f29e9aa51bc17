"""A run in TensorBoard's HParams dashboard, read back with the dashboard's own code."""

import csv

import pytest

from mosei_ssl.metrics import METRICS
from mosei_ssl.training import evaluate, finetune
from mosei_ssl.training.hparams import trial_name, write_trial


def session_groups(logdir):
    """What the dashboard shows of a log directory: its columns and its trials."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.backend_context import Context
    from tensorboard.plugins.hparams.get_experiment import Handler as Experiment
    from tensorboard.plugins.hparams.list_session_groups import Handler as Groups

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(logdir))
    context = Context(TBContext(logdir=str(logdir), data_provider=provider))
    columns = Experiment(RequestContext(), context, "", api_pb2.GetExperimentRequest()).run()
    request = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=api_pb2.Status.values(),
        col_params=[api_pb2.ColParams(metric=info.name) for info in columns.metric_infos],
        slice_size=100,
        aggregation_type=api_pb2.AGGREGATION_AVG,
    )
    return columns, Groups(RequestContext(), context, "", request).run().session_groups


def scores(group):
    return {metric.name.tag: metric.value for metric in group.metric_values}


def test_the_dashboard_shows_the_scores_of_the_kept_weights(finetuning, tmp_path):
    configs = [
        finetuning("runs/a24", from_scratch=True, epochs=2, monitor="val_mae"),
        finetuning("runs/all", from_scratch=True, epochs=1, labels="all", keep_best=False),
    ]
    runs = [finetune(configs[0], hparams={"arm": "probe", "fold": "2"})]
    runs += [finetune(config) for config in configs[1:]]
    tested = evaluate(runs[0].path)["predictors"]["model"]["overall"]

    columns, groups = session_groups(tmp_path / "runs")
    named = {group.name: group for group in groups}
    assert set(named) == {"runs/a24", "runs/all"}
    shown = {f"{split}/{name}" for split in ("validation", "test") for name in METRICS}
    assert {info.name.tag for info in columns.metric_infos} == shown | {"validation/loss"}
    kinds = {info.name: info.domain_interval.max_value for info in columns.hparam_infos}
    assert kinds["labels"] == runs[1].info["result"]["labels"] > 24
    first = named["runs/a24"].hparams
    assert (first["arm"].string_value, first["fold"].string_value) == ("probe", "2")
    for run in runs:
        with open(run / "history.csv", newline="") as file:
            row = list(csv.DictReader(file))[run.info["result"]["epoch"] - 1]
        group = named[trial_name(run.path)]
        assert group.hparams["labels"].number_value == run.info["result"]["labels"]
        for name in ("loss", "mae", "accuracy", "pearson_r", "auroc"):
            expected = pytest.approx(float(row[f"val_{name}"]), rel=1e-5, nan_ok=True)
            assert scores(group)[f"validation/{name}"] == expected
    assert scores(named["runs/a24"])["test/mae"] == pytest.approx(tested["mae"], rel=1e-5)


def test_a_run_that_is_completed_again_is_one_trial(tmp_path):
    for _ in range(2):  # as one cut off between its scores and its end
        write_trial(tmp_path / "run", {"labels": 25}, {"loss": 9.0, "val_mae": 0.25}, epoch=1)
    _, (group,) = session_groups(tmp_path)
    assert scores(group) == {"validation/mae": 0.25}


def test_trials_have_short_names_that_differ_within_and_between_studies(tmp_path):
    cells = [
        f"train/{arm}/labels-{labels}/fold-1/seed-{seed}"
        for arm in ("ssl", "baseline")
        for labels in (25, "all")
        for seed in (0, 1)
    ]
    others = ["search/ssl/trial-0", "pretrain/masked-1a2b/fold-1/seed-0"]
    names = [
        trial_name(tmp_path / "cells" / study / "cells" / cell / "run")
        for study in ("first", "second")
        for cell in (*cells, *others)
    ]
    assert names[0] == "first/ssl/labels-25/fold-1/seed-0"
    assert names[-2:] == [f"second/{name}" for name in others]
    assert len(set(names)) == len(names)
    assert trial_name(tmp_path / "runs" / "ssl200") == "runs/ssl200"
    # Names that anybody may give to folders.
    assert trial_name(tmp_path / "cells" / "run") == "cells/run"
