"""Predictions as a table, JSON or CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.serving.signatures import OUTPUTS
from tfds_mosei.schema import EMOTIONS


def as_records(
    segments: Sequence[Segment], predictions: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One plain dictionary per segment.

    It holds `name`, `start`, `end` (seconds), `frames`, `emotions` (for every emotion its
    `intensity`, `class`, `present` and `expected`), `most_likely` (the emotion of the highest
    `present`) and, of labelled segments, `truth` (the labelled intensities).
    """
    records = []
    for row, segment in enumerate(segments):
        emotions = {
            emotion: {name: _plain(predictions[name][row, column]) for name in OUTPUTS}
            for column, emotion in enumerate(EMOTIONS)
        }
        record = {
            "name": segment.name,
            "start": round(segment.start, 4),
            "end": round(segment.end, 4),
            "frames": len(segment.features),
            "emotions": emotions,
            "most_likely": max(EMOTIONS, key=lambda emotion: emotions[emotion]["present"]),
        }
        if segment.truth is not None:
            record["truth"] = dict(zip(EMOTIONS, map(_plain, segment.truth), strict=True))
        records.append(record)
    return records


def _plain(value: np.generic) -> float | int:
    # Seven digits are what float32 holds; more would be the noise of conversion.
    return int(value) if isinstance(value, np.integer) else float(f"{value:.7g}")


def to_text(records: Sequence[Mapping[str, Any]], form: str) -> str:
    """The records as "json", "csv", or a "table" 120 columns wide."""
    if form == "json":
        return json.dumps(list(records), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form == "csv":
        return _to_csv(records)
    page = io.StringIO()
    Console(file=page, width=120).print(to_table(records))
    return page.getvalue()


def _to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A line per segment, a column per emotion and output.

    Where a record has a `truth`, there is a column `EMOTION_truth` too, empty where it is unknown.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    keys = ["name", "start", "end", "frames"]
    answers = [(emotion, name) for emotion in EMOTIONS for name in OUTPUTS]
    labelled = EMOTIONS if any("truth" in record for record in records) else ()
    truths = [f"{emotion}_truth" for emotion in labelled]
    writer.writerow([*keys, *map("_".join, answers), "most_likely", *truths])
    for record in records:
        values = [record["emotions"][emotion][name] for emotion, name in answers]
        truth = record.get("truth", {})
        known = [truth.get(emotion, "") for emotion in labelled]
        writer.writerow([*(record[key] for key in keys), *values, record["most_likely"], *known])
    return stream.getvalue()


def to_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """The records for a person: intensity and probability of every emotion, and the most likely.

    Labelled intensities, where known, are a line below the prediction.
    """
    table = Table(
        title="intensity 0 to 3, and the probability that the emotion is there at all",
        title_style="dim",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
    )
    # On a narrow terminal a long name is folded, and no number is cut.
    table.add_column("segment", overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True, min_width=13)
    for emotion in EMOTIONS:
        table.add_column(emotion, justify="right", no_wrap=True, min_width=max(6, len(emotion)))
    table.add_column("most\nlikely", overflow="fold", min_width=max(map(len, EMOTIONS)))
    for record in records:
        answers = [record["emotions"][emotion] for emotion in EMOTIONS]
        table.add_row(
            Text(record["name"]),  # brackets in it are not markup
            f"{record['start']:.2f}-{record['end']:.2f}",
            *(
                ("[bold]{0:g}[/] {1:.0%}" if a["intensity"] else "{0:g} {1:.0%}").format(
                    a["intensity"], a["present"]
                )
                for a in answers
            ),
            max(EMOTIONS, key=lambda emotion: record["emotions"][emotion]["present"]),
        )
        if "truth" in record:
            truth = record["truth"]
            strongest = max(truth.values())
            named = [emotion for emotion in EMOTIONS if truth[emotion] == strongest > 0]
            values = [f"{truth[emotion]:.2g}" for emotion in EMOTIONS]
            table.add_row("", "truth", *values, ", ".join(named) or "none", style="dim")
    return table
