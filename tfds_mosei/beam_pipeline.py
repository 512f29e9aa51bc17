"""The same examples, made by an Apache Beam pipeline.

Imported only where a pipeline is asked for, since Beam takes seconds to load.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam

from tfds_mosei.errors import CorpusError
from tfds_mosei.segments import VideoSummary, video_examples
from tfds_mosei.sources import Corpus, SourceFiles
from tfds_mosei.timing import RowTiming

_SUMMARIES = "summaries"
_PATTERN = set("*?[")


class ReadVideo(beam.DoFn):
    """Video id in; examples out, and a summary beside them. Every worker opens the files itself."""

    def __init__(self, files: SourceFiles, timing: RowTiming, split: str):
        self._files, self._timing, self.split = files, timing, split
        self._corpus: Corpus | None = None

    def process(self, element: str, *_: Any, **__: Any) -> Iterator[Any]:
        if self._corpus is None:
            self._corpus = Corpus(self._files)
        examples, summary = video_examples(self._corpus, self.split, element, self._timing)
        yield from examples
        yield beam.pvalue.TaggedOutput(_SUMMARIES, json.dumps(summary.to_json()))

    def teardown(self) -> None:
        if self._corpus is not None:
            self._corpus.close()


class SplitExamples(beam.PTransform):
    """Examples of one split; summaries of its videos go to a folder, for `read_summaries`.

    Workers must see the files of the corpus under the same paths.
    """

    def __init__(self, read: ReadVideo, video_ids: Sequence[str], folder: Path):
        super().__init__()
        if _PATTERN.intersection(os.fspath(folder)):
            raise CorpusError(
                f"{folder}: Apache Beam takes *, ? and [ in a path for a pattern. Give a data_dir "
                "without them, or build without a pipeline."
            )
        self._read, self._video_ids = read, list(video_ids)
        self._prefix = os.fspath(folder / f"{_SUMMARIES}-{read.split}")

    def expand(self, input_or_inputs: Any) -> Any:
        """A collection of ``(key, example)``."""
        outputs = (
            input_or_inputs
            | "Videos" >> beam.Create(self._video_ids)
            | "Spread" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(self._read).with_outputs(_SUMMARIES, main="examples")
        )
        _ = outputs[_SUMMARIES] | "Summaries" >> beam.io.WriteToText(self._prefix)
        return outputs["examples"]


def read_summaries(folder: Path) -> list[VideoSummary]:
    """Reads and removes the summaries that a pipeline wrote, one for each video and split."""
    summaries = []
    for path in sorted(folder.glob(f"{_SUMMARIES}-*")):
        with path.open(encoding="utf-8") as file:
            summaries += [VideoSummary.from_json(json.loads(line)) for line in file]
        path.unlink()
    return summaries
