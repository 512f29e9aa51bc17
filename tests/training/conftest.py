"""Options of runs small enough for a test."""

import shutil

import pytest

from mosei_ssl.data import DataConfig
from mosei_ssl.models import BackboneConfig, HeadConfig
from mosei_ssl.training import FinetuneConfig, PretrainConfig, RunDirectory, pretrain


@pytest.fixture(scope="session")
def options(synthetic_data):
    """The parts that every run of these tests shares."""
    return {
        "data": DataConfig(data_dir=str(synthetic_data), batch_size=16, max_buckets=2),
        "backbone": BackboneConfig(
            hidden_dim=16, num_layers=1, num_heads=2, feedforward_dim=16, dropout=0.2
        ),
    }


@pytest.fixture
def pretraining(options, tmp_path):
    """Makes the options of a pretraining run by name."""

    def make(name: str, **changes) -> PretrainConfig:
        return PretrainConfig(run=str(tmp_path / name), **{**options, "epochs": 3, **changes})

    return make


@pytest.fixture(scope="session")
def finetuning_options(options):
    """The parts that every fine-tuning run of these tests shares."""
    settings = {**options, "epochs": 4, "min_steps_per_epoch": 3, "labels": 24}
    return {**settings, "head": HeadConfig(embedding_dim=8)}


@pytest.fixture
def finetuning(finetuning_options, tmp_path):
    """Makes the options of a fine-tuning run by name."""

    def make(name: str, **changes) -> FinetuneConfig:
        return FinetuneConfig(run=str(tmp_path / name), **{**finetuning_options, **changes})

    return make


@pytest.fixture(scope="session")
def pretrained_once(options, tmp_path_factory):
    return pretrain(
        PretrainConfig(run=str(tmp_path_factory.mktemp("runs") / "pre"), epochs=1, **options)
    )


@pytest.fixture
def pretrained(pretrained_once, tmp_path) -> RunDirectory:
    """A finished pretraining run that the test may damage."""
    shutil.copytree(pretrained_once.path, tmp_path / "pre")
    return RunDirectory(tmp_path / "pre").open()
