"""`mosei-ssl finetune`."""

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.main import config_from
from mosei_ssl.config import FinetuneConfig


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "%(prog)s --run RUN (--pretrained RUN | --from-scratch) [options]"
    parser.description = (
        "Train the emotion model on a label budget: with --pretrained the self-supervised arm, "
        "with --from-scratch the baseline, the same backbone with fresh weights. Examples: "
        "mosei-ssl finetune --run runs/ssl100 --labels 100 --pretrained runs/pre ; "
        "mosei-ssl finetune --run runs/base100 --labels 100 --from-scratch"
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    parser.add_class_arguments(
        FinetuneConfig, as_group=False, skip={"from_scratch", "freeze_backbone"}
    )
    for flag, text in (
        ("--from-scratch", "the baseline: the same backbone with fresh weights"),
        ("--freeze-backbone", "train the head only (a linear probe of the backbone)"),
    ):
        # A file may turn it on, and the line off again: --freeze-backbone false.
        parser.add_argument(flag, type=bool, nargs="?", const=True, default=False, help=text)


def run(parser: ArgumentParser, options: Namespace) -> int:
    config = config_from(FinetuneConfig, parser, options)
    from mosei_ssl.training import finetune

    finetune(config)
    return 0
