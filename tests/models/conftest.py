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
def kernels():
    """For tests that train with the kernels of `layers.cpu_kernels`; compiling them takes long."""


@pytest.fixture(autouse=True)
def without_kernels(request, monkeypatch):
    if "kernels" not in request.fixturenames:
        for module in (cpu_kernels, masked_self_attention):
            monkeypatch.setattr(module, "on_tensorflow_cpu", lambda: False)


@pytest.fixture(autouse=True)
def optimizers_built_before_the_first_step(monkeypatch):
    """Otherwise Keras builds them within that step and then traces it again."""
    fit = keras.Model.fit

    def built_first(model, *arguments, **options):
        model.optimizer.build(model.trainable_variables)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", built_first)
