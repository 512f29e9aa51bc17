"""Output that is there already: completed, or left alone."""

import json

import pytest

from mosei_ssl.corpus import extract_corpus, extraction, feature_cache
from mosei_ssl.utils.errors import UserError


def test_existing_output_is_not_lost(tmp_path, recordings, quick):
    (tmp_path / "out.csd").write_text("precious")
    with pytest.raises(UserError, match="exists already"):
        extract_corpus([recordings], tmp_path / "out.csd")
    assert (tmp_path / "out.csd").read_text() == "precious"
    assert extract_corpus([recordings / "clip0.wav"], tmp_path / "out.csd", overwrite=True).rows


@pytest.fixture
def incomplete(tmp_path, recordings, quick, labels):
    """A call, and what it made of a recording that could not be used; another would complete it."""
    bad = tmp_path / "clip0.wav"
    bad.write_text("not audio")
    audio = [bad, *(recordings / f"clip{k}.wav" for k in range(1, 6))]
    out = tmp_path / "corpus" / "speech.csd"

    def call(**options):
        return extract_corpus(audio, out, labels, **options)

    assert list(call().failed) == [str(bad)]
    bad.write_bytes(b"RIFF")
    return call


def test_incomplete_output_is_completed(incomplete):
    report = incomplete()
    assert report.failed == {}
    assert report.reused == 5
    assert len(report.rows) == 6
    ids = json.loads(report.folds.read_text())
    assert sum(map(len, ids.values())) == 6


@pytest.mark.parametrize("step", ["_extract_missing", "write_features", "write_labels"])
def test_an_interrupted_completion_can_be_repeated(incomplete, monkeypatch, step):
    with monkeypatch.context() as patch:

        def interrupted(*_):
            raise KeyboardInterrupt

        patch.setattr(extraction, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            incomplete()
    assert len(incomplete().rows) == 6


@pytest.mark.parametrize("name", ["folds.json", "speech.csd", "speech_labels.csd"])
def test_output_changed_since_is_not_lost(tmp_path, incomplete, name):
    path = tmp_path / "corpus" / name
    path.write_text("by hand")
    with pytest.raises(
        UserError, match=f"{name} exists already and was changed since it was written"
    ):
        incomplete()
    assert path.read_text() == "by hand"
    assert len(incomplete(overwrite=True).rows) == 6
    assert path.read_bytes() != b"by hand"


def test_folds_written_during_the_extraction_are_not_lost(
    tmp_path, recordings, quick, labels, monkeypatch
):
    folds = tmp_path / "folds.json"

    def write_folds(path, options):
        folds.write_text("by hand")
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", write_folds)
    with pytest.raises(UserError, match=r"folds\.json exists already"):
        extract_corpus([recordings], tmp_path / "out.csd", labels)
    assert folds.read_text() == "by hand"
    folds.unlink()
    assert extract_corpus([recordings], tmp_path / "out.csd", labels).reused == 6
