"""Choice of a pretraining task."""

from dataclasses import asdict

from mosei_ssl.errors import UserError
from mosei_ssl.model_config import PretrainingTaskConfig
from mosei_ssl.models.alteration_model import AlterationModel
from mosei_ssl.models.backbone import Backbone
from mosei_ssl.models.codebook_model import CodebookModel
from mosei_ssl.models.latent_prediction_model import LatentPredictionModel
from mosei_ssl.models.masked_autoencoder_model import MaskedAutoencoderModel
from mosei_ssl.models.masked_timestep_model import MaskedTimestepModel
from mosei_ssl.models.pretraining_model import PretrainingModel
from mosei_ssl.models.two_crop_contrastive_model import TwoCropContrastiveModel
from mosei_ssl.models.two_crop_whitening_model import TwoCropWhiteningModel

PRETRAINING_TASKS: dict[str, type[PretrainingModel]] = {
    "masked_timestep": MaskedTimestepModel,
    "alteration": AlterationModel,
    "masked_autoencoder": MaskedAutoencoderModel,
    "latent_prediction": LatentPredictionModel,
    "two_crop_contrastive": TwoCropContrastiveModel,
    "two_crop_whitening": TwoCropWhiteningModel,
    "codebook": CodebookModel,
}


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
        UserError: If the task is unknown, an option is not one of the task's, or its value is out
            of range.

    Example:
        >>> model = build_pretraining_model(PretrainingTaskConfig(), backbone, seed=1)
    """
    if config.name not in PRETRAINING_TASKS:
        names = ", ".join(sorted(PRETRAINING_TASKS))
        raise UserError(f"task.name {config.name!r} is unknown; choose one of: {names}")
    task = PRETRAINING_TASKS[config.name]
    given = {key: value for key, value in asdict(config).items() if value is not None}
    del given["name"]
    unknown = sorted(set(given) - set(task.OPTIONS))
    if unknown:
        raise UserError(
            f"task.{unknown[0]} is no option of pretraining task {config.name!r}; it has: "
            f"{', '.join(task.OPTIONS)}"
        )
    try:
        return task(backbone, seed=seed, name=config.name, **given)
    except ValueError as error:
        raise UserError(f"options of pretraining task {config.name!r}: {error}") from error
