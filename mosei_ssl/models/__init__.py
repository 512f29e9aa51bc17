"""Backbones, pretraining tasks and the emotion model, on any Keras backend."""

from mosei_ssl.models.alteration_model import AlterationModel
from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.backbone_config import BackboneConfig, build_backbone
from mosei_ssl.models.codebook_backbone import CodebookBackbone
from mosei_ssl.models.codebook_model import CodebookModel
from mosei_ssl.models.emotion_model import EmotionModel, HeadConfig
from mosei_ssl.models.emotion_predictions import emotion_predictions
from mosei_ssl.models.emotion_predictor import EmotionPredictor
from mosei_ssl.models.gru_backbone import GRUBackbone
from mosei_ssl.models.latent_prediction_model import LatentPredictionModel
from mosei_ssl.models.layerwise_adamw import LayerwiseAdamW, learning_rate_multipliers
from mosei_ssl.models.masked_autoencoder_model import MaskedAutoencoderModel
from mosei_ssl.models.masked_timestep_model import MaskedTimestepModel
from mosei_ssl.models.pretraining_model import PretrainingModel
from mosei_ssl.models.pretraining_task_config import (
    PRETRAINING_TASKS,
    PretrainingTaskConfig,
    build_pretraining_model,
)
from mosei_ssl.models.soft_target_crossentropy import SoftTargetCrossentropy
from mosei_ssl.models.transformer_backbone import TransformerBackbone
from mosei_ssl.models.two_crop_contrastive_model import TwoCropContrastiveModel
from mosei_ssl.models.two_crop_whitening_model import TwoCropWhiteningModel

__all__ = [
    "PRETRAINING_TASKS",
    "AlterationModel",
    "Backbone",
    "BackboneConfig",
    "CodebookBackbone",
    "CodebookModel",
    "EmotionModel",
    "EmotionPredictor",
    "GRUBackbone",
    "HeadConfig",
    "LatentPredictionModel",
    "LayerwiseAdamW",
    "MaskedAutoencoderModel",
    "MaskedTimestepModel",
    "PretrainingModel",
    "PretrainingTaskConfig",
    "SoftTargetCrossentropy",
    "TransformerBackbone",
    "TwoCropContrastiveModel",
    "TwoCropWhiteningModel",
    "build_backbone",
    "build_pretraining_model",
    "emotion_predictions",
    "learning_rate_multipliers",
]
