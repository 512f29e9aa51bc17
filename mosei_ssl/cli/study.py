"""`mosei-ssl study`."""

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import say


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Run the label-efficiency experiment: arms x label budgets x folds x seeds, statistics and "
        "one report. Killed at any moment and started again it does only what is missing. "
        "Example: mosei-ssl study --config configs/small_study.yaml --out studies/first --workers 2"
    )
    parser.add_argument("--config", type=str, required=True, help="the study, a YAML file")
    parser.add_argument("--out", type=str, required=True, help="folder of the study")
    parser.add_argument("--workers", type=int, default=1, help="cells at a time")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells and estimate what they cost"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes on this machine, or a Ray cluster (extra `ray`)",
    )
    parser.add_argument(
        "--ray-address",
        type=str | None,
        default=None,
        help="address of the Ray cluster; without it one is started here",
    )
    parser.add_argument(
        "--seed", type=int | None, default=None, help="run this one seed instead of the study's own"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.study import load_study_config, run_study

    config = load_study_config(options.config)
    if options.seed is not None:
        config.seeds = [options.seed]
    result = run_study(
        config,
        options.out,
        workers=options.workers,
        dry_run=options.dry_run,
        engine=options.engine,
        ray_address=options.ray_address,
    )
    if result.report is not None:
        say(f"Report: {result.report}")
    return 1 if result.failed else 0
