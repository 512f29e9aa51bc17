"""Embeddings of test segments for TensorBoard's projector."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mosei_ssl.config import DataConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics import EMOTIONS, write_json
from mosei_ssl.study import StudyConfig, projector
from mosei_ssl.study.cells import CELL_FILE, Fold, grid_cells
from mosei_ssl.study.projector import main_emotion, write_projector


@pytest.fixture(scope="module")
def study(tmp_path_factory, corpora, finished_run):
    """Two finished cells of one arm, the one with more labels with its own model."""
    out = tmp_path_factory.mktemp("study")
    config = StudyConfig(data=DataConfig(data_dir=str(corpora), batch_size=64), seeds=[0])
    fold = Fold("1", "speech", "print", False, 60, 20, 30, ("t",), 5000)
    cells = [c for c in grid_cells(config, [fold], [10, 20], {}) if c.arm == "baseline"]
    for cell in cells:
        write_json(out / cell.path / CELL_FILE, {"key": cell.key, "labels": int(cell.budget)})
    largest = next(cell for cell in cells if cell.budget == "20")
    (out / largest.path / "run").mkdir()
    shutil.copy(finished_run / "model.keras", out / largest.path / "run" / "model.keras")
    return out, cells


def test_the_largest_budget_is_embedded_segment_by_segment(study, corpora, emotion_model):
    out, cells = study
    (folder,) = write_projector(out, cells)
    assert folder == out / "projector" / "baseline"
    segments = load_segments(DataConfig(data_dir=str(corpora), dataset="speech"), "test").labelled()
    found = np.loadtxt(folder / "embeddings.tsv", delimiter="\t")
    rows = segments.rows(3)[None]
    alone = emotion_model.embedding(
        {"features": rows, "padding_mask": np.ones(rows.shape[:2], bool)}
    )
    assert len(found) == len(segments)
    np.testing.assert_allclose(found[3], np.asarray(alone)[0], rtol=1e-2, atol=1e-3)
    header, *lines = (folder / "segments.tsv").read_text().splitlines()
    assert header.split("\t") == ["segment", "video", "main emotion", *EMOTIONS]
    assert len(lines) == len(segments)
    name, video, _, *levels = lines[3].split("\t")
    assert name == f"{segments.video_ids[3]} {segments.segment_ids[3]}"
    assert video == segments.video_ids[3]
    # Half up to the nearest level.
    assert [int(v) for v in levels] == np.floor(segments.emotions[3] + 0.5).astype(int).tolist()
    text = (folder / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "embeddings.tsv"' in text
    assert 'metadata_path: "segments.tsv"' in text
    # TensorBoard offers the projector only for folders with an event file.
    assert list(folder.glob("events.out.tfevents.*"))
    # What is there already is left alone.
    assert write_projector(out, cells) == []


def test_a_cell_that_took_another_ones_place_is_embedded(study, tmp_path, monkeypatch):
    out, cells = study
    shutil.copytree(out / "cells", tmp_path / "cells")
    small, large = sorted(cells, key=lambda cell: int(cell.budget))
    embedded = []

    def write(out, cell, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "projector_config.pbtxt").touch()
        (folder / f"events.out.tfevents.{len(embedded)}").touch()
        embedded.append(cell.path)

    monkeypatch.setattr(projector, "_write", write)
    marker = tmp_path / large.path / CELL_FILE
    text = marker.read_text()
    marker.unlink()
    # First the large cell has failed; then the study is resumed.
    write_projector(tmp_path, cells)
    marker.write_text(text)
    write_projector(tmp_path, cells)
    assert write_projector(tmp_path, cells) == []
    # The same place, other options.
    other = replace(large, options={**large.options, "threads": 9})
    write_json(marker, {"key": other.key, "labels": 20})
    (folder,) = write_projector(tmp_path, [small, other])
    assert embedded == [small.path, large.path, large.path]
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    # A folder that was not finished counts for nothing.
    (folder / "embedded.json").unlink()
    assert write_projector(tmp_path, [small, other]) == [folder]


def test_unfinished_cells_are_not_embedded(study, tmp_path):
    _, cells = study
    assert write_projector(tmp_path, cells) == []


def test_the_main_emotion_is_the_strongest():
    labels = np.array([[0, 0, 0, 0, 0, 0.3], [1, 0, 2, 0, 0, 0], [1, 0, 0, 1, 0, 0], [0] * 6])
    assert main_emotion(labels) == ["fear", "anger", "several", "none"]
