"""Backbones and pretraining tasks from their options."""

import dataclasses
import pkgutil
from collections.abc import Sequence

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

    Example:
        >>> from mosei_ssl.config import CodebookConfig
        >>> backbone = build_backbone(CodebookConfig(), [0.0] * 74, [1.0] * 74)
    """
    options = dataclasses.asdict(config)
    kind = options.pop("kind")
    try:
        return pkgutil.resolve_name(config.model)(mean, std, seed=seed, name="backbone", **options)
    except ValueError as error:
        raise UserError(f"options of backbone {kind!r} do not fit together: {error}") from error


def build_pretraining_model(
    config: TaskConfig, backbone: Backbone, seed: int = 0
) -> PretrainingModel:
    """Builds the model that pretrains a backbone.

    Args:
        config: options of the task.
        backbone: what is pretrained; shared, so that it is pretrained once the model is fitted.
        seed: seed of masks, splits and the task's own initial weights.

    Returns:
        PretrainingModel: compile with an optimizer alone, fit on `x`.

    Raises:
        UserError: If the options do not fit the backbone.

    Example:
        >>> from mosei_ssl.config import MaskedTimestepConfig
        >>> model = build_pretraining_model(MaskedTimestepConfig(), backbone)  # doctest: +SKIP
    """
    options = dataclasses.asdict(config)
    name = options.pop("name")
    try:
        return pkgutil.resolve_name(config.model)(backbone, seed=seed, name=name, **options)
    except ValueError as error:
        raise UserError(f"options of pretraining task {name!r}: {error}") from error
