"""Keeps files that an extraction did not write, or that changed since, from being replaced."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import sha256, write_text

_BEING_WRITTEN = "being written"


class OutputGuard:
    """Refuses to replace files, unless ``overwrite`` allows it or an incomplete call left them.

    Digests in the file ``record`` show which ones nobody has changed since.
    """

    def __init__(self, paths: Sequence[Path], record: Path, overwrite: bool):
        self._paths = paths
        self._record = record
        self._overwrite = overwrite
        self._digests: dict[str, str] = {}
        if record.is_file():
            self._digests = json.loads(record.read_text(encoding="utf-8"))

    def refuse_existing(self) -> None:
        """Refuses a file that exists and is not as an earlier, incomplete call left it."""
        if self._overwrite:
            return
        for path in self._paths:
            known = self._digests.get(path.name)
            if path.exists() and known not in (_BEING_WRITTEN, _digest(path)):
                changed = " and was changed since it was written" if known else ""
                raise UserError(
                    f"{path} exists already{changed}: give another name, move it away, or allow "
                    "overwriting (--overwrite)"
                )

    @contextlib.contextmanager
    def written(self, *paths: Path) -> Iterator[None]:
        """Notes that files are being written, so that the next call may complete them."""
        # Whatever stops the writing, the files are this extraction's.
        self._remember(dict.fromkeys((path.name for path in paths), _BEING_WRITTEN))
        yield
        self._remember({path.name: _digest(path) for path in paths})

    def forget(self) -> None:
        """From now on the files are complete, and nobody's to replace."""
        self._record.unlink(missing_ok=True)

    def _remember(self, digests: Mapping[str, str]) -> None:
        self._digests |= digests
        write_text(self._record, json.dumps(self._digests))


def _digest(path: Path) -> str:
    return sha256(path) if path.is_file() else ""
