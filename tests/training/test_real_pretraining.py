"""Every pretraining task learns something from real speech."""

import csv

import pytest

import tfds_mosei
from mosei_ssl.data import DataConfig
from mosei_ssl.models import PRETRAINING_TASKS, BackboneConfig, PretrainingTaskConfig
from mosei_ssl.training import OptimizerConfig, PretrainConfig, pretrain


@pytest.fixture(scope="module")
def ravdess(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tfds_mosei.build("covarep", data_dir=folder, manual_dir=shared_data / "ravdess_covarep")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(PRETRAINING_TASKS))
def test_the_loss_falls_on_speakers_that_were_not_pretrained_on(task, ravdess, tmp_path):
    run = pretrain(
        PretrainConfig(
            run=str(tmp_path / task),
            data=DataConfig(data_dir=str(ravdess), batch_size=64, max_buckets=2),
            backbone=BackboneConfig(
                kind="codebook" if task == "codebook" else "transformer",
                hidden_dim=32,
                num_layers=1,
                feedforward_dim=32,
                pooling_factor=20,
            ),
            task=PretrainingTaskConfig(task),
            optimizer=OptimizerConfig(learning_rate=0.003, weight_decay=0.0),
            epochs=5,
        )
    )
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for column in ("loss", "val_loss"):
        losses = [float(row[column]) for row in rows]
        assert losses[-1] < losses[0], (column, losses)
    if "val_relative_error" in rows[-1]:
        assert float(rows[-1]["val_relative_error"]) < 1.0
