"""Whether options that are well-formed can be run at all, found out before anything is."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from mosei_ssl.errors import UserError


def check_feasible(options: Mapping[str, Any], where: str) -> None:
    """Refuse options that a training would refuse.

    The models are built once, on statistics of nothing, so that what does not fit together is told
    by those who know: backbone, task and head.

    Args:
        options: Resolved options of `PretrainConfig` or `FinetuneConfig`.
        where: Dotted place in the file, for messages.

    Raises:
        UserError: Naming the key and what is allowed.

    Example:
        >>> check_feasible({"monitor": "val_loss"}, "finetune")
    """
    from mosei_ssl.training.finetuning import MONITORS

    if options.get("monitor", "val_loss") not in MONITORS:
        raise UserError(
            f"{where}.monitor {options['monitor']!r} is no score; allowed: {', '.join(MONITORS)}"
        )
    if "backbone" in options:
        parts = {key: options[key] for key in ("backbone", "task", "head") if key in options}
        error = _build(json.dumps(parts, sort_keys=True))
        if error:
            raise UserError(f"{where}: {error}")


@functools.cache
def _build(parts: str) -> str:
    """Build the models of options; what went wrong, or nothing."""
    from mosei_ssl.models import (
        BackboneConfig,
        EmotionModel,
        PretrainingTaskConfig,
        build_backbone,
        build_pretraining_model,
    )

    options = json.loads(parts)
    try:
        backbone = build_backbone(BackboneConfig(**options["backbone"]), [0.0] * 74, [1.0] * 74)
    except (UserError, ValueError, TypeError) as error:
        return str(error)
    try:
        if "task" in options:
            build_pretraining_model(PretrainingTaskConfig(**options["task"]), backbone)
        if "head" in options:
            EmotionModel(backbone, options["head"])
    except UserError as error:
        return str(error)
    except (ValueError, TypeError) as error:
        # Keras says what is wrong with a value, not whose value it is.
        return f"{'head' if 'head' in options else 'task'}: {error}"
    return ""
