"""Small models for the tests of this room."""

import keras
import pytest
from model_testing import MEAN, STD

from mosei_ssl.models import BackboneConfig, build_backbone


@pytest.fixture(params=["transformer", "gru"])
def kind(request):
    return request.param


@pytest.fixture
def small_config(kind):
    return BackboneConfig(
        kind=kind, hidden_dim=16, num_layers=2, num_heads=2, feedforward_dim=32, pooling_factor=5
    )


@pytest.fixture
def backbone(small_config):
    return build_backbone(small_config, MEAN, STD, seed=1)


@pytest.fixture(autouse=True)
def optimizers_built_before_the_first_step(monkeypatch):
    """Left to itself, Keras builds them within that step and then traces it again."""
    fit = keras.Model.fit

    def built_first(model, *arguments, **options):
        model.optimizer.build(model.trainable_variables)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", built_first)
