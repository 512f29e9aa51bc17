"""What a dataset was made from, as a short fingerprint."""

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfds_mosei.errors import CorpusError
from tfds_mosei.sources import SourceFiles

FINGERPRINT_LENGTH = 10


@functools.lru_cache(maxsize=65536)
def _hash_file(path: str, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # part of the key: a file that changed is read again
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def hash_file(path: str | os.PathLike[str]) -> str:
    """Hash of a file's content, remembered while its size and time stay the same.

    Args:
        path: the file.

    Returns:
        Hexadecimal BLAKE2b of 16 bytes.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        status = os.stat(path)
        return _hash_file(os.fspath(Path(path).resolve()), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error}).") from error


def fingerprint(content: Mapping[str, Any]) -> str:
    """Short name of what a dataset was made from.

    Args:
        content: whatever decides what is prepared, as JSON can hold it.

    Returns:
        Ten hexadecimal digits.
    """
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def describe_files(
    files: SourceFiles, known: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What identifies the files of a corpus, for the dataset's metadata.

    Args:
        files: the files of a corpus.
        known: an earlier answer; a source whose names, sizes and times are the same as in it is
            not read again.

    Returns:
        For features and labels: ``name``, ``files`` (how many), ``size`` in bytes, ``stamp``
        (hash of names, sizes and times) and ``blake2b`` (hash of the content).

    Raises:
        CorpusError: a file cannot be read.
    """
    by_stamp = {item.get("stamp"): item for item in known}
    described = []
    for paths in (files.features, (files.labels,)):
        try:
            statuses = [path.stat() for path in paths]
        except OSError as error:
            raise CorpusError(f"{files.folder}: cannot be read ({error}).") from error
        name = paths[0].name if paths[0].suffix.lower() != ".mat" else "*.mat"
        stamp = fingerprint(
            {p.name: [s.st_size, s.st_mtime_ns] for p, s in zip(paths, statuses, strict=True)}
        )
        known_item = by_stamp.get(stamp)
        content = known_item["blake2b"] if known_item else _hash_paths(paths)
        described.append(
            {
                "name": name,
                "files": len(paths),
                "size": sum(status.st_size for status in statuses),
                "stamp": stamp,
                "blake2b": content,
            }
        )
    return described


def _hash_paths(paths: Sequence[Path]) -> str:
    if len(paths) == 1 and paths[0].suffix.lower() != ".mat":
        return hash_file(paths[0])
    # With .mat files the name is the id of the video, so it belongs to the content.
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.stem}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()
