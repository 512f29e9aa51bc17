"""Choice of a pretraining task."""

from dataclasses import dataclass

from mosei_ssl.errors import UserError
from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.masked_timestep_model import MaskedTimestepModel
from mosei_ssl.models.pretraining_model import PretrainingModel


@dataclass
class PretrainingTaskConfig:
    """Options of the pretraining task.

    Attributes:
        name: which task, a key of `PRETRAINING_TASKS`.
        mask_ratio: mean share of hidden timesteps.
        mask_span: length of a hidden span in pooled timesteps.
        loss: reconstruction error, ``"l1"`` or ``"huber"``.
    """

    name: str = "masked_timestep"
    mask_ratio: float = 0.3
    mask_span: int = 5
    loss: str = "l1"


def _masked_timestep(config: PretrainingTaskConfig, backbone: Backbone, seed: int):
    return MaskedTimestepModel(
        backbone, config.mask_ratio, config.mask_span, config.loss, seed, name="masked_timestep"
    )


PRETRAINING_TASKS = {"masked_timestep": _masked_timestep}


def build_pretraining_model(
    config: PretrainingTaskConfig, backbone: Backbone, seed: int = 0
) -> PretrainingModel:
    """Builds the model that pretrains a backbone.

    Args:
        config: options of the task.
        backbone: what is pretrained; shared, so that it is pretrained once the model is fitted.
        seed: seed of masks, crops and the task's own initial weights.

    Returns:
        PretrainingModel: compile with an optimizer alone, fit on `x`.

    Raises:
        UserError: If the task is unknown or an option is out of its range.

    Example:
        >>> model = build_pretraining_model(PretrainingTaskConfig(), backbone, seed=1)
    """
    if config.name not in PRETRAINING_TASKS:
        names = ", ".join(sorted(PRETRAINING_TASKS))
        raise UserError(f"pretraining task {config.name!r} is unknown; choose one of: {names}")
    try:
        return PRETRAINING_TASKS[config.name](config, backbone, seed)
    except ValueError as error:
        raise UserError(f"options of pretraining task {config.name!r}: {error}") from error
