"""Every pretraining task learns something from real speech."""

import pytest

import tfds_mosei
from mosei_ssl.config import (
    CodebookConfig,
    CodebookTaskConfig,
    MaskedTimestepConfig,
    OptimizerConfig,
    PretrainConfig,
    TransformerConfig,
)
from mosei_ssl.training import pretrain

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def emodb(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tfds_mosei.build("covarep", data_dir=folder, manual_dir=shared_data / "emodb_covarep")
    return folder


PARTS = {
    "masked_timestep": (
        TransformerConfig(hidden_dim=32, num_layers=1, feedforward_dim=32, pooling_factor=20),
        MaskedTimestepConfig(),
    ),
    "codebook": (CodebookConfig(hidden_dim=32, pooling_factor=20), CodebookTaskConfig()),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(PARTS))
def test_the_loss_falls_on_speakers_that_were_not_pretrained_on(task, emodb, tmp_path):
    backbone, options = PARTS[task]
    run = pretrain(
        PretrainConfig(
            run=str(tmp_path / task),
            data_dir=str(emodb),
            batch_size=128,
            backbone=backbone,
            task=options,
            optimizer=OptimizerConfig(learning_rate=0.006, weight_decay=0.0),
            epochs=2,
        )
    )
    rows = run.history()
    for column in ("loss", "val_loss"):
        losses = [row[column] for row in rows]
        assert losses[-1] < losses[0], (column, losses)
    assert rows[-1].get("val_relative_error", 0.0) < 1.0
