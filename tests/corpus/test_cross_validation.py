"""Folds of a corpus for cross-validation."""

import json

import numpy as np
import pytest

from mosei_ssl.cli import main
from mosei_ssl.config import DataConfig
from mosei_ssl.corpus import extract_corpus
from mosei_ssl.corpus.corpus_files import write_cross_validation
from mosei_ssl.corpus.speaker_folds import cross_validation_folds
from mosei_ssl.study.folds import prepare_folds
from mosei_ssl.study.options import StudyConfig
from mosei_ssl.utils.errors import UserError
from tfds_mosei.folds import load_cross_validation, load_folds


def test_every_speaker_is_tested_once_and_never_trained_on_then():
    draw = np.random.default_rng(0)
    sizes = {f"v{k}": int(draw.integers(1, 9)) for k in range(60)}
    speakers = {video: {f"s{int(video[1:]) % 13}"} for video in sizes}
    # One conversation links two speakers.
    speakers["v0"] = {"s0", "s1"}
    folds = cross_validation_folds(sizes, speakers, 5, seed=2)
    assert sorted(v for fold in folds for v in fold["test"]) == sorted(sizes)
    assert sorted(v for fold in folds for v in fold["validation"]) == sorted(sizes)
    for fold in folds:
        assert sorted(v for ids in fold.values() for v in ids) == sorted(sizes)
        names = {split: set().union(*(speakers[v] for v in ids)) for split, ids in fold.items()}
        assert not names["train"] & (names["validation"] | names["test"])
        assert not names["validation"] & names["test"]
        assert 0.1 < sum(sizes[v] for v in fold["test"]) / sum(sizes.values()) < 0.3
    assert folds == cross_validation_folds(sizes, speakers, 5, seed=2)
    assert folds != cross_validation_folds(sizes, speakers, 5, seed=3)


@pytest.fixture
def corpus(tmp_path, recordings, quick):
    """Clips of three speakers, and one of the second of them without labels."""
    labels = tmp_path / "labels.csv"
    lines = [f"clip{k},happy,S{k % 3}" for k in (0, 1, 2, 3, 5)]
    labels.write_text("\n".join(["file,emotion,speaker", *lines]) + "\n")
    out = tmp_path / "corpus" / "speech.csd"
    extract_corpus([recordings], out, labels, speaker_from=r"clip(4)")
    speakers = json.loads((out.parent / "speakers.json").read_text())
    assert speakers == {f"clip{k}": [f"s{k % 3}"] for k in (0, 1, 2, 3, 5)} | {"clip4": ["4"]}
    (out.parent / "speakers.json").write_text(json.dumps(speakers | {"clip4": ["s1"]}))
    return out.parent


def test_a_study_takes_the_folds_of_a_corpus(tmp_path, corpus, capsys, monkeypatch):
    monkeypatch.setattr("tfds_mosei.report_page.render_page", lambda *_: "<html></html>")
    assert main(["folds", str(corpus), "--k", "3"]) == 0
    assert "folds_k3.json: 3 folds" in capsys.readouterr().out.replace("\n", "")
    folds = load_cross_validation(corpus / "folds_k3.json")
    # What has no labels is trained on with its speaker, and only then.
    assert ["clip4" in fold.videos["train"] for fold in folds] == [
        "clip1" in fold.videos["train"] for fold in folds
    ]
    data = DataConfig(data_dir=str(tmp_path / "data"))
    config = StudyConfig(data=data, manual_dir=str(corpus), folds=["folds_k3.json"])
    prepared = prepare_folds(config)
    assert [fold.test_videos for fold in prepared] == [fold.videos["test"] for fold in folds]
    assert sorted(v for fold in prepared for v in fold.test_videos) == [
        *("clip0", "clip1", "clip2", "clip3", "clip5")
    ]


def test_voices_that_may_be_tested_are_told(corpus, caplog):
    file = corpus / "speakers.json"
    speakers = json.loads(file.read_text())
    file.write_text(
        json.dumps({video: names for video, names in speakers.items() if video != "clip4"})
    )
    write_cross_validation(corpus, 3)
    assert "1 recordings without labels name no speaker" in caplog.text


def test_what_cannot_be_divided_is_told(tmp_path, corpus, caplog):
    with pytest.raises(UserError, match=r"4 folds need 4 groups of speakers.* there are 3"):
        write_cross_validation(corpus, 4)
    (corpus / "speakers.json").unlink()
    place, folds = write_cross_validation(corpus, 5)
    assert "no speaker of 5 videos" in caplog.text
    assert all("clip4" in fold["train"] for fold in folds)
    write_cross_validation(corpus, 5)
    with pytest.raises(UserError, match=r"folds_k5\.json exists already"):
        write_cross_validation(corpus, 5, seed=1)
    with pytest.raises(UserError, match="holds 5 folds, for the cross-validation of a study"):
        load_folds(place)
    (corpus / "speakers.json").write_text("[1]")
    with pytest.raises(UserError, match="not an object of lists"):
        write_cross_validation(corpus, 3)
    with pytest.raises(UserError, match="no"):
        write_cross_validation(tmp_path / "nowhere", 3)
