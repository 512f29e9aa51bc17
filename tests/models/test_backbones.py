"""All backbones behind their one interface."""

import keras
import numpy as np
import pytest
from model_testing import CONFIGS, MEAN, STD, make_batch, numpy_tree, outputs_of

from mosei_ssl.config import CodebookConfig, TransformerConfig
from mosei_ssl.models import build_backbone
from mosei_ssl.utils.errors import UserError


def test_outputs_have_the_documented_shapes_and_types(backbone):
    outputs = outputs_of(backbone, make_batch([23, 10]))
    assert outputs["sequence"].shape == (2, 5, 16)
    assert outputs["sequence"].dtype == np.float32
    assert outputs["frames"].shape == (2, 5, 148)
    assert outputs["frames"].dtype == np.float32
    np.testing.assert_array_equal(outputs["padding_mask"].sum(axis=1), [5, 2])
    assert np.isfinite(outputs["sequence"]).all()
    assert backbone.output_dim == 16


def test_padding_never_changes_an_answer(backbone):
    alone = outputs_of(backbone, make_batch([23]))["sequence"][0]
    padded = outputs_of(backbone, make_batch([23], steps=61))["sequence"][0]
    batched = outputs_of(backbone, make_batch([23, 61, 4]))["sequence"][0]
    np.testing.assert_allclose(padded[:5], alone, atol=1e-5)
    np.testing.assert_allclose(batched[:5], alone, atol=1e-5)
    np.testing.assert_array_equal(padded[5:], 0.0)


@pytest.mark.parametrize("junk", [1e6, np.nan])
def test_what_padding_holds_does_not_matter(backbone, junk):
    clean = make_batch([23, 40])
    dirty = {**clean, "features": clean["features"].copy()}
    dirty["features"][~clean["padding_mask"]] = junk
    np.testing.assert_array_equal(
        outputs_of(backbone, clean)["sequence"], outputs_of(backbone, dirty)["sequence"]
    )


def test_the_last_frame_reaches_the_first_state_but_padding_does_not(transformer):
    backbone = transformer
    batch = make_batch([23, 40])
    changed = {**batch, "features": batch["features"].copy()}
    changed["features"][0, 22] += 3 * STD
    before, after = (outputs_of(backbone, b)["sequence"] for b in (batch, changed))
    assert np.abs(before[0, 0] - after[0, 0]).max() > 1e-4
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)


def test_one_seed_one_backbone(small_config):
    first, second, other = (
        build_backbone(small_config, MEAN, STD, seed=seed).get_weights() for seed in (1, 1, 2)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_no_two_kernels_start_equal(backbone):
    kernels = [np.asarray(w) for w in backbone.get_weights() if w.ndim == 2 and w.any()]
    for i, a in enumerate(kernels):
        for b in kernels[i + 1 :]:
            assert a.shape != b.shape or (a != b).any()


def test_statistics_are_frozen_weights(backbone):
    frozen = backbone.standardize.variables
    assert not backbone.standardize.trainable_variables
    assert [v.name for v in frozen] == ["center", "scale"]
    np.testing.assert_allclose(numpy_tree(frozen[0]), MEAN, rtol=1e-6)


def test_stages_cover_the_encoder_once(backbone):
    staged = [v.path for stage in backbone.encoder.stages for layer in stage for v in layer.weights]
    weights = [v.path for v in backbone.encoder.trainable_variables]
    assert sorted(set(staged)) == sorted(weights)


def test_saved_and_loaded_in_safe_mode(backbone, tmp_path):
    batch = make_batch([23, 40])
    backbone.save(tmp_path / "backbone.keras")
    loaded = keras.saving.load_model(tmp_path / "backbone.keras", safe_mode=True)
    assert loaded.get_config() == backbone.get_config()
    np.testing.assert_array_equal(
        outputs_of(loaded, batch)["sequence"], outputs_of(backbone, batch)["sequence"]
    )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_close_to_full(policy):
    small_config = CONFIGS["transformer"]
    if policy == "mixed_float16" and keras.backend.backend() == "jax":
        pytest.skip("float16 matrix products are not supported by JAX on CPU")
    full = build_backbone(small_config, MEAN, STD, seed=1)
    keras.config.set_dtype_policy(policy)
    try:
        mixed = build_backbone(small_config, MEAN, STD, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.encoder.projection.compute_dtype == policy.removeprefix("mixed_")
    batch = make_batch([23, 40])
    a, b = outputs_of(full, batch)["sequence"], outputs_of(mixed, batch)["sequence"]
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (lambda: TransformerConfig(hidden_dim=30, num_heads=4), "multiple"),
        (lambda: TransformerConfig(hidden_dim=31, num_heads=1), "even"),
        (lambda: TransformerConfig(pooling_factor=0), "at least 1"),
        (lambda: TransformerConfig(num_layers=0), "at least 1"),
        (lambda: CodebookConfig(context=4), "odd"),
    ],
)
def test_options_that_do_not_fit_are_reported_in_one_message(options, message):
    with pytest.raises(UserError, match=message):
        build_backbone(options(), MEAN, STD)
