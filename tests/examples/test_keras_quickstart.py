"""The example for Keras users runs as it stands."""

import runpy
from pathlib import Path

import keras
import pytest

from mosei_ssl.layers import cpu_kernels, masked_self_attention
from mosei_ssl.models import EmotionPredictor

EXAMPLE = Path(__file__).parents[2] / "examples/keras_quickstart.py"


@pytest.mark.slow
def test_quickstart(synthetic_data, tmp_path, monkeypatch):
    # Compiled for the length of every bucket, which takes longer than all the rest.
    for module in (cpu_kernels, masked_self_attention):
        monkeypatch.setattr(module, "on_tensorflow_cpu", lambda: False)
    monkeypatch.setattr("mosei_ssl.data.buckets.LENGTH_MULTIPLE", 640)
    exported = keras.backend.backend() == "tensorflow"
    if not exported:
        monkeypatch.setattr(EmotionPredictor, "export", lambda self, folder: None)
    main = runpy.run_path(str(EXAMPLE))["main"]
    scores = main(data_dir=str(synthetic_data), out=str(tmp_path / "out"), epochs=1)
    assert set(scores) == {"loss", "mae"}
    assert 0 <= scores["mae"] <= 3
    assert (tmp_path / "out/1/saved_model.pb").is_file() == exported
