"""Pickles of arrays, opened without running them: names lead to stand-ins below or to an error."""

import contextlib
import functools
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np
import psutil

from tfds_mosei.errors import CorpusError, reading

_STEPS: dict[int, Any] = pickle._Unpickler.dispatch  # type: ignore[attr-defined]
_REFUSED = "PERSID BINPERSID INST OBJ NEWOBJ NEWOBJ_EX EXT1 EXT2 EXT4 NEXT_BUFFER READONLY_BUFFER"


class RefusedError(CorpusError):
    """Something in a pickle that could run code."""


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turns whatever a refused or damaged file raises into a CorpusError of one line."""
    try:
        with reading(path, "the package"):
            yield
    except RefusedError as error:
        raise CorpusError(
            f"{path}: holds {error}: refused, since opening it could run code. Arrays, text, "
            "numbers and containers of them are read: save those alone, or fetch another copy."
        ) from None


def check_size(path: Path, size: float) -> None:
    """Raises a CorpusError if content of a size fits neither the file nor the memory."""
    # Deflate makes nothing smaller than a 1032nd.
    most = min(1100 * path.stat().st_size + 2**20, psutil.virtual_memory().available)
    if size > most:
        raise CorpusError(
            f"{path}: claims {size / 1e9:.3g} GB, where its own size and the free memory allow "
            f"{most / 1e9:.3g}. It is damaged, or needs a machine with more memory."
        )


def load_pickle(path: Path) -> Any:
    """What a pickle of containers (as lists or dicts), text, numbers and `PickledArray` holds."""
    check_size(path, 1.2 * path.stat().st_size)
    with path.open("rb") as file:
        return _Unpickler(file).load()


class _Type:
    """A NumPy type of numbers, text or bytes, or objects."""

    def __init__(self, name: Any, *_: Any):
        self.name, self.order = str(name), "="

    def restore(self, state: Any) -> None:
        if any(part is not None for part in state[2:5]):
            raise RefusedError("a structured array")
        self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    def numpy(self) -> np.dtype:
        if not re.fullmatch(r"[<>|=]?([biufc]\d{1,2}|[SU]\d{1,6}|\?)", self.name):
            raise RefusedError(f"an array of type {self.name[:20]!r}")
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class PickledArray:
    """An array as a pickle holds it; `value` checks it and makes it a NumPy array."""

    def __init__(self, data: Any = b"", kind: Any = None, shape: Any = (), order: Any = "C"):
        self._fields = (data, kind, shape, order)

    def restore(self, state: Any) -> None:
        shape, kind, fortran, data = state[-4:]
        self._fields = (data, kind, shape, "F" if fortran else "C")

    @functools.cached_property
    def value(self) -> np.ndarray:
        data, kind, shape, order = self._fields
        if not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array without a shape")
        if kind.name.startswith("O"):
            if type(data) is not list or any(type(x) not in (str, bytes, type(None)) for x in data):
                raise RefusedError("an array of objects other than text")
            values = np.empty(len(data), object)
            values[:] = data
        else:  # text instead of bytes was written by Python 2
            data = data.encode("latin1") if isinstance(data, str) else data
            values = np.frombuffer(data or b"", kind.numpy())
        return values.reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"text in the encoding {encoding!r:.40}")
    return str.encode(text, "latin1")


_STAND_INS: dict[str, Any] = {
    "numpy.ndarray": "an array",
    "numpy.dtype": _Type,
    "_codecs.encode": _encode,
    "collections.OrderedDict": lambda pairs=(): {str(key): value for key, value in pairs},
    "builtins.set": lambda items=(): [*items],
    "builtins.frozenset": lambda items=(): [*items],
    "builtins.bytes": lambda: b"",
    "builtins.complex": lambda real, imaginary: complex(real, imaginary),
}
for _package in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_package}.multiarray._reconstruct"] = lambda *_: PickledArray()
    _STAND_INS[f"{_package}.multiarray.scalar"] = lambda kind, data: (
        PickledArray(data, kind, (1,)).value[0].item()
    )
    _STAND_INS[f"{_package}.numeric._frombuffer"] = lambda *fields: PickledArray(*fields)


class _File:
    """A file that refuses to read more than it has before memory is taken for it."""

    def __init__(self, file: BinaryIO):
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._size - self._file.tell():
            raise EOFError("it ends too soon")
        return self._file.read(size)


class _Unpickler(pickle._Unpickler):  # type: ignore[name-defined,misc]
    stack: list[Any]
    read: Any

    def __init__(self, file: BinaryIO):
        super().__init__(_File(file), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        known = _STAND_INS.get(f"{module}.{name}".replace("__builtin__", "builtins", 1))
        if known is None:
            raise RefusedError(f"{module[:60]}.{name[:60]}")
        return known

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, _Type | PickledArray):
            raise RefusedError(f"a state for an object of type {type(target).__name__}")
        target.restore(state)

    def _last(self, count: int) -> None:
        self.stack[-count:] = [self.stack[-count:]]

    def _bytes(self) -> None:
        self.stack.append(self.read(int.from_bytes(self.read(8), "little")))

    def _refuse(self) -> NoReturn:
        raise RefusedError("an object that is neither container, text, number nor NumPy array")

    dispatch: ClassVar[dict[int, Any]] = {
        **_STEPS,
        **dict.fromkeys([getattr(pickle, name)[0] for name in _REFUSED.split()], _refuse),
        pickle.BUILD[0]: _build,
        pickle.BYTEARRAY8[0]: _bytes,
        # Deep tuples, as keys, overflow the interpreter's stack when they are hashed.
        pickle.TUPLE[0]: _STEPS[pickle.LIST[0]],
        pickle.EMPTY_TUPLE[0]: _STEPS[pickle.EMPTY_LIST[0]],
        pickle.TUPLE1[0]: functools.partial(_last, count=1),
        pickle.TUPLE2[0]: functools.partial(_last, count=2),
        pickle.TUPLE3[0]: functools.partial(_last, count=3),
        pickle.FROZENSET[0]: _STEPS[pickle.LIST[0]],
        pickle.EMPTY_SET[0]: _STEPS[pickle.EMPTY_LIST[0]],
        pickle.ADDITEMS[0]: _STEPS[pickle.APPENDS[0]],
    }
