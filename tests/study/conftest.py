"""Planted studies: predictions whose truth is known by construction."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

BUDGETS = {"25": 25.0, "100": 100.0, "400": 400.0, "all": 1000.0}


def planted_study(
    seed,
    gain,
    *,
    videos=18,
    segments=12,
    folds=6,
    seeds=2,
    budgets=BUDGETS,
    training_noise=0.25,
):
    """Cells of two arms; `gain` is by how much SSL's noise is smaller, per budget.

    Errors have parts shared by a video, by a training (arm, fold, seed) and their interaction,
    so segments are far from independent.
    """
    rng = np.random.default_rng([7, seed])
    predictions = {}
    per_fold = videos // folds
    for fold in range(folds):
        names = [f"video_{fold}_{v}" for v in range(per_fold)]
        ids = np.repeat(names, segments)
        labels = rng.integers(0, 4, (len(ids), 6)) * (rng.random((len(ids), 6)) < 0.4)
        of_video = np.repeat(rng.normal(0, 0.3, (per_fold, 6)), segments, axis=0)
        for arm in ("ssl", "baseline"):
            for budget, count in budgets.items():
                for number in range(seeds):
                    scale = 1.0 + 3.0 / np.sqrt(count) - (gain[budget] if arm == "ssl" else 0.0)
                    training = rng.normal(0, training_noise, 6)
                    both = np.repeat(rng.normal(0, 0.2, (per_fold, 6)), segments, axis=0)
                    noise = rng.normal(0, 0.4, labels.shape) + of_video + training + both
                    value = labels + scale * noise
                    clipped = np.clip(value, 0, 3)
                    predictions[arm, budget, f"{fold}", number] = (
                        ids,
                        labels.astype(float),
                        {
                            "intensity": clipped,
                            "class": np.floor(clipped + 0.5),
                            "present": value,
                            "expected": clipped,
                        },
                    )
    return predictions


def as_sums(predictions):
    from mosei_ssl.metrics.video_sums import video_sums

    cells = {}
    for (arm, budget, fold, number), (ids, labels, found) in predictions.items():
        group = cells.setdefault(arm, {}).setdefault(budget, {})
        group[fold, number] = video_sums(ids, labels, found)
    return cells


@pytest.fixture(scope="session", autouse=True)
def nothing_for_papers():
    """Figures for papers take seconds, and have a test of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mosei_ssl.study.report.write_paper", lambda *arguments: None)
        yield


@pytest.fixture(scope="session")
def planted():
    """Functions that make planted predictions and their sums."""
    return planted_study, as_sums


@pytest.fixture(scope="session")
def corpora(tmp_path_factory, synthetic_data):
    """A folder of "speech", its twin "synthetic-a" that is marked as synthetic, and another.

    The twin has the same folds; "synthetic-b" has the same videos in other folds.
    """
    import tfds_mosei

    data = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        # To draw the report's page takes longer than all else.
        patch.setattr("tfds_mosei.report_page.render_page", lambda *_: "<html></html>")
        made = Path(tfds_mosei.build("synthetic", data_dir=data, size=6).data_dir)
    folder = data / "tfds_mosei"
    made.parent.rename(folder / "synthetic-a")
    (other,) = tfds_mosei.list_prepared(synthetic_data).values()
    shutil.copytree(Path(other).parent, folder / "synthetic-b")
    shutil.copytree(folder / "synthetic-a", folder / "speech")
    (metadata,) = (folder / "speech").rglob("metadata.json")
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "synthetic": False}))
    return data


@pytest.fixture
def here():
    """An engine without worker processes, which take long to start."""
    from small_study import HereEngine

    return HereEngine()


@pytest.fixture
def fold():
    from mosei_ssl.study.cells import Fold

    return Fold("1", "covarep-1", "print", False, 60, 20, 30, ("t0", "t1", "t2"), 5000)


@pytest.fixture
def classical_study(tmp_path, fold):
    """A study folder whose features exist, and its classical cells, which need no TensorFlow."""
    from mosei_ssl.metrics import write_json
    from mosei_ssl.study import StudyConfig
    from mosei_ssl.study.cells import CELL_FILE, grid_cells, preparation_cells

    config = StudyConfig(seeds=[0, 1])
    features = preparation_cells(config, [fold])[-1]
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("test", 30)):
        labels = rng.integers(0, 4, (count, 6)) * (rng.random((count, 6)) < 0.5) * 1.0
        arrays[f"{split}_features"] = rng.normal(size=(count, 8)) + labels[:, :1]
        arrays[f"{split}_labels"] = labels
        names = np.array([f"{split[1]}{i % 3}" for i in range(count)])
        arrays |= {f"{split}_{key}": names for key in ("speakers", "videos", "groups")}
    folder = tmp_path / features.path
    folder.mkdir(parents=True)
    np.savez(folder / "pooled.npz", **arrays)
    write_json(folder / CELL_FILE, {"key": features.key})
    cells = [c for c in grid_cells(config, [fold], [10, 20], {}) if c.kind == "classical"]
    return tmp_path, cells
