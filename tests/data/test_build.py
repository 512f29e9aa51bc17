"""The data report."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mosei_ssl.data import DataConfig, build_dataset, dataset_report, load_segments
from mosei_ssl.utils.errors import UserError
from tfds_mosei.synthetic import SyntheticSize, write_corpus


def text_of(renderable):
    out = io.StringIO()
    Console(file=out, width=160).print(renderable, soft_wrap=True)
    return out.getvalue()


def test_a_synthetic_corpus_is_built_reported_and_loaded(tmp_path):
    text = text_of(build_dataset(tmp_path, synthetic=True, size=6))
    assert "SYNTHETIC" in text
    assert "dataset synthetic" in text
    for word in ("train", "validation", "test", "surprise"):
        assert word in text
    segments = load_segments(DataConfig(data_dir=str(tmp_path)), "train")
    assert segments.synthetic
    assert segments.rows(0).shape == (segments.lengths[0], 74)
    assert len(segments.statistics["mean"]) == 74


def test_the_places_of_report_and_folds_are_named(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_corpus(corpus, SyntheticSize(6))
    folds = json.loads((corpus / "folds.json").read_text())
    other = tmp_path / "other.json"
    swapped = {"train": "train", "validation": "test", "test": "validation"}
    other.write_text(json.dumps({split: folds[of] for split, of in swapped.items()}))
    lines = text_of(build_dataset(tmp_path / "data", corpus)).splitlines()
    report = Path(lines[1].removeprefix("report "))
    assert report.name == "report.html"
    assert report.is_file()
    assert lines[2] == f"folds {corpus / 'folds.json'}"
    lines = text_of(build_dataset(tmp_path / "data", corpus, other)).splitlines()
    assert lines[2] == f"folds {other}"


def test_what_is_odd_is_told():
    report = {
        "dropped": {"zero_length": 3, "bad_label": 0},
        "clipped": {"fear": 2},
        "folds": {"test": {"videos": 678, "without_labels": 2, "without_features": 0}},
    }
    text = text_of(dataset_report({"report": report}))
    assert "segments dropped: 3 zero length" in text
    assert "bad label" not in text
    assert "values clipped: 2 fear" in text
    assert "fold test: of 678 videos 2 without labels" in text


def test_contradicting_options_are_refused(tmp_path):
    with pytest.raises(UserError, match="--manual-dir"):
        build_dataset(tmp_path, tmp_path, synthetic=True)
    with pytest.raises(UserError, match="size"):
        build_dataset(tmp_path, tmp_path, size=3)
