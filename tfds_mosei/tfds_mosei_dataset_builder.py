"""The TFDS builder: a corpus in CMU-MOSEI's layout becomes a dataset of segments."""

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import tensorflow_datasets as tfds
from google.protobuf import json_format
from tensorflow_datasets.core import dataset_info

from tfds_mosei import (
    generation,
    prepared,
    report,
    report_page,
    segments,
    sources,
    synthetic,
    workspace,
)
from tfds_mosei.errors import CorpusError
from tfds_mosei.example_features import example_features
from tfds_mosei.instructions import MANUAL_DOWNLOAD_INSTRUCTIONS
from tfds_mosei.request import CorpusRequest, FoldsLike
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES, LABELLED_SPLITS

_logger = logging.getLogger(__name__)

SECONDS_BETWEEN_NEWS = 10
"""How often a build says how far it is."""


@dataclasses.dataclass
class CorpusConfig(tfds.core.BuilderConfig):
    """What a dataset is made from.

    Attributes:
        synthetic: whether the corpus is drawn instead of read.
    """

    synthetic: bool = False


def _capped(contents: dict[str, Any], cap: int | None) -> dict[str, Any]:
    """Marks the fingerprint of a dataset that holds no more than so many examples per split."""
    if cap is None:
        return contents
    return {**contents, "fingerprint": f"{contents['fingerprint']}-first{cap}"}


