"""Keras layers: one class per file, on any Keras backend."""

import keras  # noqa: F401  (first: it imports `mosei_ssl.models`, which needs modules of this one)

from mosei_ssl.layers.codebook_encoder import CodebookEncoder
from mosei_ssl.layers.distribution_head import DistributionHead
from mosei_ssl.layers.feature_standardization import FeatureStandardization
from mosei_ssl.layers.masked_statistics_pooling import MaskedStatisticsPooling
from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.temporal_pooling import TemporalPooling
from mosei_ssl.layers.timestep_masking import TimestepMasking
from mosei_ssl.layers.transformer_encoder import TransformerEncoder
from mosei_ssl.layers.utterance_summary import UtteranceSummary

__all__ = [
    "CodebookEncoder",
    "DistributionHead",
    "FeatureStandardization",
    "MaskedStatisticsPooling",
    "TemporalPooling",
    "TimestepMasking",
    "TransformerEncoder",
    "UtteranceSummary",
    "derive_seed",
]
