"""The codebook: k-means of timesteps in context, and what fine-tuning makes of it."""

import keras
import numpy as np
from model_testing import CONFIGS, MEAN, STD, make_batch, outputs_of

from mosei_ssl.config import CodebookConfig, CodebookTaskConfig, HeadConfig
from mosei_ssl.models import EmotionModel, build_backbone, build_pretraining_model

CONFIG = CONFIGS["codebook"]


def planted(segments=64, steps=20):
    """Every timestep is one of four sounds with a little noise; returns batch and sounds."""
    rng = np.random.default_rng(0)
    sounds = np.array([[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0], [-4.0, -4.0, -4.0]])
    which = rng.integers(0, 4, size=(segments, steps))
    features = sounds[which] + 0.1 * rng.normal(size=(segments, steps, 3))
    batch = {
        "features": features.astype("float32"),
        "padding_mask": np.ones((segments, steps), bool),
    }
    return batch, which


def test_finds_the_sounds_that_were_planted(traced):
    batch, which = planted()
    config = CodebookConfig(hidden_dim=8, code_dim=3, context=1, pooling_factor=1)
    backbone = build_backbone(config, [0.0] * 3, [1.0] * 3, seed=1)
    model = build_pretraining_model(CodebookTaskConfig(), backbone, seed=2)
    model.adapt([batch])
    start = float(model.objective(model(batch))[0])
    model.compile(keras.optimizers.Adam(0.02))
    history = model.fit(batch, batch_size=16, epochs=30, verbose=0).history
    outputs = outputs_of(model, batch)
    assert history["loss"][-1] < 0.8 * start
    # Noise of .1 against sounds 4 and more apart: what is left is a small part of unit variance.
    assert outputs["squared_distance"].mean() < 0.05
    # No entry stands for two sounds.
    for entry in np.unique(outputs["nearest"]):
        assert len(np.unique(which[outputs["nearest"] == entry])) == 1


def test_adapt_whitens_timesteps_in_context():
    backbone = build_backbone(CONFIG, MEAN, STD, seed=1)
    model = build_pretraining_model(CodebookTaskConfig(), backbone, seed=2)
    batch = make_batch([200] * 30)
    model.adapt([batch])
    frames, mask = backbone.timesteps(batch)
    projected = keras.ops.convert_to_numpy(backbone.encoder.project(frames, mask)).reshape(-1, 8)
    covariance = np.cov(projected.T)
    np.testing.assert_allclose(projected.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0.0, atol=0.05)
    # Each variance v becomes v / (v + a tenth of the mean one).
    assert (np.diag(covariance) < 1.0).all()
    assert (np.diag(covariance) > 0.7).all()
    # The first codebook is drawn from the timesteps.
    nearest = outputs_of(model, batch)["squared_distance"].min(axis=None)
    assert nearest < 1e-5


def test_timesteps_that_are_not_there_do_not_count():
    backbone = build_backbone(CONFIG, MEAN, STD, seed=1)
    model = build_pretraining_model(CodebookTaskConfig(), backbone, seed=2)
    outputs = {
        "squared_distance": np.array([[1.0, 3.0, 99.0]], "float32"),
        "nearest": np.array([[0, 1, 2]], "int32"),
        "weight": np.array([[1.0, 1.0, 0.0]], "float32"),
    }
    loss, metrics = model.objective(outputs)
    assert float(loss) == 2.0
    # Two entries, equally often.
    np.testing.assert_allclose(float(metrics["codes_in_use"]), 2.0, rtol=1e-4)


def test_everything_learned_is_handed_on():
    backbone = build_backbone(CONFIG, MEAN, STD, seed=1)
    other = build_backbone(CONFIG, MEAN, STD, seed=2)
    build_pretraining_model(CodebookTaskConfig(), backbone, seed=2).adapt([make_batch([200] * 4)])
    for target, value in zip(other.learned_variables, backbone.learned_variables, strict=True):
        target.assign(value)
    batch = make_batch([50])
    np.testing.assert_array_equal(
        outputs_of(other, batch)["sequence"], outputs_of(backbone, batch)["sequence"]
    )


def test_the_projection_is_fine_tuned_after_a_pretraining_that_left_it_alone():
    backbone = build_backbone(CONFIG, MEAN, STD, seed=1)
    model = build_pretraining_model(CodebookTaskConfig(), backbone, seed=2)
    path = backbone.encoder.projection.kernel.path
    assert path not in {v.path for v in model.trainable_variables}
    assert path in {v.path for v in EmotionModel(backbone).trainable_variables}
    backbone.trainable = False
    assert path not in {v.path for v in EmotionModel(backbone).trainable_variables}


def test_a_frozen_backbone_is_standardised_by_all_segments_not_by_the_labelled_few():
    backbone = build_backbone(CONFIG, MEAN, STD, seed=1)
    model = EmotionModel(backbone, HeadConfig(dropout=0.0), bound=None)
    segments = make_batch([30, 60, 45, 12, 80, 33, 27, 50])
    model.adapt([segments])
    model.freeze_backbone()
    embedding = keras.ops.convert_to_numpy(model.embedding(segments, training=True))
    states = embedding[:, : 2 * CONFIG.hidden_dim]
    np.testing.assert_allclose(states.mean(axis=0), 0.0, atol=1e-3)
    model.compile("adam")
    before = backbone.get_weights()
    moving = keras.ops.convert_to_numpy(model.encoder_standardize.moving_mean)
    model.fit(make_batch([20, 31]), np.zeros((2, 6), "float32"), epochs=2, verbose=0)
    for a, b in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        moving, keras.ops.convert_to_numpy(model.encoder_standardize.moving_mean)
    )
