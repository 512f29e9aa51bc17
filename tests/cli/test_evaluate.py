"""`mosei-ssl evaluate`: the table of one or several runs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from quick_runs import padded_to_one_length, quick_runs

import tfds_mosei
from mosei_ssl import data
from mosei_ssl.cli import main
from mosei_ssl.data import DataConfig, load_segments
from mosei_ssl.metrics import evaluate_predictions
from mosei_ssl.training import RunDirectory, evaluation, load_model
from mosei_ssl.training.evaluation import predict_segments
from mosei_ssl.training.pretraining import note_videos


@pytest.fixture(autouse=True)
def quick():
    """Read data once, and run the model without its graph."""
    with quick_runs(), padded_to_one_length():
        yield


@pytest.fixture
def scored(finished_run, synthetic_data, tmp_path):
    """Makes finished runs on the synthetic corpus, which has moved since."""
    data = DataConfig(data_dir=str(synthetic_data))
    train = load_segments(data, "train")

    def make(folder, labels=8, frozen=False, **dataset):
        run = tmp_path / folder
        shutil.copytree(finished_run, run)
        info = json.loads((run / "run.json").read_text())
        info["dataset"] = {
            "name": f"{train.name}/1.0.0",
            "fingerprint": train.metadata["fingerprint"],
            "synthetic": True,
            **dataset,
        }
        info["result"]["labels"] = labels
        (run / "run.json").write_text(json.dumps(info))
        options = {"data_dir": str(tmp_path / "where it was"), "context": False}
        options["freeze_backbone"] = frozen
        (run / "config.yaml").write_text(yaml.safe_dump(options))
        names = zip(train.video_ids[:labels], train.segment_ids[:labels], strict=True)
        chosen = [{"video_id": str(video), "segment_id": int(row)} for video, row in names]
        (run / "labels.json").write_text(json.dumps(chosen))
        note_videos(RunDirectory(run), train.content)
        return run

    return make


def test_a_moved_dataset_is_scored_and_every_score_is_shown_per_emotion(
    scored, synthetic_data, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "90")
    few, more = scored("few", 8), scored("more", 12, frozen=True)
    line = ["evaluate", "--run", str(few), "--against", str(more)]
    assert main(line) == 2
    assert "where it was" in capsys.readouterr().err
    assert main([*line, "--data-dir", str(synthetic_data)]) == 0
    assert "per emotion" not in capsys.readouterr().out
    assert main([*line, "--data-dir", str(synthetic_data), "--per-emotion"]) == 0
    out = capsys.readouterr().out
    # These two are copies, of unlike budgets.
    change = (
        "The r of ssl (few), 8 labels differs by +0.000 [+0.000, +0.000] against ssl, frozen (more)"
    )
    assert change in out
    for metric in ("MAE", "4-class accuracy", "Pearson r", "balanced accuracy", "AUROC"):
        assert any(
            metric in row and row.rstrip().endswith("per emotion") for row in out.splitlines()
        )
    assert "…" not in out
    # Budgets differ, so that each row has to say its own.
    assert "ssl (few), 8 labels" in out
    assert "ssl, frozen (more), 12 labels" in " ".join(out.split())
    assert "trained on" not in out
    for run in (few, more):
        assert f"Written: {run / 'metrics.json'}" in out
        assert "test" in json.loads((run / "metrics.json").read_text())["splits"]


def test_a_sentence_and_json_say_what_pretraining_changed(scored, synthetic_data, capsys):
    ssl, base = scored("ssl"), scored("base")
    config = yaml.safe_load((ssl / "config.yaml").read_text())
    (ssl / "config.yaml").write_text(yaml.safe_dump(config | {"pretrained": "runs/pre"}))
    info = json.loads((base / "run.json").read_text())
    info["result"]["arm"] = "baseline"
    (base / "run.json").write_text(json.dumps(info))
    line = ["evaluate", "--run", str(ssl), "--against", str(base)]
    line += ["--data-dir", str(synthetic_data)]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "Pretraining (pre) changed r by +0.000 [+0.000, +0.000] against baseline" in out
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    metrics = json.loads((ssl / "metrics.json").read_text())["splits"]["test"]
    assert "predictions_file" not in metrics
    assert found["split"] == "test"
    assert [run["run"] for run in found["runs"]] == [str(ssl), str(base)]
    assert found["runs"][0]["predictors"] == metrics["predictors"]
    assert found["changes"][0]["against"] == str(base)
    assert found["changes"][0]["mae"] == [0, 0, 0]


@pytest.fixture(scope="session")
def other_data(tmp_path_factory):
    """Another synthetic corpus, prepared elsewhere, whose ids of videos differ."""
    folder = tmp_path_factory.mktemp("other")
    tfds_mosei.build("synthetic", data_dir=folder, size=10)
    return folder


def renamed(monkeypatch, **metadata):
    """As if the videos of the other corpus had other names, and its metadata were these."""
    load = data.load_segments

    def load_renamed(config, split, mean=None):
        segments = load(config, split, mean)
        if "other" not in str(config.data_dir):
            return segments
        ids = np.char.add("other-", segments.video_ids)
        return replace(segments, video_ids=ids, metadata=segments.metadata | metadata)

    monkeypatch.setattr(evaluation, "load_segments", load_renamed)


def test_another_corpus_is_scored_beside_predictors_trained_on_the_runs_own(
    scored, synthetic_data, other_data, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "120")
    run = scored("run", 8)
    options = yaml.safe_load((run / "config.yaml").read_text())
    options |= {"data_dir": str(synthetic_data), "context": True}
    (run / "config.yaml").write_text(yaml.safe_dump(options))
    (other,) = tfds_mosei.list_prepared(other_data)
    (own,) = tfds_mosei.list_prepared(synthetic_data)
    line = ["evaluate", "--run", str(run), "--dataset", other, "--data-dir", str(other_data)]
    # Synthetic videos are numbered, so that the same ones seem to be in both.
    assert main([*line, "--split", "train"]) == 2
    assert "that the run has learned from" in capsys.readouterr().err.replace(str(run), "the run")
    renamed(monkeypatch)
    assert main(["evaluate", "--run", str(run)]) == 0
    before = json.loads((run / "metrics.json").read_text())
    capsys.readouterr()
    assert main(line) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"SYNTHETIC data, {other}, test split" in out
    assert f"all trained on {own}, 8 labels" in out
    after = json.loads((run / "metrics.json").read_text())
    assert after["splits"] == before["splits"]
    found = after["datasets"][other]["splits"]["test"]
    assert (found["dataset"], found["trained_on"]) == (other, own)

    # Worked out anew: the median of the run's eight labels, judged on the other corpus.
    train = load_segments(DataConfig(data_dir=str(synthetic_data)), "train")
    test = load_segments(DataConfig(data_dir=str(other_data)), "test")
    median = np.median(train.emotions[:8], axis=0)
    for predictor, values in (("all_zero", 0 * median), ("train_median", median)):
        mae = np.abs(test.emotions - values).mean()
        assert found["predictors"][predictor]["overall"]["mae"] == pytest.approx(mae, abs=1e-6)
    assert found["segments"] == len(test)
    # Rows are moved to the means that the model was trained with, as `predict` does.
    model = load_model(run / "model.keras")
    config = DataConfig(data_dir=str(other_data))
    moved = load_segments(config, "test", model.backbone.standardize.center.numpy())
    truth = evaluate_predictions(moved.emotions, predict_segments(model, moved, config))
    wrong = evaluate_predictions(test.emotions, predict_segments(model, test, config))
    r = found["predictors"]["model"]["overall"]["pearson_r"]
    assert r == pytest.approx(truth["overall"]["pearson_r"], abs=1e-5)
    assert r != pytest.approx(wrong["overall"]["pearson_r"], abs=1e-5)


def test_recordings_that_were_learned_are_known_by_their_content(
    scored, synthetic_data, tmp_path, capsys, monkeypatch
):
    run = scored("run", 8)
    options = {"data_dir": str(synthetic_data), "context": False}
    (run / "config.yaml").write_text(yaml.safe_dump(options))
    other = tmp_path / "other"
    shutil.copytree(synthetic_data, other)
    (folder,) = (other / "tfds_mosei").glob("synthetic-*")
    folder.rename(folder.with_name("synthetic-0123456789"))
    renamed(monkeypatch, fingerprint="0123456789")
    line = ["evaluate", "--run", str(run), "--dataset", "synthetic-0123456789"]
    line += ["--data-dir", str(other)]
    assert main([*line, "--split", "train"]) == 2
    assert "that the run has learned from" in capsys.readouterr().err.replace(str(run), "the run")


def test_a_corpus_with_another_row_period_is_not_scored(
    scored, synthetic_data, other_data, capsys, monkeypatch
):
    run = scored("run", 8)
    options = {"data_dir": str(synthetic_data), "context": False}
    (run / "config.yaml").write_text(yaml.safe_dump(options))
    (other,) = tfds_mosei.list_prepared(other_data)
    renamed(monkeypatch, row_period=0.05)
    line = ["evaluate", "--run", str(run), "--dataset", other, "--data-dir", str(other_data)]
    assert main(line) == 2
    error = capsys.readouterr().err
    assert "has a row every 50 ms" in error
    assert "a row every 10 ms" in error
    assert error.count("\n") == 1


def test_scores_of_the_train_split_say_how_much_of_it_was_trained_on(
    scored, synthetic_data, capsys
):
    line = ["evaluate", "--run", str(scored("run", 8)), "--split", "train"]
    assert main([*line, "--data-dir", str(synthetic_data)]) == 0
    assert "of these segments 8 were trained on" in " ".join(capsys.readouterr().out.split())


def test_an_export_stands_beside_all_zero_and_its_name_is_whole(
    saved_model, synthetic_data, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    line = ["evaluate", "--model", str(saved_model), "--data-dir", str(synthetic_data)]
    assert main([*line, "--against", "runs/base"]) == 2
    assert "--against" in capsys.readouterr().err
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "SYNTHETIC data, test split" in out
    # The model's manifest names another dataset, whose train split may hold these recordings.
    assert "the model was trained on 0123456789, whose recordings may" in " ".join(out.split())
    assert "SavedModel (emotion/1)" in out
    assert "all zero" in out
    assert "…" not in out


def test_runs_of_unlike_datasets_do_not_share_a_table(scored, capsys):
    other = scored("other", name="covarep-9876543210/1.0.0", fingerprint="9876543210")
    assert main(["evaluate", "--run", str(scored("one")), "--against", str(other)]) == 2
    captured = capsys.readouterr()
    assert f"{other} was trained on dataset covarep-9876543210/1.0.0" in captured.err
    assert captured.out == ""
    assert not (other / "metrics.json").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.json", None),
        ("labels.json", "[{"),
        ("labels.json", '[{"video_id": "nobody", "segment_id": 0}]'),
        ("metrics.json", "{"),
        ("metrics.json", "[]"),
        ("config.yaml", None),
        ("config.yaml", "a: b: c"),
        ("run.json", "[]"),
        ("model.keras", None),
        ("model.keras", "PK"),
    ],
)
def test_a_damaged_run_is_told_in_one_line(scored, synthetic_data, name, content, capsys):
    run = scored("damaged")
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    assert main(["evaluate", "--run", str(run), "--data-dir", str(synthetic_data)]) == 2
    error = capsys.readouterr().err
    assert str(run / name) in error
    assert "missing" in error or "damaged" in error
    assert error.count("\n") == 1


def test_a_model_cut_short_is_called_damaged(scored, synthetic_data, capsys):
    run = scored("cut")
    whole = (run / "model.keras").read_bytes()
    (run / "model.keras").write_bytes(whole[: len(whole) // 2])
    assert main(["evaluate", "--run", str(run), "--data-dir", str(synthetic_data)]) == 2
    error = capsys.readouterr().err
    assert f"{run / 'model.keras'} cannot be read (damaged or cut short)" in error
