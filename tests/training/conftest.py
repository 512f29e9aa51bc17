"""Options of runs small enough for a test."""

import shutil

import pytest
from quick_runs import PARTS, padded_to_one_length, quick_runs

from mosei_ssl.config import CodebookConfig, FinetuneConfig, PretrainConfig, TransformerConfig
from mosei_ssl.training import RunDirectory, finetune, pretrain


@pytest.fixture(scope="module", autouse=True)
def one_length():
    with padded_to_one_length():
        yield


@pytest.fixture
def quick(request):
    """For tests whose runs are quick ones, except for the parts that they ask for."""
    with quick_runs(*set(PARTS).intersection(request.fixturenames)):
        yield


@pytest.fixture
def graph():
    """For tests that train in a graph."""


@pytest.fixture(scope="session")
def options(synthetic_data):
    """The parts that every run of these tests shares."""
    return {
        "data_dir": str(synthetic_data),
        "batch_size": 40,
        "backbone": TransformerConfig(
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
    settings = {"epochs": 3, "min_steps_per_epoch": 2, "labels": 24}
    return {**options, **settings, "backbone": CodebookConfig(hidden_dim=16, code_dim=8)}


@pytest.fixture
def finetuning(finetuning_options, tmp_path):
    """Makes the options of a fine-tuning run by name."""

    def make(name: str, **changes) -> FinetuneConfig:
        return FinetuneConfig(run=str(tmp_path / name), **{**finetuning_options, **changes})

    return make


@pytest.fixture(scope="session")
@padded_to_one_length()
@quick_runs()
def pretrained_once(options, tmp_path_factory):
    return pretrain(
        PretrainConfig(run=str(tmp_path_factory.mktemp("runs") / "pre"), epochs=1, **options)
    )


@pytest.fixture
def pretrained(pretrained_once, tmp_path) -> RunDirectory:
    """A finished pretraining run that the test may damage."""
    shutil.copytree(pretrained_once.path, tmp_path / "pre")
    return RunDirectory(tmp_path / "pre").open()


@pytest.fixture(scope="session")
@padded_to_one_length()
@quick_runs()
def finetuned_once(finetuning_options, tmp_path_factory) -> RunDirectory:
    """A finished run of the baseline, for reading only."""
    folder = tmp_path_factory.mktemp("runs") / "base"
    return finetune(FinetuneConfig(run=str(folder), from_scratch=True, **finetuning_options))


@pytest.fixture
def finetuned(finetuned_once, tmp_path) -> RunDirectory:
    """A finished run of the baseline that the test may change."""
    shutil.copytree(finetuned_once.path, tmp_path / "base")
    return RunDirectory(tmp_path / "base").open()
