"""Pretraining, fine-tuning and evaluation of runs."""

from mosei_ssl.training.checkpoint import Interrupted
from mosei_ssl.training.config import FinetuneConfig, OptimizerConfig, PretrainConfig
from mosei_ssl.training.evaluation import evaluate
from mosei_ssl.training.finetuning import finetune
from mosei_ssl.training.pretraining import pretrain
from mosei_ssl.training.run_directory import RunDirectory

__all__ = [
    "FinetuneConfig",
    "Interrupted",
    "OptimizerConfig",
    "PretrainConfig",
    "RunDirectory",
    "evaluate",
    "finetune",
    "pretrain",
]
