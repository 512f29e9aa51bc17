"""The TFDS builder: a corpus in CMU-MOSEI's layout becomes a dataset of segments."""

import collections
import contextlib
import dataclasses
import itertools
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from google.protobuf import json_format
from tensorflow_datasets.core import dataset_info

from mosei_ssl.utils.progress import progress
from tfds_mosei import (
    prepared,
    report,
    report_page,
    segments,
    sources,
    synthetic,
    timing,
    workspace,
)
from tfds_mosei.corpus_config import CorpusConfig, FoldsLike
from tfds_mosei.errors import CorpusError
from tfds_mosei.schema import EMOTIONS, FEATURE_NAMES, LABELLED_SPLITS, example_features
from tfds_mosei.speakers import read_speakers, warn_of_speakers_in_two_splits

_logger = logging.getLogger(__name__)


class Builder(tfds.core.GeneratorBasedBuilder):
    """CMU-MOSEI's acoustic features, one annotated segment per example.

    Args:
        config: ``"covarep"`` (the default) or ``"synthetic"``.
        manual_dir: folder of the corpus. When given, here or as `folds` or `size`, the name of
            the config gets a fingerprint of corpus and folds, so that every corpus and every
            choice of folds has its own directory.
        folds: folds file (``.json``, or the SDK's ``.py``) or ids by split; by default the file
            in the corpus folder, else MOSEI's standard folds, downloaded.
        size: synthetic only: number of videos.
        unlabelled: videos of the split ``unlabelled``: ``"train"`` for those of the train fold,
            ``"all"`` for those in no fold too, also of a corpus without labels, ``"none"`` for no
            such split.
        file_format: ``"tfrecord"`` (the default, for `tfds.load`) or ``"array_record"`` (for
            `tfds.data_source`, which needs no TensorFlow).
        **kwargs: further arguments of `tfds.core.GeneratorBasedBuilder`, such as ``data_dir``.

    Raises:
        CorpusError: the corpus or the folds are not usable.

    Examples:
        >>> import tfds_mosei
        >>> builder = tfds_mosei.Builder(config="synthetic", size=8, data_dir=synthetic_data)
        >>> builder.builder_config.name
        'synthetic-f22b2d9d4c'
        >>> builder.download_and_prepare()
        >>> train = builder.as_dataset(split="train")

    References:
        Zadeh et al. (2018), Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and
        Interpretable Dynamic Fusion Graph, ACL.
    """

    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.2.0": "The metadata has the speakers of videos, where the corpus has a speakers.json.",
        "1.1.0": "Adds the split 'unlabelled', reads .mat archives and label tables.",
        "1.0.0": "First release: annotated segments of CMU-MOSEI's COVAREP features.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        Path(__file__).with_name("MANUAL_DOWNLOAD.txt").read_text(encoding="utf-8")
    )
    BUILDER_CONFIGS: ClassVar[list[CorpusConfig]] = [
        CorpusConfig(name="covarep", description="74 COVAREP features at 100 Hz, as published."),
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
        config: str | CorpusConfig | None = None,
        manual_dir: str | os.PathLike[str] | None = None,
        folds: FoldsLike = None,
        size: int | None = None,
        unlabelled: str = "train",
        file_format: str | tfds.core.FileFormat | None = None,
        **kwargs: Any,
    ):
        if not isinstance(config, CorpusConfig):
            config = self._named_config(config, manual_dir, folds, size, unlabelled)
        try:
            super().__init__(config=config, **kwargs)
            # It is read when it is first asked for.
            dict(self.info.metadata)
        except (json.JSONDecodeError, json_format.ParseError) as error:
            raise CorpusError(
                f"{self.data_dir} holds a damaged dataset ({' '.join(str(error).split())}). Delete "
                "that directory and build it again."
            ) from error
        self._original_state["file_format"] = file_format
        self._wanted_format = file_format and tfds.core.FileFormat.from_value(file_format)
        if self.info.initialized:
            self._check_format(self.info.file_format)
        elif self._wanted_format:
            self.info.set_file_format(self._wanted_format, override=True)

    def _check_format(self, found: tfds.core.FileFormat) -> None:
        """A dataset of another format is never returned in place of the one asked for."""
        wanted = self._wanted_format
        if wanted and found != wanted:
            raise CorpusError(
                f"{self.data_dir} holds the dataset as {found.value}, not as {wanted.value}. Use "
                "another data_dir, delete that directory, or prepare again with mosei-ssl build "
                "--overwrite (tfds build --overwrite cannot change the format)."
            )

    # === Identity ===

    def _named_config(
        self, name: str | None, manual_dir: Any, folds: FoldsLike, size: int | None, unlabelled: str
    ) -> CorpusConfig:
        """The config of a name; a fingerprint is added where sources, folds or size are given."""
        base = self.builder_configs.get(name or self.DEFAULT_BUILDER_CONFIG_NAME)
        if base is None and name and name.split("-")[0] in self.builder_configs:
            raise CorpusError(
                f"{self.name}/{name}: it is not prepared in data_dir, or was combined with build "
                "options. A name with a fingerprint refers to a dataset that exists: read it "
                "with tfds.builder_from_directory(tfds_mosei.find_prepared(data_dir, name)). Build "
                "with manual_dir and folds, or with size."
            )
        if base is None:
            raise CorpusError(
                f"No config {name!r} in tfds_mosei; there are {', '.join(self.builder_configs)}."
            )
        config = base.with_corpus(manual_dir, folds, size, unlabelled)
        if config is base:
            return base
        if not config.synthetic:
            folder = config.manual_dir
            if folder is None or not folder.is_dir() or not sources.list_folder(folder):
                raise CorpusError(
                    f"{folder}: no such folder, or nothing in it. It must hold the corpus.\n"
                    f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
                )
        fingerprint = config.describe(config.manual_dir)["fingerprint"]
        return dataclasses.replace(config, name=f"{base.name}-{fingerprint}")

    def _check_prepared(self, manual_dir: Path, cap: int | None) -> None:
        """A dataset of other sources or folds is never returned in place of the one asked for."""
        if not self.builder_config.synthetic and not manual_dir.is_dir():
            return
        wanted = self._describe(manual_dir, cap)["fingerprint"]
        found = self.info.metadata.get("fingerprint")
        if wanted != found:
            raise CorpusError(
                f"{self.data_dir} holds a dataset with the fingerprint {found}, but the corpus "
                f"and folds now given have {wanted}. Use another data_dir, pass manual_dir and "
                "folds to the builder (each combination then has its own directory), or "
                "prepare again with overwriting (tfds build --overwrite, or mosei-ssl build "
                "--overwrite for one of a fingerprint)."
            )

    def _describe(self, folder: Path, cap: int | None) -> dict[str, Any]:
        """What identifies the dataset, marked if it holds no more than `cap` examples a split."""
        contents = self.builder_config.describe(folder)
        if cap is not None:
            contents["fingerprint"] += f"-first{cap}"
        return contents

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
        **kwargs: Any,
    ) -> None:
        """Prepares the dataset, or checks that what is there was made from the same files.

        As in TFDS. A `CorpusError` is raised if the corpus is not usable, the dataset cannot be
        written, or the directory holds a dataset made from other files or folds.
        """
        settings = dataclasses.replace(download_config or tfds.download.DownloadConfig())
        downloads = Path(download_dir or Path(self.data_dir_root) / "downloads")
        manual_dir = self.builder_config.manual_dir or settings.manual_dir or downloads / "manual"
        settings.manual_dir = manual_dir
        place = Path(self.data_dir)
        with workspace.reported_as_unwritable(place), workspace.exclusive(place):
            if place.exists() and not settings.download_mode.overwrite_dataset:
                self._read_what_another_build_made(place)
                self._check_prepared(Path(manual_dir), settings.max_examples_per_split)
            super().download_and_prepare(
                download_dir=download_dir, download_config=settings, **kwargs
            )

    def _read_what_another_build_made(self, place: Path) -> None:
        """Reads what was finished after this builder was created."""
        if self.info.initialized:
            return
        stored = dataset_info.read_from_json(dataset_info.dataset_info_path(place)).file_format
        found = tfds.core.FileFormat.from_value(stored)
        self._check_format(found)
        self.info.set_file_format(found, override=True)
        self.info.read_from_directory(os.fspath(place))

    def _download_and_prepare(self, dl_manager: Any, download_config: Any) -> None:
        self._summaries: list[segments.VideoSummary] = []
        self._read: collections.Counter[str] = collections.Counter()  # videos of each split
        beam_settings = (download_config.beam_options, download_config.beam_runner)
        self._use_beam = any(setting is not None for setting in beam_settings)
        self._cap = download_config.max_examples_per_split
        with workspace.small_shuffle_buffer(), contextlib.ExitStack() as self._stack:
            self._writing = self._stack.enter_context(contextlib.ExitStack())
            super()._download_and_prepare(dl_manager, download_config)
            self._writing.close()
            if self._cap == 0:
                return
            if self._use_beam:
                from tfds_mosei import beam_pipeline

                self._summaries += beam_pipeline.read_summaries(Path(self.data_dir))
            self.info.metadata.update(self._result())
        report_page.write_report(
            Path(self.data_dir), f"{self.name}/{self.builder_config.name}", dict(self.info.metadata)
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        config = self.builder_config
        if config.synthetic:
            scratch = tempfile.TemporaryDirectory(dir=self.data_dir, prefix="corpus")
            folder = Path(self._stack.enter_context(scratch))
            synthetic.write_corpus(folder, config.synthetic_size)
        else:
            folder = self._manual_folder(dl_manager)
        self._contents = self._describe(folder, self._cap)
        files = config.find_sources(folder)
        self._corpus = self._stack.enter_context(sources.Corpus(files))
        for sentence in files.taken:
            _logger.info("taken for %s", sentence)
        if files.labels is None:
            _logger.warning("%s: no labels found; all of it is for pretraining", folder)
        self._timing = timing.measure_rows(self._corpus)
        self._folds = config.resolve_folds(files, dl_manager.download)
        self._speakers = read_speakers(folder)
        warn_of_speakers_in_two_splits(self._speakers, self._folds.videos)
        plan = segments.plan_videos(self._corpus, self._folds, config.unlabelled)
        checked = {split: self._checked(split, ids) for split, ids in plan.items()}
        generators = {split: examples for split, examples in checked.items() if examples}
        if not generators:
            raise CorpusError(f"{folder}: nothing in it makes an example.")
        if not self._use_beam:
            return {
                split: self._told(split, examples, len(plan[split]))
                for split, examples in generators.items()
            }
        self._writing.enter_context(progress("reading and writing by a pipeline"))
        from tfds_mosei import beam_pipeline

        # The pipeline counts what it writes; splits that nothing is left of never get there.
        self._summaries = [s for s in self._summaries if s.split not in generators]
        made = {}
        for split in generators:
            read = beam_pipeline.ReadVideo(self._corpus.files, self._timing, split)
            made[split] = beam_pipeline.SplitExamples(read, plan[split], Path(self.data_dir))
        return made

    def _manual_folder(self, dl_manager: tfds.download.DownloadManager) -> Path:
        try:
            return Path(dl_manager.manual_dir)
        except AssertionError as error:
            # Datasets with a fingerprint may be meant where the plain config was asked for.
            plain, root = self.builder_config.name, self.data_dir_root
            names = [name for name in prepared.list_prepared(root) if name.startswith(f"{plain}-")]
            here = (
                f"{self.name}/{plain} is not prepared in {root}; prepared here: {', '.join(names)}."
                " To read one: tfds.builder_from_directory(tfds_mosei.find_prepared(data_dir, "
                f"name)). To prepare {plain} itself:\n"
            )
            raise CorpusError(f"{here if names else ''}{error}") from error

    def _checked(self, split: str, video_ids: Sequence[str]) -> segments.Examples | None:
        """Examples of a split; None where an optional one is empty."""
        examples = self._generate_examples(split, video_ids)
        first = next(examples, None)
        if first is not None:
            return itertools.chain([first], examples)
        labelled = self._corpus.has_emotions or self.builder_config.unlabelled == "none"
        if split in LABELLED_SPLITS and labelled and self._folds.videos[split]:
            raise CorpusError(
                f"The split {split!r} is empty: none of the {len(self._folds.videos[split])} "
                f"videos that {self._folds.source} gives it has both labels and features that "
                f"fit together in {self._corpus.files.folder}. Choose folds that belong to this "
                "corpus."
            )
        return None

    def _generate_examples(self, split: str, video_ids: Sequence[str]) -> segments.Examples:
        for video_id in video_ids:
            examples, summary = segments.video_examples(self._corpus, split, video_id, self._timing)
            self._summaries.append(summary)
            yield from examples
            self._read[split] += 1

    def _told(self, split: str, examples: segments.Examples, videos: int) -> segments.Examples:
        """The same examples; the log has how far reading them, and then writing them, has come."""
        self._writing.close()
        with progress(f"reading videos of {split}", videos) as advance:
            told = 0
            for example in examples:
                yield example
                advance(self._read[split] - told)
                told = self._read[split]
        _logger.info("%s: %d of %d videos read", split, self._read[split], videos)
        self._writing.enter_context(progress(f"writing {split}"))

    def _result(self) -> dict[str, Any]:
        """What was read and counted, for the dataset's metadata."""
        folder = self._corpus.files.folder
        # HDF5 returns zeros for rows that a file has lost since it was opened.
        if self._describe(folder, self._cap) != self._contents:
            raise CorpusError(f"{folder}: a file changed while it was read. Build again.")
        # A corpus without emotions has the split for pretraining only, one for testing no train.
        written = {summary.split for summary in self._summaries if summary.lengths}
        order = ("train", segments.UNLABELLED, *segments.SPLITS)
        split = next((name for name in order if name in written), "train")
        rows = report.merge_moments(s for s in self._summaries if s.split == split)
        return {
            **self._contents,
            "folds": {
                "source": Path(self._folds.source).name,
                "digest": self._folds.digest,
                "videos": {name: len(ids) for name, ids in self._folds.videos.items()},
            },
            "unlabelled": self.builder_config.unlabelled,
            "row_period": self._timing.period,
            "sampling_rates": self._sampling_rates(),
            "speakers": self._speakers,
            "emotions": list(EMOTIONS),
            "feature_names": list(FEATURE_NAMES),
            "feature_statistics": rows.to_dict(),
            "report": {
                "taken": [*self._corpus.files.taken, self._timing.sentence()],
                **report.make_report(self._summaries, self._corpus, self._folds),
            },
        }

    def _sampling_rates(self) -> dict[str, int]:
        """How many videos of the train fold were recorded at which rate in Hz, as far as known."""
        rates = self._corpus.files.read_sampling_rates()
        videos = self._folds.videos["train"] or self._corpus.features.video_ids
        counts = collections.Counter(rates.get(v) for v in videos)
        return {str(rate): counts[rate] for rate in sorted(rate for rate in counts if rate)}
