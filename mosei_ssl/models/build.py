"""Backbones and pretraining tasks from their options."""

import dataclasses
import pkgutil
from collections.abc import Sequence
from typing import Any

from mosei_ssl.config import BackboneConfig, TaskConfig
from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.pretraining_model import PretrainingModel
from mosei_ssl.utils.errors import UserError


def build_backbone(
    config: BackboneConfig, mean: Sequence[float], std: Sequence[float], seed: int = 0
) -> Backbone:
    """Builds a backbone with fresh weights.

    Args:
        config: options of the backbone.
        mean: [74] floats. Column means of the training split.
        std: [74] floats. Column standard deviations of the training split.
        seed: seed of initial weights and dropout. The same seed gives the same backbone.

    Returns:
        Backbone, all weights created.

    Raises:
        UserError: If options do not fit together.

    Examples:
        >>> from mosei_ssl import CodebookConfig
        >>> type(build_backbone(CodebookConfig(), [0.0] * 74, [1.0] * 74)).__name__
        'CodebookBackbone'
    """
    options = {"mean": mean, "std": std, "seed": seed, "name": "backbone"}
    return _build(f"backbone {config.kind!r}", config, "kind", options)


def build_pretraining_model(
    config: TaskConfig, backbone: Backbone, seed: int = 0
) -> PretrainingModel:
    """Builds the model that pretrains a backbone.

    Args:
        config: options of the task.
        backbone: what is pretrained; shared, so that it is pretrained once the model is fitted.
        seed: seed of masks, splits and the task's initial weights.

    Returns:
        PretrainingModel: compile with an optimizer alone, fit on `x`.

    Raises:
        UserError: If the options do not fit the backbone.

    Examples:
        >>> from mosei_ssl import MaskedTimestepConfig
        >>> build_pretraining_model(MaskedTimestepConfig(mask_span=3), backbone).mask_span
        3
    """
    options = {"backbone": backbone, "seed": seed, "name": config.name}
    return _build(f"pretraining task {config.name!r}", config, "name", options)


def _build(what: str, config: BackboneConfig | TaskConfig, label: str, options: dict) -> Any:
    """An object of the class that a config names; its options are the config's but the label."""
    values = dataclasses.asdict(config)
    del values[label]
    try:
        return pkgutil.resolve_name(config.model)(**{**values, **options})
    except ValueError as error:
        raise UserError(f"options of {what} do not fit together: {error}") from error
