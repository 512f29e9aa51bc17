"""Text of variable length in an HDF5 file, read without the HDF5 library.

Such text lies in "global heap collections". The library follows their chain of sizes without
looking back, so that a few damaged bytes make it loop for ever; no exception ends that. Metadata
is the only such text a corpus has, and its layout is simple enough to be read safely here.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import h5py

_REFERENCE = struct.Struct("<IQI")  # length of the text, address of the collection, number in it
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size with this header
_OBJECT = struct.Struct("<HH4xQ")  # number, uses, size; the data follows, padded to eights
_MAX_BYTES = 16 * 2**20


def read_first_text(path: str | os.PathLike[str], dataset: h5py.Dataset) -> bytes:
    """First element of a dataset of strings of variable length.

    Args:
        path: the file.
        dataset: a dataset in it, not stored in chunks, with at least one element.

    Returns:
        The bytes of the text.

    Raises:
        ValueError: the dataset is stored in another way, or the file is damaged there.

    References:
        HDF5 File Format Specification, version 3.0, section III.E (global heap).
    """
    properties = dataset.file.id.get_create_plist()
    place = dataset.id.get_offset()
    if properties.get_sizes() != (8, 8) or place is None or dataset.size == 0:
        raise ValueError("text stored in an unusual way")
    with Path(path).open("rb") as file:
        length, address, number = _REFERENCE.unpack(_read(file, place, _REFERENCE.size))
        if length == 0:
            return b""
        address += properties.get_userblock()
        signature, version, size = _COLLECTION.unpack(_read(file, address, _COLLECTION.size))
        if signature != b"GCOL" or version != 1 or not _COLLECTION.size <= size <= _MAX_BYTES:
            raise ValueError("damaged text")
        collection = _read(file, address, size)
    return _find(collection, number)[:length]


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    if place >= 2**62:
        raise ValueError("damaged text")
    file.seek(place)
    content = file.read(size)
    if len(content) != size:
        raise ValueError("damaged text")
    return content


def _find(collection: bytes, wanted: int) -> bytes:
    position = _COLLECTION.size
    while position + _OBJECT.size <= len(collection):
        number, _, size = _OBJECT.unpack_from(collection, position)
        start = position + _OBJECT.size
        if number == 0 or start + size > len(collection):
            break  # free space, or damage
        if number == wanted:
            return collection[start : start + size]
        position = start + (size + 7) // 8 * 8
    raise ValueError("damaged text")
