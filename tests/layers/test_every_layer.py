"""What every layer promises: a config that rebuilds it, and symbolic calls of unknown sizes."""

import keras
import numpy as np
import pytest

from mosei_ssl import layers

MADE = [
    layers.CodebookEncoder(hidden_dim=4, code_dim=3, context=3, seed=1),
    layers.DistributionHead(weight_penalty=0.5, seed=1),
    layers.FeatureStandardization(np.arange(6.0), np.ones(6), clip=2.0),
    layers.MaskedStatisticsPooling(),
    layers.TemporalPooling(3),
    layers.TimestepMasking(0.4, 2, seed=1),
    layers.TransformerEncoder(6, 1, 2, 8, seed=1, dtype="mixed_bfloat16"),
    layers.UtteranceSummary(),
]
ONE_INPUT = (layers.DistributionHead, layers.FeatureStandardization)


def arguments(layer):
    flat = isinstance(layer, layers.DistributionHead)
    x = np.random.default_rng(0).normal(size=(2, 6) if flat else (2, 5, 6)).astype("float32")
    return [x] if isinstance(layer, ONE_INPUT) else [x, np.arange(5) < np.array([[5], [3]])]


def test_no_layer_is_left_out():
    names = {type(layer).__name__ for layer in MADE}
    assert names == {name for name in layers.__all__ if name[0].isupper()}


@pytest.mark.parametrize("layer", MADE, ids=lambda layer: type(layer).__name__)
def test_rebuilt_from_its_config_it_gives_the_same_for_any_size(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    given = arguments(layer)
    found, again = (keras.tree.flatten(each(*given)) for each in (layer, copy))
    unknown = [
        keras.Input(batch_shape=[None if n in (2, 5) else n for n in x.shape], dtype=str(x.dtype))
        for x in given
    ]
    shapes = [x.shape for x in keras.tree.flatten(layer(*unknown))]
    for a, b, shape in zip(found, again, shapes, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)))
        assert len(shape) == len(a.shape)
        assert all(known in (None, size) for known, size in zip(shape, a.shape, strict=True))
