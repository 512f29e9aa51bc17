"""File systems without locks, and folders that cannot be written."""

import h5py
import numpy as np
import pytest

from mosei_ssl.utils.errors import UserError
from tfds_mosei import csd


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("[Errno 37] unable to lock file", "HDF5_USE_FILE_LOCKING=FALSE, or write to another"),
        ("[Errno 13] Permission denied", r"Permission denied\): write to another folder"),
    ],
)
def test_a_file_that_cannot_be_made_is_one_message(tmp_path, monkeypatch, reason, told):
    def refuse(*args, **kwargs):
        raise OSError(reason)

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(UserError, match=told):
        csd.write(tmp_path / "x.csd", "COVAREP", [], dimension_names=["a"])
    assert not list(tmp_path.iterdir())


def test_writing_asks_for_no_lock(tmp_path, monkeypatch):
    asked = []
    opened = h5py.File
    monkeypatch.setattr(
        h5py, "File", lambda *args, **options: asked.append(options) or opened(*args, **options)
    )
    videos = [("talk", np.array([[0.0, 0.01]]), np.zeros((1, 1)))]
    csd.write(tmp_path / "x.csd", "COVAREP", videos, dimension_names=["a"])
    assert asked == [{"locking": False}]
