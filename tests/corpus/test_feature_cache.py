"""Features that are computed once for each content, whatever it is called and wherever it is."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from voices import RATE

from mosei_ssl.corpus import extract_corpus, feature_cache
from mosei_ssl.corpus.audio_files import FileFeatures
from mosei_ssl.corpus.feature_cache import FeatureCache, cache_folder
from mosei_ssl.covarep import ExtractionOptions
from mosei_ssl.utils.errors import UserError


@pytest.fixture
def computed(monkeypatch, quick):
    """The names of files that features were computed of."""
    names = []

    def count(path, options):
        names.append(path.name)
        return quick(path, options)

    monkeypatch.setattr(feature_cache, "analyse_file", count)
    return names


def test_other_labels_and_another_corpus_cost_no_extraction(tmp_path, recordings, labels, computed):
    extract_corpus([recordings], tmp_path / "one" / "speech.csd")
    assert len(computed) == 6
    copy = tmp_path / "elsewhere" / "renamed.wav"
    copy.parent.mkdir()
    shutil.copy(recordings / "clip3.wav", copy)
    assert extract_corpus([recordings], tmp_path / "two" / "x.csd", labels).reused == 6
    assert extract_corpus([copy], tmp_path / "three.csd").rows == {"renamed": 50}
    assert len(computed) == 6


def test_what_decides_the_features_decides_what_is_computed(tmp_path, computed, monkeypatch):
    clip = tmp_path / "clip.wav"
    clip.write_bytes(b"one")

    def fetch(**options):
        FeatureCache(ExtractionOptions(**options)).fetch(clip)
        return len(computed)

    assert (fetch(), fetch(), fetch(seed=1), fetch(seed=1), fetch(channel=0)) == (1, 1, 2, 2, 3)
    monkeypatch.setattr(feature_cache, "EXTRACTOR_VERSION", 2)
    assert (fetch(), fetch()) == (4, 4)
    clip.write_bytes(b"two")
    assert (fetch(), fetch()) == (5, 5)


def test_what_is_kept_is_what_was_computed():
    cache = FeatureCache(ExtractionOptions())
    rows = np.random.default_rng(0).normal(size=(30, 74)).astype(np.float32)
    rows[3, 7] = -np.inf
    cache.save("ab12", FileFeatures(rows, 8000, ("silence", "cut off")))
    found = cache.load("ab12")
    np.testing.assert_array_equal(found.features, rows)
    assert found.features.dtype == np.float32
    assert (found.rate, found.remarks) == (8000, ("silence", "cut off"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:2000],
        lambda content: content[:2000] + b"another" + content[2007:],
    ],
)
def test_damage_is_noticed(damage):
    cache = FeatureCache(ExtractionOptions())
    rows = np.random.default_rng(0).normal(size=(30, 74)).astype(np.float32)
    cache.save("ab12", FileFeatures(rows, RATE))
    (file,) = cache.folder.rglob("*.npz")
    file.write_bytes(damage(file.read_bytes()))
    assert cache.load("ab12") is None


def test_two_processes_may_finish_one_recording(monkeypatch):
    cache = FeatureCache(ExtractionOptions())
    compressed = np.savez_compressed
    rows = {n: FileFeatures(np.full((n, 74), n, np.float32), RATE) for n in (1, 2)}

    def meanwhile(file, **arrays):
        monkeypatch.setattr(feature_cache.np, "savez_compressed", compressed)
        cache.save("ab12", rows[2])
        compressed(file, **arrays)

    monkeypatch.setattr(feature_cache.np, "savez_compressed", meanwhile)
    cache.save("ab12", rows[1])
    assert len(cache.load("ab12").features) == 1
    assert len(list(cache.folder.rglob("*"))) == 2


def test_the_users_cache_is_where_others_are(tmp_path, monkeypatch):
    monkeypatch.setenv("MOSEI_SSL_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("MOSEI_SSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mosei_ssl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "mosei_ssl"

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder().parents[1] == Path(tempfile.gettempdir())


def test_a_cache_that_cannot_be_written(tmp_path, recordings, monkeypatch, quick):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOSEI_SSL_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"Not a directory.*set MOSEI_SSL_CACHE"):
        extract_corpus([recordings], tmp_path / "out.csd")
    # A prediction does without.
    cache = FeatureCache(ExtractionOptions())
    assert len(cache.fetch(recordings / "clip0.wav", must_keep=False)[1].features) == 50
