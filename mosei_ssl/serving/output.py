"""Predictions as a table, JSON or CSV."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from mosei_ssl.serving.schema import EMOTIONS, OUTPUTS, Segment


def as_records(
    segments: Sequence[Segment], predictions: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One plain dictionary per segment.

    Args:
        segments: [N] what was judged.
        predictions: arrays [N, 6], see `LocalModel.predict`.

    Returns:
        Dictionaries of `name`, `start`, `end` (seconds), `frames`, `emotions` (for every emotion
        its `intensity`, `class`, `present` and `expected`), `most_likely` (the emotion of the
        highest `present`) and, of labelled segments, `truth` (the labelled intensities).
    """
    records = []
    for row, segment in enumerate(segments):
        emotions = {
            emotion: {
                # Seven digits are what float32 holds; more would be the noise of conversion.
                name: float(f"{predictions[name][row, column]:.7g}")
                if name != "class"
                else int(predictions[name][row, column])
                for name in OUTPUTS
            }
            for column, emotion in enumerate(EMOTIONS)
        }
        record = {
            "name": segment.name,
            "start": round(segment.start, 4),
            "end": round(segment.end, 4),
            "frames": len(segment.features),
            "emotions": emotions,
            "most_likely": _most_likely(emotions),
        }
        if segment.truth is not None:
            values = (float(f"{value:.7g}") for value in segment.truth)
            record["truth"] = dict(zip(EMOTIONS, values, strict=True))
        records.append(record)
    return records


def _most_likely(emotions: Mapping[str, Mapping[str, Any]]) -> str:
    return max(EMOTIONS, key=lambda emotion: emotions[emotion]["present"])


def to_json(records: Sequence[Mapping[str, Any]]) -> str:
    """The records as a JSON list."""
    return json.dumps(list(records), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """The records as CSV: a line per segment, a column per emotion and output.

    Where a record has a `truth`, there is a column `EMOTION_truth` too, empty where it is unknown.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    keys = ["name", "start", "end", "frames"]
    answers = [f"{emotion}_{name}" for emotion in EMOTIONS for name in OUTPUTS]
    labelled = EMOTIONS if any("truth" in record for record in records) else ()
    truths = [f"{emotion}_truth" for emotion in labelled]
    writer.writerow([*keys, *answers, "most_likely", *truths])
    for record in records:
        values = [record["emotions"][emotion][name] for emotion in EMOTIONS for name in OUTPUTS]
        truth = record.get("truth", {})
        writer.writerow(
            [
                *(record[key] for key in keys),
                *values,
                record["most_likely"],
                *(truth.get(emotion, "") for emotion in labelled),
            ]
        )
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
            Text(record["name"]),  # brackets in it are no markup
            f"{record['start']:.2f}-{record['end']:.2f}",
            *(
                f"[bold]{a['intensity']:g}[/] {a['present']:.0%}"
                if a["intensity"] > 0
                else f"{a['intensity']:g} {a['present']:.0%}"
                for a in answers
            ),
            _most_likely(record["emotions"]),
        )
        if "truth" in record:
            values = [record["truth"][emotion] for emotion in EMOTIONS]
            strongest = max(values)
            named = [e for e, v in zip(EMOTIONS, values, strict=True) if v == strongest > 0]
            table.add_row(
                "",
                "truth",
                *(f"{value:.2g}" for value in values),
                ", ".join(named) or "none",
                style="dim",
            )
    return table
