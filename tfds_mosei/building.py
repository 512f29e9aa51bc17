"""Preparing a dataset in one call."""

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from tfds_mosei import workspace
from tfds_mosei.corpus_config import FoldsLike
from tfds_mosei.tfds_mosei_dataset_builder import Builder


def build(
    config: str = "covarep",
    *,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    folds: FoldsLike = None,
    size: int | None = None,
    unlabelled: str = "train",
    file_format: str | None = None,
    beam_flags: Sequence[str] | None = None,
    overwrite: bool = False,
    **kwargs: Any,
) -> Builder:
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

    Examples:
        >>> import tfds_mosei
        >>> builder = tfds_mosei.build("synthetic", data_dir=synthetic_data, size=8)
        >>> example = next(iter(builder.as_dataset(split="train")))
        >>> example["features"].shape[1], example["emotions"].shape[0]
        (74, 6)
    """
    make = functools.partial(
        Builder,
        config=config,
        manual_dir=manual_dir,
        folds=folds,
        size=size,
        unlabelled=unlabelled,
        **kwargs,
    )
    prepare: dict[str, Any] = {
        "download_dir": Path(data_dir) / "downloads",
        "download_config": tfds.download.DownloadConfig(
            beam_options=None if beam_flags is None else _beam_options(beam_flags)
        ),
    }
    if overwrite:
        place = Path(make(data_dir=data_dir).data_dir)
        if place.exists():
            with workspace.reported_as_unwritable(place), workspace.exclusive(place):
                _replace(place, functools.partial(make, file_format=file_format), prepare)
            return make(data_dir=data_dir)
    builder = make(data_dir=data_dir, file_format=file_format)
    builder.download_and_prepare(**prepare)
    return builder


def _replace(place: Path, make: Callable[..., Builder], prepare: dict[str, Any]) -> None:
    """Prepares a dataset beside the one that is there, and then puts it in its place."""
    scratch, aside = (place.with_name(f"incomplete.{x}_{place.name}") for x in ("new", "old"))
    try:
        builder = make(data_dir=scratch)
        builder.download_and_prepare(**prepare)
        place.rename(aside)
        Path(builder.data_dir).rename(place)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _beam_options(flags: Sequence[str]) -> Any:
    """Options of a pipeline; the arguments of the running program are left alone."""
    import apache_beam as beam  # takes seconds

    return beam.options.pipeline_options.PipelineOptions(flags=list(flags))
