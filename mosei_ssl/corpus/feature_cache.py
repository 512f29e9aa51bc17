"""Features of recordings on disk, so that none is computed twice."""

import hashlib
import json
import logging
import tempfile
import uuid
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mosei_ssl.corpus.audio_files import FileFeatures, analyse_file, printable
from mosei_ssl.covarep import EXTRACTOR_VERSION, ExtractionOptions
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import cache_folder, put_in_place, sha256

logger = logging.getLogger(__name__)


class FeatureCache:
    """Features by what decides them: a recording's content, the options, the extractor's version.

    Several processes may use it at once. Its files can be deleted at any time.
    """

    def __init__(self, options: ExtractionOptions):
        self.options = options
        self.folder = cache_folder() / "features"

    def check_writable(self) -> None:
        """Raises a UserError if nothing can be kept."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise UserError(
                f"features are kept in {self.folder}, which cannot be written "
                f"({error.strerror}): set MOSEI_SSL_CACHE to a folder that can"
            ) from None

    def key(self, recording: Path) -> str:
        """Digest of a recording's content and of whatever else decides its features."""
        try:
            content = sha256(recording)
        except OSError as error:
            raise UserError(f"{printable(recording)}: {error.strerror}") from None
        # libsndfile goes by the ending where the content does not tell the format.
        decisive = [content, recording.suffix.lower(), asdict(self.options), EXTRACTOR_VERSION]
        return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()

    def _place(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.npz"

    def load(self, key: str) -> FileFeatures | None:
        """What is kept under a key; None if it must be computed."""
        try:
            with np.load(self._place(key), allow_pickle=False) as stored:
                remarks = tuple(map(str, stored["remarks"]))
                return FileFeatures(stored["features"], int(stored["rate"]), remarks)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            logger.info("%s is damaged (%s): computed again", self._place(key), error)
            return None

    def save(self, key: str, found: FileFeatures) -> None:
        """Keeps features, whole or not at all."""
        place = self._place(key)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("xb") as file:
                remarks = np.array(found.remarks, dtype=str)
                np.savez_compressed(file, features=found.features, rate=found.rate, remarks=remarks)
            put_in_place(partial, place)
        finally:
            partial.unlink(missing_ok=True)

    def fetch(self, recording: Path, *, must_keep: bool = True) -> tuple[str, FileFeatures]:
        """Key and features of a recording, which are computed and kept if they are not there.

        Raises:
            UserError: The recording cannot be used, or changed while it was read.
            OSError: The features cannot be kept, and must be.
        """
        if not recording.is_file():
            return "", analyse_file(recording, self.options)  # which says what is wrong
        key = self.key(recording)
        found = self.load(key)
        if found is None:
            found = analyse_file(recording, self.options)
            if self.key(recording) != key:
                raise UserError(f"{printable(recording)} changed meanwhile: start again")
            try:
                self.save(key, found)
            except OSError as error:
                if must_keep:
                    raise
                logger.info("features of %s are not kept: %s", printable(recording), error)
        return key, found
