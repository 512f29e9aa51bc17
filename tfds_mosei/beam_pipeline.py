"""The same examples, made by an Apache Beam pipeline (extra ``build``).

Imported only where a pipeline is asked for, so that Beam stays optional.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from tfds_mosei.errors import CorpusError
from tfds_mosei.generation import video_examples
from tfds_mosei.segments import VideoSummary
from tfds_mosei.sources import Corpus, SourceFiles

_SUMMARIES = "summaries"
_PATTERN = set("*?[")


class _ReadVideo(beam.DoFn):
    """Video id in; examples out, and a summary beside them. Every worker opens the files itself."""

    def __init__(self, files: SourceFiles, split: str):
        self._files = files
        self._split = split
        self._corpus: Corpus | None = None

    def process(self, element: str, *_: Any, **__: Any) -> Iterator[Any]:
        if self._corpus is None:
            self._corpus = Corpus(self._files)
        examples, summary = video_examples(self._corpus, self._split, element)
        yield from examples
        yield beam.pvalue.TaggedOutput(_SUMMARIES, json.dumps(summary.to_json()))

    def teardown(self) -> None:
        if self._corpus is not None:
            self._corpus.close()


class SplitExamples(beam.PTransform):
    """Examples of one split.

    Args:
        files: the files of the corpus; workers must see them under the same paths.
        split: name of the split.
        video_ids: its videos.
        folder: where the summaries of the videos are written, for `read_summaries`.

    Raises:
        CorpusError: Beam would take the folder's name for a pattern.
    """

    def __init__(self, files: SourceFiles, split: str, video_ids: Sequence[str], folder: Path):
        super().__init__()
        if _PATTERN.intersection(os.fspath(folder)):
            raise CorpusError(
                f"{folder}: Apache Beam takes *, ? and [ in a path for a pattern. Give a data_dir "
                "without them, or build without a pipeline."
            )
        self._files = files
        self._split = split
        self._video_ids = list(video_ids)
        self._prefix = os.fspath(folder / f"{_SUMMARIES}-{split}")

    def expand(self, input_or_inputs: Any) -> Any:
        """Builds the part of the pipeline.

        Args:
            input_or_inputs: the pipeline.

        Returns:
            A collection of ``(key, example)``.
        """
        outputs = (
            input_or_inputs
            | "Videos" >> beam.Create(self._video_ids)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(_ReadVideo(self._files, self._split)).with_outputs(
                _SUMMARIES, main="examples"
            )
        )
        _ = outputs[_SUMMARIES] | "Summaries" >> beam.io.WriteToText(self._prefix)
        return outputs["examples"]


def pipeline_options(flags: Sequence[str]) -> Any:
    """Options of a pipeline, from flags as the command line of Beam takes them.

    Args:
        flags: for example ``["--runner=DirectRunner"]``.

    Returns:
        ``apache_beam.options.pipeline_options.PipelineOptions``; the arguments of the running
        program are left alone.
    """
    return beam.options.pipeline_options.PipelineOptions(flags=list(flags))


def read_summaries(folder: Path) -> list[VideoSummary]:
    """Reads and removes the summaries that a pipeline wrote.

    Args:
        folder: as given to `SplitExamples`.

    Returns:
        One summary for each video and split.
    """
    summaries = []
    for path in sorted(folder.glob(f"{_SUMMARIES}-*")):
        with path.open(encoding="utf-8") as file:
            summaries += [VideoSummary.from_json(json.loads(line)) for line in file]
        path.unlink()
    return summaries
