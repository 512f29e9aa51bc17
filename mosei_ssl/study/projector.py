"""Embeddings of test segments for TensorBoard's projector."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosei_ssl.metrics import EMOTIONS, four_class, write_json
from mosei_ssl.study.cells import Cell

logger = logging.getLogger(__name__)

_RECORD = "embedded.json"
"""Written last, so that a folder without it counts for nothing."""

_CONFIG = """embeddings {
  tensor_name: "%s"
  tensor_path: "embeddings.tsv"
  metadata_path: "segments.tsv"
}
"""


def main_emotion(labels: np.ndarray) -> list[str]:
    """Name each segment's strongest emotion, for colouring.

    Emotions are not exclusive, so this is for looking at pictures and for nothing else.

    Args:
        labels: [N, 6] intensities.

    Returns:
        N names; "none" where all are 0, "several" where the strongest are equal.

    Example:
        >>> main_emotion(np.array([[0, 2, 1, 0, 0, 0], [0] * 6, [1, 1, 0, 0, 0, 0]]))
        ['sad', 'none', 'several']
    """
    names = []
    for row in np.asarray(labels):
        strongest = np.flatnonzero(row == row.max())
        if row.max() <= 0:
            names.append("none")
        else:
            names.append(EMOTIONS[strongest[0]] if len(strongest) == 1 else "several")
    return names


def write_projector(out: Path, cells: Sequence[Cell]) -> list[Path]:
    """Embed the test segments of one cell per arm, with the most labels, and write them.

    ``tensorboard --logdir STUDY/projector/ARM`` then shows them under Projector, to be coloured
    by emotion.

    Args:
        out: The study's folder.
        cells: The grid.

    Returns:
        The folders written; those that hold the embeddings of that very cell are left alone.

    Example:
        >>> write_projector(Path("study"), cells)  # doctest: +SKIP
        [PosixPath('study/projector/ssl')]
    """
    largest: dict[str, tuple[int, Cell]] = {}
    for cell in cells:
        result = cell.finished(out) if cell.kind == "train" else None
        if result and result["labels"] > largest.get(cell.arm, (0, cell))[0]:
            largest[cell.arm] = (result["labels"], cell)
    folders = []
    for arm, (_, cell) in largest.items():
        folder = out / "projector" / arm
        embedded = {"cell": cell.path, "key": cell.key}
        if _embedded(folder) != embedded:
            # A study resumed may have a cell of more labels now; event files would pile up.
            shutil.rmtree(folder, ignore_errors=True)
            _write(out, cell, folder)
            write_json(folder / _RECORD, embedded)
            folders.append(folder)
    return folders


def _embedded(folder: Path) -> object:
    """Which cell's embeddings a folder holds; None if they are not whole."""
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(out: Path, cell: Cell, folder: Path) -> None:
    import tensorflow as tf

    from mosei_ssl.data import DataConfig, load_segments, make_evaluation_dataset
    from mosei_ssl.study.parsing import build
    from mosei_ssl.training.finetuning import load_model

    config = build(DataConfig, cell.options["run"]["data"])
    segments = load_segments(config, "test").labelled()
    model = load_model(out / cell.path / "run" / "model.keras")
    batches = make_evaluation_dataset(segments, config, with_labels=False)
    embeddings = np.concatenate([np.asarray(model.embedding(batch)) for batch in batches])
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "embeddings.tsv", embeddings, delimiter="\t", fmt="%.5g")
    header = ["segment", "video", "main emotion", *EMOTIONS]
    classes = four_class(segments.emotions)
    lines = ["\t".join(header)]
    for name, video, segment, levels in zip(
        main_emotion(segments.emotions),
        segments.video_ids,
        segments.segment_ids,
        classes,
        strict=True,
    ):
        lines.append("\t".join([f"{video} {segment}", str(video), name, *map(str, levels)]))
    (folder / "segments.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    # The projector is offered for folders that hold an event file.
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.text("about", f"{cell.arm}, {cell.budget} labels, test segments", step=0)
    (folder / "projector_config.pbtxt").write_text(_CONFIG % f"{cell.arm} test segments")
    logger.info("embeddings for TensorBoard's projector: %s", folder)
