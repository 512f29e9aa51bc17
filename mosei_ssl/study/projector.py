"""Embeddings of test segments for TensorBoard's projector."""

import csv
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mosei_ssl.config import DataConfig
from mosei_ssl.metrics import EMOTIONS, four_class, write_json
from mosei_ssl.study.cells import Cell

logger = logging.getLogger(__name__)

_RECORD = "embedded.json"  # written last: a folder without it counts for nothing
_CONFIG = """embeddings {
  tensor_name: "%s"
  tensor_path: "embeddings.tsv"
  metadata_path: "segments.tsv"
}
"""


def main_emotion(labels: np.ndarray) -> list[str]:
    """Name the strongest emotion of each row of labels [N, 6], or "none" or "several", to show."""
    names = []
    for row in np.asarray(labels):
        strongest = np.flatnonzero(row == row.max())
        if row.max() <= 0:
            names.append("none")
        else:
            names.append(EMOTIONS[strongest[0]] if len(strongest) == 1 else "several")
    return names


def write_projector(out: Path, cells: Sequence[Cell]) -> list[Path]:
    """Embed the test segments with each arm's model of the most labels; the new folders."""
    largest: dict[str, tuple[int, Cell]] = {}
    for cell in cells:
        result = cell.finished(out) if cell.kind == "train" else None
        if result and result["labels"] > largest.get(cell.arm, (0, cell))[0]:
            largest[cell.arm] = (result["labels"], cell)
    folders = []
    for arm, (_, cell) in largest.items():
        folder = out / "projector" / arm
        embedded = {"cell": cell.path, "key": cell.key}
        try:
            found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found != embedded:
            # A study resumed may have a cell of more labels now; event files would pile up.
            shutil.rmtree(folder, ignore_errors=True)
            _write(out, cell, folder)
            write_json(folder / _RECORD, embedded)
            folders.append(folder)
    return folders


def _write(out: Path, cell: Cell, folder: Path) -> None:
    import tensorflow as tf

    from mosei_ssl.data import load_segments, make_evaluation_dataset
    from mosei_ssl.training.saved_models import load_model

    run = cell.options["run"]
    config = DataConfig(
        data_dir=cell.data_dir, dataset=run["dataset"], batch_size=run["batch_size"]
    )
    segments = load_segments(config, "test").labelled()
    model = load_model(out / cell.path / "run" / "model.keras")
    batches = make_evaluation_dataset(segments, config, with_labels=False)
    embeddings = np.concatenate([np.asarray(model.embedding(batch)) for batch in batches])
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "embeddings.tsv", embeddings, delimiter="\t", fmt="%.5g")
    names = [f"{v} {s}" for v, s in zip(segments.video_ids, segments.segment_ids, strict=True)]
    columns = (names, segments.video_ids, main_emotion(segments.emotions))
    levels = four_class(segments.emotions).T
    with open(folder / "segments.tsv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["segment", "video", "main emotion", *EMOTIONS])
        writer.writerows(zip(*columns, *levels, strict=True))
    # The projector is offered for folders that hold an event file.
    with tf.summary.create_file_writer(str(folder)).as_default():
        tf.summary.text("about", f"{cell.arm}, {cell.budget} labels, test segments", step=0)
    (folder / "projector_config.pbtxt").write_text(_CONFIG % f"{cell.arm} test segments")
    logger.info("embeddings for TensorBoard's projector: %s", folder)
