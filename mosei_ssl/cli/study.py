"""Run the label-efficiency experiment: a grid of trainings, statistics, a report.

The grid is arms x label budgets x folds x seeds. Killed at any moment and started again, the
command does only what is missing.

Example:
  mosei-ssl study --config small_study --out studies/first --workers 2
"""

import dataclasses
from dataclasses import dataclass

from mosei_ssl.cli.output import say, write_json_out
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class StudyOptions(Options):
    """Options of `mosei-ssl study`.

    Args:
        config: the study, a YAML file.
        out: folder of the study.
        workers: trainings at a time.
        dry_run: list the runs and estimate what they cost.
        seed: run this one seed instead of the study's seeds.
        json: print folder, report, number of finished cells and errors of failed ones as JSON.
    """

    config: str
    out: str
    workers: int = 1
    dry_run: bool = False
    seed: int | None = None
    json: bool = False


def run(options: StudyOptions) -> int:
    from mosei_ssl.study import load_study_config, run_study

    config = load_study_config(options.config)
    if options.seed is not None:
        config.seeds = [options.seed]
    result = run_study(config, options.out, workers=options.workers, dry_run=options.dry_run)
    if options.json:
        paths = {"folder": str(result.folder), "report": result.report and str(result.report)}
        write_json_out(dataclasses.asdict(result) | paths)
    elif result.report is not None:
        say(f"Report: {result.report}")
    return 1 if result.failed else 0
