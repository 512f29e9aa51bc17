"""TFDS builder for CMU-MOSEI's acoustic features.

Importing this package makes ``tfds.load("tfds_mosei/covarep")`` and
``tfds build tfds_mosei/covarep --imports tfds_mosei`` work.
"""

from tfds_mosei import csd
from tfds_mosei.building import build
from tfds_mosei.errors import CorpusError, NothingPreparedError
from tfds_mosei.prepared import find_prepared, list_prepared
from tfds_mosei.schema import (
    EMOTIONS,
    FEATURE_NAMES,
    FEATURE_ROOT,
    FRAME_PERIOD,
    LABEL_NAMES,
    LABEL_ROOT,
)
from tfds_mosei.tfds_mosei_dataset_builder import Builder

__all__ = [
    "EMOTIONS",
    "FEATURE_NAMES",
    "FEATURE_ROOT",
    "FRAME_PERIOD",
    "LABEL_NAMES",
    "LABEL_ROOT",
    "Builder",
    "CorpusError",
    "NothingPreparedError",
    "build",
    "csd",
    "find_prepared",
    "list_prepared",
]
