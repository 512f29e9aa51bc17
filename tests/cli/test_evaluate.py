"""`mosei-ssl evaluate`: the table of one or several runs."""

import json
import shutil

import pytest
import yaml

from mosei_ssl.cli import main
from mosei_ssl.data import DataConfig, load_segments


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
        options = {"data_dir": str(tmp_path / "where it was"), "freeze_backbone": frozen}
        (run / "config.yaml").write_text(yaml.safe_dump(options))
        names = zip(train.video_ids[:labels], train.segment_ids[:labels], strict=True)
        chosen = [{"video_id": str(video), "segment_id": int(row)} for video, row in names]
        (run / "labels.json").write_text(json.dumps(chosen))
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
    out = capsys.readouterr().out
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
