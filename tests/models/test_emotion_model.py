"""The emotion model: answers, loss, saving, export."""

import keras
import numpy as np
import pytest
from model_testing import CONFIGS, MEAN, STD, make_batch, numpy_tree, outputs_of

from mosei_ssl.config import HeadConfig
from mosei_ssl.models import (
    EmotionModel,
    SoftTargetCrossentropy,
    build_backbone,
    emotion_predictions,
)
from mosei_ssl.models.soft_target_crossentropy import soft_target


@pytest.fixture
def model(backbone):
    return EmotionModel(backbone, seed=2)


def test_predictions_by_hand():
    probabilities = np.array([[[0.3, 0.1, 0.4, 0.2], [0.6, 0.0, 0.0, 0.4], [0.1, 0.2, 0.2, 0.5]]])
    answers = numpy_tree(emotion_predictions(np.log(probabilities + 1e-12).astype("float32")))
    np.testing.assert_allclose(answers["intensity"], [[2.0, 0.0, 2.0]])
    np.testing.assert_array_equal(answers["class"], [[2, 0, 3]])
    np.testing.assert_allclose(answers["present"], [[0.7, 0.4, 0.9]], rtol=1e-5)
    np.testing.assert_allclose(answers["expected"], [[1.5, 1.2, 2.1]], rtol=1e-5)
    assert answers["class"].dtype == np.int32
    assert all(answers[k].dtype == np.float32 for k in ("intensity", "present", "expected"))


def test_median_is_the_best_answer_in_absolute_error():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=(50, 6))
    median = numpy_tree(emotion_predictions(np.log(probabilities).astype("float32")))["intensity"]
    levels = np.arange(4)
    risk = (probabilities[..., None, :] * np.abs(levels[:, None] - levels)).sum(-1)
    chosen = np.take_along_axis(risk, median[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, risk.min(-1), rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (0.0, [1, 0, 0, 0]),
        (1 / 3, [2 / 3, 1 / 3, 0, 0]),
        (2.5, [0, 0, 0.5, 0.5]),
        (3.0, [0, 0, 0, 1]),
        (3.7, [0, 0, 0, 1]),
        (-1.0, [1, 0, 0, 0]),
    ],
)
def test_soft_targets(label, expected):
    target = soft_target(keras.ops.convert_to_tensor(np.array([label], "float32")), 4)
    np.testing.assert_allclose(numpy_tree(target), [expected], atol=1e-6)


