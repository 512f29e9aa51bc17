"""Files that are whole or absent whatever happens, and a full disk reported in one message."""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.signals import Interrupted

_log = logging.getLogger(__name__)

# Messages, not classes: TensorFlow, HDF5 and Python each raise an error of their own.
_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO)
_REASONS = [os.strerror(number) for number in _NUMBERS]


def cache_folder() -> Path:
    """The user's cache of this package: `MOSEI_SSL_CACHE`, else `~/.cache/mosei_ssl`."""
    if chosen := os.environ.get("MOSEI_SSL_CACHE"):
        return Path(chosen)
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # in a container a user may have no home
        caches = Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return caches / "mosei_ssl"


def sha256(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Its folder is made. If it cannot be written, an old file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_bytes(content)
        put_in_place(temporary, path)
    except OSError:
        # On a full disk every byte counts.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise before the work what would be raised after it."""
    place = path if path.exists() else path.absolute().parent
    if not place.exists():
        raise UserError(f"cannot write to {path}: its folder does not exist.")
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder.")
    if not os.access(place, os.W_OK):
        raise UserError(f"cannot write to {path}: permission denied.")


def write_output(path: Path, text: str) -> None:
    """Write a file that the user named: as `write_text`, or into a pipe or a device."""
    target = path.resolve()
    mode = target.stat().st_mode if target.is_file() else None
    try:
        if (target.exists() and mode is None) or not os.access(target.parent, os.W_OK):
            # A pipe or a device; or a file in a folder in which no other can be made.
            target.write_text(text, encoding="utf-8")
            return
        write_text(target, text)
        if mode is not None:
            target.chmod(mode)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}.") from None


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a complete file in its folder, durably even if power is lost right after."""
    # A rename may reach the disk before the content does, and only the folder knows of it.
    _to_disk(temporary)
    os.replace(temporary, path)
    _to_disk(path.parent)


def folder_to_disk(folder: Path) -> None:
    """Have all that is in a complete folder on the disk, before the folder is renamed."""
    for path in (*folder.rglob("*"), folder):
        _to_disk(path)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, message: str, *, wait: bool = False) -> Iterator[None]:
    """Keep a folder that exists, or a file, which is made, for one process at a time.

    If another process holds it, `message` is raised as a `UserError`, or logged in order to `wait`.
    """
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UserError(message) from None
            _log.info("%s", message)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have no locks
            _log.warning(
                "%s cannot be locked (%s): make sure that no other process uses it", path, error
            )
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def storage_errors_reported(place: Path, saved: Callable[[], str]) -> Iterator[None]:
    """Turn what a full, unwritable or vanished disk raises into a `UserError` about `place`.

    `saved` gives what is safe, as a sentence without its full stop.
    """
    try:
        yield
    except (UserError, Interrupted):
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise UserError(
            f"cannot write to {place}: {reason}. {saved()}. Make room, or make it writable, and "
            "give the same command again to resume."
        ) from error


def _reason(error: BaseException | None) -> str | None:
    """Why storage failed, also if the error came up while a first one was handled."""
    while error is not None:
        for reason in _REASONS:
            if reason in str(error):
                return reason
        error = error.__cause__ or error.__context__
    return None


def is_whole(file: Path) -> bool:
    """Whether a ZIP archive, which a `.keras` file is, matches its checksums.

    Keras reads weights without looking at these.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, zlib.error):
        return False
