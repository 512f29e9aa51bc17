"""Features of finished recordings on disk, from which an interrupted extraction resumes."""

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mosei_ssl import __version__
from mosei_ssl.corpus.audio_files import printable
from mosei_ssl.covarep import ExtractionOptions
from mosei_ssl.utils.files import put_in_place

logger = logging.getLogger(__name__)


class FeatureStore:
    """A folder with one ``.npz`` per finished recording, valid while recording and options are."""

    def __init__(self, folder: Path, options: ExtractionOptions):
        self.folder = folder
        self.options = options
        self.record = folder / "outputs.json"  # of the OutputGuard

    def fingerprint(self, recording: Path) -> str:
        """Digest of a recording's place, size and time, the options and the version."""
        status = recording.stat()
        key = [str(recording.resolve()), status.st_size, status.st_mtime_ns]
        text = json.dumps([key, asdict(self.options), __version__])
        return hashlib.sha256(text.encode()).hexdigest()

    def _place(self, recording: Path) -> Path:
        # File names need not be UTF-8.
        name = hashlib.sha256(os.fsencode(recording.resolve())).hexdigest()[:24]
        return self.folder / f"{name}.npz"

    def load(self, recording: Path) -> np.ndarray | None:
        """Features of a finished recording, float32 [T, 74]; None if they must be computed."""
        place = self._place(recording)
        if not place.is_file():
            return None
        try:
            with np.load(place, allow_pickle=False) as stored:
                if str(stored["fingerprint"]) != self.fingerprint(recording):
                    return None
                return stored["features"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            message = "features of %s are damaged (%s): computed again"
            logger.info(message, printable(recording), error)
            return None

    def save(self, recording: Path, features: np.ndarray, fingerprint: str) -> None:
        """Stores features, whole or not at all, with the recording's fingerprint before reading."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self._place(recording)
        # Two processes may work on one recording: two calls at once, say.
        partial = place.with_name(f"{place.stem}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, fingerprint=fingerprint, features=features)
        put_in_place(partial, place)

    def remove(self) -> None:
        """Deletes all features, the record and the folder."""
        if self.folder.is_dir():
            stored = [*self.folder.glob("*.npz"), *self.folder.glob("*.partial")]
            for path in [*stored, self.record]:
                path.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
