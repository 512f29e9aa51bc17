"""`mosei-ssl build`."""

import contextlib
import io
from typing import Literal

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Build the TFDS dataset from the files in --manual-dir (what `tfds build` does) and print "
        "what was found. Which files and which folds are part of the dataset's name: another "
        "corpus or other folds give another dataset. Examples: "
        "mosei-ssl build --manual-dir downloads/mosei ; mosei-ssl build --synthetic ; "
        "mosei-ssl build --manual-dir downloads/mosei --unlabelled all"
    )
    parser.add_argument(
        "--manual-dir",
        type=str | None,
        default=None,
        help="folder of the corpus: features (a .csd file, or the .mat files of the raw archive), "
        "labels (a .csd or CSV file) and, if any, folds.json; by default DATA_DIR/downloads/manual",
    )
    parser.add_argument(
        "--folds", type=str | None, default=None, help="folds file instead of the folder's own"
    )
    parser.add_argument(
        "--data-dir", type=str, default="data", help="where TFDS keeps its datasets"
    )
    parser.add_argument(
        "--unlabelled",
        choices=("train", "all", "none"),
        default="train",
        help="recordings to cut up for pretraining: those of the train fold, all that are in no "
        "fold too, or none; never those of the validation and test folds",
    )
    parser.add_argument(
        "--file-format",
        choices=("tfrecord", "array_record"),
        default="tfrecord",
        help="tfrecord, which the other verbs read, or array_record, for tfds.data_source without "
        "TensorFlow",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="prepare again, even if it is there; the old dataset stays until the new one is "
        "complete",
    )
    parser.add_argument(
        "--labels",
        type=int | Literal["all"] | None,
        default=None,
        help="a label budget to check: too many for the train split end the command with code 2",
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
        "--seed",
        type=int,
        default=0,
        help="accepted by every verb; what is built does not depend on it",
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    import tensorflow_datasets as tfds

    from mosei_ssl.cli.dataset_report import build_dataset

    # The builder logs how far it is. TFDS itself prints sizes that it does not know, and bars with
    # paths longer than a line, in a log one below the other.
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        report = build_dataset(
            data_dir=options.data_dir,
            manual_dir=options.manual_dir,
            folds=options.folds,
            synthetic=options.synthetic,
            size=options.size,
            unlabelled=options.unlabelled,
            file_format=options.file_format,
            overwrite=options.overwrite,
            labels=options.labels,
        )
    Console().print(report, soft_wrap=True)
    return 0
