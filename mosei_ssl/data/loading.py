"""Reading prepared TFDS datasets into `Segments`."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.data.context import contexts, in_context
from mosei_ssl.data.recognition import Content, named, recognise
from mosei_ssl.data.row_period import refuse_other_period
from mosei_ssl.data.segments import Segments, concatenate_segments
from mosei_ssl.utils.errors import UserError
from tfds_mosei import find_prepared


def load_segments(config: DataConfig, split: str, mean: Sequence[float] | None = None) -> Segments:
    """Load a split of the prepared dataset that a configuration names.

    Args:
        config: Which dataset: `data_dir` and `dataset`.
        split: "train", "validation", "test", another split of the dataset, or several joined by
            "+".
        mean: Means [74] that rows are moved to with `config.context`, those of a model's training;
            None takes the train split's.

    Returns:
        The segments in the order of the dataset, all in memory: MOSEI's train split takes 4 GB.
        With `config.context` their rows are relative to their speakers, see `in_context`.

    Raises:
        UserError: If the dataset is not there, has no such split, or the split is empty.

    Examples:
        >>> train = load_segments(DataConfig(data_dir=str(synthetic_data)), "train")
        >>> train.rows(0).shape[1], train.synthetic
        (74, True)
    """
    directory = find_prepared(config.data_dir, config.dataset)
    return load_prepared(directory, split, context=config.context, mean=mean)


def load_prepared(
    directory: str | os.PathLike[str],
    split: str,
    *,
    context: bool = False,
    mean: Sequence[float] | None = None,
) -> Segments:
    """Load a split, or several joined by "+", from the directory of a prepared dataset.

    As `load_segments`, but rows are raw by default.

    Examples:
        >>> load_prepared(find_prepared(synthetic_data), "test").emotions.shape[1]
        6
    """
    means = None if mean is None else tuple(float(value) for value in mean)
    return _load(Path(directory).absolute(), split, context, means)


def _load_now(
    directory: Path, split: str, context: bool, mean: tuple[float, ...] | None
) -> Segments:
    builder = _builder(directory)
    parts = [_load_split(builder, part) for part in split_names(split)]
    if context:
        parts = [_in_context(part, mean) for part in parts]
    return concatenate_segments(parts) if len(parts) > 1 else parts[0]


_load = functools.lru_cache(0)(_load_now)
_kept = ""


def keep_loaded(purpose: str) -> None:
    """Keep what is loaded from now on in memory, until another purpose is named; "" keeps nothing.

    For a process that trains on the same splits again and again.
    """
    global _load, _kept
    if purpose != _kept:
        _load, _kept = functools.lru_cache(None if purpose else 0)(_load_now), purpose


def normalization(
    data_dir: str | os.PathLike[str], dataset: str | None = None
) -> dict[str, list[float]]:
    """Means and standard deviations of a dataset's train split, without reading any frames.

    Args:
        data_dir: Folder that datasets were prepared in.
        dataset: Name of one there; None takes the only one.

    Returns:
        "mean" and "std", [74] each, as backbones take them.

    Raises:
        UserError: If there is no such dataset.

    Examples:
        >>> from mosei_ssl.models import TransformerBackbone
        >>> backbone = TransformerBackbone(**normalization(synthetic_data))
    """
    statistics = read_metadata(data_dir, dataset)["feature_statistics"]
    return {key: list(statistics[key]) for key in ("mean", "std")}


def load_pretraining_segments(config: DataConfig, splits: list[str] | None = None) -> Segments:
    """Load what pretraining may see: splits of the dataset and of the extra ones.

    Rows of an extra dataset are mapped to the first dataset's feature statistics (see
    `concatenate_segments`). An extra dataset made of the same corpus with other folds may train on
    videos that the first one holds out, so videos are compared by id and by content.

    Args:
        config: The dataset and its `extra_datasets`.
        splits: Splits of the first dataset; None means unlabelled, which has the train recordings
            whole and those without labels, or train where it is missing. Extra datasets give those
            of them that they have, at least "train".

    Returns:
        All segments; the first dataset's come first.

    Raises:
        UserError: If a split is missing, or an extra dataset gives videos of the first dataset's
            validation or test split, or has another row period.

    Examples:
        >>> config = DataConfig(data_dir=str(synthetic_data))
        >>> spoken = load_pretraining_segments(config)
        >>> frames = [part.lengths.sum() for part in (load_segments(config, "train"), spoken)]
        >>> bool(frames[0] <= frames[1])
        True
    """
    wanted = split_names("+".join(splits or ["unlabelled"]))
    own = wanted if splits else _present(find_prepared(config.data_dir, config.dataset), wanted)
    parts = [load_segments(config, "+".join(own))]
    for name in config.extra_datasets:
        directory = find_prepared(config.data_dir, name)
        names = "+".join(_present(directory, wanted))
        part = load_prepared(directory, names, context=config.context)
        who = f"extra_datasets: {name!r}"
        refuse_other_period(part.row_period, parts[0].row_period, who, f"{parts[0].name} has")
        refuse_held_out(
            part.content,
            config,
            f"{who} would let held-out speakers into pretraining",
            "allowed are datasets without such videos",
        )
        parts.append(part)
    return concatenate_segments(parts, match_statistics=True) if len(parts) > 1 else parts[0]


def refuse_held_out(videos: Content, config: DataConfig, who: str, remedy: str) -> None:
    """Refuse videos that are in a dataset's validation or test split, under whatever id.

    `videos` are as `Segments.content`. The error message starts with `who` and ends with `remedy`.
    """
    import tensorflow_datasets as tfds

    first = find_prepared(config.data_dir, config.dataset)
    builder = _builder(first)
    only = tfds.decode.PartialDecoding({"video_id": True, "features": True})
    for split in ("validation", "test"):
        if split not in builder.info.splits or builder.info.splits[split].num_examples == 0:
            continue
        held_out = _examples(builder, split, only)
        found = recognise(videos, ((x["video_id"].decode(), x["features"]) for x in held_out))
        if found:
            raise UserError(
                f"{who}: it holds {len(found)} video(s) of the {split} split of "
                f"{first.parent.name}, {named(found)}; {remedy}"
            )


def _present(directory: Path, splits: list[str]) -> list[str]:
    """Those of the splits that are in a dataset and not empty; else what there is to train on."""
    known = _builder(directory).info.splits
    found = [split for split in splits if split in known and known[split].num_examples]
    return found or (["train"] if "train" in known else ["unlabelled"])


def has_split(config: DataConfig, split: str) -> bool:
    """Whether the dataset has a split other than train; one of speech alone has only unlabelled."""
    return _present(find_prepared(config.data_dir, config.dataset), [split]) == [split]


def split_names(split: str) -> list[str]:
    """Take apart splits that are joined by "+"; each name comes once.

    Examples:
        >>> split_names("train + unlabelled")
        ['train', 'unlabelled']
    """
    return list(dict.fromkeys(part.strip() for part in split.split("+")))


def read_metadata(data_dir: str | os.PathLike[str], dataset: str | None = None) -> dict[str, Any]:
    """What is known about a prepared dataset, without reading any frames."""
    return _metadata(_builder(find_prepared(data_dir, dataset)))


def _metadata(builder: Any) -> dict[str, Any]:
    return dict(builder.info.metadata or {})


def _builder(directory: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(directory))
        _metadata(builder)  # read when it is first asked for
    except Exception as error:
        # A damaged file is reported by classes of JSON, of protobuf and of TFDS.
        reason = " ".join(str(error).split())
        raise UserError(
            f"{directory} is not a readable prepared dataset ({reason}); delete it, if it is "
            "there, and build it again with `mosei-ssl build`"
        ) from error
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise UserError(
            f"{directory} is kept as {builder.info.file_format.value}, which is for "
            "tfds.data_source; only tfrecord is read here: build it with `mosei-ssl build "
            "--overwrite --file-format tfrecord`, or in another --data-dir"
        )
    return builder


def _load_split(builder: Any, split: str) -> Segments:
    splits, directory = builder.info.splits, builder.data_path
    if split not in splits:
        raise UserError(
            f"the dataset in {directory} has no split {split!r}; it has {', '.join(sorted(splits))}"
        )
    if splits[split].num_examples == 0:
        raise UserError(
            f"split {split!r} of the dataset in {directory} is empty; check the folds it was "
            "built with"
        )
    examples = list(_examples(builder, split))

    def column(key: str, dtype: type = np.float32) -> np.ndarray:
        return np.array([example[key] for example in examples], dtype=dtype)

    return Segments(
        frames=tuple(example["features"] for example in examples),
        video_ids=np.char.decode(column("video_id", bytes), "utf-8"),
        segment_ids=column("segment_id", np.int64),
        intervals=column("interval"),
        emotions=column("emotions"),
        sentiment=column("sentiment"),
        metadata=_metadata(builder),
        name=f"{directory.parent.name}/{split}",
    )


def _in_context(segments: Segments, mean: Sequence[float] | None) -> Segments:
    """The segments, whose rows have been moved in place: a corpus may take half of the memory."""
    segments = replace(segments, raw_content=segments.content)
    speakers = segments.speaker_ids.tolist()
    found = contexts(segments.frames, speakers)
    mean = segments.statistics.get("mean") if mean is None else mean
    for rows, speaker in zip(segments.frames, speakers, strict=True):
        in_context(rows, found[speaker], mean, out=rows)
    return segments


def _examples(builder: Any, split: str, decoders: Any = None) -> Iterator[dict[str, Any]]:
    import tensorflow_datasets as tfds

    try:
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
        yield from tfds.as_numpy(dataset)
    except Exception as error:
        # TensorFlow reports a damaged record by several unrelated exception classes.
        raise UserError(
            f"split {split!r} in {builder.data_dir} cannot be read ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); build the dataset again with `mosei-ssl build "
            "--overwrite`"
        ) from error
