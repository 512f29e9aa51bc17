"""Writes the segments of a package as a corpus in MOSEI's layout."""

import collections
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mosei_ssl.utils.files import folder_to_disk, storage_errors_reported, write_text
from mosei_ssl.utils.progress import progress
from tfds_mosei import csd
from tfds_mosei.convert.joining import join
from tfds_mosei.convert.packages import Package, Segment, read_package
from tfds_mosei.convert.pickles import opening
from tfds_mosei.errors import CorpusError
from tfds_mosei.folds import FOLDS_FILE
from tfds_mosei.labels import VideoLabels
from tfds_mosei.schema import (
    FEATURE_NAMES,
    FEATURE_ROOT,
    LABEL_NAMES,
    LABEL_ROOT,
    LABELLED_SPLITS,
)
from tfds_mosei.sources import SourceFiles

GAP = 1.0  # seconds between segments: one after the other, since in videos they overlap
WORD_SECONDS = 0.35  # of a word where the duration of its segment is not known

Timeline = dict[str, list[tuple[Segment | None, np.ndarray, np.ndarray]]]


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
        labels: MOSEI's labels, a ``.csd`` or CSV file, to take emotions from, which most packages
            do not hold.
        row_period: seconds from row to row, if not what the package's form says.

    Returns:
        What was taken for what and what was written, in sentences.

    Raises:
        CorpusError: the package cannot be read, its sentiments are not those of `labels`, or `out`
            holds files. Nothing is written then.

    Examples:
        >>> file = tmp_path / "mine.npz"
        >>> np.savez(file, train_audio=np.ones((2, 9, 74)), train_ids=["a[0]", "a[1]"])
        >>> convert_package(file, tmp_path / "mine")[0].rpartition("/")[2]
        'mine.npz: taken for a NumPy archive'
    """
    path, out = Path(path), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CorpusError(f"{out}: exists already. Give a new or an empty folder.")
    with contextlib.ExitStack() as stack:
        package = read_package(path, stack, row_period)
        rows: dict[int, int] = {}
        table: dict[str, VideoLabels] = {}
        if labels is not None:
            table = SourceFiles(path.parent, (), Path(labels)).read_labels()
            rows, sentence = join(package.segments, table, path)
            package.notes.append(sentence)
        timeline = _timeline(package, table, rows)
        folds = _folds(package.segments, path)
        report = [f"{path.name}: taken for {package.form}", *_counts(package, timeline)]
        out.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(storage_errors_reported(out, lambda: "Nothing was written"))
        work = tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.")
        corpus = Path(stack.enter_context(work)) / "corpus"
        corpus.mkdir()
        with opening(path):
            _write(corpus, path, package, timeline)
        if any(folds.values()):
            write_text(corpus / FOLDS_FILE, json.dumps(folds))
        origins = {
            f"{video}[{row}]": {"id": x.name, "times": x.times}
            for video, members in timeline.items()
            for row, (x, _, _) in enumerate(members)
            if x is not None
        }
        write_text(
            corpus / "conversion.json",
            json.dumps({"report": report, "segments": origins}, indent=1),
        )
        folder_to_disk(corpus)
        corpus.replace(out)
    return report


def _timeline(package: Package, table: Mapping[str, VideoLabels], rows: dict[int, int]) -> Timeline:
    """By video: segment, borders of its rows in seconds, and labels."""
    # Segments keep the numbers of the label table: its rows without a segment stay in it.
    members: Any = collections.defaultdict(list)
    taken = {(package.segments[i].video, row): package.segments[i] for i, row in rows.items()}
    for video in sorted({video for video, _ in taken}):
        pairs = zip(table[video].values, table[video].intervals, strict=True)
        for row, (values, (start, end)) in enumerate(pairs):
            members[video].append((taken.get((video, row)), values, end - start))
    rest = [x for i, x in enumerate(package.segments) if i not in rows]
    for x in sorted(rest, key=lambda x: (x.video, x.times or (0.0, 0.0), x.number)):
        members[x.video].append((x, x.labels, x.times[1] - x.times[0] if x.times else 0.0))
    timeline: Timeline = collections.defaultdict(list)
    for video, slots in members.items():
        start = 0.0
        for segment, values, seconds in slots:
            count = 1 if segment is None else len(segment.rows)
            step = package.row_period or (seconds / count if seconds > 0 else WORD_SECONDS)
            borders = start + step * np.arange(count + 1)
            timeline[video].append((segment, borders, values))
            start = borders[-1] + GAP
    return timeline


def _folds(segments: list[Segment], path: Path) -> dict[str, list[str]]:
    splits = {x.video: x.split for x in segments}
    for x in segments:
        if splits[x.video] != x.split:
            raise CorpusError(
                f"{path}: recording {x.video!r} is in the splits {x.split} and {splits[x.video]}; "
                "scores on such splits would mean nothing."
            )
    return {name: [v for v, split in splits.items() if split == name] for name in LABELLED_SPLITS}


def _counts(package: Package, timeline: Timeline) -> list[str]:
    period = package.row_period
    sentences = [
        f"rows every {period:g} s" if period else "rows aligned to words: no constant period"
    ]
    for split in sorted({x.split or "" for x in package.segments}):
        counts = [len(x.rows) for x in package.segments if (x.split or "") == split]
        name = split or f"in no split (put a {FOLDS_FILE} beside it, or build takes MOSEI's)"
        sentences.append(f"{name}: {len(counts)} segments, {sum(counts):,} rows")
    everything = [slot for video in timeline.values() for slot in video]
    unlabelled = sum(not np.isfinite(values).all() for x, _, values in everything if x)
    if unlabelled:
        sentences.append(
            f"{unlabelled} segments have no emotions: for pretraining only (--splits unlabelled)"
        )
    missing = sum(x is None for x, _, _ in everything)
    if missing:
        sentences.append(f"{missing} label rows of these recordings have no segment in the package")
    return [*sentences, *package.notes]


def _write(corpus: Path, path: Path, package: Package, timeline: Timeline) -> None:
    def features() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        with progress(f"converting {path.name}", len(timeline)) as advance:
            for video, members in timeline.items():
                parts = [
                    (b, np.asarray(x.rows, np.float32)) for x, b, _ in members if x is not None
                ]
                times = [np.stack([b[:-1], b[1:]], axis=1) for b, _ in parts]
                yield video, np.concatenate(times), np.concatenate([rows for _, rows in parts])
                advance()

    labels = (
        (
            video,
            np.array([b[[0, -1]] for _, b, _ in members]),
            np.array([v for *_, v in members], "f4"),
        )
        for video, members in timeline.items()
    )
    period = package.row_period
    for name, root, videos, names in (
        ("features.csd", FEATURE_ROOT, features(), FEATURE_NAMES),
        ("labels.csd", LABEL_ROOT, labels, LABEL_NAMES),
    ):
        csd.write(
            corpus / name,
            root,
            videos,
            dimension_names=names,
            description=f"Segments of {path.name}, one after the other: {package.form}",
            metadata={"row period": period, "aligned to words": period is None},
        )
