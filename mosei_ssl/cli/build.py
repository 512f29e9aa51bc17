"""`mosei-ssl build`."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table


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
    if (options.manual_dir is None) == (not options.synthetic):
        parser.error("give either --manual-dir DIR or --synthetic")
    import tfds_mosei

    builder = tfds_mosei.build(
        "synthetic" if options.synthetic else "covarep",
        data_dir=options.data_dir,
        manual_dir=options.manual_dir,
        folds=options.folds,
        size=options.size,
    )
    console = Console()
    console.print(_summary(builder))
    console.print(f"[bold]{builder.info.full_name}[/bold] in {builder.data_dir}", soft_wrap=True)
    return 0


def _summary(builder: Any) -> Table:
    report = builder.info.metadata["report"]
    title = "SYNTHETIC data" if builder.info.metadata["synthetic"] else "Dataset"
    table = Table(title=title, title_justify="left")
    for name in ("split", "videos", "segments", "hours", "median s", "longest s", "no emotion"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split, row in report["splits"].items():
        seconds = row.get("seconds", {})
        table.add_row(
            split,
            str(row["videos"]),
            str(row["segments"]),
            f"{row['hours']:.2f}",
            f"{seconds.get('median', 0):.1f}",
            f"{seconds.get('max', 0):.1f}",
            str(row.get("no_emotion", "-")),
        )
    notes = {**report["dropped"], **report["clipped"], **report["oddities"]}
    shown = [f"{name.replace('_', ' ')}: {count}" for name, count in notes.items() if count]
    if shown:
        table.caption = "; ".join(shown)
        table.caption_justify = "left"
    return table
