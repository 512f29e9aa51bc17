"""`mosei-ssl build`."""

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Build the TFDS dataset from the files in --manual-dir (what `tfds build` does) and print "
        "what was found. Which files and which folds are part of the dataset's name: another "
        "corpus or other folds give another dataset. Examples: "
        "mosei-ssl build --manual-dir downloads/mosei ; mosei-ssl build --synthetic"
    )
    parser.add_argument(
        "--manual-dir",
        type=str | None,
        default=None,
        help="folder with the .csd files (features and labels) and, if any, folds.json",
    )
    parser.add_argument(
        "--folds", type=str | None, default=None, help="folds file instead of the folder's own"
    )
    parser.add_argument(
        "--data-dir", type=str, default="data", help="where TFDS keeps its datasets"
    )
    parser.add_argument(
        "--synthetic",
        action="store_true",
        help="a small made-up corpus, written as .csd and read back; for trying things out",
    )
    parser.add_argument(
        "--size", type=int | None, default=None, help="videos of the synthetic corpus"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; building draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    from mosei_ssl.data.build import build_dataset

    report = build_dataset(
        data_dir=options.data_dir,
        manual_dir=options.manual_dir,
        folds=options.folds,
        synthetic=options.synthetic,
        size=options.size,
    )
    Console().print(report, soft_wrap=True)
    return 0
