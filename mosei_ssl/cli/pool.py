"""Pool studies of the same arms on several corpora: means over corpora, with intervals.

Example:
  mosei-ssl pool studies/ravdess studies/cremad --out studies/pooled
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options


@dataclass(kw_only=True)
class PoolOptions(Options):
    """Options of `mosei-ssl pool`.

    Args:
        studies: folders of finished studies, one per corpus.
        out: folder of the report.
    """

    studies: list[str] = positional()
    out: str


def run(options: PoolOptions) -> int:
    from mosei_ssl.study.pooling import pool_studies

    say(f"Report: {pool_studies(options.studies, options.out)}")
    return 0
