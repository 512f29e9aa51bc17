"""Smaller steps for deeper layers."""

import keras
import numpy as np
import pytest
from model_testing import CONFIGS, MEAN, STD, make_batch

from mosei_ssl.models import (
    EmotionModel,
    LayerwiseAdamW,
    build_backbone,
    learning_rate_multipliers,
)


def test_multipliers_fall_from_the_head_to_the_input(backbone):
    model = EmotionModel(backbone, seed=1)
    multipliers = learning_rate_multipliers(model, 0.5)
    stages = backbone.encoder.stages
    assert multipliers[stages[-1][0].trainable_variables[0].path] == 0.5
    assert multipliers[stages[0][0].kernel.path] == 0.5 ** len(stages)
    assert set(multipliers) == {v.path for v in backbone.encoder.trainable_variables}
    with pytest.raises(ValueError, match="layer_decay"):
        learning_rate_multipliers(model, 1.5)


def test_first_step_is_the_learning_rate_times_the_multiplier():
    fast, slow = (keras.Variable([1.0], name=name) for name in ("fast", "slow"))
    optimizer = LayerwiseAdamW({slow.path: 0.1}, learning_rate=0.01, weight_decay=0.5)
    optimizer.build([fast, slow])
    one = keras.ops.ones((1,))
    optimizer.apply([one, one], [fast, slow])
    # Adam's first step is the learning rate, whatever the gradient; and half of it is the decay.
    steps = [1.0 - float(keras.ops.convert_to_numpy(v)[0]) for v in (fast, slow)]
    np.testing.assert_allclose(steps, [0.015, 0.0015], rtol=1e-3)


def test_without_multipliers_it_is_adamw():
    draw = np.random.default_rng(0)
    start, gradients = draw.normal(size=(4, 3)), draw.normal(size=(5, 4, 3))

    def trained(kind):
        kernel, bias = (keras.Variable(start, name=name) for name in ("kernel", "bias"))
        optimizer = kind(learning_rate=0.01, weight_decay=0.3, global_clipnorm=1.0)
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")] * 2, [kernel, bias])
        return [keras.ops.convert_to_numpy(variable) for variable in (kernel, bias)]

    for ours, theirs in zip(trained(LayerwiseAdamW), trained(keras.optimizers.AdamW), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_decay_of_zero_leaves_the_encoder_alone():
    backbone = build_backbone(CONFIGS["codebook"], MEAN, STD, seed=1)
    model = EmotionModel(backbone, seed=1)
    before = backbone.encoder.get_weights()
    optimizer = LayerwiseAdamW(
        learning_rate_multipliers(model, 0.0), learning_rate=1e-2, weight_decay=0.1
    )
    model.compile(optimizer)
    model.fit(make_batch([20] * 4), np.eye(4, 6), verbose=0)
    trained = {v.path for v in backbone.encoder.trainable_variables}
    for variable, old in zip(backbone.encoder.weights, before, strict=True):
        if variable.path in trained:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), old)


def test_optimizer_is_serialised():
    optimizer = LayerwiseAdamW({"a/kernel": 0.25}, learning_rate=0.01)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert copy.multipliers == {"a/kernel": 0.25}
