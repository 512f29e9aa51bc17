"""Divide a corpus into k folds for cross-validation, no speaker in two splits of a fold.

Every speaker is in the test split of one fold and in the validation split of another. The file is
for `folds` in the configuration of a `study`, which then trains and tests on each fold in turn.
Speakers are those that `extract` wrote to speakers.json; other videos count as a speaker each.

Example:
  mosei-ssl folds corpus/ --k 5
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options, ranged


@dataclass(kw_only=True)
class FoldsOptions(Options):
    """Options of `mosei-ssl folds`.

    Args:
        corpus: folder of the corpus, as `build` takes it.
        k: how many folds.
        out: file to write (default: folds_kK.json in the corpus); never one that differs.
        seed: fixes which speakers are together.
    """

    corpus: str = positional()
    k: int = ranged(5, 3)
    out: str | None = None
    seed: int = ranged(0, 0)


def run(options: FoldsOptions) -> int:
    from mosei_ssl.corpus.corpus_files import write_cross_validation

    place, folds = write_cross_validation(options.corpus, options.k, options.seed, options.out)
    tested = [len(fold["test"]) for fold in folds]
    say(f"{place}: {len(folds)} folds, {min(tested)} to {max(tested)} videos in the test split")
    return 0
