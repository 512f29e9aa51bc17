"""Pretraining by masked timesteps."""

import keras
import numpy as np
import pytest
from model_testing import MEAN, STD, make_batch, numpy_tree

from mosei_ssl.models import (
    MaskedTimestepModel,
    PretrainingTaskConfig,
    build_backbone,
    build_pretraining_model,
)
from mosei_ssl.utils.errors import UserError


def smooth_batch(seed=0):
    """Segments that are easy to interpolate: the same slow wave in every column."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6.28, size=(32, 1, 1))
    wave = np.sin(np.arange(60)[None, :, None] / 15.0 + phase)
    return {
        "features": (MEAN + STD * wave).astype("float32"),
        "padding_mask": np.ones((32, 60), bool),
    }


def test_loss_counts_hidden_valid_timesteps_only(backbone):
    model = MaskedTimestepModel(backbone, mask_ratio=0.4, mask_span=2, seed=3)
    batch = make_batch([23, 60, 1])
    outputs = numpy_tree(model(batch, training=True))
    valid = np.arange(12) < np.array([[5], [12], [1]])
    assert not (outputs["weight"].astype(bool) & ~valid).any()
    assert (outputs["weight"].sum(axis=1) >= 1).all()
    hidden = outputs["weight"].astype(bool)
    expected = np.abs(outputs["target"] - outputs["reconstruction"])[hidden].mean()
    loss, metrics = model.objective(outputs)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)
    trivial = np.abs(outputs["target"])[hidden].mean()
    np.testing.assert_allclose(float(metrics["relative_error"]), expected / trivial, rtol=1e-5)


def test_the_encoder_does_not_see_what_it_reconstructs(backbone):
    model = MaskedTimestepModel(backbone, mask_ratio=0.4, mask_span=2, seed=3)
    batch = make_batch([60])
    before = numpy_tree(model(batch))
    hidden = np.repeat(before["weight"][0].astype(bool), 5)
    batch["features"][0, hidden] += STD.astype("float32")
    after = numpy_tree(model(batch))
    np.testing.assert_array_equal(before["reconstruction"], after["reconstruction"])
    assert (before["target"] != after["target"]).any()


def test_errors_by_hand():
    target = np.array([[[0.0, 2.0], [9.0, 9.0]]], "float32")
    reconstruction = np.array([[[0.5, 0.0], [0.0, 0.0]]], "float32")
    weight = np.array([[1.0, 0.0]], "float32")
    error = MaskedTimestepModel.reconstruction_error
    np.testing.assert_allclose(float(error(target, reconstruction, weight, "l1")), 1.25)
    np.testing.assert_allclose(
        float(error(target, reconstruction, weight, "huber")), (0.125 + 1.5) / 2
    )
    assert float(error(target, reconstruction, np.zeros((1, 2), "float32"))) == 0.0


def test_loss_falls_and_beats_the_corpus_mean(backbone):
    model = MaskedTimestepModel(backbone, mask_ratio=0.3, mask_span=1, seed=3)
    model.compile(keras.optimizers.Adam(3e-3))
    unseen = smooth_batch(1)
    before = model.evaluate(unseen, verbose=0, return_dict=True)
    model.fit(smooth_batch(), epochs=60, batch_size=16, verbose=0)
    after = model.evaluate(unseen, verbose=0, return_dict=True)
    assert after["loss"] < 0.7 * before["loss"]
    assert after["relative_error"] < 0.75


def test_pretraining_is_repeatable_and_moves_the_shared_backbone(small_config):
    weights = []
    for _ in range(2):
        backbone = build_backbone(small_config, MEAN, STD, seed=1)
        start = backbone.get_weights()
        model = MaskedTimestepModel(backbone, seed=3)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(smooth_batch(), epochs=2, batch_size=16, verbose=0, shuffle=False)
        weights.append(backbone.get_weights())
        assert any((a != b).any() for a, b in zip(start, weights[-1], strict=True))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_in_the_batch_are_ignored(backbone):
    model = MaskedTimestepModel(backbone, seed=3)
    model.compile(keras.optimizers.Adam(1e-3))
    labels = np.full((32, 6), np.nan, "float32")
    assert np.isfinite(model.fit(smooth_batch(), labels, verbose=0).history["loss"]).all()


def test_saved_and_loaded(backbone, tmp_path):
    model = MaskedTimestepModel(backbone, loss="huber", seed=3)
    model.save(tmp_path / "pretraining.keras")
    loaded = keras.saving.load_model(tmp_path / "pretraining.keras", safe_mode=True)
    assert loaded.get_config() == model.get_config()
    batch = make_batch([23, 60])
    a, b = numpy_tree(model(batch)), numpy_tree(loaded(batch))
    np.testing.assert_array_equal(a["reconstruction"], b["reconstruction"])


def test_registry_builds_by_name_and_tells_bad_options(backbone):
    model = build_pretraining_model(PretrainingTaskConfig(mask_span=7), backbone, seed=1)
    assert isinstance(model, MaskedTimestepModel)
    assert model.mask_span == 7
    assert model.backbone is backbone
    with pytest.raises(UserError, match="masked_timestep"):
        build_pretraining_model(PretrainingTaskConfig(name="jigsaw"), backbone)
    with pytest.raises(UserError, match="ratio"):
        build_pretraining_model(PretrainingTaskConfig(mask_ratio=1.5), backbone)
    with pytest.raises(UserError, match="huber"):
        build_pretraining_model(PretrainingTaskConfig(loss="l3"), backbone)
