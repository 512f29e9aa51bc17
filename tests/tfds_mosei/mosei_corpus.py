"""Small corpora for the tests: whole control over every row and label."""

import json
import os
import struct
from pathlib import Path

import numpy as np

from tfds_mosei import FEATURE_NAMES, LABEL_NAMES, csd

FUZZ_CASES = int(os.environ.get("MOSEI_SSL_FUZZ_CASES", "100"))
"""Damaged files that each fuzz test reads: MOSEI_SSL_FUZZ_CASES=2000 tries more."""

IDS = {"train": ["a", "b"], "validation": ["c"], "test": ["d"]}


def frames(count, first=0.0):
    """Intervals of `count` rows of 10 ms."""
    starts = first + np.arange(count) * 0.01
    return np.stack([starts, starts + 0.01], axis=1)


def ramp(count, offset=0.0):
    """Rows whose columns tell row and column: offset + row + column / 100."""
    return (offset + np.arange(count)[:, None] + np.arange(74)[None] / 100).astype(np.float32)


def write_corpus(folder, features=None, labels=None, folds=IDS):
    """Writes a corpus.

    Args:
        folder: where to.
        features: (intervals, rows) by video; 100 rows each by default.
        labels: (intervals, values) by video; one segment from 0.2 to 0.5 s each by default.
        folds: ids by split; None writes no folds file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ids = [video for group in IDS.values() for video in group]
    if features is None:
        features = {v: (frames(100), ramp(100, 1000 * i)) for i, v in enumerate(ids)}
    if labels is None:
        labels = {v: ([[0.2, 0.5]], [[1, 2, 0, 0, 0, 0, 1 / 3]]) for v in ids}
    csd.write(
        folder / "features.csd",
        "COVAREP",
        [(video, *arrays) for video, arrays in features.items()],
        dimension_names=FEATURE_NAMES,
    )
    csd.write(
        folder / "labels.csd",
        "All Labels",
        [
            (video, np.array(times, float).reshape(-1, 2), np.array(values, np.float32))
            for video, (times, values) in labels.items()
        ],
        dimension_names=LABEL_NAMES,
    )
    if folds is not None:
        (folder / "folds.json").write_text(json.dumps(folds))
    return folder


def damaged(rng, data):
    """Bytes changed in one to three places: overwritten, cut out or put in again."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)) ** rng.uniform(0.4, 1))
        kind = rng.integers(-2, 4)
        if kind <= 0:
            data[at] = rng.integers(256)
        elif kind == 1:
            data[at : at + 8] = struct.pack("<Q", 2 ** int(rng.integers(64)))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 60))]
        else:
            data[at:at] = data[: int(rng.integers(1, 60))]
    return bytes(data)


def damage(path, kind, how):
    """Damages a file in a way that a test drew."""
    content = bytearray(path.read_bytes())
    if kind == "cut":
        del content[int(how * len(content)) :]
    elif kind == "flip":
        for place, bit in how:
            content[int(place * (len(content) - 1))] ^= 1 << bit
    elif kind == "blank":
        start = int(how[0] * len(content))
        content[start : start + how[1]] = bytes(len(content[start : start + how[1]]))
    elif kind == "insert":
        start = int(how[0] * len(content))
        content[start:start] = how[1]
    path.write_bytes(content)


def checked(error, path):
    """'refused' if a message is one line that names the file, else what is wrong with it."""
    message = str(error)
    one_line = "\n" not in message
    return "refused" if str(path) in message and one_line else f"unclear message: {message}"


def label(**values):
    """One label row: sentiment and six emotions, by name; the others are 0."""
    return [values.get(name, 0.0) for name in LABEL_NAMES]


def examples(builder, split):
    """Examples of a split as arrays, by (video, segment), or by (video, start) if unlabelled."""
    import tensorflow_datasets as tfds

    found = {}
    for item in tfds.as_numpy(builder.as_dataset(split=split)):
        number = int(item["segment_id"])
        place = number if number >= 0 else round(float(item["interval"][0]), 3)
        found[item["video_id"].decode(), place] = item
    return found
