"""What a builder was asked to make a dataset from, and what that makes of its identity."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfds_mosei import folds as folds_lib
from tfds_mosei import generation, identity, sources, synthetic
from tfds_mosei.errors import CorpusError

_logger = logging.getLogger(__name__)

FoldsLike = str | os.PathLike[str] | Mapping[str, Sequence[str]] | None


@dataclasses.dataclass(frozen=True)
class CorpusRequest:
    """What a builder was given.

    Attributes:
        manual_dir: folder of the corpus; None where the builder was given none.
        folds: folds file or ids by split; None for those of the folder, else MOSEI's.
        size: number of videos of the synthetic corpus; None for its default.
        unlabelled: videos of the split ``unlabelled``.

    Raises:
        CorpusError: `unlabelled` is none of its choices.
    """

    manual_dir: Path | None = None
    folds: FoldsLike = None
    size: int | None = None
    unlabelled: str = "train"

    def __post_init__(self) -> None:
        if self.unlabelled not in generation.UNLABELLED_CHOICES:
            raise CorpusError(
                f"unlabelled must be one of {', '.join(generation.UNLABELLED_CHOICES)}; "
                f"not {self.unlabelled!r}."
            )

    @property
    def is_plain(self) -> bool:
        """Whether nothing was given that a dataset would be told apart by."""
        nothing = self.manual_dir is None and self.folds is None and self.size is None
        return nothing and self.unlabelled == "train"

    @property
    def synthetic_size(self) -> synthetic.SyntheticSize:
        """Size of the synthetic corpus."""
        return (
            synthetic.SyntheticSize() if self.size is None else synthetic.SyntheticSize(self.size)
        )

    def check_kind(self, is_synthetic: bool) -> None:
        """Checks that what was given belongs to the kind of corpus.

        Args:
            is_synthetic: whether the corpus is drawn instead of read.

        Raises:
            CorpusError: it does not.
        """
        if is_synthetic and (self.manual_dir is not None or self.folds is not None):
            raise CorpusError("The synthetic corpus takes a size, no manual_dir and no folds.")
        if not is_synthetic and self.size is not None:
            raise CorpusError("Only the synthetic corpus takes a size.")
        if not is_synthetic and self.manual_dir is None:
            raise CorpusError(
                "Other folds, or other videos for the split unlabelled, need manual_dir too: the "
                "folder of the corpus."
            )

    def describe_synthetic(self) -> dict[str, Any]:
        """What a synthetic dataset is made from.

        Returns:
            As `describe`.
        """
        content: dict[str, Any] = {
            "generator": synthetic.GENERATOR_VERSION,
            **dataclasses.asdict(self.synthetic_size),
        }
        return self._description(content, True, [{"name": "synthetic", **content}])

    def describe(self, manual_dir: Path, known: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """What a dataset of a corpus is made from: the part of its metadata that identifies it.

        Args:
            manual_dir: folder of the corpus; holds something.
            known: sources of a dataset that is there, so that unchanged files are not hashed again.

        Returns:
            ``fingerprint``, ``synthetic`` and ``sources``.

        Raises:
            CorpusError: the folder holds no corpus, or a file of it cannot be read.
        """
        files = sources.find_sources(manual_dir)
        described = identity.describe_files(files, known)
        local = self.local_folds(files.folder)
        content: dict[str, Any] = {
            "sources": [item["blake2b"] for item in described],
            "folds": folds_lib.STANDARD_FOLDS_DIGEST if local is None else local.digest,
        }
        return self._description(content, False, described)

    def _description(
        self, content: dict[str, Any], is_synthetic: bool, described: list[dict[str, Any]]
    ) -> dict[str, Any]:
        if self.unlabelled != "train":
            content["unlabelled"] = self.unlabelled
        return {
            "fingerprint": identity.fingerprint(content),
            "synthetic": is_synthetic,
            "sources": described,
        }

    def local_folds(self, folder: Path) -> folds_lib.Folds | None:
        """Folds that need no download.

        Args:
            folder: folder of the corpus.

        Returns:
            Those given, else those in the folder; None where there are neither.

        Raises:
            CorpusError: they are not usable.
        """
        if isinstance(self.folds, Mapping):
            return folds_lib.make_folds(self.folds)
        path = self.folds or folds_lib.find_folds(folder)
        return None if path is None else folds_lib.load_folds(path)

    def resolve_folds(
        self, folder: Path, download: Callable[[str], str | os.PathLike[str]]
    ) -> folds_lib.Folds:
        """Folds of the dataset.

        Args:
            folder: folder of the corpus.
            download: fetches a URL and returns the file's path.

        Returns:
            `local_folds`, else MOSEI's standard folds, downloaded.

        Raises:
            CorpusError: they are not usable, or cannot be fetched.
        """
        local = self.local_folds(folder)
        if local is not None:
            return local
        _logger.info("Fetching the standard folds from %s", folds_lib.STANDARD_FOLDS_URL)
        try:
            path = download(folds_lib.STANDARD_FOLDS_URL)
        except Exception as error:
            raise CorpusError(
                f"No {folds_lib.FOLDS_FILE} in {folder}, and the standard folds could not be "
                f"fetched from {folds_lib.STANDARD_FOLDS_URL} ({error}). Put a "
                f"{folds_lib.FOLDS_FILE} or {folds_lib.STANDARD_FOLDS_FILE} into the folder, or "
                "name one (folds)."
            ) from error
        return folds_lib.parse_standard_file(folds_lib.check_standard_folds(path))
