"""Files an extraction writes, and whose they are when they are there already."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text

logger = logging.getLogger(__name__)

_BEING_WRITTEN = "being written"


class Outputs:
    """Keeps output that was there before, or was changed since, from being replaced.

    A call that could not use every recording leaves output that the next one completes. It may
    replace that, but not what somebody has put in its place: folds written by hand, say. So the
    digest of what was written is kept beside the finished recordings.

    Args:
        paths: Files to be written.
        record: Where the digests are kept between calls.
        overwrite: Whether anything may be replaced.
    """

    def __init__(self, paths: Sequence[Path], record: Path, overwrite: bool):
        self._paths = paths
        self._record = record
        self._overwrite = overwrite
        # Read now: the folder it lies in may be emptied before there is anything to write.
        self._digests = _read(record)

    def refuse_existing(self) -> None:
        """Raises if a file exists that an earlier, incomplete call has not left just so.

        Raises:
            UserError: Names the file.
        """
        if self._overwrite:
            return
        for path in self._paths:
            known = self._digests.get(path.name)
            if path.exists() and known not in (_BEING_WRITTEN, _digest(path)):
                changed = " and is not as it was left" if path.name in self._digests else ""
                raise UserError(
                    f"{path} exists already{changed}: give another name, move it away, or say "
                    "that it may be overwritten"
                )

    @contextlib.contextmanager
    def written(self, *paths: Path) -> Iterator[None]:
        """Notes that files are being written, so that the next call may complete them."""
        # Whatever stops the writing, what is then there is ours.
        self._digests |= dict.fromkeys((path.name for path in paths), _BEING_WRITTEN)
        self.remember()
        yield
        self._digests |= {path.name: _digest(path) for path in paths}
        self.remember()

    def remember(self) -> None:
        """Writes down what is known, if anything is."""
        if self._digests:
            write_text(self._record, json.dumps(self._digests))


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(record: Path) -> dict[str, str]:
    try:
        digests = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        logger.info("%s is damaged: files that exist are taken for another's", record)
        return {}
    return digests if isinstance(digests, dict) else {}