def test_loss_by_hand_and_unlabelled_emotions_do_not_count():
    logits = np.log([[[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]] * 2).astype("float32")
    labels = np.array([[1 / 3, 3.0], [np.nan, 2.0]], "float32")
    first = (-(2 / 3) * np.log(0.5) - (1 / 3) * np.log(0.2) - np.log(0.4)) / 2
    loss = numpy_tree(SoftTargetCrossentropy(reduction="none")(labels, logits))
    np.testing.assert_allclose(loss, [first, -np.log(0.3)], rtol=1e-5)
    nothing = np.full((1, 2), np.nan, "float32")
    assert float(SoftTargetCrossentropy()(nothing, logits[:1])) == 0.0


def test_logits_and_embedding_have_their_shapes(model):
    batch = make_batch([23, 10, 1])
    logits = outputs_of(model, batch)
    assert logits.shape == (3, 6, 4)
    assert logits.dtype == np.float32
    assert numpy_tree(model.embedding(batch)).shape == (3, model.embedding_dim)


def test_padding_never_changes_an_answer(model):
    alone = outputs_of(model, make_batch([23]))[0]
    for batch in (make_batch([23], steps=77), make_batch([23, 61, 1])):
        np.testing.assert_allclose(outputs_of(model, batch)[0], alone, atol=1e-5)


def test_learns_a_label_that_depends_on_the_features(traced):
    model = EmotionModel(build_backbone(CONFIGS["codebook"], MEAN, STD, seed=1), seed=2)
    batch = make_batch([20] * 32)
    labels = np.zeros((32, 6), "float32")
    loud = batch["features"][:, :, 40].mean(axis=1)
    labels[:, 2] = np.where(loud > np.median(loud), 3.0, 0.0)
    model.compile(keras.optimizers.Adam(1e-2), metrics=None)
    model.fit(batch, labels, epochs=30, batch_size=32, verbose=0)
    answers = model.to_predictor().predict(batch, verbose=0)
    assert (answers["class"] == labels).mean() > 0.9
    assert np.isfinite(answers["expected"]).all()


def test_training_is_repeatable_and_leaves_the_summary_alone():
    batch, labels = make_batch([20] * 8), np.tile([0.0, 1, 2, 3, 0, 1 / 3], (8, 1))
    results = []
    for _ in range(2):
        backbone = build_backbone(CONFIGS["transformer"], MEAN, STD, seed=4)
        summary = backbone.summary_statistics.get_weights()
        model = EmotionModel(backbone, seed=5)
        model.compile(keras.optimizers.Adam(1e-2), metrics=None)
        model.fit(batch, labels, batch_size=4, verbose=0, shuffle=False)
        results.append(model.get_weights())
        for a, b in zip(summary, backbone.summary_statistics.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_trains_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = EmotionModel(build_backbone(CONFIGS["transformer"], MEAN, STD, seed=4), seed=5)
        model.compile(keras.optimizers.Adam(1e-2), metrics=None)
        labels = np.tile([0.0, 1, 2, 3, 0, 1 / 3], (8, 1))
        history = model.fit(make_batch([20] * 8), labels, epochs=4, verbose=0)
        losses = history.history["loss"]
        assert losses[-1] < losses[0]
        assert model.compute_dtype == "bfloat16"
        assert outputs_of(model, make_batch([20])).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_saved_and_loaded_keeps_config_and_answers(model, tmp_path):
    batch = make_batch([23, 40])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.head == model.head
    assert loaded.seed == model.seed
    np.testing.assert_array_equal(outputs_of(loaded, batch), outputs_of(model, batch))


def test_what_lies_far_off_decides_no_more_than_what_lies_off(model):
    usual, far = make_batch([20]), make_batch([20])
    far["features"] = far["features"] + np.float32(1e6)
    for batch in (usual, far):
        assert np.abs(keras.ops.convert_to_numpy(model.embedding(batch))).max() <= 3.0
    usual_pooled, bounded = (
        keras.ops.convert_to_numpy(EmotionModel(model.backbone, bound=bound).embedding(usual))
        for bound in (None, 2.0)
    )
    np.testing.assert_allclose(bounded, 2 * np.tanh(usual_pooled / 2), atol=1e-5)


@pytest.mark.slow
def test_the_longest_segments_pass(model):
    answers = model.to_predictor().predict(make_batch([12_000]), verbose=0)
    assert np.isfinite(answers["expected"]).all()


def test_adapt_standardises_the_pooled_statistics_of_the_split(backbone):
    rng = np.random.default_rng(0)
    scale = np.asarray(STD) + 0.1
    features = (MEAN + scale * rng.normal(size=(24, 60, 74))).astype("float32")
    batches = [
        {"features": part, "padding_mask": np.ones(part.shape[:2], bool)}
        for part in np.split(features, 6)
    ]
    model = EmotionModel(backbone)
    model.adapt(batches)
    scaled = np.concatenate([outputs_of(backbone, batch)["summary"] for batch in batches])
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=0.05)


def test_a_frozen_encoder_has_no_dropout(transformer):
    backbone = transformer
    model = EmotionModel(backbone, HeadConfig(dropout=0.0), seed=1)
    inputs = make_batch([20, 15] * 2, steps=60)
    model.adapt([inputs])
    model.freeze_backbone()
    assert backbone.encoder.dropout > 0
    in_use = outputs_of(model, inputs)
    for frozen in (True, False):
        backbone.trainable = not frozen
        answers = outputs_of(model, inputs, training=True)
        assert np.allclose(answers, in_use, atol=1e-5) == frozen


def test_prior_counts_the_labels(backbone):
    model = EmotionModel(backbone, seed=2)
    labels = np.full((4, 6), np.nan)
    labels[:, 1] = [0.0, 0.0, 0.0, 0.5]
    model.set_prior(labels)
    logits = numpy_tree(model.distribution(np.zeros((1, model.embedding_dim), "float32")))[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(shares[0], [0.25] * 4, rtol=1e-4)
    np.testing.assert_allclose(shares[1], [0.75, 0.15, 0.05, 0.05], rtol=1e-4)
