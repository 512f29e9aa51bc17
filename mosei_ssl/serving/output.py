"""Predictions as a table, JSON or CSV."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mosei_ssl.serving.inputs import Segment
from mosei_ssl.serving.signatures import OUTPUTS
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES

_VUV = FEATURE_NAMES.index("VUV")
NONE = "none"
"""Stands for an emotion where none is likely."""


def as_records(
    segments: Sequence[Segment],
    predictions: Mapping[str, np.ndarray],
    threshold: float = 0.5,
    not_learned: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """One plain dictionary per segment.

    It holds `name`, `start`, `end` (seconds), `frames`, `emotions` (for every emotion its
    `intensity`, `class`, `present` and `expected`), `most_likely` (the emotion of the highest
    `present`, or "none" if that is below the threshold or no frame is voiced), `not_learned` (the
    emotions that no label has shown to the model: its answers mean nothing there), `rate`
    (sampling rate of the recording in Hz, where it is known) and, of labelled segments, `truth`
    (the labelled intensities).
    """
    records = []
    for row, segment in enumerate(segments):
        emotions = {
            emotion: {name: _plain(predictions[name][row, column]) for name in OUTPUTS}
            for column, emotion in enumerate(EMOTIONS)
        }
        known = [emotion for emotion in EMOTIONS if emotion not in not_learned] or EMOTIONS
        likely = max(known, key=lambda emotion: emotions[emotion]["present"])
        # Models have heard speech only: what they say of silence and noise is chance.
        voiced = (segment.features[:, _VUV] > 0).any()
        record = {
            "name": segment.name,
            "start": round(segment.start, 4),
            "end": round(segment.end, 4),
            "frames": len(segment.features),
            "emotions": emotions,
            "most_likely": likely if voiced and emotions[likely]["present"] >= threshold else NONE,
            "not_learned": list(not_learned),
        }
        if segment.rate is not None:
            record["rate"] = segment.rate
        if segment.truth is not None:
            record["truth"] = dict(zip(EMOTIONS, map(_plain, segment.truth), strict=True))
        records.append(record)
    return records


def _plain(value: np.generic) -> float | int:
    # Seven digits are what float32 holds; more would be the noise of conversion.
    return int(value) if isinstance(value, np.integer) else float(f"{value:.7g}")


def to_text(records: Sequence[Mapping[str, Any]], form: str, *, full: bool = False) -> str:
    """The records as "json", "csv", or a "table" 120 columns wide.

    JSON answers two questions of every emotion, how strong (`intensity`, the median) and how
    probable (`probability`), or `full`, whatever the model says under its own names.
    """
    if form == "json":
        written = list(records) if full else list(map(brief, records))
        return json.dumps(written, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form == "csv":
        import pandas

        # Empty are unknown truths, and emotions that the model has not learned.
        return pandas.DataFrame(map(flat, records)).to_csv(index=False)
    page = io.StringIO()
    Console(file=page, width=120).print(to_table(records))
    return page.getvalue()


def brief(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with one number per question."""
    emotions = {
        emotion: {"intensity": answer["intensity"], "probability": answer["present"]}
        for emotion, answer in record["emotions"].items()
    }
    return {**record, "emotions": emotions}


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the row of a table: columns of emotions and outputs, `rate`, `EMOTION_truth`.

    What the model says of emotions that it has not learned is NaN.
    """
    row = {key: record[key] for key in ("name", "start", "end", "frames")}
    for emotion in EMOTIONS:
        for name, value in record["emotions"][emotion].items():
            row[f"{emotion}_{name}"] = math.nan if emotion in record["not_learned"] else value
    row |= {key: record[key] for key in ("most_likely", "rate") if key in record}
    truth = record.get("truth", {})
    return row | {f"{emotion}_truth": value for emotion, value in truth.items()}


def to_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """The records for a person: intensity and probability of every emotion, and the most likely.

    A dash stands for emotions that the model has not learned. Labelled intensities, where known,
    are a line below the prediction.
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
        answers = {e: a for e, a in record["emotions"].items() if e not in record["not_learned"]}
        table.add_row(
            Text(record["name"]),  # brackets in it are not markup
            f"{record['start']:.2f}-{record['end']:.2f}",
            *(_cell(answers.get(emotion)) for emotion in EMOTIONS),
            record["most_likely"],
        )
        if "truth" in record:
            truth = record["truth"]
            strongest = max(truth.values())
            named = [emotion for emotion in EMOTIONS if truth[emotion] == strongest > 0]
            values = [f"{truth[emotion]:.2g}" for emotion in EMOTIONS]
            table.add_row("", "truth", *values, ", ".join(named) or NONE, style="dim")
    return table


def _cell(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "-"
    form = "[bold]{0:g}[/] {1:.0%}" if answer["intensity"] else "{0:g} {1:.0%}"
    return form.format(answer["intensity"], answer["present"])
