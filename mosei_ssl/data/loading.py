"""Reading prepared TFDS datasets into `Segments`."""

from __future__ import annotations

import glob
import json
import logging
import os
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.data.segments import FEATURES, FrameSource, Segments, concatenate_segments
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)

_TABLE_KEYS = ("video_ids", "segment_ids", "intervals", "lengths", "emotions", "sentiment")


def find_dataset(data_dir: str | os.PathLike[str], dataset: str | None = None) -> Path:
    """Find the directory of a prepared dataset.

    Args:
        data_dir: Folder that datasets were prepared in.
        dataset: Name such as "covarep-1a2b3c4d5e"; None takes the only one.

    Returns:
        The directory that `tfds.builder_from_directory` takes.

    Raises:
        tfds_mosei.CorpusError: If there is none, or several and no name.

    Example:
        >>> find_dataset("data").name  # doctest: +SKIP
        '1.0.0'
    """
    import tfds_mosei

    return Path(tfds_mosei.find_prepared(data_dir, dataset))


def load_segments(config: DataConfig, split: str) -> Segments:
    """Load a split of the prepared dataset that a configuration names.

    Args:
        config: Which dataset, and how to cache it.
        split: "train", "validation", "test", another split of the dataset, or several joined by
            "+".

    Returns:
        The segments in the order of the dataset.

    Raises:
        UserError: If the dataset has no such split or the split is empty.
        tfds_mosei.CorpusError: If the dataset is not there.

    Example:
        >>> train = load_segments(DataConfig(data_dir="data"), "train")  # doctest: +SKIP
    """
    return load_prepared(find_dataset(config.data_dir, config.dataset), split, config)


def load_pretraining_segments(config: DataConfig, splits: list[str] | None = None) -> Segments:
    """Load what pretraining may see: splits of the dataset and of the extra ones.

    Rows of an extra dataset are mapped to the first dataset's feature statistics (see
    `concatenate_segments`). An extra dataset made of the same corpus with other folds may train on
    videos that the first one holds out, so videos are compared by id.

    Args:
        config: The dataset and its `extra_datasets`.
        splits: Splits of the first dataset; None means ["train"]. Extra datasets give those of
            them that they have, at least "train".

    Returns:
        All segments; the first dataset's come first.

    Raises:
        UserError: If a split is missing, or an extra dataset gives videos of the first dataset's
            validation or test split.

    Example:
        >>> config = DataConfig(dataset="covarep-1", extra_datasets=["covarep-2"])
        >>> segments = load_pretraining_segments(config)  # doctest: +SKIP
    """
    splits = split_names("+".join(splits or ["train"]))
    parts = [load_segments(config, "+".join(splits))]
    for name in config.extra_datasets:
        directory, present = _extra_splits(config, name, splits)
        part = load_prepared(directory, "+".join(present), config)
        refuse_held_out(
            np.unique(part.video_ids),
            config,
            f"data.extra_datasets: {name!r} would let held-out speakers into pretraining",
            "allowed are datasets without such videos",
        )
        parts.append(part)
    return concatenate_segments(parts, match_statistics=True) if len(parts) > 1 else parts[0]


def _extra_splits(config: DataConfig, name: str, splits: list[str]) -> tuple[Path, list[str]]:
    """Directory of an extra dataset, and which of the splits it gives."""
    directory = find_dataset(config.data_dir, name)
    known = _builder(directory).info.splits
    return directory, [split for split in splits if split in known] or ["train"]


def pretraining_videos(config: DataConfig, splits: list[str]) -> tuple[str | None, np.ndarray]:
    """Tell what a pretraining reads, without reading any frames.

    Args:
        config: The dataset and its `extra_datasets`.
        splits: Splits of the first dataset.

    Returns:
        Fingerprint of the first dataset, and ids of all videos.

    Raises:
        UserError: If a dataset cannot be read.
        tfds_mosei.CorpusError: If a dataset is not there.

    Example:
        >>> pretraining_videos(DataConfig(data_dir="data"), ["train"])[0]  # doctest: +SKIP
        '1a2b3c4d5e'
    """
    first = find_dataset(config.data_dir, config.dataset)
    names = split_names("+".join(splits))
    parts = [(first, names), *(_extra_splits(config, e, names) for e in config.extra_datasets)]
    ids = [_video_ids(directory, split) for directory, present in parts for split in present]
    fingerprint = dict(_builder(first).info.metadata or {}).get("fingerprint")
    return fingerprint, np.unique(np.concatenate(ids))


