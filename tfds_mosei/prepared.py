"""Preparing a dataset in one call, and finding what is prepared."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfds_mosei.errors import CorpusError, NothingPreparedError

DATASET_NAME = "tfds_mosei"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def build(
    config: str = "covarep",
    *,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    folds: Any = None,
    size: int | None = None,
    unlabelled: str = "train",
    file_format: str | None = None,
    beam_flags: Sequence[str] | None = None,
    overwrite: bool = False,
    **kwargs: Any,
) -> Any:
    """Prepares a dataset, or finds it prepared.

    Args:
        config: ``"covarep"`` or ``"synthetic"``.
        data_dir: where datasets are kept; made where missing.
        manual_dir: folder of the corpus; needed for ``"covarep"`` unless the corpus lies in
            ``downloads/manual`` of `data_dir`.
        folds: folds file, or ids by split; by default the one beside the corpus, else MOSEI's
            standard folds, downloaded.
        size: synthetic only: number of videos.
        unlabelled: videos of the split ``unlabelled``: ``"train"``, ``"all"`` (those in no fold
            too) or ``"none"``.
        file_format: ``"tfrecord"`` (the default, for ``as_dataset`` and `tfds.load`) or
            ``"array_record"`` (for ``as_data_source``, which needs no TensorFlow).
        beam_flags: build by an Apache Beam pipeline with these flags, for example
            ``["--runner=DirectRunner"]``; None builds in this process.
        overwrite: prepare again, even if it is there; the old dataset stays until the new one
            is complete.
        **kwargs: further arguments of `tfds_mosei.Builder`, such as ``version``.

    Returns:
        The builder, ready for ``as_dataset``, ``as_data_source`` and ``info``.

    Raises:
        CorpusError: the corpus or the folds are not usable; nothing is left half-written.

    Example:
        ```python
        builder = tfds_mosei.build("synthetic", data_dir="data", size=12)
        train = builder.as_dataset(split="train")
        ```
    """
    import tensorflow_datasets as tfds

    from tfds_mosei.tfds_mosei_dataset_builder import Builder

    arguments = {
        "config": config,
        "data_dir": data_dir,
        "manual_dir": manual_dir,
        "folds": folds,
        "size": size,
        "unlabelled": unlabelled,
    }
    settings = tfds.download.DownloadConfig(
        beam_options=None if beam_flags is None else _beam_options(beam_flags),
    )
    if overwrite:
        settings.download_mode = tfds.GenerateMode.REUSE_CACHE_IF_EXISTS
        # The format of what is there does not bind what replaces it.
        builder = Builder(**arguments, **kwargs)
        builder.download_and_prepare(
            download_config=settings, file_format=file_format or tfds.core.FileFormat.TFRECORD
        )
        return builder
    builder = Builder(**arguments, file_format=file_format, **kwargs)
    builder.download_and_prepare(download_config=settings)
    return builder


def _beam_options(flags: Sequence[str]) -> Any:
    try:
        from tfds_mosei import beam_pipeline
    except ImportError as error:
        raise CorpusError(
            f"Building by a Beam pipeline needs Apache Beam ({error}): "
            'pip install "mosei_ssl[build]".'
        ) from error
    return beam_pipeline.pipeline_options(flags)


def list_prepared(data_dir: str | os.PathLike[str]) -> dict[str, Path]:
    """All prepared datasets below a directory.

    Args:
        data_dir: where datasets are kept.

    Returns:
        Directory of the newest version of each, by config name.
    """
    found: dict[str, Path] = {}
    root = Path(data_dir) / DATASET_NAME
    for info in sorted(root.glob("*/*/dataset_info.json")):
        version = info.parent
        if not _VERSION.fullmatch(version.name):
            continue
        name = version.parent.name
        if name not in found or _version_key(found[name]) < _version_key(version):
            found[name] = version
    return found


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))


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

    Example:
        ```python
        builder = tfds.builder_from_directory(tfds_mosei.find_prepared("data"))
        ```
    """
    found = list_prepared(data_dir)
    names = sorted(found)
    if not names:
        raise NothingPreparedError(
            f"{data_dir}: no prepared dataset in it. Build one first: `mosei-ssl build`, or "
            "tfds_mosei.build() in Python."
        )
    if dataset is not None:
        if dataset in found:
            return found[dataset]
        fitting = [name for name in names if name.startswith(dataset)]
        if not fitting:
            raise CorpusError(
                f"{data_dir}: no prepared dataset {dataset!r}; there are {', '.join(names)}."
            )
        names = fitting
    if len(names) > 1:
        raise CorpusError(
            f"{data_dir}: several prepared datasets fit: {', '.join(names)}. Name the one you "
            "want (dataset)."
        )
    return found[names[0]]
