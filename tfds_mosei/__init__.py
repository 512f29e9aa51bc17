"""TFDS builder for CMU-MOSEI's acoustic features.

Importing this package makes ``tfds.load("tfds_mosei/covarep")`` and
``tfds build tfds_mosei/covarep --imports tfds_mosei`` work. What needs TFDS is loaded when first
used, or once TFDS itself is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mosei_ssl.utils.imports import after_import
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

if TYPE_CHECKING:
    from tfds_mosei import csd
    from tfds_mosei.building import build
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


_BUILDER = "tfds_mosei.tfds_mosei_dataset_builder"
_HOMES = {"Builder": _BUILDER, "build": "tfds_mosei.building"}


def __getattr__(name: str) -> Any:
    if name == "csd":
        return importlib.import_module("tfds_mosei.csd")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


# TFDS knows the builder by its class, which can only be made with TFDS.
after_import("tensorflow_datasets", lambda: importlib.import_module(_BUILDER))
