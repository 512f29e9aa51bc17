"""SavedModel export, its verification, predictions from it and clients of a server that runs it.

What needs Keras is loaded when first used: a client of a server over REST needs no TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mosei_ssl.serving.connect import connect
from mosei_ssl.serving.inputs import Segment, read_segments
from mosei_ssl.serving.local import LocalModel
from mosei_ssl.serving.manifest import verify
from mosei_ssl.serving.recognizer import Recognizer

if TYPE_CHECKING:
    from mosei_ssl.serving.evaluation import evaluate_saved_model
    from mosei_ssl.serving.exporting import export, export_model

_HOMES = {
    "evaluate_saved_model": "mosei_ssl.serving.evaluation",
    "export": "mosei_ssl.serving.exporting",
    "export_model": "mosei_ssl.serving.exporting",
}

__all__ = [
    "LocalModel",
    "Recognizer",
    "Segment",
    "connect",
    "evaluate_saved_model",
    "export",
    "export_model",
    "read_segments",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
