"""What a dataset is made from: the configuration of the builder."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from tfds_mosei import folds as folds_lib
from tfds_mosei import identity, segments, sources
from tfds_mosei.errors import CorpusError
from tfds_mosei.speakers import read_speakers
from tfds_mosei.synthetic import GENERATOR_VERSION, SyntheticSize

FoldsLike = str | os.PathLike[str] | Mapping[str, Sequence[str]] | None


@dataclasses.dataclass
class CorpusConfig(tfds.core.BuilderConfig):
    """A kind of corpus, or one corpus of it, whose fingerprint then is part of the name.

    The fields are the arguments of `tfds_mosei.Builder`; None stands for their defaults.
    """

    synthetic: bool = False  # drawn instead of read
    manual_dir: Path | None = None
    folds: FoldsLike = None
    size: int | None = None
    unlabelled: str = "train"

    def with_corpus(
        self,
        manual_dir: str | os.PathLike[str] | None,
        folds: FoldsLike,
        size: int | None,
        unlabelled: str,
    ) -> "CorpusConfig":
        """The same kind of corpus with other contents, checked, under the same name for now."""
        if unlabelled not in segments.UNLABELLED_CHOICES:
            raise CorpusError(
                f"unlabelled must be one of {', '.join(segments.UNLABELLED_CHOICES)}; "
                f"not {unlabelled!r}."
            )
        given: dict[str, Any] = {
            "manual_dir": None if manual_dir is None else Path(manual_dir),
            "folds": folds,
            "size": size,
            "unlabelled": unlabelled,
        }
        if all(getattr(self, name) == value for name, value in given.items()):
            return self
        if self.synthetic and (manual_dir is not None or folds is not None):
            raise CorpusError("The synthetic corpus takes only a size, not manual_dir or folds.")
        if not self.synthetic and size is not None:
            raise CorpusError("Only the synthetic corpus takes a size.")
        if not self.synthetic and manual_dir is None:
            raise CorpusError(
                "Other folds, or other videos for the split unlabelled, need manual_dir too: the "
                "folder of the corpus."
            )
        return dataclasses.replace(self, **given)

    def describe(self, folder: Path | None) -> dict[str, Any]:
        """What identifies a dataset; a synthetic one has no `folder`."""
        content: dict[str, Any]
        if folder is None or self.synthetic:
            content = {"generator": GENERATOR_VERSION, **dataclasses.asdict(self.synthetic_size)}
            described = [{"name": "synthetic", **content}]
        else:
            files = self.find_sources(folder)
            described = identity.describe_files(files)
            speakers = read_speakers(folder)
            local = self._local_folds(files)
            content = {
                "sources": [item["blake2b"] for item in described],
                "folds": folds_lib.STANDARD_FOLDS_DIGEST if local is None else local.digest,
                **({"speakers": speakers} if speakers else {}),
            }
        if self.unlabelled != "train":
            content["unlabelled"] = self.unlabelled
        return {
            "fingerprint": identity.fingerprint(content),
            "synthetic": self.synthetic,
            "sources": described,
        }

    @property
    def synthetic_size(self) -> SyntheticSize:
        return SyntheticSize() if self.size is None else SyntheticSize(self.size)

    def find_sources(self, folder: Path) -> sources.SourceFiles:
        """Files of the corpus; a split of all that is unlabelled needs no labels."""
        return sources.find_sources(folder, need_labels=self.unlabelled != "all")

    def resolve_folds(
        self, files: sources.SourceFiles, download: Callable[[str], str | os.PathLike[str]]
    ) -> folds_lib.Folds:
        """Folds given, else those in the folder, else MOSEI's standard folds, downloaded."""
        return self._local_folds(files) or folds_lib.download_standard_folds(download)

    def _local_folds(self, files: sources.SourceFiles) -> folds_lib.Folds | None:
        """Folds that need no download."""
        if isinstance(self.folds, Mapping):
            return folds_lib.make_folds(self.folds)
        path = self.folds or folds_lib.find_folds(files.folder)
        if path is None:
            return None if files.labels else folds_lib.NO_FOLDS
        return folds_lib.load_folds(path)
