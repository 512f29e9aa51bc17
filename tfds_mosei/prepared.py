"""Finding what is prepared, without loading TFDS."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfds_mosei.errors import CorpusError, NothingPreparedError

_VERSION = re.compile(r"\d+\.\d+\.\d+")


def list_prepared(data_dir: str | os.PathLike[str]) -> dict[str, Path]:
    """All prepared datasets below a directory.

    Args:
        data_dir: where datasets are kept.

    Returns:
        Directory of the newest version of each, by config name.

    Examples:
        >>> import tfds_mosei
        >>> list(tfds_mosei.list_prepared(synthetic_data))
        ['synthetic-f22b2d9d4c']
    """
    found: dict[str, Path] = {}
    infos = (Path(data_dir) / "tfds_mosei").glob("*/*/dataset_info.json")
    versions = (info.parent for info in infos if _VERSION.fullmatch(info.parent.name))
    for version in sorted(versions, key=lambda path: [*map(int, path.name.split("."))]):
        found[version.parent.name] = version
    return dict(sorted(found.items()))


def find_prepared(data_dir: str | os.PathLike[str], dataset: str | None = None) -> Path:
    """Finds a prepared dataset.

    Args:
        data_dir: where datasets are kept.
        dataset: config name, for example ``"covarep-1a2b3c4d5e"`` or ``"synthetic"``; a beginning
            of it is enough where it fits one dataset only. None for the only one there.

    Returns:
        Its directory, for `tfds.builder_from_directory`.

    Raises:
        CorpusError: there is none, or several fit.

    Examples:
        >>> import tensorflow_datasets as tfds, tfds_mosei
        >>> builder = tfds.builder_from_directory(tfds_mosei.find_prepared(synthetic_data))
        >>> builder.info.features["features"].shape
        (None, 74)
    """
    found = list_prepared(data_dir)
    if not found:
        raise NothingPreparedError(
            f"{data_dir}: no prepared dataset in it. Build one first: `mosei-ssl build`, or "
            "tfds_mosei.build() in Python."
        )
    if dataset in found:
        return found[dataset]
    fitting = [name for name in found if name.startswith(dataset or "")]
    if not fitting:
        raise CorpusError(
            f"{data_dir}: no prepared dataset {dataset!r}; there are {', '.join(found)}."
        )
    if len(fitting) > 1:
        raise CorpusError(
            f"{data_dir}: several prepared datasets fit: {', '.join(fitting)}. Name the one you "
            "want (dataset)."
        )
    return found[fitting[0]]


def train_seconds(
    data_dir: str | os.PathLike[str], dataset: Mapping[str, Any]
) -> dict[str, float] | None:
    """Length of the train segments of a dataset, told by its `fingerprint`, in seconds.

    `median` and `longest`; None where the dataset is no longer there, or its report lacks them.
    """
    for directory in list_prepared(data_dir).values():
        try:
            # Read as JSON, since TFDS would bring TensorFlow along.
            metadata = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
            if metadata["fingerprint"] == dataset["fingerprint"]:
                seconds = metadata["report"]["splits"]["train"]["seconds"]
                return {"median": round(seconds["median"], 2), "longest": round(seconds["max"], 2)}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
