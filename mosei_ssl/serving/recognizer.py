"""From recordings to a table of emotions, in one call."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mosei_ssl import presets
from mosei_ssl.serving.inputs import Segment, audio_windows, read_segments
from mosei_ssl.serving.local import LocalModel
from mosei_ssl.serving.output import flat
from mosei_ssl.serving.predictor import Predictor, predict_records
from mosei_ssl.utils.errors import UserError

if TYPE_CHECKING:
    import pandas


class Recognizer:
    """Emotions of recordings, by an exported model.

    Args:
        model: the name of a preset, or an export: `NAME` or `NAME/VERSION`; or a client, to whose
            `connect` the `export` was given if answers are to be in context.

    Raises:
        UserError: the model is missing, or has changed since it was exported.

    Examples:
        >>> table = Recognizer(saved_model).predict(speech_wav)
        >>> table[["name", "start", "end"]].round(1).values.tolist()
        [['speech', 0.0, 1.0]]
    """

    def __init__(self, model: str | Path | Predictor = presets.DEFAULT):
        self.model = model if isinstance(model, Predictor) else LocalModel(model)

    def predict(
        self,
        recordings: str | Path | np.ndarray | Iterable[str | Path | np.ndarray],
        rate: int | None = None,
        *,
        window: float = 15.0,
        threshold: float | None = None,
        context: bool = True,
        speaker_from: str | None = None,
    ) -> "pandas.DataFrame":
        """Predict the emotions of recordings.

        Args:
            recordings: an audio file, a folder of them, samples [N] or [N, channels], or a list
                of these; also the other inputs of `read_segments`.
            rate: sample rate of arrays in Hz.
            window: longer recordings are cut into windows of this many seconds; 0 leaves them
                whole.
            threshold: probability below which `most_likely` is "none"; None takes the one that was
                calibrated in training.
            context: whether recordings are judged relative to their own means, see
                `mosei_ssl.data.context.in_context`.
            speaker_from: regular expression for names of files, whose first group is the speaker:
                recordings are then judged relative to all of their speaker's.

        Returns:
            A row per recording or window: `name`, `start`, `end` (seconds), `frames`, for every
            emotion its `EMOTION_intensity` (0 to 3, median), `_class`, `_present` (probability)
            and `_expected` (mean intensity), all NaN if no label has shown it to the model, and
            `most_likely`.

        Raises:
            UserError: a recording cannot be read, or an array comes without its rate.
        """
        import pandas

        if isinstance(recordings, str | Path | np.ndarray):
            recordings = [recordings]
        segments = self._segments(recordings, rate, window, speaker_from)
        found = predict_records(self.model, segments, threshold=threshold, context=context)
        return pandas.DataFrame([flat(record) for record in found])

    def _segments(
        self,
        recordings: Iterable[str | Path | np.ndarray],
        rate: int | None,
        window: float,
        speaker_from: str | None,
    ) -> Iterator[Segment]:
        numbered = enumerate(recordings)
        for arrays, group in itertools.groupby(numbered, lambda x: isinstance(x[1], np.ndarray)):
            if not arrays:
                paths = [str(path) for _, path in group]
                yield from read_segments(paths, window=window, speaker_from=speaker_from)
                continue
            if speaker_from is not None:
                raise UserError("samples have no names that tell a speaker: give files.")
            if rate is None:
                raise UserError("samples need their rate: predict(samples, 16000), for example.")
            from mosei_ssl.covarep import extract

            for number, samples in group:
                rows = extract(np.asarray(samples), rate)
                yield from audio_windows(f"array {number}", rows, rate, window)
