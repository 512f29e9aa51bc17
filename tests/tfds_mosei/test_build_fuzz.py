"""Damaged and absurd corpora end in a right and whole dataset or in one clear error."""

import json
import random
import resource
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from children import start_child
from mosei_corpus import FUZZ_CASES, checked, damage, examples, frames, label, ramp, write_corpus

import tfds_mosei
from tfds_mosei import FEATURE_NAMES, CorpusError, report_page

BUILDS = max(12, FUZZ_CASES // 40)
BUILD_MEMORY = 24 * 2**30


def write_fuzzed_corpus(folder: Path, rng: random.Random) -> None:
    """A good corpus, then something done to one of its files."""
    values = np.random.default_rng(rng.randrange(2**32))
    features, labels = {}, {}
    for video in "abcd":
        rows = rng.randrange(0, 300)
        array = ramp(rows)
        if rows:
            array[values.integers(0, rows, 5), values.integers(0, 74, 5)] = values.choice(
                [np.nan, np.inf, -np.inf, 3e38]
            )
        times = frames(rows)
        if rows and rng.random() < 0.3:
            times[values.integers(0, rows, 3)] = values.choice([np.nan, -1.0, 1e9], (3, 2))
        features[video] = (times, array)
        count = rng.randrange(0, 5)
        segments = values.choice([-1.0, 0.0, 0.1, 0.5, 1.5, 9.0, np.nan], (count, 2))
        if rng.random() < 0.5:
            segments.sort(axis=1)
        levels = values.choice([0, 1 / 3, 3, 9, -1, np.nan, np.inf], count)
        found = [label(happy=level) for level in levels]
        labels[video] = ([[0.0, 0.4], *segments], [label(), *found])
    write_corpus(folder, features, labels)
    name = rng.choice(["features.csd", "labels.csd", "folds.json", "", ""])
    if name == "" and rng.random() < 0.4:
        (folder / "labels.csd").unlink()
        lines = [f"{v},0,0.4,0,0,0,{rng.choice(['0', 'x', 'nan', ''])},0,0,0" for v in "abcd"]
        header = "id,start,end,sentiment,happy,sad,anger,surprise,disgust,fear"
        (folder / "labels.csv").write_text("\n".join([header, *lines]))
    elif name == "" and rng.random() < 0.5:
        (folder / "features.csd").unlink()
        for video in "abcd":
            content = {"features": ramp(60), "names": np.array([list(FEATURE_NAMES)], object)}
            scipy.io.savemat(folder / f"{video}.mat", content)
        if rng.random() < 0.7:
            damage(folder / "b.mat", "flip", [(rng.random(), rng.randrange(8)) for _ in range(5)])
    elif name == "" and rng.random() < 0.3:
        claim_much(folder / "labels.csd", rng.randrange(8, 4000))
    elif name:
        kind = rng.choice(["cut", "flip", "blank"])
        how = {
            "cut": rng.random(),
            "flip": [(rng.random(), rng.randrange(8)) for _ in range(rng.randrange(1, 20))],
            "blank": (rng.random(), rng.randrange(1, 4000)),
        }[kind]
        damage(folder / name, kind, how)


def claim_much(path: Path, width: int) -> None:
    """Labels of video a become two million rows that were never written: a few kilobytes."""
    with h5py.File(path, "r+") as file:
        del file["All Labels/data/a"]
        for name, columns in (("features", width), ("intervals", 2)):
            file.create_dataset(
                f"All Labels/data/a/{name}", (2_000_000, columns), "f8", chunks=(100, columns)
            )


def wanted(folder: Path) -> dict[tuple[str, int], tuple[np.ndarray, list[float]]]:
    """Rows and labels of the train segments, found in the slow and obvious way."""
    found = {}
    for video, segments in read_labels(folder).items():
        if video not in json.loads((folder / "folds.json").read_text())["train"]:
            continue
        times, rows = read_features(folder, video)
        for number, (start, end, *labels) in enumerate(segments):
            if not np.isfinite([start, end, *labels]).all() or end - start < 1e-5:
                continue
            inside = sorted(
                (times[i, 0], i)
                for i in range(len(rows))
                if np.isfinite(times[i]).all()
                and times[i, 1] - times[i, 0] > 1e-5
                and times[i, 1] > start + 1e-5
                and times[i, 0] < end - 1e-5
            )
            if inside:
                clipped = [max(-3, min(3, labels[0])), *(max(0, min(3, x)) for x in labels[1:])]
                found[video, number] = rows[[i for _, i in inside]], clipped
    return found


def read_labels(folder: Path) -> dict[str, list[list[float]]]:
    """Start, end and seven labels of each segment, by video."""
    table: dict[str, list[list[float]]] = {}
    if (folder / "labels.csv").exists():
        for line in (folder / "labels.csv").read_text().splitlines()[1:]:
            video, *cells = line.split(",")
            table.setdefault(video, []).append([float(cell or "nan") for cell in cells])
        return table
    with h5py.File(folder / "labels.csd") as file:
        for video, group in file["All Labels/data"].items():
            table[video] = np.hstack([group["intervals"][()], group["features"][()]]).tolist()
    return table


def read_features(folder: Path, video: str) -> tuple[np.ndarray, np.ndarray]:
    """Times and rows of a video."""
    if (folder / f"{video}.mat").exists():
        rows = scipy.io.loadmat(folder / f"{video}.mat")["features"]
        return frames(len(rows)), rows.astype(np.float32)
    with h5py.File(folder / "features.csd") as file:
        group = file["COVAREP/data"][video]
        return group["intervals"][()], group["features"][()]


def check_built(built, corpus: Path) -> None:
    """A dataset that came out of a fuzzed corpus is right, whole and described."""
    expected = wanted(corpus)
    found = examples(built, "train")
    assert found.keys() == expected.keys()
    for key, (rows, labels) in expected.items():
        np.testing.assert_array_equal(found[key]["features"], rows)
        np.testing.assert_array_equal(found[key]["sentiment"], np.float32(labels[0]))
        np.testing.assert_array_equal(found[key]["emotions"], np.float32(labels[1:]))
    metadata = dict(built.info.metadata)
    finite = np.concatenate([rows for rows, _ in expected.values()])
    assert metadata["feature_statistics"]["count"] == len(finite)
    counts = np.sum(~np.isfinite(finite), axis=0).tolist()
    assert metadata["feature_statistics"]["non_finite"] == counts
    assert built.builder_config.name == f"covarep-{metadata['fingerprint']}"
    report = json.loads((built.data_path / "report.json").read_text())
    assert report["fingerprint"] == metadata["fingerprint"]
    for split, info in built.info.splits.items():
        assert report["report"]["splits"][split]["segments"] == info.num_examples
    assert "</html>" in (built.data_path / "report.html").read_text()


def build_corpora(folder: Path, data: Path, outcomes: Path) -> int:
    """Builds one corpus after another; writes what became of each, a line each."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (BUILD_MEMORY, BUILD_MEMORY))
    draw = report_page.render_page
    for number in range(BUILDS):
        corpus, target = folder / str(number), data / str(number)
        write_fuzzed_corpus(corpus, random.Random(number))
        # Drawing takes most of a build.
        report_page.render_page = draw if number % 12 == 0 else lambda *_: "</html>"
        try:
            built = tfds_mosei.build(data_dir=target, manual_dir=corpus)
            check_built(built, corpus)
            outcome = "built"
        except CorpusError as error:
            left = [p for p in target.glob("tfds_mosei/*/*") if p.parent.name != ".config"]
            outcome = f"left behind: {left}" if left else checked(error, corpus)
        except BaseException as error:
            outcome = f"{type(error).__name__}: {error}"
        with outcomes.open("a") as file:
            file.write(json.dumps(outcome) + "\n")
    return 0


@pytest.mark.slow
def test_whole_builds(tmp_path):
    outcomes, log = tmp_path / "outcomes", tmp_path / "log"
    places = (tmp_path / "corpora", tmp_path / "data", outcomes)
    process = start_child(build_corpora, *places, log=log)
    process.join(timeout=10 * BUILDS)
    found = [json.loads(line) for line in outcomes.read_text().splitlines()]
    if process.exitcode != 0:
        process.kill()
        pytest.fail(f"build {len(found)} hangs or the process died ({process.exitcode})")
    assert {n: o for n, o in enumerate(found) if o not in ("built", "refused")} == {}
    assert found.count("built") >= BUILDS / 10
    assert found.count("refused") >= BUILDS / 10
