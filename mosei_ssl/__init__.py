"""Label-efficient audio emotion recognition on CMU-MOSEI's acoustic features.

The stages are Python functions, `mosei_ssl.pretrain`, `finetune`, `evaluate` and `export`; their
options are dataclasses, such as `PretrainConfig`; models and layers are Keras's, in
`mosei_ssl.models` and `mosei_ssl.layers`. Everything is loaded when first used, and once Keras is
imported `keras.saving.load_model` knows the classes of this package.

Examples:
    >>> import mosei_ssl
    >>> mosei_ssl.PretrainConfig(run="runs/pre").epochs
    30
"""

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mosei_ssl.utils.imports import hook

if TYPE_CHECKING:
    from mosei_ssl import corpus, covarep, data, layers, metrics, models, serving, study, training
    from mosei_ssl.config import (
        CodebookConfig,
        CodebookTaskConfig,
        DataConfig,
        FinetuneConfig,
        HeadConfig,
        MaskedTimestepConfig,
        OptimizerConfig,
        PretrainConfig,
        TransformerConfig,
    )
    from mosei_ssl.serving import Recognizer, export
    from mosei_ssl.study.options import StudyConfig
    from mosei_ssl.training import evaluate, finetune, pretrain
    from mosei_ssl.utils.errors import UserError

__version__ = "0.1.0"

__all__ = [
    "CodebookConfig",
    "CodebookTaskConfig",
    "DataConfig",
    "FinetuneConfig",
    "HeadConfig",
    "MaskedTimestepConfig",
    "OptimizerConfig",
    "PretrainConfig",
    "Recognizer",
    "StudyConfig",
    "TransformerConfig",
    "UserError",
    "__version__",
    "corpus",
    "covarep",
    "data",
    "evaluate",
    "export",
    "finetune",
    "layers",
    "load",
    "metrics",
    "models",
    "pretrain",
    "serving",
    "study",
    "training",
]

_HOMES = {
    "Recognizer": "serving",
    "StudyConfig": "study.options",
    "UserError": "utils.errors",
    "evaluate": "training",
    "export": "serving",
    "finetune": "training",
    "pretrain": "training",
}


def load(model: str = "emotion-small") -> "Recognizer":
    """Load a preset or an export that answers for recordings, see `mosei_ssl.serving.Recognizer`.

    Examples:
        >>> import mosei_ssl
        >>> table = mosei_ssl.load("emotion-small").predict(speech_wav)
        >>> len(table)
        1
    """
    return importlib.import_module("mosei_ssl.serving").Recognizer(model)


def __getattr__(name: str) -> Any:
    # Importing Keras takes seconds, which extracting features, say, does without.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "config" if name.endswith("Config") else None)
    if home is None:
        return importlib.import_module(f"mosei_ssl.{name}")
    return getattr(importlib.import_module(f"mosei_ssl.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _execute_and_register(execute: Callable[[Any], None], module: Any) -> None:
    with importlib.import_module("mosei_ssl.utils.keras_settings").keras_import():
        execute(module)
    importlib.import_module("mosei_ssl.models")


def _execute_quietly(execute: Callable[[Any], None], module: Any) -> None:
    importlib.import_module("mosei_ssl.utils.quiet").quiet_import(execute, module)


if sys.modules.get("keras"):
    importlib.import_module("mosei_ssl.models")
hook("keras", _execute_and_register)
hook("tensorflow", _execute_quietly)
