"""Finding recordings, and naming them in a corpus."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mosei_ssl.corpus.audio_files import AUDIO_SUFFIXES, CONVERT, OTHER_SUFFIXES, printable
from mosei_ssl.utils.errors import UserError

logger = logging.getLogger(__name__)


def find_audio(inputs: Iterable[str | Path]) -> list[Path]:
    """Expands folders to the audio files below them, sorted, each file once.

    Of several names of one file the first is kept: links would put one recording into the corpus
    twice, possibly on both sides of the folds. What macOS adds to archives is skipped.
    """
    found: dict[Path, None] = {}
    skipped, unread = 0, 0
    for path in map(Path, inputs):
        if path.is_dir():
            files = sorted(path.rglob("*"))
            audio = [p for p in files if p.suffix.lower() in AUDIO_SUFFIXES]
            inside = [p for p in audio if not _of_macos(p)]
            skipped += len(audio) - len(inside)
            read = {p.with_suffix("") for p in inside}  # talk.wav beside the talk.mp4 it is from
            others = [p for p in files if p.suffix.lower() in OTHER_SUFFIXES and not _of_macos(p)]
            unread += sum(p.with_suffix("") not in read for p in others)
            if not inside:
                hint = f"; {CONVERT}" if others else ""
                raise UserError(f"{printable(path)}: no audio files in this folder{hint}")
            found.update(dict.fromkeys(inside))
        elif _of_macos(path):
            skipped += 1
        elif path.suffix.lower() not in AUDIO_SUFFIXES and not os.path.lexists(path):
            raise UserError(f"{printable(path)}: no such file or folder")
        else:
            # A missing recording is one bad file among others: reported, not fatal.
            found[path] = None
    if skipped:
        logger.info("%d files that macOS added to an archive are skipped", skipped)
    if unread:
        logger.warning("%d files of other formats are left out: %s", unread, CONVERT)
    if not found:
        raise UserError("no audio files were given")
    kept: dict[Path, Path] = {}
    for path in found:
        first = kept.setdefault(_real(path), path)
        if first != path:
            message = "%s is the same file as %s: used once, under the latter name"
            logger.warning(message, printable(path), printable(first))
    return list(kept.values())


def _of_macos(path: Path) -> bool:
    """Whether a file holds attributes of another one (AppleDouble), under that one's ending."""
    return path.name.startswith("._") or "__MACOSX" in path.parts


def _real(path: Path) -> Path:
    """The path without links; unlike ``Path.resolve`` it takes those that lead in a circle."""
    return Path(os.path.realpath(path))


def video_ids(recordings: Sequence[Path]) -> dict[Path, str]:
    """The shortest ids that tell the recordings of a corpus apart.

    They are file names without ending; with the ending or the folders below the common one where
    names repeat. Bytes that are not UTF-8 are escaped (``\\xe9``).
    """
    parents = [str(_real(path).parent) for path in recordings]
    common = Path(os.path.commonpath(parents)) if parents else Path()
    makers: list[Callable[[Path], str]] = [
        lambda path: path.stem,
        lambda path: path.name,
        lambda path: "__".join(_real(path).relative_to(common).with_suffix("").parts),
        lambda path: "__".join(_real(path).relative_to(common).parts),
    ]
    for make in makers:
        # HDF5 holds UTF-8 only.
        names = [printable(make(path)) for path in recordings]
        if len(set(names)) == len(names):
            return dict(zip(recordings, names, strict=True))
    raise UserError("the same recording is given twice under different names")
