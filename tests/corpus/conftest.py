"""Recordings to extract from."""

import numpy as np
import pytest
from voices import RATE, pulse_train

from mosei_ssl.corpus import feature_cache
from mosei_ssl.corpus.audio_files import FileFeatures
from mosei_ssl.utils.errors import UserError


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Six short recordings of three speakers."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("recordings")
    for k in range(6):
        soundfile.write(folder / f"clip{k}.wav", pulse_train(110 + 20 * k, 0.9, seed=k), RATE)
    return folder


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory, monkeypatch):
    """A cache that no other test has filled."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MOSEI_SSL_CACHE", str(folder))
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Features that cost nothing: 50 rows of zeros for every file that is not text."""

    def zeros(path, options):
        if path.read_bytes().startswith(b"not audio"):
            raise UserError(f"{path}: not readable as audio")
        return FileFeatures(np.zeros((50, 74), np.float32), RATE)

    monkeypatch.setattr(feature_cache, "analyse_file", zeros)
    return zeros


@pytest.fixture(scope="session")
def write_labels():
    """Writes a spreadsheet of those recordings."""
    return _write_labels


def _write_labels(path):
    lines = ["file,start,end,happy,anger,speaker"]
    lines += [f"clip{k}.wav,0,0.5,{k % 4},,s{k % 3}" for k in range(6)]
    lines += ["clip0.wav,0.5,,,2.5,s0"]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def labels(tmp_path):
    return _write_labels(tmp_path / "labels.csv")
