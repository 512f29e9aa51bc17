"""Label-efficient audio emotion recognition on CMU-MOSEI's acoustic features.

The stages as Python functions, loaded when first used:

    >>> import mosei_ssl
    >>> mosei_ssl.pretrain(mosei_ssl.PretrainConfig(run="runs/pre"))  # doctest: +SKIP

So are the packages below, such as `mosei_ssl.covarep` and `mosei_ssl.metrics`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosei_ssl import covarep, data, layers, metrics, models, serving, study, training
    from mosei_ssl.serving import export
    from mosei_ssl.training import (
        FinetuneConfig,
        PretrainConfig,
        evaluate,
        finetune,
        pretrain,
    )
    from mosei_ssl.utils.errors import UserError

__version__ = "0.1.0"

_HOMES = {
    "UserError": "mosei_ssl.utils.errors",
    "FinetuneConfig": "mosei_ssl.config",
    "PretrainConfig": "mosei_ssl.config",
    "evaluate": "mosei_ssl.training",
    "export": "mosei_ssl.serving",
    "finetune": "mosei_ssl.training",
    "pretrain": "mosei_ssl.training",
}

_PACKAGES = frozenset(
    {"covarep", "data", "layers", "metrics", "models", "serving", "study", "training"}
)

__all__ = [
    "FinetuneConfig",
    "PretrainConfig",
    "UserError",
    "__version__",
    "covarep",
    "data",
    "evaluate",
    "export",
    "finetune",
    "layers",
    "metrics",
    "models",
    "pretrain",
    "serving",
    "study",
    "training",
]


def __getattr__(name: str) -> Any:
    # Importing Keras takes seconds; whoever only extracts features should not wait for it.
    if name in _PACKAGES:
        return importlib.import_module(f"mosei_ssl.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
