"""Batches and small sizes for the tests of models."""

import keras
import numpy as np

from mosei_ssl.config import CodebookConfig, TransformerConfig

MEAN = np.linspace(-3.0, 300.0, 74)
STD = np.concatenate([np.zeros(4), np.linspace(0.1, 60.0, 70)])

CONFIGS = {
    "transformer": TransformerConfig(
        hidden_dim=16, num_layers=1, num_heads=2, feedforward_dim=32, pooling_factor=5
    ),
    "codebook": CodebookConfig(hidden_dim=16, code_dim=8, context=3, pooling_factor=5),
}


def make_batch(lengths, steps=None, seed=0):
    """Segments of the given lengths, padded with zeros to `steps` frames."""
    steps = steps or max(lengths)
    features = np.zeros((len(lengths), steps, 74), "float32")
    for row, length in enumerate(lengths):
        # Rows of one segment do not depend on what else is in the batch.
        rng = np.random.default_rng([seed, row])
        features[row, :length] = MEAN + STD * rng.normal(size=(length, 74))
        features[row, 0, 7] = -np.inf
    return {
        "features": features,
        "padding_mask": np.arange(steps) < np.asarray(lengths)[:, None],
    }


def numpy_tree(tree):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, tree)


def outputs_of(model, batch, **options):
    """What a call gives, in NumPy; under JAX as one program: compiling each operation is slow."""
    if keras.backend.backend() != "jax":
        return numpy_tree(model(batch, **options))
    import jax

    state = [[v.value for v in model.trainable_variables]]
    state.append([v.value for v in model.non_trainable_variables])
    outputs, changed = jax.jit(lambda *given: model.stateless_call(*given, **options))(
        *state, batch
    )
    for variable, value in zip(model.non_trainable_variables, changed, strict=True):
        variable.assign(value)
    return numpy_tree(outputs)


def numpy_weights(model):
    """Values of all weights by path; random generators, whose names differ, left out."""
    return {
        v.path: keras.ops.convert_to_numpy(v)
        for v in model.variables
        if "seed_generator" not in v.path
    }
