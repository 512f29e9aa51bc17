"""Other people's packages of a small corpus, and what must come out of them."""

import json
import pickle

import numpy as np
import pytest

import tfds_mosei
from tfds_mosei import csd

SPLITS = {"train": ["-aB_1", "b[x]", "c_02"], "valid": ["d"], "test": ["e_9"]}
PER_VIDEO = 4


class Truth:
    """Segments of five recordings, with label rows out of order in time, as MOSEI's are."""

    def __init__(self, longest=40):
        rng = np.random.default_rng(7)
        self.labels, self.rows = {}, {}
        levels = np.arange(-3, 3.1, 1 / 3)
        for video in [v for ids in SPLITS.values() for v in ids]:
            starts = rng.permutation(PER_VIDEO) * 11.25 + 0.5
            values = np.zeros((PER_VIDEO, 7), np.float32)
            values[:, 0] = rng.choice(levels, PER_VIDEO, replace=False)
            values[:, 1:] = rng.integers(0, 10, (PER_VIDEO, 6)) / 3
            self.labels[video] = (np.stack([starts, starts + 10.5], axis=1), values)
            self.rows[video] = []
            for _ in range(PER_VIDEO):
                x = rng.normal(size=(rng.integers(5, longest), 74)).astype(np.float32)
                x[:, 1] = 1
                x[2] = 0  # a silent row, real
                x[3, 7] = -np.inf
                self.rows[video].append(x)

    def segments(self, split):
        for video in SPLITS[split]:
            for k in range(PER_VIDEO):
                interval, values = (array[k] for array in self.labels[video])
                yield video, k, self.rows[video][k], interval, values

    def write_labels(self, path, rows=slice(None), change=None):
        csd.write(
            path,
            "All Labels",
            [
                (v, times[rows], (change or (lambda _, x: x))(v, values)[rows])
                for v, (times, values) in self.labels.items()
            ],
            dimension_names=tfds_mosei.LABEL_NAMES,
        )
        return path


def padded(x, length, front=False, fill=0):
    out = np.full((length, 74), fill, np.float32)
    out[length - len(x) if front else 0 :][: len(x)] = x
    return out


def dump(content, path, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def mmsa(truth, length=60, number=lambda _, k: k, fill=0, lengths=True):
    package = {}
    for split in SPLITS:
        members = list(truth.segments(split))
        package[split] = {
            "raw_text": np.array(["words"] * len(members), object),
            "audio": np.stack([padded(x, length, fill=fill) for _, _, x, _, _ in members]),
            "vision": np.zeros((len(members), length, 35), np.float32),
            "id": [f"{v}$_${number(v, k)}" for v, k, *_ in members],
            "annotations": np.array(["Neutral"] * len(members)),
            "regression_labels": np.array([values[0] for *_, values in members], np.float32),
        }
        if lengths:
            package[split]["audio_lengths"] = [len(x) for _, _, x, _, _ in members]
    return package


def mult(truth, ids=None, values=lambda values: values[:1], length=60, kind=np.float64):
    package = {}
    for split in SPLITS:
        members = list(truth.segments(split))
        package[split] = {
            "audio": np.stack(
                [padded(x, length, front=True).astype(kind) for _, _, x, *_ in members]
            ),
            "vision": np.zeros((len(members), 3, 35)),
            "labels": np.array([[values(v)] for *_, v in members]),
            "id": np.array(
                [ids(v, k) if ids else [v, str(t[0]), str(t[1])] for v, k, _, t, _ in members]
            ),
        }
    return package


def read_corpus(folder):
    """Rows and labels by segment, folds, metadata: through files alone."""
    found = {}
    with (
        csd.ComputationalSequence(folder / "features.csd") as features,
        csd.ComputationalSequence(folder / "labels.csd") as table,
    ):
        for video in table.video_ids:
            times, rows = features.read(video)
            for k, ((start, end), values) in enumerate(zip(*table.read(video), strict=True)):
                inside = (times[:, 1] > start + 1e-5) & (times[:, 0] < end - 1e-5)
                found[video, k] = rows[inside], values, end - start
        metadata = features.metadata
    folds = folder / "folds.json"
    return found, json.loads(folds.read_text()) if folds.exists() else None, metadata


def check(folder, truth, emotions=True, period=0.05):
    found, folds, metadata = read_corpus(folder)
    expected = {(v, k): (x, y) for s in SPLITS for v, k, x, _, y in truth.segments(s)}
    assert found.keys() == expected.keys()
    for key, (x, y) in expected.items():
        rows, values, seconds = found[key]
        np.testing.assert_array_equal(rows, x)
        np.testing.assert_allclose(
            values[: 7 if emotions else 1], y[: 7 if emotions else 1], atol=1e-6
        )
        assert emotions or np.isnan(values[1:]).all()
        assert seconds == pytest.approx(len(x) * period if period else 10.5)
    assert {split: sorted(ids) for split, ids in folds.items()} == {
        "train": sorted(SPLITS["train"]),
        "validation": SPLITS["valid"],
        "test": SPLITS["test"],
    }
    assert metadata["row period"] == period
    assert metadata["aligned to words"] is (period is None)
