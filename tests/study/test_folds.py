"""Folds from prepared datasets, and what may be pretrained on in addition."""

import pytest
from quick_runs import quick_runs

from mosei_ssl.config import DataConfig
from mosei_ssl.data import load_pretraining_segments, load_segments
from mosei_ssl.study import ArmConfig, StudyConfig
from mosei_ssl.study.folds import prepare_folds
from mosei_ssl.utils.errors import UserError


@pytest.fixture(autouse=True)
def read_once():
    with quick_runs():
        yield


def study(corpora, extra=(), splits=("train",)):
    options = {"splits": list(splits), "extra_datasets": list(extra)}
    arms = [ArmConfig(name="ssl", pretrained=True, pretrain=options), ArmConfig(name="baseline")]
    return StudyConfig(data=DataConfig(data_dir=str(corpora)), datasets=["speech"], arms=arms)


def test_a_fold_knows_its_videos(corpora):
    (fold,) = prepare_folds(study(corpora))
    assert not fold.synthetic
    data = DataConfig(data_dir=str(corpora), dataset="speech")
    fit = {v for s in ("train", "validation") for v in load_segments(data, s).video_ids.tolist()}
    assert set(fold.fit_videos) == fit
    assert not fit & set(fold.test_videos)


def test_synthetic_extra_data_makes_the_study_synthetic(corpora):
    (fold,) = prepare_folds(study(corpora, ["synthetic-a"]))
    assert fold.synthetic
    (twin,) = fold.extras
    metadata = load_segments(
        DataConfig(data_dir=str(corpora), dataset="synthetic-a"), "train"
    ).metadata
    assert (twin.given, twin.dataset) == ("synthetic-a", "synthetic-a")
    assert twin.fingerprint == metadata["fingerprint"]
    # Of an arm that is not pretrained it changes nothing.
    config = study(corpora, ["synthetic-a"])
    config.arms[0].pretrained = False
    (fold,) = prepare_folds(config)
    assert not fold.synthetic
    assert fold.extras == ()


def test_the_beginning_of_a_name_is_resolved(corpora):
    config = study(corpora, ["spee"])
    config.datasets = ["synthetic-a"]
    (fold,) = prepare_folds(config)
    assert [(extra.given, extra.dataset) for extra in fold.extras] == [("spee", "speech")]


def test_extra_data_of_held_out_videos_is_refused(corpora):
    data = DataConfig(data_dir=str(corpora), dataset="speech", extra_datasets=["synthetic-b"])
    held_out = {
        v for s in ("validation", "test") for v in load_segments(data, s).video_ids.tolist()
    }
    other = DataConfig(data_dir=str(corpora), dataset="synthetic-b")
    assert held_out & set(load_segments(other, "train").video_ids.tolist())
    with pytest.raises(UserError, match=r"extra_datasets: 'synthetic-b' would let held-out"):
        load_pretraining_segments(data)
    with pytest.raises(UserError, match=r"arm 'ssl'.*'synthetic-b' would let held-out"):
        prepare_folds(study(corpora, ["synthetic-b"]))
    # Its twin trains on nothing that "speech" holds out.
    data.extra_datasets = ["synthetic-a"]
    both = load_pretraining_segments(data)
    assert len(both) == 2 * len(load_segments(data, "unlabelled"))
    assert both.synthetic


def test_what_is_missing_is_reported_before_anything_runs(corpora):
    with pytest.raises(UserError, match=r"extra_datasets.*no prepared dataset 'nope'.*synthetic-a"):
        prepare_folds(study(corpora, ["nope"]))
    with pytest.raises(UserError, match=r"arm 'ssl'.*no split 'foo'; it has test, train"):
        prepare_folds(study(corpora, splits=["foo"]))
