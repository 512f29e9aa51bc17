"""Batches change nothing; damage is reported."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from mosei_ssl.data.context import in_context
from mosei_ssl.serving import LocalModel
from mosei_ssl.serving.inputs import windows
from mosei_ssl.serving.predictor import pad, plan_batches, predict_records
from mosei_ssl.serving.signatures import OUTPUTS
from mosei_ssl.utils.errors import UserError
from tfds_mosei.schema import EMOTIONS


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


def test_a_recording_is_judged_relative_to_itself(saved_model):
    times = np.arange(2500)[:, None] * 0.01 + [0, 0.01]
    rows = np.full((2500, 74), 3.0, "f4")
    rows[1000:] = 5.0  # 4.2 on average
    rows[:, 7] = -np.inf
    segments = list(windows("talk", times, rows, 10.0))
    moved = in_context(rows[:1000], segments[0].context, np.full(74, 1.0))
    # Half of the way at 25 s.
    assert moved[:, :7] == pytest.approx(3.0 - 0.5 * (4.2 - 1.0))
    assert np.isneginf(moved[:, 7]).all()
    (short,) = windows("talk", times[:100], rows[:100], 10.0)
    assert in_context(rows[:100], short.context, np.ones(74))[0, 0] == pytest.approx(
        3.0 - 2.0 * 100 / 2600
    )
    # The means are those of the model's training.
    model = LocalModel(saved_model)
    mean = model.manifest["model"]["feature_mean"]
    by_hand = model.predict([in_context(s.features, s.context, mean) for s in segments])["expected"]
    parts = [segment.features for segment in segments]
    np.testing.assert_array_equal(model.predict(parts, recording=rows)["expected"], by_hand)
    alone = model.predict(parts)["expected"]
    for context, expected in ((True, by_hand), (False, alone)):
        records = list(predict_records(model, segments, context=context))
        found = [[record["emotions"][e]["expected"] for e in EMOTIONS] for record in records]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(by_hand - alone).max() > 1e-3


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


def test_padded_segments_and_their_lengths_by_position(saved_model):
    model = LocalModel(saved_model)
    draw = np.random.default_rng(5)
    padded = draw.normal(size=(3, 60, 74)).astype(np.float32)
    length = np.array([60, 1, 33])
    truth = model.predict([rows[:n] for rows, n in zip(padded, length, strict=True)])
    for found in (model.predict(padded, length), model.predict(list(padded), length.tolist())):
        for name, values in truth.items():
            np.testing.assert_array_equal(found[name], values)
    for wrong, message in (
        ([60, 0, 33], "segment 1 has 60 rows, and its length is 0"),
        ([60, 1, 61], "segment 2 has 60 rows, and its length is 61"),
        ([60, 1], "3 whole numbers"),
        ([60.0, 1.0, 33.0], "3 whole numbers"),
    ):
        with pytest.raises(UserError, match=message):
            model.predict(padded, wrong)
