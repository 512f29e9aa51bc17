"""A new backbone and a new pretraining task: one class and one registration each."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import keras
import numpy as np
from keras import ops
from model_testing import MEAN, STD, make_batch

from mosei_ssl.config import BACKBONES, TASKS, BackboneConfig, TaskConfig
from mosei_ssl.models import (
    Backbone,
    EmotionModel,
    LayerwiseAdamW,
    PretrainingModel,
    build_backbone,
    build_pretraining_model,
    learning_rate_multipliers,
)


class ConvolutionEncoder(keras.layers.Layer):
    def __init__(self, hidden_dim, **kwargs):
        super().__init__(**kwargs)
        self.hidden_dim = hidden_dim
        self.lower = keras.layers.Conv1D(hidden_dim, 3, padding="same", activation="relu")
        self.upper = keras.layers.Conv1D(hidden_dim, 3, padding="same")
        self.stages = [[self.lower], [self.upper]]

    def build(self, frames_shape):
        self.lower.build(frames_shape)
        self.upper.build((None, None, self.hidden_dim))

    def call(self, frames, padding_mask, training=False):
        states = self.upper(self.lower(frames))
        return ops.where(padding_mask[:, :, None], states, 0.0)


@keras.saving.register_keras_serializable(package="test")
class ConvolutionBackbone(Backbone):
    def __init__(self, mean, std, hidden_dim=8, pooling_factor=10, seed=0, **kwargs):
        keras.utils.set_random_seed(seed)
        encoder = ConvolutionEncoder(hidden_dim, name="encoder")
        super().__init__(encoder, mean, std, pooling_factor, **kwargs)


@dataclass(kw_only=True)
class ConvolutionConfig(BackboneConfig):
    model: ClassVar[str] = f"{__name__}:ConvolutionBackbone"
    kind: Literal["convolution"] = "convolution"


class NextTimestepModel(PretrainingModel):
    """Predicts each timestep from the one before."""

    METRICS = ("error",)

    def __init__(self, backbone, rate=1.0, seed=0, **kwargs):
        super().__init__(backbone, seed=seed, **kwargs)
        self.rate = rate
        self.predict_next = keras.layers.Dense(backbone.frames_dim)
        self.predict_next.build((None, backbone.output_dim))

    def forward(self, frames, padding_mask, training=False):
        states = self.backbone.encoder(frames, padding_mask, training=training)
        return {"found": self.predict_next(states[:, :-1]), "target": frames[:, 1:]}

    def objective(self, outputs):
        error = ops.mean(ops.abs(outputs["target"] - outputs["found"]))
        return self.rate * error, {"error": error}


@dataclass(kw_only=True)
class NextTimestepConfig(TaskConfig):
    model: ClassVar[str] = f"{__name__}:NextTimestepModel"
    name: Literal["next_timestep"] = "next_timestep"
    rate: float = 1.0


def test_a_new_backbone_and_task_are_pretrained_and_fine_tuned(monkeypatch, tmp_path):
    monkeypatch.setitem(BACKBONES, "convolution", ConvolutionConfig)
    monkeypatch.setitem(TASKS, "next_timestep", NextTimestepConfig)
    x = make_batch([23, 40, 60, 12])

    backbone = build_backbone(BACKBONES["convolution"](hidden_dim=8), MEAN, STD, seed=1)
    model = build_pretraining_model(TASKS["next_timestep"](rate=2.0), backbone, seed=2)
    model.adapt(x)
    model.compile("adam")
    history = model.fit(x, verbose=0).history
    np.testing.assert_allclose(history["loss"], 2.0 * np.array(history["error"]), rtol=1e-5)

    backbone.save(tmp_path / "backbone.keras")
    emotion_model = EmotionModel(Backbone.from_preset(tmp_path))
    multipliers = learning_rate_multipliers(emotion_model, 0.5)
    assert sorted(multipliers.values()) == [0.25, 0.25, 0.5, 0.5]
    emotion_model.compile(LayerwiseAdamW(multipliers, learning_rate=1e-3), metrics=["mae"])
    before = [ops.convert_to_numpy(v) for v in emotion_model.trainable_variables]
    history = emotion_model.fit(x, np.eye(4, 6), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for variable, value in zip(emotion_model.trainable_variables, before, strict=True):
        assert (ops.convert_to_numpy(variable) != value).any()
