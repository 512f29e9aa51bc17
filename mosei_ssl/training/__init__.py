"""Pretraining, fine-tuning and evaluation of runs; loaded when first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosei_ssl.training.evaluation import evaluate, predict_segments
    from mosei_ssl.training.finetuning import finetune
    from mosei_ssl.training.optimizer import make_optimizer
    from mosei_ssl.training.pretraining import pretrain
    from mosei_ssl.training.run_directory import RunDirectory
    from mosei_ssl.training.saved_models import load_model
    from mosei_ssl.utils.signals import Interrupted

_HOMES = {
    "Interrupted": "mosei_ssl.utils.signals",
    "RunDirectory": "mosei_ssl.training.run_directory",
    "evaluate": "mosei_ssl.training.evaluation",
    "finetune": "mosei_ssl.training.finetuning",
    "load_model": "mosei_ssl.training.saved_models",
    "make_optimizer": "mosei_ssl.training.optimizer",
    "predict_segments": "mosei_ssl.training.evaluation",
    "pretrain": "mosei_ssl.training.pretraining",
}

__all__ = [
    "Interrupted",
    "RunDirectory",
    "evaluate",
    "finetune",
    "load_model",
    "make_optimizer",
    "predict_segments",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    # To say what is wrong with a command takes its options alone; TensorFlow takes seconds.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
