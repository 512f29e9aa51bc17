"""Choice of a backbone."""

from collections.abc import Sequence
from typing import Any

from mosei_ssl.errors import UserError
from mosei_ssl.model_config import BackboneConfig
from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.codebook_backbone import CodebookBackbone
from mosei_ssl.models.gru_backbone import GRUBackbone
from mosei_ssl.models.transformer_backbone import TransformerBackbone


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
        UserError: If an option is out of its range.

    Example:
        >>> backbone = build_backbone(BackboneConfig(kind="gru"), [0.0] * 74, [1.0] * 74)
    """
    options: dict[str, Any] = {
        "hidden_dim": config.hidden_dim,
        "pooling_factor": config.pooling_factor,
        "epsilon": config.epsilon,
        "clip": config.clip,
        "seed": seed,
    }
    if min(config.hidden_dim, config.num_layers, config.num_heads, config.feedforward_dim) < 1:
        raise UserError(
            "backbone.hidden_dim, num_layers, num_heads and feedforward_dim must be at least 1"
        )
    try:
        if config.kind == "transformer":
            return TransformerBackbone(
                mean,
                std,
                num_layers=config.num_layers,
                dropout=config.dropout,
                num_heads=config.num_heads,
                feedforward_dim=config.feedforward_dim,
                name="backbone",
                **options,
            )
        if config.kind == "gru":
            return GRUBackbone(
                mean,
                std,
                num_layers=config.num_layers,
                dropout=config.dropout,
                name="backbone",
                **options,
            )
        if config.kind == "codebook":
            return CodebookBackbone(
                mean,
                std,
                code_dim=config.code_dim,
                context=config.context,
                name="backbone",
                **options,
            )
    except ValueError as error:
        raise UserError(f"the backbone's options do not fit together: {error}") from error
    raise UserError(f"backbone.kind is {config.kind!r}; choose 'transformer', 'gru' or 'codebook'")
