"""Which video is in which split.

Folds come from a ``folds.json`` (``{"train": [ids], "validation": [ids], "test": [ids]}``) or from
the SDK's ``cmu_mosei_std_folds.py``, which is parsed and never executed.
"""

import ast
import dataclasses
import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import LABELLED_SPLITS

_logger = logging.getLogger(__name__)

FOLDS_FILE = "folds.json"
STANDARD_FOLDS_FILE = "cmu_mosei_std_folds.py"
STANDARD_FOLDS_COMMIT = "4f2eadcd7e7b9e20e83b868cdad385b41830285c"
STANDARD_FOLDS_URL = (
    "https://raw.githubusercontent.com/CMU-MultiComp-Lab/CMU-MultimodalSDK/"
    f"{STANDARD_FOLDS_COMMIT}/mmsdk/mmdatasdk/dataset/standard_datasets/CMU_MOSEI/"
    f"{STANDARD_FOLDS_FILE}"
)
STANDARD_FOLDS_SHA256 = "4e13a2f538cf02ab56144eb2a91ca48a4024ce64faaae790ab9ff1c3f399b473"
# So that naming a dataset needs no download.
STANDARD_FOLDS_DIGEST = "14ffea956a39d4cc219c0d6ddd7f3b10bef6a37376af33fbd0c2ee5d0b9c047d"

_STANDARD_NAMES = {
    "standard_train_fold": "train",
    "standard_valid_fold": "validation",
    "standard_test_fold": "test",
}
SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_MAX_BYTES = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Folds:
    """An assignment of videos to splits."""

    videos: Mapping[str, tuple[str, ...]]  # ids of each split, sorted
    source: str  # where it was read from, for messages and the dataset's metadata

    def split_of(self, video_id: str) -> str | None:
        """Split of a video, None where no fold has it."""
        return self._by_id.get(video_id)

    @functools.cached_property
    def _by_id(self) -> dict[str, str]:
        return {video: split for split, ids in self.videos.items() for video in ids}

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the assignment; the order of the ids does not matter."""
        text = json.dumps({split: list(self.videos[split]) for split in LABELLED_SPLITS})
        return hashlib.sha256(text.encode()).hexdigest()


NO_FOLDS = Folds(dict.fromkeys(LABELLED_SPLITS, ()), "")
"""Those of a corpus without labels."""


def make_folds(videos: Mapping[str, Sequence[str]], source: str = "given folds") -> Folds:
    """Checks ids by split: ``train``, ``validation`` (or ``valid``, ``val``, ``dev``), ``test``."""
    if not isinstance(videos, Mapping):
        raise CorpusError(
            f"{source}: folds must be an object with the lists train, validation and test; "
            f"this is a {type(videos).__name__}."
        )
    clean: dict[str, tuple[str, ...]] = {}
    for name, ids in videos.items():
        split = SPLIT_NAMES.get(str(name).lower())
        if split is None or split in clean:
            raise CorpusError(
                f"{source}: {'unknown' if split is None else 'repeated'} split {name!r}; "
                "folds must have exactly train, validation and test."
            )
        if not isinstance(ids, list | tuple) or not all(isinstance(x, str) and x for x in ids):
            raise CorpusError(f"{source}: split {name!r} must be a list of video ids (strings).")
        clean[split] = tuple(sorted(set(ids)))
    seen: dict[str, str] = {}
    for split in LABELLED_SPLITS:
        if split not in clean or not any(clean.values()):
            raise CorpusError(
                f"{source}: the split {split!r} is {'empty' if split in clean else 'missing'}; "
                "folds must have train, validation and test, and videos in one of them at least "
                "(a corpus for testing only has empty lists for the others)."
            )
        for video_id in clean[split]:
            if seen.setdefault(video_id, split) != split:
                raise CorpusError(
                    f"{source}: video {video_id!r} is in both {seen[video_id]} and {split}; "
                    "a video must be in one split only."
                )
    return Folds({split: clean[split] for split in LABELLED_SPLITS}, source)


def load_folds(path: str | os.PathLike[str]) -> Folds:
    """Reads folds from a JSON file or from the SDK's Python file."""
    found = load_cross_validation(path)
    if len(found) != 1:
        raise CorpusError(
            f"{path}: holds {len(found)} folds, for the cross-validation of a study; a dataset "
            "takes one."
        )
    return found[0]


def load_cross_validation(path: str | os.PathLike[str]) -> list[Folds]:
    """Reads what `load_folds` reads, or a JSON file with a list of folds."""
    path = Path(path)
    if path.suffix == ".py":
        return [parse_standard_file(path)]
    text = _read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{path}: not valid JSON ({error}). A folds file holds the lists train, validation "
            "and test."
        ) from error
    if not isinstance(content, list):
        return [make_folds(content, str(path))]
    return [make_folds(x, f"{path}, fold {number}") for number, x in enumerate(content, start=1)]


def find_folds(folder: str | os.PathLike[str]) -> Path | None:
    """Folds beside a corpus: ``folds.json``, else ``cmu_mosei_std_folds.py``, else None."""
    paths = (Path(folder) / name for name in (FOLDS_FILE, STANDARD_FOLDS_FILE))
    return next((path for path in paths if path.is_file()), None)


def download_standard_folds(download: Callable[[str], str | os.PathLike[str]]) -> Folds:
    """MOSEI's standard folds, fetched by a function that returns a file's path; checked."""
    _logger.info("Fetching the standard folds from %s", STANDARD_FOLDS_URL)
    remedy = f"Put a {FOLDS_FILE} or {STANDARD_FOLDS_FILE} into the folder, or name one (folds)."
    try:
        path = Path(download(STANDARD_FOLDS_URL))
    except Exception as error:
        raise CorpusError(
            f"No {FOLDS_FILE} beside the corpus, and the standard folds could not be fetched from "
            f"{STANDARD_FOLDS_URL} ({error}). {remedy}"
        ) from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != STANDARD_FOLDS_SHA256:
        raise CorpusError(
            f"{path}: the standard folds were fetched with sha256 {found}, not "
            f"{STANDARD_FOLDS_SHA256}. {remedy}"
        )
    return parse_standard_file(path)


def parse_standard_file(path: str | os.PathLike[str]) -> Folds:
    """Reads the SDK's ``cmu_mosei_std_folds.py``, under any name, without executing it."""
    text = _read_text(Path(path))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CorpusError(f"{path}: not a Python file that can be parsed ({error}).") from error
    folds: dict[str, list[str]] = {}
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or target.id not in _STANDARD_NAMES:
            continue
        try:
            folds[_STANDARD_NAMES[target.id]] = ast.literal_eval(statement.value)
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            raise CorpusError(
                f"{path}: {target.id} is not a plain list of strings; the file is not executed."
            ) from error
    missing = [name for name, split in _STANDARD_NAMES.items() if split not in folds]
    if missing:
        raise CorpusError(f"{path}: no assignment to {', '.join(missing)} in it.")
    return make_folds(folds, os.fspath(path))


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise CorpusError(f"{path}: no such folds file. Check the path.")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise CorpusError(f"{path}: too large to be a folds file.")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: the folds file cannot be read ({error}).") from error
