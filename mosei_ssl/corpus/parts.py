"""Features of single files on disk, so that an interrupted extraction can go on."""

import hashlib
import json
import logging
import os
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mosei_ssl import __version__
from mosei_ssl.corpus.audio_files import extract_file
from mosei_ssl.covarep.audio import printable
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options that change the numbers (see :func:`~mosei_ssl.covarep.extract_file`).

    Attributes:
        channel: Channel to use; None averages all.
        dither: Deviation of added noise.
        chunk_seconds: Length from which recordings are chunked; None for never.
        seed: Of the random phases and the dither.
    """

    channel: int | None = None
    dither: float = 0.0
    chunk_seconds: float | None = 300.0
    seed: int = 0


class PartStore:
    """A folder with one ``.npz`` per finished recording.

    A part is used again only if the recording and the options are what they were.

    Args:
        folder: Made when the first part is written.
        options: Of the extraction.

    Attributes:
        record: Place in the folder for the digests of the output (see
            :class:`~mosei_ssl.corpus.outputs.Outputs`).
    """

    def __init__(self, folder: Path, options: Options):
        self.folder = folder
        self.options = options
        self.record = folder / "outputs.json"

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
            with np.load(place, allow_pickle=False) as part:
                if str(part["fingerprint"]) != self.fingerprint(recording):
                    return None
                return part["features"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            logger.info("part of %s is damaged (%s): computed again", printable(recording), error)
            return None

    def save(self, recording: Path, features: np.ndarray, fingerprint: str) -> None:
        """Stores a part; it appears under its name only when it is complete.

        Args:
            recording: The audio file.
            features: Of it.
            fingerprint: Of the recording before it was read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self._place(recording)
        # Two processes may work on one recording: two calls at once, say.
        partial = place.with_name(f"{place.stem}.{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.savez(file, fingerprint=fingerprint, features=features)
        partial.replace(place)

    def remove(self) -> None:
        """Deletes all parts, the record and the folder."""
        if self.folder.is_dir():
            parts = [*self.folder.glob("*.npz"), *self.folder.glob("*.partial")]
            for path in [*parts, self.record]:
                path.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Attributes:
        rows: Feature rows; 0 if it failed.
        error: Why it failed; None if it did not.
    """

    rows: int
    error: str | None = None


def extract_part(recording: Path, store: PartStore) -> Outcome:
    """Computes and stores the features of one recording; whatever goes wrong is reported.

    Args:
        recording: The audio file.
        store: Where to put them.

    Returns:
        The outcome; this function does not raise for a bad recording.
    """
    name = printable(recording)
    try:
        # One that is missing has no fingerprint, and is told best by whoever reads it.
        before = store.fingerprint(recording) if recording.exists() else ""
        features, _ = extract_file(recording, **asdict(store.options))
        features = features.astype(np.float32)
        if store.fingerprint(recording) != before:
            raise UserError(f"{name} changed while it was worked on: start again")
        store.save(recording, features, before)
    except UserError as error:
        return Outcome(0, str(error))
    except MemoryError:
        return Outcome(0, f"{name}: not enough memory; use fewer workers")
    except OSError as error:
        return Outcome(0, f"{name}: {printable(error)}")
    except Exception as error:
        # A recording nobody has thought of must not end the whole batch.
        logger.exception("%s", name)
        return Outcome(0, f"{name}: {type(error).__name__}: {error}")
    return Outcome(len(features))
