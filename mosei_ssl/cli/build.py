"""Build the TFDS dataset from .csd files, as `tfds build` does, and report on it.

Which files and which folds are part of the dataset's name: another corpus or other folds give
another dataset.

Examples:
  mosei-ssl build --manual-dir downloads/mosei
  mosei-ssl build --manual-dir downloads/mosei --unlabelled all
  mosei-ssl build --synthetic
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rich.console import Group
from rich.text import Text

from mosei_ssl.cli.dataset_report import dataset_report
from mosei_ssl.cli.output import write_json_out
from mosei_ssl.config import Budget
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import Options
from mosei_ssl.utils.terminal import console


@dataclass(kw_only=True)
class BuildOptions(Options):
    """Options of `mosei-ssl build`.

    Args:
        manual_dir: folder of the corpus: features (a .csd file, or the .mat files of the raw
            archive), labels (a .csd or CSV file) and, if any, folds.json; by default
            DATA-DIR/downloads/manual.
        folds: folds file instead of the folder's.
        data_dir: where TFDS keeps its datasets.
        unlabelled: recordings to cut up for pretraining: those of the train fold, all that are in
            no fold too (so a folder without labels will do), or none; never those of the
            validation and test folds.
        file_format: tfrecord, which the other verbs read, or array_record, for tfds.data_source
            without TensorFlow.
        overwrite: prepare again, even if it is there; the old dataset stays until the new one is
            complete.
        labels: a label budget to check: too many for the train split end the command with code 2.
        synthetic: a small synthetic corpus, written as .csd and read back; for trying things out.
        size: videos of the synthetic corpus.
        json: print name, folder, files and report of the dataset as JSON.
    """

    common: ClassVar[tuple[str, ...]] = (
        *("manual_dir", "folds", "data_dir", "unlabelled", "overwrite", "synthetic", "json"),
    )

    manual_dir: str | None = None
    folds: str | None = None
    data_dir: str = "data"
    unlabelled: Literal["train", "all", "none"] = "train"
    file_format: Literal["tfrecord", "array_record"] = "tfrecord"
    overwrite: bool = False
    labels: Budget | None = None
    synthetic: bool = False
    size: int | None = None
    json: bool = False


def run(options: BuildOptions) -> int:
    build_dataset(options)
    return 0


def build_dataset(options: BuildOptions) -> str:
    """Prepare a TFDS dataset, or find it prepared, and show what it holds; gives its name."""
    import tensorflow_datasets as tfds

    # The builder logs its progress; TFDS prints unknown sizes, and bars longer than a line.
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        facts = collect(options)
    if options.json:
        write_json_out(facts)
    else:
        console().print(page(facts), soft_wrap=True)
    return str(facts["dataset"])


def collect(options: BuildOptions) -> dict[str, Any]:
    """Prepare a TFDS dataset, or find it prepared: its name, places and metadata."""
    import tfds_mosei
    from mosei_ssl.data.budgets import check_label_budget
    from tfds_mosei.report_page import HTML_FILE

    synthetic, manual_dir = options.synthetic, options.manual_dir
    if synthetic and manual_dir is not None:
        raise UserError("--synthetic makes its own corpus: leave out --manual-dir, or --synthetic")
    if options.size is not None and not synthetic:
        raise UserError("--size can be chosen for the synthetic corpus only")
    if not synthetic and manual_dir is None:
        _check_default_place(Path(options.data_dir))
    settings = dict(vars(options))
    for name in ("synthetic", "labels", "json"):
        del settings[name]
    builder = tfds_mosei.build("synthetic" if synthetic else "covarep", **settings)
    metadata = dict(builder.info.metadata or {})
    if options.labels is not None:
        train = metadata["report"]["splits"].get("train", {})
        levels = train.get("emotion_levels") or {}
        check_label_budget(options.labels, max(map(sum, levels.values()), default=0))
    html = Path(builder.data_dir) / HTML_FILE
    folds = None
    # Those of the synthetic corpus are as synthetic as the rest of it.
    name = metadata["folds"]["source"]
    if not synthetic and name:
        # The dataset keeps only the name of the file.
        path = Path(manual_dir or "", name)
        folds = options.folds or str(path if manual_dir and path.is_file() else name)
    return {
        "dataset": builder.builder_config.name,
        "folder": str(builder.data_dir),
        "report": str(html) if html.is_file() else None,
        "folds": folds,
        "metadata": metadata,
    }


def page(facts: Mapping[str, Any]) -> Group:
    """Lay out what `build_dataset` found."""
    lines = [f"dataset {facts['dataset']} in {facts['folder']}"]
    lines += [f"{key} {facts[key]}" for key in ("report", "folds") if facts[key] is not None]
    return Group(*map(Text, lines), dataset_report(facts["metadata"]))


def _check_default_place(data_dir: Path) -> None:
    """Refuse a build without a corpus before TFDS announces it and makes folders."""
    corpus = data_dir / "downloads" / "manual"
    prepared = data_dir / "tfds_mosei" / "covarep"
    if not (corpus.is_dir() and any(corpus.iterdir())) and not prepared.is_dir():
        raise UserError(
            f"which corpus? Give its folder as --manual-dir (nothing is in {corpus}), or "
            "--synthetic for a small synthetic one."
        )
