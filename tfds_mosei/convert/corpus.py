"""Writes the segments of a package as a corpus in MOSEI's layout."""

import collections
import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mosei_ssl.utils.files import folder_to_disk, storage_errors_told
from mosei_ssl.utils.progress import progress
from tfds_mosei import csd
from tfds_mosei.convert.joining import join
from tfds_mosei.convert.packages import Package, Segment, read_package
from tfds_mosei.convert.pickles import opening
from tfds_mosei.errors import CorpusError
from tfds_mosei.folds import FOLDS_FILE, make_folds
from tfds_mosei.schema import (
    FEATURE_NAMES,
    FEATURE_ROOT,
    LABEL_NAMES,
    LABEL_ROOT,
    LABELLED_SPLITS,
)
from tfds_mosei.sources import SourceFiles

GAP = 1.0
"""Seconds between segments: they lie one after the other, since in videos they overlap."""

WORD_SECONDS = 0.35
"""Seconds of a word where the duration of its segment is not known."""

Slots = dict[str, list[tuple[Segment | None, np.ndarray, float]]]


def convert_package(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    labels: str | os.PathLike[str] | None = None,
    row_period: float | None = None,
) -> list[str]:
    """Converts another project's package of MOSEI into a corpus that `build` takes.

    Args:
        path: MMSA's, MulT's, MultiBench's, MISA's or MFN's file, or a NumPy archive.
        out: folder to write; it must not exist, or be empty.
        labels: MOSEI's labels, a ``.csd`` or CSV file, to take emotions from. Without them,
            segments have the emotions that the package holds, which are none in most.
        row_period: seconds from row to row, if not what the package's form says.

    Returns:
        What was taken for what and what was written, in sentences.

    Raises:
        CorpusError: the package cannot be read, its sentiments are not those of `labels`, or `out`
            holds files. Nothing is written then.

    Example:
        >>> import numpy as np
        >>> from tfds_mosei.convert import convert_package
        >>> np.savez("mine.npz", train_audio=np.ones((2, 9, 74)), train_ids=["a[0]", "a[1]"])
        >>> print(convert_package("mine.npz", "mine")[0])
        mine.npz: taken for a NumPy archive, 2 segments
    """
    path, out = Path(path), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists already. Give a new or an empty folder.")
    with contextlib.ExitStack() as stack:
        package = read_package(path, stack, row_period)
        slots, joined = _slots(package, path, labels)
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(storage_errors_told(out, lambda: "Nothing was written"))
        work = stack.enter_context(
            tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
        )
        corpus = Path(work) / out.name
        corpus.mkdir()
        with opening(path):
            _write(corpus, path, package, slots)
        folder_to_disk(corpus)
        corpus.replace(out)
    return [f"{path.name}: taken for {package.form}, {len(package.segments)} segments", *joined]


def _slots(
    package: Package, path: Path, labels: str | os.PathLike[str] | None
) -> tuple[Slots, list[str]]:
    """Segments of each video in the order of its label rows, with labels and duration."""
    segments, report = package.segments, list(package.notes)
    rows: dict[int, int] = {}
    if labels is not None:
        table = SourceFiles(path.parent, (), Path(labels)).read_labels()
        rows, sentence = join(segments, table, path)
        report.append(sentence)
    slots: Slots = collections.defaultdict(list)
    taken = {(segments[i].video, row): segments[i] for i, row in rows.items()}
    without = 0
    for video in sorted({video for video, _ in taken}):
        for row, (interval, values) in enumerate(
            zip(table[video].intervals, table[video].values, strict=True)
        ):
            segment = taken.get((video, row))
            without += segment is None
            slots[video].append((segment, values, float(interval[1] - interval[0])))
    rest = [x for i, x in enumerate(segments) if i not in rows]
    for segment in sorted(rest, key=lambda x: (x.video, x.times or (0, 0), x.number)):
        seconds = segment.times[1] - segment.times[0] if segment.times else np.nan
        slots[segment.video].append((segment, segment.labels, seconds))
    return slots, report
