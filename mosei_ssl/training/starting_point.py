"""What a fine-tuning starts from: another run, or a preset."""

import logging
from dataclasses import replace

import tfds_mosei
from mosei_ssl.config import DataConfig, FinetuneConfig, PretrainConfig, TransformerConfig
from mosei_ssl.data import Segments, refuse_held_out
from mosei_ssl.metrics import EMOTIONS
from mosei_ssl.models import EmotionModel, load_preset
from mosei_ssl.training.pretraining import videos_seen
from mosei_ssl.training.run_directory import RunDirectory

_log = logging.getLogger(__name__)

_TRUST = 0.75
"""Share of another model's weights that the head is pulled to: the whole answers too boldly."""


def completed(config: FinetuneConfig, pretrained: RunDirectory) -> FinetuneConfig:
    """The options with the pretraining's backbone, and its dataset if none is named or found."""
    kind = PretrainConfig if pretrained.info["kind"] == "pretrain" else FinetuneConfig
    options = pretrained.options(kind)
    if config.backbone not in (TransformerConfig(), options.backbone):
        _log.warning("the backbone is that of %s: options of it do not apply", pretrained.path)
    if config.context != options.context:
        _log.warning(
            "%s was trained with context %s, this has %s: the backbone hears other rows",
            *(pretrained.path, options.context, config.context),
        )
    config = replace(config, backbone=options.backbone)
    default = DataConfig()
    named = (config.data_dir, config.dataset) != (default.data_dir, default.dataset)
    # A preset does not say where its dataset was.
    if named or options.data_dir == default.data_dir or tfds_mosei.list_prepared(config.data_dir):
        return config
    _log.info(
        "no dataset in %s: taking that of %s, in %s",
        *(config.data_dir, pretrained.path, options.data_dir),
    )
    return replace(config, data_dir=options.data_dir, dataset=options.dataset)


def refuse_known_speakers(
    pretrained: RunDirectory, config: FinetuneConfig, train: Segments
) -> None:
    """Raise a UserError if the pretraining has seen videos that this dataset holds out."""
    before = pretrained.info["dataset"]
    if before["fingerprint"] != train.metadata["fingerprint"]:
        refuse_held_out(
            videos_seen(pretrained),
            config,
            f"{pretrained.path} was pretrained on another dataset, {before['name']}",
            "pretrain on this dataset (--config small_pretrain)",
        )


def take_over(pretrained: RunDirectory, model: EmotionModel) -> None:
    """Copy what was learned; standardisation stays that of the dataset at hand.

    The head of an emotion model becomes what the new one starts from and is pulled to. The pull
    is the weight penalty, which `weight_prior` divides by the number of labels, so it fades.
    """
    source = load_preset(pretrained.path)
    backbone = getattr(source, "backbone", source)
    learned = zip(model.backbone.learned_variables, backbone.learned_variables, strict=True)
    for target, value in learned:
        target.assign(value)
    if isinstance(source, EmotionModel):
        model.distribution.pull_to(source.distribution, _TRUST)


def not_learned(config: FinetuneConfig, labelled: Segments) -> list[str]:
    """Emotions that no label has shown, neither here nor to the model that this one starts from."""
    most = labelled.emotions.max(axis=0, initial=0).tolist()
    unseen = [emotion for emotion, level in zip(EMOTIONS, most, strict=True) if not level]
    before = RunDirectory(config.pretrained).open().info if config.pretrained else {}
    if before.get("kind") != "finetune":
        return unseen
    return [emotion for emotion in unseen if emotion in before["result"]["not_learned"]]
