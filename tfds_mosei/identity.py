"""What a dataset was made from, as a short fingerprint."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfds_mosei.errors import CorpusError
from tfds_mosei.sources import SourceFiles


def fingerprint(content: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that stand for whatever decides what is prepared."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def describe_files(files: SourceFiles) -> list[dict[str, Any]]:
    """Name, number of files, bytes and hash of features and labels, for the dataset's metadata."""
    described = []
    labels = [path for path in (files.labels, *(path for path, _ in files.more_labels)) if path]
    groups = [files.features, *((path,) for path in labels)]
    for paths in groups:
        suffix = paths[0].suffix.lower()
        archive = suffix == ".mat" or (suffix == ".csv" and paths is files.features)
        try:
            described.append(
                {
                    "name": f"*{suffix}" if archive else paths[0].name,
                    "files": len(paths),
                    "size": sum(path.stat().st_size for path in paths),
                    "blake2b": _hash_archive(paths) if archive else _hash_file(paths[0]),
                }
            )
        except OSError as error:
            raise CorpusError(f"{error.filename}: cannot be read ({error}).") from error
    return described


def _hash_file(path: Path) -> str:
    """BLAKE2b of a file's content, remembered while its size and time stay the same."""
    status = path.stat()
    return _hash_content(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _hash_content(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # part of the key: a file that changed is read again
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _hash_archive(paths: Sequence[Path]) -> str:
    """With .mat files the name is the id of the video, so it belongs to the content."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(f"{path.stem}\0{_hash_file(path)}\n".encode())
    return digest.hexdigest()