class Builder(tfds.core.GeneratorBasedBuilder):
    """CMU-MOSEI's acoustic features, one annotated segment per example.

    Args:
        config: ``"covarep"`` (the default) or ``"synthetic"``.
        data_dir: where datasets are kept.
        manual_dir: folder of the corpus. When given, here or as `folds` or `size`, the name of
            the config gets a fingerprint of corpus and folds, so that every corpus and every
            choice of folds has a directory of its own.
        folds: folds file (``.json``, or the SDK's ``.py``) or ids by split; by default the file
            in the corpus folder, else MOSEI's standard folds, downloaded.
        size: synthetic only: number of videos.
        unlabelled: videos of the split ``unlabelled``: ``"train"`` for those of the train fold,
            ``"all"`` for those in no fold too, ``"none"`` for no such split.
        file_format: ``"tfrecord"`` (the default, for `tfds.load`) or ``"array_record"`` (for
            `tfds.data_source`, which needs no TensorFlow).
        **kwargs: further arguments of `tfds.core.GeneratorBasedBuilder`, such as ``version``.

    Raises:
        CorpusError: the corpus or the folds are not usable.

    Example:
        ```python
        builder = tfds_mosei.Builder(config="covarep", data_dir="data", manual_dir="mosei")
        builder.download_and_prepare()
        train = builder.as_dataset(split="train")
        ```

    References:
        Zadeh et al. (2018), Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
        Interpretable Dynamic Fusion Graph, ACL.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.1.0": "Adds the split 'unlabelled', reads .mat archives and label tables.",
        "1.0.0": "First release: annotated segments of CMU-MOSEI's COVAREP features.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = MANUAL_DOWNLOAD_INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        CorpusConfig(
            name="covarep",
            description="74 COVAREP features at 100 Hz, as published.",
        ),
        CorpusConfig(
            name="synthetic",
            description="A small corpus of random numbers in the same layout; no speech.",
            synthetic=True,
        ),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "covarep"

    def __init__(
        self,
        *,
        config: str | tfds.core.BuilderConfig | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        manual_dir: str | os.PathLike[str] | None = None,
        folds: FoldsLike = None,
        size: int | None = None,
        unlabelled: str = "train",
        file_format: str | tfds.core.FileFormat | None = None,
        **kwargs: Any,
    ):
        self._request = CorpusRequest(
            manual_dir=None if manual_dir is None else Path(manual_dir),
            folds=folds,
            size=size,
            unlabelled=unlabelled,
        )
        self._summaries: list[segments.VideoSummary] = []
        self._told = 0.0
        with self._damage_told():
            super().__init__(config=self._named_config(config), data_dir=data_dir, **kwargs)
            # It is read when it is first asked for.
            dict(self.info.metadata)
        self._wanted_format = file_format
        self._set_format()
        self._original_state = {
            "config": config,
            "data_dir": data_dir,
            "manual_dir": manual_dir,
            "folds": folds,
            "size": size,
            "unlabelled": unlabelled,
            "file_format": file_format,
            **kwargs,
        }

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        """Turns what TFDS raises where a prepared dataset is damaged into a `CorpusError`."""
        try:
            yield
        except (json.JSONDecodeError, json_format.ParseError) as error:
            raise CorpusError(
                f"{self.data_dir} holds a damaged dataset ({' '.join(str(error).split())}). Delete "
                "that directory and build it again."
            ) from error

    def _set_format(self) -> None:
        if self._wanted_format is None:
            return
        wanted = tfds.core.FileFormat.from_value(self._wanted_format)
        if self.data_path.exists():
            self._check_format(self.info.file_format)
        if self.info.file_format != wanted:
            self.info.set_file_format(wanted, override=True)

    def _check_format(self, found: tfds.core.FileFormat) -> None:
        """A dataset of another format is never returned in place of the one asked for."""
        if self._wanted_format is None:
            return
        wanted = tfds.core.FileFormat.from_value(self._wanted_format)
        if found != wanted:
            raise CorpusError(
                f"{self.data_dir} holds the dataset as {found.value}, not as {wanted.value}. Use "
                "another data_dir, delete that directory, or prepare again with mosei-ssl build "
                "--overwrite (tfds build --overwrite cannot change the format)."
            )

    # === Identity ===

    def _named_config(
        self, config: str | tfds.core.BuilderConfig | None
    ) -> str | tfds.core.BuilderConfig | None:
        """Adds the fingerprint to the config's name where sources, folds or size are given."""
        name = config if isinstance(config, str | None) else config.name
        base = self.builder_configs.get(name or self.DEFAULT_BUILDER_CONFIG_NAME)
        if base is None and name and name.split("-")[0] in self.builder_configs:
            raise CorpusError(
                f"{self.name}/{name}: it is not prepared in the data_dir, or options of a build "
                "were given. A name with a fingerprint stands for a dataset that is there: read it "
                "with tfds.builder_from_directory(tfds_mosei.find_prepared(data_dir, name)). Build "
                "with manual_dir and folds, or with size."
            )
        if self._request.is_plain:
            return config
        if base is None:
            raise CorpusError(
                f"No config {name!r} in tfds_mosei; there are {', '.join(self.builder_configs)}."
            )
        self._request.check_kind(base.synthetic)
        contents = self._describe(base, self._request.manual_dir)
        return dataclasses.replace(base, name=f"{base.name}-{contents['fingerprint']}")

    def _describe(self, config: CorpusConfig, manual_dir: Path | None) -> dict[str, Any]:
        """What a dataset is made from: the part of its metadata that identifies it."""
        if config.synthetic:
            return self._request.describe_synthetic()
        return self._request.describe(self._existing(manual_dir), self._known_sources())

    def _known_sources(self) -> list[dict[str, Any]]:
        """Sources of the dataset that is there, so that unchanged files are not hashed again."""
        # Before the name of the directory is known there is no info to ask.
        return self.info.metadata.get("sources", []) if hasattr(self, "_data_dir") else []

    def _existing(self, manual_dir: Path | None) -> Path:
        if manual_dir is None or not manual_dir.is_dir() or not sources.list_folder(manual_dir):
            raise CorpusError(
                f"{self._prepared_here()}{manual_dir}: no such folder, or nothing in it. It must "
                f"hold the corpus.\n{MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        return manual_dir

    def _prepared_here(self) -> str:
        """Names the datasets with a fingerprint, where the plain config was asked for."""
        if self._request.manual_dir is not None or not hasattr(self, "_data_dir"):
            return ""
        names = [
            name
            for name in prepared.list_prepared(self.data_dir_root)
            if name.startswith(f"{self.builder_config.name}-")
        ]
        if not names:
            return ""
        return (
            f"{self.name}/{self.builder_config.name} is not prepared in {self.data_dir_root}; "
            f"prepared here: {', '.join(names)}. To read one: "
            "tfds.builder_from_directory(tfds_mosei.find_prepared(data_dir, name)). To prepare "
            f"{self.builder_config.name} itself:\n"
        )

    # === TFDS interface ===

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=example_features(),
            supervised_keys=("features", "emotions"),
            homepage="http://multicomp.cs.cmu.edu/resources/cmu-mosei-dataset/",
            metadata=tfds.core.MetadataDict(),
        )

    def download_and_prepare(
        self,
        *,
        download_dir: str | os.PathLike[str] | None = None,
        download_config: tfds.download.DownloadConfig | None = None,
        file_format: str | tfds.core.FileFormat | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepares the dataset, or checks that what is there was made from the same files.

        Where the dataset is to be overwritten, the old one stays until the new one is complete.

        Args:
            download_dir: where downloads go; ``manual`` in it is the default ``manual_dir``.
            download_config: as in TFDS; its ``manual_dir`` is the folder of the corpus where the
                builder was not given one.
            file_format: format to write, where it is not the one that the builder was given.
            **kwargs: as in `tfds.core.DatasetBuilder.download_and_prepare`.

        Raises:
            CorpusError: the corpus is not usable, the dataset cannot be written, or the
                directory holds a dataset made from other files or folds.
        """
        settings = dataclasses.replace(download_config or tfds.download.DownloadConfig())
        downloads = Path(download_dir or Path(self.data_dir_root) / "downloads")
        if self._request.manual_dir is not None:
            settings.manual_dir = self._request.manual_dir
        manual_dir = Path(settings.manual_dir or downloads / "manual")
        prepare = functools.partial(
            super().download_and_prepare,
            download_dir=download_dir,
            download_config=settings,
            **kwargs,
        )
        place = Path(self.data_dir)
        with (
            workspace.reported_as_unwritable(place),
            workspace.exclusive(place.parent, f"incomplete.*_{self.version}*"),
        ):
            if settings.download_mode.overwrite_dataset:
                self._replace(place, prepare, file_format)
                return
            if place.exists():
                self._take_over(place)
                self._check_prepared(manual_dir, settings.max_examples_per_split)
            prepare(file_format=file_format)

    def _replace(
        self,
        place: Path,
        prepare: Callable[..., None],
        file_format: str | tfds.core.FileFormat | None,
    ) -> None:
        """Prepares beside the dataset that is there, and then takes its place."""
        if file_format is not None:
            self.info.set_file_format(file_format, override=True, override_if_initialized=True)
        new = place.with_name(f"incomplete.new_{place.name}")
        with mock.patch.object(self, "_data_dir", os.fspath(new)):
            prepare()
        workspace.replace_folder(place, new)
        self.info.update_data_dir(os.fspath(place))

    def _take_over(self, place: Path) -> None:
        """Reads what another build finished after this builder was made."""
        if self.info.initialized:
            return
        stored = dataset_info.read_from_json(dataset_info.dataset_info_path(place)).file_format
        found = tfds.core.FileFormat.from_value(stored)
        self._check_format(found)
        self.info.set_file_format(found, override=True)
        self.info.read_from_directory(os.fspath(place))

    def _check_prepared(self, manual_dir: Path, cap: int | None) -> None:
        """A dataset of other sources or folds is never returned in place of the one asked for."""
        if not self.builder_config.synthetic and not manual_dir.is_dir():
            return
        wanted = _capped(self._describe(self.builder_config, manual_dir), cap)["fingerprint"]
        found = self.info.metadata.get("fingerprint")
        if wanted != found:
            raise CorpusError(
                f"{self.data_dir} holds a dataset with the fingerprint {found}, but the corpus "
                f"and folds now given have {wanted}. Use another data_dir, pass manual_dir and "
                "folds to the builder (each combination then has a directory of its own), or "
                "prepare again with overwriting (tfds build --overwrite, or mosei-ssl build "
                "--overwrite for one of a fingerprint)."
            )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        if config.synthetic:
            folder = self._stack.enter_context(workspace.temporary_folder(Path(self.data_dir)))
            synthetic.write_corpus(folder, self._request.synthetic_size)
        else:
            folder = self._manual_folder(dl_manager)
        self._contents = self._describe(config, folder)
        self._corpus = self._stack.enter_context(sources.Corpus(sources.find_sources(folder)))
        self._folds = self._request.resolve_folds(folder, dl_manager.download)
        plan = generation.plan_videos(self._corpus, self._folds, self._request.unlabelled)
        checked = {split: self._checked(split, ids) for split, ids in plan.items()}
        generators = {split: examples for split, examples in checked.items() if examples}
        if not self._use_beam:
            return generators
        from tfds_mosei import beam_pipeline

        # The pipeline counts what it writes; splits that nothing is left of never get there.
        self._summaries = [s for s in self._summaries if s.split not in generators]

        data_dir = Path(self.data_dir)
        return {
            split: beam_pipeline.SplitExamples(self._corpus.files, split, plan[split], data_dir)
            for split in generators
        }

    def _manual_folder(self, dl_manager: tfds.download.DownloadManager) -> Path:
        if self._request.manual_dir is not None:
            return self._existing(self._request.manual_dir)
        try:
            return Path(dl_manager.manual_dir)
        except AssertionError as error:
            raise CorpusError(f"{self._prepared_here()}{error}") from error

    def _checked(self, split: str, video_ids: Sequence[str]) -> generation.Examples | None:
        """Examples of a split; None where an optional one is empty."""
        examples = self._generate_examples(split, video_ids)
        first = next(examples, None)
        if first is not None:
            return itertools.chain([first], examples)
        if split in LABELLED_SPLITS:
            raise CorpusError(
                f"The split {split!r} is empty: none of the {len(self._folds.videos[split])} "
                f"videos that {self._folds.source} gives it has both labels and features that "
                f"fit together in {self._corpus.files.folder}. Choose folds that belong to this "
                "corpus."
            )
        return None

    def _generate_examples(self, split: str, video_ids: Sequence[str]) -> generation.Examples:
        for number, video_id in enumerate(video_ids, start=1):
            examples, summary = generation.video_examples(self._corpus, split, video_id)
            self._summaries.append(summary)
            yield from examples
            if number == len(video_ids) or time.monotonic() - self._told >= SECONDS_BETWEEN_NEWS:
                _logger.info("%s: %d of %d videos read", split, number, len(video_ids))
                self._told = time.monotonic()

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        self._summaries = []
        self._told = time.monotonic()
        beam_settings = (download_config.beam_options, download_config.beam_runner)
        self._use_beam = any(setting is not None for setting in beam_settings)
        with workspace.small_shuffle_buffer(), contextlib.ExitStack() as self._stack:
            super()._download_and_prepare(dl_manager, download_config)
            if download_config.max_examples_per_split == 0:
                return
            if self._use_beam:
                from tfds_mosei import beam_pipeline

                self._summaries += beam_pipeline.read_summaries(Path(self.data_dir))
            self._describe_result(download_config.max_examples_per_split)

    def _describe_result(self, cap: int | None) -> None:
        """Puts what was read and counted into the dataset's metadata, and writes the report."""
        train = report.merge_moments(s for s in self._summaries if s.split == "train")
        self.info.metadata.update(
            {
                **_capped(self._contents, cap),
                "folds": {
                    "source": Path(self._folds.source).name,
                    "digest": self._folds.digest,
                    "videos": {name: len(ids) for name, ids in self._folds.videos.items()},
                },
                "unlabelled": self._request.unlabelled,
                "emotions": list(EMOTIONS),
                "feature_names": list(FEATURE_NAMES),
                "feature_statistics": train.to_dict(),
                "report": report.make_report(self._summaries, self._corpus, self._folds),
            }
        )
        report_page.write_report(
            Path(self.data_dir), f"{self.name}/{self.builder_config.name}", dict(self.info.metadata)
        )
