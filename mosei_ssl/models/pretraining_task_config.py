"""Choice of a pretraining task."""

from dataclasses import asdict, dataclass

from mosei_ssl.errors import UserError
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


@dataclass
class PretrainingTaskConfig:
    """Options of the pretraining task.

    An option that is None has the default of the task; one that the task does not know is an
    error.

    Attributes:
        name: which task, a key of `PRETRAINING_TASKS`: ``"masked_timestep"`` (the paper's),
            ``"alteration"`` (TERA), ``"masked_autoencoder"``, ``"latent_prediction"`` (data2vec),
            ``"two_crop_contrastive"``, ``"two_crop_whitening"`` or ``"codebook"`` (k-means).
        mask_ratio: share of hidden timesteps (tasks that hide timesteps).
        mask_span: length of a hidden span in pooled timesteps (likewise).
        loss: reconstruction error, ``"l1"`` or ``"huber"`` (tasks that reconstruct).
        column_rate: share of hidden columns (alteration).
        noise_rate: share of timesteps that get noise (alteration).
        noise_scale: standard deviation of that noise (alteration).
        decoder_dim: width of the decoder (masked_autoencoder).
        momentum: share of the teacher that stays in every step (latent_prediction).
        min_crop: smallest share of a segment in a crop (two_crop tasks).
        max_crop: largest share (two_crop_contrastive).
        feature_dropout: share of feature columns dropped (two_crop_contrastive).
        temperature: of the comparison between crops (two_crop_contrastive).
        projection_dim: width of the space of comparison (two_crop_contrastive).
        strength: weight of differences within segments (two_crop_whitening, codebook).
        min_part: smallest share of a segment in one of its two parts (likewise).
        splits: random splits of each segment (likewise).
    """

    name: str = "masked_timestep"
    mask_ratio: float | None = None
    mask_span: int | None = None
    loss: str | None = None
    column_rate: float | None = None
    noise_rate: float | None = None
    noise_scale: float | None = None
    decoder_dim: int | None = None
    momentum: float | None = None
    min_crop: float | None = None
    max_crop: float | None = None
    feature_dropout: float | None = None
    temperature: float | None = None
    projection_dim: int | None = None
    strength: float | None = None
    min_part: float | None = None
    splits: int | None = None


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