def _video_ids(directory: Path, split: str) -> np.ndarray:
    import tensorflow_datasets as tfds

    only = tfds.decode.PartialDecoding({"video_id": True})
    examples = _examples(_builder(directory), split, only)
    return np.unique([example["video_id"].decode("utf-8") for example in examples])


def refuse_held_out(videos: np.ndarray, config: DataConfig, who: str, remedy: str) -> None:
    """Refuse videos that a dataset tests models on.

    Args:
        videos: Ids of videos that a model learns from.
        config: The dataset.
        who: What they come from, the beginning of the message.
        remedy: What to do, its end.

    Raises:
        UserError: If any of them is in the dataset's validation or test split.

    Example:
        >>> refuse_held_out(np.array(["a"]), config, "x learns", "leave it")  # doctest: +SKIP
    """
    first = find_dataset(config.data_dir, config.dataset)
    known = _builder(first).info.splits
    for split in ("validation", "test"):
        if split not in known or known[split].num_examples == 0:
            continue
        held_out = _video_ids(first, split)
        shared = np.intersect1d(held_out, videos)
        if len(shared):
            raise UserError(
                f"{who}: it holds {len(shared)} video(s) of the {split} split of "
                f"{first.parent.name}, {str(shared[0])!r} for one; {remedy}"
            )


def split_names(split: str) -> list[str]:
    """Take apart splits that are joined by "+".

    Args:
        split: One split or several.

    Returns:
        Their names, each once.

    Example:
        >>> split_names("train + unlabelled")
        ['train', 'unlabelled']
    """
    return list(dict.fromkeys(part.strip() for part in split.split("+")))


def load_prepared(
    directory: str | os.PathLike[str], split: str, config: DataConfig | None = None
) -> Segments:
    """Load a split from the directory of a prepared dataset.

    Args:
        directory: Directory holding dataset_info.json.
        split: One split or several joined by "+".
        config: Cache settings; None means the defaults.

    Returns:
        The segments in the order of the dataset.

    Raises:
        UserError: If the directory cannot be read or has no such split, or the split is empty.

    Example:
        >>> load_prepared("data/tfds_mosei/covarep/1.0.0", "test")  # doctest: +SKIP
    """
    directory, config = Path(directory), config or DataConfig()
    builder = _builder(directory)
    parts = [_load_split(builder, directory, part, config) for part in split_names(split)]
    return concatenate_segments(parts) if len(parts) > 1 else parts[0]


def _builder(directory: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(directory))
        # It is read when it is first asked for.
        dict(builder.info.metadata or {})
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


def _load_split(builder: Any, directory: Path, split: str, config: DataConfig) -> Segments:
    splits = builder.info.splits
    if split not in splits:
        raise UserError(
            f"the dataset in {directory} has no split {split!r}; it has {', '.join(sorted(splits))}"
        )
    if splits[split].num_examples == 0:
        raise UserError(
            f"split {split!r} of the dataset in {directory} is empty; check the folds it was "
            "built with"
        )
    mode = "memory"
    if mode == "auto":
        small = splits[split].num_bytes <= config.memory_limit_mb * 1_000_000
        mode = "memory" if small else "disk"
    metadata = dict(builder.info.metadata or {})
    name = f"{directory.parent.name}/{split}"
    if mode == "memory":
        rows, table = [], _Table()
        for example in _examples(builder, split):
            rows.append(table.add(example))
        frames, columns = np.concatenate(rows), table.columns()
    else:
        frames, columns = _disk_cache(builder, directory, split, config)
    lengths = columns["lengths"]
    return Segments(
        **columns,
        offsets=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        source=np.zeros(len(lengths), dtype=np.int64),
        sources=(FrameSource(frames),),
        metadata=metadata,
        name=name,
    )


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


