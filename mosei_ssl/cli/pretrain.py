"""`mosei-ssl pretrain`."""

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.main import config_from
from mosei_ssl.config import PretrainConfig


def add_arguments(parser: ArgumentParser) -> None:
    parser.usage = "%(prog)s --run RUN [options]"
    parser.description = (
        "Pretrain a backbone by self-supervision: no label is used. "
        "Interrupted runs go on where they were: give the same command again. Example: "
        "mosei-ssl pretrain --run runs/pre --config configs/small_pretrain.yaml --epochs 40"
    )
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    parser.add_class_arguments(PretrainConfig, as_group=False)
    parser.add_argument(
        "--strategy",
        choices=["none", "mirrored", "multiworker"],
        default="none",
        help="devices that share each batch: one, all of this machine, or one process on each of "
        "several machines, told of each other by TF_CONFIG",
    )
    parser.add_argument(
        "--profile-steps",
        type=str | None,
        help="FIRST,LAST: profile these steps, counted from 1, for TensorBoard (default: none)",
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    config = config_from(PretrainConfig, parser, options)
    from mosei_ssl.training import pretrain

    pretrain(config, strategy=options.strategy, profile_steps=options.profile_steps)
    return 0
