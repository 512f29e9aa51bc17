"""Small models for the tests of this room."""

import keras
import pytest
from model_testing import CONFIGS, MEAN, STD

from mosei_ssl.layers import cpu_kernels, masked_self_attention
from mosei_ssl.models import build_backbone


@pytest.fixture(params=["transformer", "codebook"])
def kind(request):
    return request.param


@pytest.fixture
def small_config(kind):
    return CONFIGS[kind]


@pytest.fixture
def backbone(small_config):
    return build_backbone(small_config, MEAN, STD, seed=1)


@pytest.fixture
def transformer():
    return build_backbone(CONFIGS["transformer"], MEAN, STD, seed=1)


@pytest.fixture
def traced():
    """For tests that train as users do, in a graph and with the kernels of `cpu_kernels`.

    Both take seconds to make, and the few steps of other tests run faster without.
    """


@pytest.fixture
def graph_only():
    """For tests of so many steps that a graph pays off, though not the kernels."""


@pytest.fixture(autouse=True)
def quick_fits(request, monkeypatch):
    names = {*request.fixturenames}
    eager = keras.backend.backend() == "tensorflow" and not names & {"traced", "graph_only"}
    if "traced" not in names:
        for module in (cpu_kernels, masked_self_attention):
            monkeypatch.setattr(module, "on_tensorflow_cpu", lambda: False)
    fit = keras.Model.fit

    def prepared(model, *arguments, **options):
        model.run_eagerly = eager
        # Left to itself, Keras builds it within the first step and then traces that again.
        model.optimizer.build(model.trainable_variables)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", prepared)
