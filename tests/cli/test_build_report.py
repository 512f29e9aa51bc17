"""The data report."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mosei_ssl.cli.build import BuildOptions, collect, page
from mosei_ssl.cli.dataset_report import dataset_report
from mosei_ssl.utils.errors import UserError
from tfds_mosei import report_page
from tfds_mosei.synthetic import SyntheticSize, write_corpus


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """Leave out the figures of the dataset's report, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "svg", lambda *_: "<svg/>")
        yield


def text_of(renderable):
    out = io.StringIO()
    Console(file=out, width=160).print(renderable, soft_wrap=True)
    return out.getvalue()


def test_the_places_of_report_and_folds_are_named(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_corpus(corpus, SyntheticSize(6))
    folds = json.loads((corpus / "folds.json").read_text())
    other = tmp_path / "other.json"
    swapped = {"train": "train", "validation": "test", "test": "validation"}
    other.write_text(json.dumps({split: folds[of] for split, of in swapped.items()}))
    place = {"data_dir": str(tmp_path / "data"), "manual_dir": str(corpus)}
    lines = text_of(page(collect(BuildOptions(**place)))).splitlines()
    report = Path(lines[1].removeprefix("report "))
    assert report.name == "report.html"
    assert report.is_file()
    assert lines[2] == f"folds {corpus / 'folds.json'}"
    lines = text_of(page(collect(BuildOptions(**place, folds=str(other))))).splitlines()
    assert lines[2] == f"folds {other}"


def test_what_is_odd_is_told():
    report = {
        "taken": [],
        "splits": {},
        "irregularities": {},
        "videos": {},
        "dropped": {"zero_length": 3, "bad_label": 0},
        "clipped": {"fear": 2},
        "folds": {"test": {"videos": 678, "without_labels": 2, "without_features": 0}},
    }
    text = text_of(dataset_report({"synthetic": False, "report": report}))
    assert "segments dropped: 3 zero length" in text
    assert "bad label" not in text
    assert "values clipped: 2 fear" in text
    assert "fold test: of 678 videos 2 without labels" in text


def test_contradicting_options_are_refused(tmp_path):
    corpus = str(tmp_path)
    with pytest.raises(UserError, match="--manual-dir"):
        collect(BuildOptions(manual_dir=corpus, synthetic=True))
    with pytest.raises(UserError, match="--size"):
        collect(BuildOptions(manual_dir=corpus, size=3))
