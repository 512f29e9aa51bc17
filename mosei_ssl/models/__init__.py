"""Backbones, pretraining tasks and the emotion model, on any Keras backend."""

from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.build import build_backbone, build_pretraining_model
from mosei_ssl.models.codebook_backbone import CodebookBackbone
from mosei_ssl.models.codebook_model import CodebookModel
from mosei_ssl.models.emotion_metrics import EmotionAccuracy, EmotionMAE
from mosei_ssl.models.emotion_model import EmotionModel
from mosei_ssl.models.emotion_predictor import EmotionPredictor, emotion_predictions
from mosei_ssl.models.layerwise_adamw import LayerwiseAdamW, learning_rate_multipliers
from mosei_ssl.models.masked_timestep_model import MaskedTimestepModel
from mosei_ssl.models.presets import load_keras_file, load_preset
from mosei_ssl.models.pretraining_model import PretrainingModel
from mosei_ssl.models.soft_target_crossentropy import SoftTargetCrossentropy
from mosei_ssl.models.transformer_backbone import TransformerBackbone

__all__ = [
    "Backbone",
    "CodebookBackbone",
    "CodebookModel",
    "EmotionAccuracy",
    "EmotionMAE",
    "EmotionModel",
    "EmotionPredictor",
    "LayerwiseAdamW",
    "MaskedTimestepModel",
    "PretrainingModel",
    "SoftTargetCrossentropy",
    "TransformerBackbone",
    "build_backbone",
    "build_pretraining_model",
    "emotion_predictions",
    "learning_rate_multipliers",
    "load_keras_file",
    "load_preset",
]
