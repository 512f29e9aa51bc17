"""The emotion model: answers, loss, saving, export."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from model_testing import MEAN, STD, make_batch, numpy_tree

from mosei_ssl.models import (
    EmotionModel,
    HeadConfig,
    SoftTargetCrossentropy,
    build_backbone,
    emotion_predictions,
)
from mosei_ssl.utils.errors import UserError

HEADS = {
    "default": HeadConfig(embedding_dim=8),
    "encoder only": HeadConfig(embedding_dim=0, summary=False, kind="categorical"),
    "raw only": HeadConfig(embedding_dim=8, encoder_statistics=False),
}


@pytest.fixture
def model(backbone):
    return EmotionModel(backbone, HEADS["default"], seed=2)


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
    target = SoftTargetCrossentropy.soft_target(
        keras.ops.convert_to_tensor(np.array([label], "float32")), 4
    )
    np.testing.assert_allclose(numpy_tree(target), [expected], atol=1e-6)


def test_loss_by_hand_and_unlabelled_emotions_do_not_count():
    logits = np.log([[[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]] * 2).astype("float32")
    labels = np.array([[1 / 3, 3.0], [np.nan, 2.0]], "float32")
    first = (-(2 / 3) * np.log(0.5) - (1 / 3) * np.log(0.2) - np.log(0.4)) / 2
    loss = numpy_tree(SoftTargetCrossentropy(reduction="none")(labels, logits))
    np.testing.assert_allclose(loss, [first, -np.log(0.3)], rtol=1e-5)
    nothing = np.full((1, 2), np.nan, "float32")
    assert float(SoftTargetCrossentropy()(nothing, logits[:1])) == 0.0


def test_label_smoothing_by_hand():
    loss = float(
        SoftTargetCrossentropy(0.4)(
            np.array([[0.0]], "float32"), np.log([[[0.7, 0.1, 0.1, 0.1]]]).astype("float32")
        )
    )
    np.testing.assert_allclose(loss, -0.7 * np.log(0.7) - 0.3 * np.log(0.1), rtol=1e-5)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_logits_and_embedding_have_their_shapes(backbone, head):
    model = EmotionModel(backbone, head, seed=2)
    batch = make_batch([23, 10, 1])
    logits = numpy_tree(model(batch))
    assert logits.shape == (3, 6, 4)
    assert logits.dtype == np.float32
    assert numpy_tree(model.embedding(batch)).shape == (3, model.embedding_dim)


def test_padding_never_changes_an_answer(model):
    alone = numpy_tree(model(make_batch([23])))[0]
    for batch in (make_batch([23], steps=77), make_batch([23, 61, 1])):
        np.testing.assert_allclose(numpy_tree(model(batch))[0], alone, atol=1e-5)


def test_learns_a_label_that_depends_on_the_features(model):
    batch = make_batch([20] * 32)
    labels = np.zeros((32, 6), "float32")
    loud = batch["features"][:, :, 40].mean(axis=1)
    labels[:, 2] = np.where(loud > np.median(loud), 3.0, 0.0)
    model.compile(keras.optimizers.Adam(1e-2), loss=model.loss_function)
    model.fit(batch, labels, epochs=30, batch_size=32, verbose=0)
    answers = model.to_predictor().predict(batch, verbose=0)
    assert (answers["class"] == labels).mean() > 0.9
    assert np.isfinite(answers["expected"]).all()


def test_training_is_repeatable(small_config):
    batch, labels = make_batch([20] * 8), np.tile([0.0, 1, 2, 3, 0, 1 / 3], (8, 1))
    results = []
    for _ in range(2):
        model = EmotionModel(build_backbone(small_config, MEAN, STD, seed=4), seed=5)
        model.compile(keras.optimizers.Adam(1e-2), loss=model.loss_function)
        model.fit(batch, labels, epochs=2, batch_size=4, verbose=0, shuffle=False)
        results.append(model.get_weights())
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_trains_in_mixed_precision(small_config):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = EmotionModel(build_backbone(small_config, MEAN, STD, seed=4), seed=5)
        model.compile(keras.optimizers.Adam(1e-2), loss=model.loss_function)
        labels = np.tile([0.0, 1, 2, 3, 0, 1 / 3], (8, 1))
        history = model.fit(make_batch([20] * 8), labels, epochs=5, verbose=0)
        losses = history.history["loss"]
        assert losses[-1] < losses[0]
        assert model.compute_dtype == "bfloat16"
        assert numpy_tree(model(make_batch([20]))).dtype == np.float32
    finally:
        keras.config.set_dtype_policy("float32")


def test_loaded_in_another_process_gives_the_same_answers(model, tmp_path):
    batch = make_batch([23, 40])
    model.to_predictor().save(tmp_path / "predictor.keras")
    np.savez(tmp_path / "batch.npz", **batch)
    program = (
        "import keras, json, numpy as np, mosei_ssl.models\n"
        "p = keras.saving.load_model('predictor.keras', safe_mode=True)\n"
        "x = dict(np.load('batch.npz'))\n"
        "print(json.dumps(np.asarray(p.predict(x, verbose=0)['expected']).tolist()))\n"
    )
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    expected = model.to_predictor().predict(batch, verbose=0)["expected"]
    loaded = json.loads(run.stdout.strip().splitlines()[-1])
    np.testing.assert_allclose(loaded, expected, atol=1e-6)


def test_saved_and_loaded_keeps_config_and_answers(model, tmp_path):
    batch = make_batch([23, 40])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert loaded.head == model.head
    assert loaded.seed == model.seed
    np.testing.assert_array_equal(numpy_tree(loaded(batch)), numpy_tree(model(batch)))


def test_exports_with_unknown_batch_and_length(model, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("SavedModels come from the TensorFlow backend")
    import tensorflow as tf

    predictor = model.to_predictor()
    signature = [
        {
            "features": tf.TensorSpec([None, None, 74], tf.float32, name="features"),
            "padding_mask": tf.TensorSpec([None, None], tf.bool, name="padding_mask"),
        }
    ]
    predictor.export(str(tmp_path / "saved"), input_signature=signature, verbose=False)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    for lengths in ([1], [23, 40, 1], [3000]):
        batch = make_batch(lengths)
        answers, expected = served.serve(batch), predictor(batch)
        for name in expected:
            np.testing.assert_allclose(answers[name], expected[name], atol=1e-5)


@pytest.mark.slow
def test_the_longest_segments_pass(model):
    answers = model.to_predictor().predict(make_batch([12_000, 1]), verbose=0)
    assert np.isfinite(answers["expected"]).all()


def test_a_head_without_anything_to_pool_is_refused(backbone):
    with pytest.raises(UserError, match="both off"):
        EmotionModel(backbone, HeadConfig(encoder_statistics=False, summary=False))
    with pytest.raises(UserError, match=r"head\.kind"):
        EmotionModel(backbone, HeadConfig(kind="nominal"))


def test_adapt_standardises_the_pooled_statistics_of_the_split(backbone):
    rng = np.random.default_rng(0)
    scale = np.asarray(STD) + 0.1
    features = (MEAN + scale * rng.normal(size=(24, 40, 74))).astype("float32")
    batches = [
        {"features": part, "padding_mask": np.ones(part.shape[:2], bool)}
        for part in np.split(features, 3)
    ]
    model = EmotionModel(backbone, HeadConfig(embedding_dim=0))
    model.adapt(batches)
    scaled = np.concatenate([numpy_tree(backbone(batch)["summary"]) for batch in batches])
    np.testing.assert_allclose(scaled.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(scaled.std(axis=0), 1.0, atol=0.05)


def test_a_frozen_encoder_has_no_dropout(backbone):
    head = HeadConfig(embedding_dim=4, dropout=0.0, feature_dropout=0.0, min_crop=1.0)
    model = EmotionModel(backbone, head, seed=1)
    inputs = make_batch([20, 15])
    model.adapt([inputs])
    model.freeze_backbone()
    assert backbone.encoder.dropout > 0
    in_use = keras.ops.convert_to_numpy(model(inputs))
    for frozen in (True, False):
        backbone.trainable = not frozen
        answers = keras.ops.convert_to_numpy(model(inputs, training=True))
        assert np.allclose(answers, in_use, atol=1e-5) == frozen


def test_fine_tuning_leaves_the_summary_alone(backbone):
    model = EmotionModel(backbone, HeadConfig(embedding_dim=4), seed=2)
    before = backbone.summary.get_weights()
    model.compile(keras.optimizers.Adam(1e-2), loss=model.loss_function)
    model.fit(make_batch([20] * 4), np.eye(4, 6), verbose=0)
    for a, b in zip(before, backbone.summary.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_prior_counts_the_labels(backbone):
    model = EmotionModel(backbone, HeadConfig(embedding_dim=0), seed=2)
    labels = np.full((4, 6), np.nan)
    labels[:, 1] = [0.0, 0.0, 0.0, 0.5]
    model.set_prior(labels)
    logits = numpy_tree(model.distribution(np.zeros((1, model.pooled_dim), "float32")))[0]
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(shares[0], [0.25] * 4, rtol=1e-4)
    np.testing.assert_allclose(shares[1], [0.75, 0.15, 0.05, 0.05], rtol=1e-4)
