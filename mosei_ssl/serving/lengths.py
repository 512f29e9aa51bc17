"""How long the segments are that a model was trained on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train_seconds(data_dir: str | Path, dataset: Mapping[str, Any]) -> dict[str, float] | None:
    """Look up the lengths of the train split in the report of a prepared dataset.

    Args:
        data_dir: where the dataset was prepared.
        dataset: `fingerprint` of the dataset.

    Returns:
        `median` and `longest` in seconds; None where the dataset is no longer there, or its
        report does not say.

    Example:
        >>> train_seconds("data", {"fingerprint": "5ca31ded67"})  # doctest: +SKIP
        {'median': 2.3, 'longest': 5.1}
    """
    import tfds_mosei

    for directory in tfds_mosei.list_prepared(data_dir).values():
        try:
            # Read as JSON, since TFDS would bring TensorFlow along.
            metadata = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
            if metadata["fingerprint"] != dataset["fingerprint"]:
                continue
            seconds = metadata["report"]["splits"]["train"]["seconds"]
            return {"median": round(seconds["median"], 2), "longest": round(seconds["max"], 2)}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