class _Table:
    """Collects the columns of `Segments` while examples go by."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {key: [] for key in _TABLE_KEYS}

    def add(self, example: dict[str, Any]) -> np.ndarray:
        """Note an example and give back its frames."""
        features = np.asarray(example["features"], dtype=np.float32)
        values = {
            "video_ids": example["video_id"].decode("utf-8"),
            "segment_ids": int(example["segment_id"]),
            "intervals": example["interval"],
            "lengths": len(features),
            "emotions": example["emotions"],
            "sentiment": example["sentiment"],
        }
        for key, value in values.items():
            self._columns[key].append(value)
        return features

    def columns(self) -> dict[str, np.ndarray]:
        """The finished columns."""
        types = {"segment_ids": np.int64, "lengths": np.int64, "video_ids": str}
        return {
            key: np.asarray(values, dtype=types.get(key, np.float32))
            for key, values in self._columns.items()
        }


def _disk_cache(
    builder: Any, directory: Path, split: str, config: DataConfig
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Open the flat file of a split's frames, writing it first if it is not there."""
    root = Path(config.cache_dir) if config.cache_dir else Path(config.data_dir) / "frame_cache"
    folder = root / directory.parent.name / directory.name / split
    stamp = {
        "fingerprint": dict(builder.info.metadata or {}).get("fingerprint"),
        "examples": builder.info.splits[split].num_examples,
        "bytes": builder.info.splits[split].num_bytes,
        "name": builder.info.full_name,
        # A dataset that was prepared again may hold other rows of the same size.
        "prepared": (directory / "dataset_info.json").stat().st_mtime_ns,
    }
    cached = _open_cache(folder, stamp)
    if cached is None:
        _write_cache(builder, split, folder, stamp)
        cached = _open_cache(folder, stamp)
    if cached is None:
        raise UserError(
            f"the frame cache {folder} cannot be read back; check the disk, or set data.cache to "
            "'memory'"
        )
    return cached


def _open_cache(
    folder: Path, stamp: dict[str, Any]
) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """The cache's frames and table; None where they are not all there, or of another dataset."""
    try:
        if json.loads((folder / "stamp.json").read_text(encoding="utf-8")) != stamp:
            return None
        with np.load(folder / "segments.npz", allow_pickle=False) as file:
            columns = {key: file[key] for key in _TABLE_KEYS}
        frames = np.memmap(folder / "frames.f32", dtype=np.float32, mode="r")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    # A file of another length is one that was cut short: its last rows would be missing.
    if frames.size != columns["lengths"].sum() * FEATURES:
        return None
    return frames.reshape(-1, FEATURES), columns


def _write_cache(builder: Any, split: str, folder: Path, stamp: dict[str, Any]) -> None:
    size = stamp["bytes"] / 1e6
    logger.info("Writing the frames of split %s (%.0f MB) to %s", split, size, folder)
    temporary = folder.with_name(f".{folder.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        _remove_leftovers(folder)
        temporary.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(temporary).free
        if free < stamp["bytes"]:
            raise UserError(
                f"the frame cache of split {split!r} needs {size:.0f} MB, {temporary.parent} has "
                f"{free / 1e6:.0f} MB free; set data.cache_dir to a larger disk"
            )
        table = _Table()
        with open(temporary / "frames.f32", "wb") as file:
            for example in _examples(builder, split):
                file.write(np.ascontiguousarray(table.add(example)).data)
        columns: dict[str, Any] = table.columns()
        np.savez(temporary / "segments.npz", **columns)
        (temporary / "stamp.json").write_text(json.dumps(stamp), encoding="utf-8")
        if _open_cache(folder, stamp) is not None:
            return  # another process was faster, and may be reading its own already
        shutil.rmtree(folder, ignore_errors=True)
        try:
            temporary.rename(folder)
        except OSError:
            # Another process may have finished the same cache in the meantime.
            if _open_cache(folder, stamp) is None:
                raise
    except OSError as error:
        raise UserError(
            f"cannot write the frame cache {folder} ({error}); set data.cache_dir to a folder "
            "with room, or data.cache to 'memory'"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Removes what killed processes of this machine left of a cache: it can be gigabytes."""
    for path in folder.parent.glob(f".{folder.name}.{glob.escape(socket.gethostname())}.*.tmp"):
        number = path.suffixes[-2].removeprefix(".")
        if number.isdecimal() and not Path("/proc", number).exists():
            shutil.rmtree(path, ignore_errors=True)
