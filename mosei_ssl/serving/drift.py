"""How far what a model is asked about lies from what it was trained on."""

import collections
import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.data.context import context_of
from mosei_ssl.serving.manifest import EXTRA_ASSETS
from mosei_ssl.utils.files import write_text
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES

DRIFT = f"{EXTRA_ASSETS}/drift.json"
QUANTITIES = (*FEATURE_NAMES, *EMOTIONS)
"""A segment's mean of every feature, and the expected intensity of every emotion."""

_BINS = 10
_WINDOW = 1000
LEAST = 200
"""Segments below which chance alone looks like drift: about 9 / number of segments."""

_LEAST_SHARE = 1e-3


def write_reference(directory: Path, values: np.ndarray) -> None:
    """Write deciles of `QUANTITIES` [segments, 80], and the share of values between them."""
    reference = {}
    for name, column in zip(QUANTITIES, values.T, strict=True):
        inner = np.quantile(column, np.arange(1, _BINS) / _BINS)
        edges = np.unique([float(f"{edge:.6g}") for edge in inner])  # a constant has one
        shares = np.bincount(np.searchsorted(edges, column), minlength=len(edges) + 1) / len(column)
        reference[name] = {"edges": edges.tolist(), "shares": shares.round(6).tolist()}
    write_text(directory / DRIFT, json.dumps({"segments": len(values), "quantities": reference}))


class DriftWindow:
    """The last thousand segments beside those of the training.

    Args:
        reference: `edges` and `shares` of each quantity, as `write_reference` has them.

    Example:
        >>> reference = {name: {"edges": [0.0], "shares": [0.5, 0.5]} for name in QUANTITIES}
        >>> window = DriftWindow(reference)
        >>> for number in range(200):
        ...     window.add([np.full(80, -1.0 if number % 4 else 1.0)])  # three quarters below 0
        >>> round(window.psi()["F0"], 3)
        0.275
    """

    def __init__(self, reference: Mapping[str, Mapping[str, Any]]):
        self._edges = [np.asarray(reference[name]["edges"]) for name in QUANTITIES]
        self._shares = [np.asarray(reference[name]["shares"]) for name in QUANTITIES]
        self._bins: collections.deque[list[int]] = collections.deque(maxlen=_WINDOW)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, directory: Path) -> "DriftWindow | None":
        """That of an export, `NAME/VERSION`; None for one without a reference."""
        file = directory / DRIFT
        return cls(json.loads(file.read_text())["quantities"]) if file.is_file() else None

    def add(self, values: Iterable[np.ndarray]) -> None:
        """Take in the quantities [80] of segments."""
        bins = [
            [int(np.searchsorted(e, x)) for e, x in zip(self._edges, row, strict=True)]
            for row in values
        ]
        with self._lock:
            self._bins.extend(bins)

    def psi(self) -> dict[str, float]:
        """Population stability index of every quantity; empty as long as segments are too few.

        It is the sum of (p - q) ln(p / q) over bins, for shares p here and q in the training.
        """
        with self._lock:
            columns = np.array(self._bins).T
        if len(self._bins) < LEAST:
            return {}
        found = {}
        for name, column, reference in zip(QUANTITIES, columns, self._shares, strict=True):
            counts = np.bincount(column, minlength=len(reference))
            p, q = (np.maximum(s, _LEAST_SHARE) for s in (counts / len(column), reference))
            found[name] = float(((p - q) * np.log(p / q)).sum())
        return found


def quantities(rows: np.ndarray, expected: Iterable[float]) -> np.ndarray:
    """`QUANTITIES` of a segment with these features [T, 74] and answers [6]."""
    return np.concatenate([context_of([rows])[1], list(expected)])
