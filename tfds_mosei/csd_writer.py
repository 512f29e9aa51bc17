"""Writes ``.csd`` files, as the official SDK does."""

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from mosei_ssl.utils.files import put_in_place
from tfds_mosei.errors import CorpusError

_BLANK = ("dataset name", "contact", "featureset bib citation", "dataset bib citation", "md5")


def write(
    path: str | os.PathLike[str],
    root: str,
    videos: Iterable[tuple[str, ArrayLike, ArrayLike]],
    *,
    dimension_names: Sequence[str],
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    compression: int | None = 1,
) -> Path:
    """Writes a ``.csd`` file that this package and the official SDK read, whole or not at all.

    `videos` gives ``(video_id, intervals [n, 2] in seconds, features [n, d])``; `metadata` adds to
    the standard keys or replaces them; `compression` is gzip's level, None for none. A
    `CorpusError` is raised if a video has arrays that do not fit together, or an id that HDF5
    cannot hold, or if the file cannot be made.

    Examples:
        >>> from tfds_mosei import FEATURE_NAMES, csd
        >>> times = np.array([[0.0, 0.01], [0.01, 0.02]])
        >>> csd.write(tmp_path / "speech.csd", "COVAREP", [("talk", times, np.zeros((2, 74)))],
        ...           dimension_names=FEATURE_NAMES).name
        'speech.csd'
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with _created(partial) as file:
            data = file.create_group(root).create_group("data")
            for video_id, intervals, features in videos:
                _write_video(
                    data, path, video_id, np.asarray(intervals), np.asarray(features), compression
                )
            _write_metadata(file[root], root, dimension_names, description, metadata or {})
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _created(path: Path) -> h5py.File:
    try:
        # Nobody else knows this file, and network file systems may have no locks.
        return h5py.File(path, "w", locking=False)
    except OSError as error:
        remedy = "set HDF5_USE_FILE_LOCKING=FALSE, or " if "lock" in str(error) else ""
        raise CorpusError(
            f"{path} cannot be written ({error}): {remedy}write to another folder."
        ) from error


def _write_video(
    data: h5py.Group,
    path: Path,
    video_id: str,
    intervals: np.ndarray,
    features: np.ndarray,
    compression: int | None,
) -> None:
    if not video_id or "/" in video_id or video_id == ".":
        raise CorpusError(f"{path}: {video_id!r} cannot be the id of a video.")
    if video_id in data:
        raise CorpusError(f"{path}: video {video_id!r} is given twice.")
    if intervals.shape != (len(features), 2) or features.ndim != 2:
        raise CorpusError(
            f"{path}: video {video_id!r} has features {features.shape} and intervals "
            f"{intervals.shape}; [n, columns] and [n, 2] are needed."
        )
    options: dict[str, Any] = {}
    if compression is not None and len(features):
        options = {"compression": "gzip", "compression_opts": compression}
    group = data.create_group(video_id)
    group.create_dataset("features", data=features, **options)
    group.create_dataset("intervals", data=intervals.astype(np.float64), **options)


def _write_metadata(
    root_group: h5py.Group,
    root: str,
    dimension_names: Sequence[str],
    description: str,
    metadata: Mapping[str, Any],
) -> None:
    # The SDK refuses a file that lacks one of these keys.
    values: dict[str, Any] = {
        "root name": root,
        "computational sequence description": description,
        "dimension names": list(dimension_names),
        "computational sequence version": "1.0",
        "alignment compatible": True,
        "dataset version": "1.0",
        "creator": "mosei_ssl",
        **dict.fromkeys(_BLANK, ""),
        **metadata,
    }
    # Derived, not drawn: the same content gives the same file.
    seed = json.dumps([values, sorted(root_group["data"])], sort_keys=True)
    values.setdefault("uuid", str(uuid.uuid5(uuid.NAMESPACE_OID, seed)))
    group = root_group.create_group("metadata")
    for key, value in values.items():
        group.create_dataset(key, data=[json.dumps(value)], dtype=h5py.string_dtype())
