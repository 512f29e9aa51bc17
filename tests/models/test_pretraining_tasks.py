"""What every pretraining task of the registry promises."""

import keras
import numpy as np
import pytest
from model_testing import MEAN, STD, make_batch, numpy_tree

from mosei_ssl.models import (
    PRETRAINING_TASKS,
    BackboneConfig,
    PretrainingTaskConfig,
    build_backbone,
    build_pretraining_model,
)
from mosei_ssl.utils.errors import UserError

RECONSTRUCTING = ["masked_timestep", "alteration", "masked_autoencoder", "latent_prediction"]


@pytest.fixture(params=sorted(PRETRAINING_TASKS))
def task(request):
    return request.param


@pytest.fixture
def backbone(request):
    codebook = "task" in request.fixturenames and request.getfixturevalue("task") == "codebook"
    config = BackboneConfig(
        kind="codebook" if codebook else "transformer",
        hidden_dim=16,
        num_layers=1,
        num_heads=2,
        feedforward_dim=32,
        code_dim=8,
        pooling_factor=5,
    )
    return build_backbone(config, MEAN, STD, seed=1)


def build(task, backbone, **options):
    return build_pretraining_model(PretrainingTaskConfig(task, **options), backbone, seed=2)


def test_saved_and_loaded(task, backbone, tmp_path):
    model = build(task, backbone)
    model.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras", safe_mode=True)
    assert loaded.get_config() == model.get_config()
    assert loaded.name == task
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fits_on_x_alone_with_finite_loss_and_moves_the_backbone(task, backbone):
    start = backbone.get_weights()
    model = build(task, backbone)
    model.compile(keras.optimizers.Adam(1e-3))
    history = model.fit(make_batch([20, 31, 7, 1] * 2), epochs=1, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert set(history) == {"loss", *type(model).METRICS}
    assert any((a != b).any() for a, b in zip(start, backbone.get_weights(), strict=True))


def test_what_padding_holds_does_not_matter(task, backbone):
    clean = make_batch([23, 40, 11])
    dirty = {**clean, "features": clean["features"].copy()}
    dirty["features"][~clean["padding_mask"]] = 1e6
    losses = []
    for batch in (clean, dirty):
        # A model of its own each, so that both draw the same random numbers.
        model = build(task, backbone)
        losses.append(float(model.objective(model(batch))[0]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize("task", RECONSTRUCTING)
def test_padding_never_counts_and_something_does(task, backbone):
    outputs = numpy_tree(build(task, backbone)(make_batch([23, 40, 12]), training=True))
    weight = outputs["weight"].reshape(3, 8, -1).max(axis=-1)
    valid = np.arange(8) < np.array([[5], [8], [3]])
    assert not weight[~valid].any()
    assert weight.any(axis=1).all()


@pytest.mark.parametrize("task", ["masked_timestep", "masked_autoencoder"])
def test_the_encoder_never_sees_hidden_timesteps(task, backbone):
    model = build(task, backbone)
    batch = make_batch([40])
    before = numpy_tree(model(batch))
    hidden = np.repeat(before["weight"][0].astype(bool), 5)
    batch["features"][0, hidden] += 3 * STD.astype("float32")
    after = numpy_tree(model(batch))
    np.testing.assert_array_equal(before["reconstruction"], after["reconstruction"])


def test_alteration_counts_exactly_what_was_altered(backbone):
    model = build("alteration", backbone, mask_ratio=0.01, mask_span=1, noise_rate=0.0)
    weight = numpy_tree(model(make_batch([40] * 50), training=True))["weight"]
    columns = weight.min(axis=1)
    assert abs(columns.mean() - 0.2) < 0.03
    # What is not a hidden column is one of the rare hidden timesteps, whole.
    rest = np.where(columns[:, None, :] == 1, np.nan, weight)
    assert np.nanstd(rest, axis=2).max() == 0


def test_autoencoder_computes_on_the_seen_timesteps_only(backbone, monkeypatch):
    model = build("masked_autoencoder", backbone, mask_ratio=0.75, mask_span=2)
    mask = np.arange(40) < np.array([[40], [16], [2], [5]])
    seen, room = model.draw(keras.ops.convert_to_tensor(mask), training=True)
    seen = keras.ops.convert_to_numpy(seen)
    # A quarter of 20, 8, 1 and 3 spans, rounded up; a lone span is seen.
    np.testing.assert_array_equal(np.minimum(seen.sum(axis=1)[:2], [10, 4]), [10, 4])
    assert room == 10
    assert seen[2].sum() == 2
    assert 1 <= seen[3].sum() <= 2
    assert not (seen & ~mask).any()
    received, call = [], type(backbone.encoder).call

    def encode(self, frames, *arguments, **options):
        received.append(tuple(frames.shape))
        return call(self, frames, *arguments, **options)

    monkeypatch.setattr(type(backbone.encoder), "call", encode)
    frames = keras.ops.ones((4, 40, backbone.frontend.output_dim))
    outputs = model.forward(frames, keras.ops.convert_to_tensor(mask), training=True)
    # A quarter of the 40 timesteps, of which all are reconstructed.
    assert received == [(4, 10, backbone.frontend.output_dim)]
    assert tuple(outputs["reconstruction"].shape) == tuple(frames.shape)


def test_teacher_follows_the_encoder_and_is_not_trained(backbone):
    model = build("latent_prediction", backbone, momentum=0.5)
    teacher = model.teacher.get_weights()
    for a, b in zip(teacher, backbone.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = [w + 1 if w.dtype == np.float32 else w for w in backbone.encoder.get_weights()]
    backbone.encoder.set_weights(moved)
    model(make_batch([20]), training=False)
    np.testing.assert_array_equal(model.teacher.get_weights()[0], teacher[0])
    model(make_batch([20]), training=True)
    np.testing.assert_allclose(model.teacher.get_weights()[0], teacher[0] + 0.5, rtol=1e-5)
    trained = {v.path for v in model.trainable_variables}
    assert not trained & {v.path for v in model.teacher.variables}


def test_contrast_by_hand(backbone):
    model = build("two_crop_contrastive", backbone, temperature=1.0)
    projected = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]], "float32")
    # Each crop: its partner at similarity 1, two others at 0, itself left out.
    everyone = np.log(np.e + 2) - 1
    loss, metrics = model.objective({"projected": projected})
    np.testing.assert_allclose(float(loss), everyone, rtol=1e-5)
    assert float(metrics["retrieval_accuracy"]) == 1.0


def test_whitening_finds_the_direction_that_is_noise_and_spares_the_other():
    config = BackboneConfig(hidden_dim=16, num_layers=1, num_heads=2, pooling_factor=1)
    backbone = build_backbone(config, [0.0, 0.0], [1.0, 1.0], seed=1)
    rng = np.random.default_rng(0)
    # Column 0 is one number for the whole segment, column 1 another one in each half.
    features = np.repeat(rng.normal(size=(256, 2, 2)), 10, axis=1)
    features[:, :, 0] = features[:, :1, 0]
    batch = {"features": features.astype("float32"), "padding_mask": np.ones((256, 20), bool)}
    model = build("two_crop_whitening", backbone, strength=20.0, min_part=0.5)
    model.adapt([batch])
    matrix = np.eye(4) + keras.ops.convert_to_numpy(backbone.summary.scale_matrix)
    # The mean of column 1 has unit variance over segments; half the difference of the halves has
    # the same variance. (1 + 20) ** -0.5 = 0.22.
    np.testing.assert_allclose(matrix[0, 0], 1.0, atol=0.05)
    np.testing.assert_allclose(matrix[1, 1], 0.22, atol=0.05)
    # What is left has unit power, so that a head meets the same scale with and without.
    summary = keras.ops.convert_to_numpy(backbone(batch)["summary"])
    np.testing.assert_allclose(np.square(summary).mean(), 1.0, atol=1e-3)


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("jigsaw", {}, "masked_timestep"),
        ("masked_timestep", {"temperature": 0.1}, "no option"),
        ("masked_timestep", {"mask_ratio": 1.5}, "ratio"),
        ("masked_autoencoder", {"mask_span": 0}, "span"),
        ("masked_autoencoder", {"mask_ratio": 0.0}, "ratio"),
        ("masked_autoencoder", {"decoder_dim": 12}, "multiple of 8"),
        ("alteration", {"noise_rate": 2.0}, "noise_rate"),
        ("alteration", {"loss": "l3"}, "huber"),
        ("alteration", {"column_rate": 1.0}, "dropout"),
        ("latent_prediction", {"momentum": 1.0}, "momentum"),
        ("two_crop_contrastive", {"temperature": 0.0}, "temperature"),
        ("two_crop_contrastive", {"min_crop": 0.9, "max_crop": 0.5}, "crop"),
        ("two_crop_whitening", {"strength": 0.0}, "strength"),
        ("two_crop_whitening", {"splits": 0}, "splits"),
        ("two_crop_whitening", {"min_part": 0.7}, "share"),
        ("codebook", {"strength": -1.0}, "strength"),
        ("codebook", {"splits": 0}, "splits"),
        ("codebook", {"min_part": 0.0}, "share"),
    ],
)
def test_options_out_of_range_are_told_in_one_message(backbone, task, options, message):
    with pytest.raises(UserError, match=message):
        build(task, backbone, **options)


def test_the_codebook_task_needs_the_codebook_encoder():
    backbone = build_backbone(BackboneConfig(hidden_dim=16, num_heads=2), MEAN, STD)
    with pytest.raises(UserError, match="needs backbone"):
        build("codebook", backbone)
