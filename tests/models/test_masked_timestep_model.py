"""Pretraining by masked timesteps."""

import keras
import numpy as np
from model_testing import CONFIGS, MEAN, STD, make_batch, outputs_of

from mosei_ssl.models import MaskedTimestepModel, build_backbone
from mosei_ssl.models.masked_timestep_model import mean_absolute_error


def smooth_batch(seed=0):
    """Segments that are easy to interpolate: the same slow wave in every column."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6.28, size=(32, 1, 1))
    wave = np.sin(np.arange(60)[None, :, None] / 15.0 + phase)
    return {
        "features": (MEAN + STD * wave).astype("float32"),
        "padding_mask": np.ones((32, 60), bool),
    }


def test_loss_counts_hidden_valid_timesteps_only(transformer):
    model = MaskedTimestepModel(transformer, mask_ratio=0.4, mask_span=2, seed=3)
    batch = make_batch([23, 60, 1])
    outputs = outputs_of(model, batch, training=True)
    valid = np.arange(12) < np.array([[5], [12], [1]])
    assert not (outputs["weight"].astype(bool) & ~valid).any()
    assert (outputs["weight"].sum(axis=1) >= 1).all()
    hidden = outputs["weight"].astype(bool)
    expected = np.abs(outputs["target"] - outputs["reconstruction"])[hidden].mean()
    loss, metrics = model.objective(outputs)
    np.testing.assert_allclose(float(loss), expected, rtol=1e-5)
    trivial = np.abs(outputs["target"])[hidden].mean()
    np.testing.assert_allclose(float(metrics["relative_error"]), expected / trivial, rtol=1e-5)


def test_the_encoder_does_not_see_what_it_reconstructs(transformer):
    model = MaskedTimestepModel(transformer, mask_ratio=0.4, mask_span=2, seed=3)
    batch = make_batch([60])
    before = outputs_of(model, batch)
    hidden = np.repeat(before["weight"][0].astype(bool), 5)
    batch["features"][0, hidden] += STD.astype("float32")
    after = outputs_of(model, batch)
    np.testing.assert_array_equal(before["reconstruction"], after["reconstruction"])
    assert (before["target"] != after["target"]).any()


def test_errors_by_hand():
    target = np.array([[[0.0, 2.0], [9.0, 9.0]]], "float32")
    reconstruction = np.array([[[0.5, 0.0], [0.0, 0.0]]], "float32")
    weight = np.array([[1.0, 0.0]], "float32")
    np.testing.assert_allclose(float(mean_absolute_error(target, reconstruction, weight)), 1.25)
    nothing = np.zeros((1, 2), "float32")
    assert float(mean_absolute_error(target, reconstruction, nothing)) == 0.0


def test_loss_falls_and_beats_the_corpus_mean(transformer, graph_only):
    model = MaskedTimestepModel(transformer, mask_ratio=0.3, mask_span=1, seed=3)
    keras.utils.set_random_seed(3)  # of the order of batches
    model.compile(keras.optimizers.Adam(3e-3))
    unseen = smooth_batch(1)
    before, _ = model.objective(outputs_of(model, unseen))
    model.fit(smooth_batch(), epochs=60, batch_size=16, verbose=0)
    after, metrics = model.objective(outputs_of(model, unseen))
    assert float(after) < 0.7 * float(before)
    assert float(metrics["relative_error"]) < 0.75


def test_pretraining_is_repeatable_moves_the_shared_backbone_and_ignores_labels():
    weights = []
    for labels in (None, np.full((32, 6), np.nan, "float32")):
        backbone = build_backbone(CONFIGS["transformer"], MEAN, STD, seed=1)
        start = backbone.get_weights()
        model = MaskedTimestepModel(backbone, seed=3)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(smooth_batch(), labels, batch_size=16, verbose=0, shuffle=False)
        weights.append(backbone.get_weights())
        assert any((a != b).any() for a, b in zip(start, weights[-1], strict=True))
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)
