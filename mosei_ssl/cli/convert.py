"""Make a corpus that `build` takes from another project's package of MOSEI.

MMSA's unaligned_50.pkl and aligned_50.pkl, MulT's mosei_senti_data*.pkl, MultiBench's mosei.hdf5
and mosei_raw.pkl, MISA's train.pkl, MFN's audio_train.h5, and .npz files. Pickles are opened
without running anything that is in them.

Example:
  mosei-ssl convert unaligned_50.pkl --labels CMU_MOSEI_Labels.csd --out corpus
  mosei-ssl build --manual-dir corpus
"""

from dataclasses import dataclass

from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say
from mosei_ssl.utils.options import Options, ranged


@dataclass(kw_only=True)
class ConvertOptions(Options):
    """Options of `mosei-ssl convert`.

    Args:
        package: the file; files of other splits beside it are found by their names.
        out: folder to write, new or empty.
        labels: MOSEI's labels, .csd or .csv, to take emotions from; most packages have sentiment
            only, and serve for pretraining alone without these.
        row_period: seconds from row to row, where the package is not what its form says; by
            default 0.05, or none for rows that are words.
    """

    package: str = positional()
    out: str
    labels: str | None = None
    row_period: float | None = ranged(None, 0, above=True)


def run(options: ConvertOptions) -> int:
    from tfds_mosei.convert import convert_package

    report = convert_package(options.package, options.out, options.labels, options.row_period)
    say("\n".join([*report, f"written to {options.out}; next: build --manual-dir {options.out}"]))
    return 0
