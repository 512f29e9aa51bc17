"""The example for Keras users runs as it stands."""

import functools
import runpy
from pathlib import Path

import keras
import pytest

from mosei_ssl.layers import cpu_kernels, masked_self_attention
from mosei_ssl.models import EmotionPredictor, TransformerBackbone

EXAMPLE = Path(__file__).parents[2] / "examples/keras_quickstart.py"


@pytest.mark.slow
def test_quickstart(synthetic_data, tmp_path, monkeypatch):
    # Compiling takes longer than all the rest: one size of batches, a small model, and training,
    # which is a step or two, without a graph.
    small = {"hidden_dim": 16, "num_layers": 1, "num_heads": 2, "feedforward_dim": 16}
    backbone = functools.partial(TransformerBackbone, **small)
    monkeypatch.setattr("mosei_ssl.models.TransformerBackbone", backbone)
    fit, on_tensorflow = keras.Model.fit, keras.backend.backend() == "tensorflow"

    def eager_fit(model, *arguments, **options):
        model.run_eagerly = on_tensorflow
        return fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", eager_fit)
    for module in (cpu_kernels, masked_self_attention):
        monkeypatch.setattr(module, "on_tensorflow_cpu", lambda: False)
    monkeypatch.setattr("mosei_ssl.data.buckets.LENGTH_MULTIPLE", 640)
    if not on_tensorflow:
        monkeypatch.setattr(EmotionPredictor, "export", lambda self, folder: None)
    main = runpy.run_path(str(EXAMPLE))["main"]
    scores = main(data_dir=str(synthetic_data), out=str(tmp_path / "out"), epochs=1)
    assert set(scores) == {"loss", "mae"}
    assert 0 <= scores["mae"] <= 3
    assert (tmp_path / "out/1/saved_model.pb").is_file() == on_tensorflow
