"""What every pretraining task of the registry promises."""

import keras
import numpy as np
import pytest
from model_testing import CONFIGS, MEAN, STD, make_batch, numpy_tree, outputs_of

from mosei_ssl.config import TASKS, CodebookConfig, CodebookTaskConfig, MaskedTimestepConfig
from mosei_ssl.models import MaskedTimestepModel, build_backbone, build_pretraining_model
from mosei_ssl.models.codebook_model import split_in_two
from mosei_ssl.utils.errors import UserError


@pytest.fixture(params=sorted(TASKS))
def task(request):
    return TASKS[request.param]()


@pytest.fixture
def backbone(task):
    config = CONFIGS["codebook" if task.name == "codebook" else "transformer"]
    return build_backbone(config, MEAN, STD, seed=1)


def test_saved_and_loaded(task, backbone, tmp_path):
    model = build_pretraining_model(task, backbone, seed=2)
    model.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras", safe_mode=True)
    assert loaded.get_config() == model.get_config()
    assert loaded.name == task.name
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    batch = make_batch([23, 60])
    for a, b in zip(
        outputs_of(model, batch).values(), outputs_of(loaded, batch).values(), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_fits_on_x_alone_with_finite_loss_and_moves_the_backbone(task, backbone):
    start = backbone.get_weights()
    model = build_pretraining_model(task, backbone, seed=2)
    model.compile("adam")
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
        # One model each, so that both draw the same random numbers.
        model = build_pretraining_model(task, backbone, seed=2)
        losses.append(float(model.objective(model(batch))[0]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_whitening_finds_the_direction_that_is_noise_and_spares_the_other():
    config = CodebookConfig(hidden_dim=4, code_dim=2, context=1, pooling_factor=1)
    backbone = build_backbone(config, [0.0, 0.0], [1.0, 1.0], seed=1)
    rng = np.random.default_rng(0)
    # Column 0 is one number for the whole segment, column 1 another one in every frame.
    features = rng.normal(size=(256, 40, 2))
    features[:, :, 0] = rng.normal(size=(256, 1))
    batch = {"features": features.astype("float32"), "padding_mask": np.ones((256, 40), bool)}
    build_pretraining_model(CodebookTaskConfig(strength=20.0), backbone, seed=2).adapt([batch])
    matrix = np.eye(4) + keras.ops.convert_to_numpy(backbone.summary_statistics.scale_matrix)
    # Over segments the mean of column 1 has unit variance; halves of a segment, which agree in
    # nothing, have twice that each, and half their difference one: (1 + 20) ** -0.5 = 0.22.
    np.testing.assert_allclose(matrix[0, 0], 1.0, atol=0.05)
    np.testing.assert_allclose(matrix[1, 1], 0.22, atol=0.05)
    # What is left has unit power, so that a head meets the same scale with and without.
    summary = keras.ops.convert_to_numpy(backbone(batch)["summary"])
    np.testing.assert_allclose(np.square(summary).mean(), 1.0, atol=1e-3)


def test_parts_do_not_overlap_and_leave_nothing_out():
    lengths = [40, 12, 2, 1]
    mask = np.arange(40) < np.array(lengths)[:, None]
    inputs = np.where(mask, np.arange(1, 41), 0)[:, :, None].astype("float32")
    noise = np.array([[0.0], [0.99], [0.5], [0.5]], "float32")
    parts, kept = numpy_tree(split_in_two(inputs, keras.ops.convert_to_tensor(mask), noise))
    first, second = (
        [row[k, 0].tolist() for row, k in zip(parts[half], kept[half], strict=True)]
        for half in (slice(4), slice(4, 8))
    )
    for a, b, length in zip(first[:3], second[:3], lengths, strict=False):
        assert a + b == list(range(1, length + 1))
    # No part is shorter than 0.3 of the whole, a single timestep apart, which is in both.
    assert [len(a) for a in first] == [12, 8, 1, 1]
    assert first[3] == second[3] == [1.0]


def test_tasks_are_built_by_their_options(transformer):
    model = build_pretraining_model(MaskedTimestepConfig(mask_span=7), transformer, seed=1)
    assert isinstance(model, MaskedTimestepModel)
    assert model.mask_span == 7
    assert model.backbone is transformer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: MaskedTimestepConfig(mask_ratio=1.5), "task.mask_ratio"),
        (lambda: MaskedTimestepConfig(mask_span=0), "task.mask_span"),
        (lambda: CodebookTaskConfig(strength=-1.0), "task.strength"),
        (lambda: CodebookTaskConfig(), "needs backbone"),
    ],
)
def test_options_out_of_range_are_reported_in_one_message(transformer, options, message):
    with pytest.raises(UserError, match=message):
        build_pretraining_model(options(), transformer)
