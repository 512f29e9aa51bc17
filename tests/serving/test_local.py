"""Batches change nothing; damage is reported."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from mosei_ssl.serving import LocalModel
from mosei_ssl.serving.predictor import pad, plan_batches
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError


def test_batches_hold_every_segment_once_and_stay_small():
    lengths = [5, 900, 6, 7, 100, 2000, 3]
    batches = list(plan_batches(lengths, max_batch=3, max_frames=1000))
    assert batches == [[6, 0, 2], [3, 4], [1], [5]]


def test_padding_stands_behind():
    features, length = pad([np.ones((2, 74), "f4"), np.full((3, 74), 2, "f4")])
    assert features.shape == (2, 3, 74)
    assert length.tolist() == [2, 3]
    assert features[:, :, 0].tolist() == [[1, 1, 0], [2, 2, 2]]


def test_order_and_batch_size_change_nothing(saved_model):
    draw = np.random.default_rng(1)
    segments = [draw.normal(size=(n, 74)) * 3 for n in (50, 3, 120, 3, 70)]
    done = []
    all_at_once = LocalModel(saved_model).predict(segments, progress=done.append)
    assert sum(done) == 5
    one_by_one = LocalModel(saved_model.parent, max_batch=1).predict(segments)
    for name in OUTPUTS:
        assert all_at_once[name].shape == (5, 6)
        np.testing.assert_allclose(all_at_once[name], one_by_one[name], atol=1e-5)
    assert all_at_once["class"].dtype == np.int32
    assert np.ptp(all_at_once["present"], axis=0).max() > 0.01


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((5, 73)), r"shape \[5, 73\]"),
        (np.zeros((0, 74)), "0 frames"),
        (np.zeros((12_001, 74)), "12001 frames"),
    ],
)
def test_bad_segments_are_named(saved_model, rows, message):
    with pytest.raises(UserError, match=f"segment 1 has {message}"):
        LocalModel(saved_model).predict([np.zeros((5, 74)), rows])


def test_a_tampered_model_is_not_run(saved_model, tmp_path):
    copy = shutil.copytree(saved_model, tmp_path / "1")
    with open(copy / "variables" / "variables.data-00000-of-00001", "r+b") as file:
        file.seek(100)
        file.write(b"tampered")
    with pytest.raises(UserError, match="has been changed"):
        LocalModel(copy)


def test_a_damaged_or_foreign_model_is_refused(saved_model, tmp_path):
    copy = shutil.copytree(saved_model, tmp_path / "1")
    shutil.rmtree(copy / "assets.extra")
    (copy / "saved_model.pb").write_bytes((copy / "saved_model.pb").read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded as a SavedModel"):
        LocalModel(copy)
    tf.saved_model.save(tf.Module(), str(tmp_path / "2"))
    with pytest.raises(UserError, match="SavedModel of something else"):
        LocalModel(tmp_path / "2")
