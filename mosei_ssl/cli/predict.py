"""Predict the emotions of recordings, a .csd file, a .npy array or a prepared dataset.

Examples:
  mosei-ssl predict talk.wav
  mosei-ssl predict recordings/ --format csv --out emotions.csv
  ffmpeg -i film.mp4 -f wav - | mosei-ssl predict -
  mosei-ssl predict speech.csd --segments labels.csd --model saved_models/emotion
  mosei-ssl predict rows.npy --server http://localhost:8501 --format json
"""

import itertools
import logging
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from mosei_ssl import presets
from mosei_ssl.cli.options import positional
from mosei_ssl.cli.output import say, write_out
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import check_writable, write_output
from mosei_ssl.utils.options import Options
from mosei_ssl.utils.progress import progress
from mosei_ssl.utils.terminal import console

_log = logging.getLogger(__name__)

_STDIN = "-"


@dataclass(kw_only=True)
class PredictOptions(Options):
    """Options of `mosei-ssl predict`.

    Args:
        input: recordings (wav, flac, mp3, ogg) or folders of them, .csd files, .npy arrays
            [frames, 74] of raw COVAREP rows, or the folder that datasets were prepared in; - for a
            recording on standard input.
        model: saved_models/NAME, NAME/VERSION, a run or a preset (default: emotion-small); with
            --server the export that runs there, for its threshold and means.
        server: a TF Serving server, http://HOST:8501 or grpc://HOST:8500, that runs the model.
        model_name: name of the model on the server (default: emotion).
        version: which version of it (default: the highest that is served).
        label: instead of --version: the label of one, such as stable.
        timeout: seconds that a request to a server may take (default: 30).
        segments: which stretches to judge: a .csd label file, or a table with file, start, end;
            without it whole recordings, long ones in windows.
        window: seconds of a window; 0 cuts only where rows are missing (default: 15).
        hop: seconds between windows (default: --window).
        limit: judge only this many segments, the first ones.
        threshold: probability below which no emotion is the most likely one, but none (default:
            as calibrated on validation speakers in training).
        context: whether segments are judged relative to the whole recording (of a prepared
            dataset: the speaker), or by themselves (default: recording, but none with --server
            alone).
        speaker_from: regular expression for file names, whose first group is the speaker: the
            context is then all recordings of the speaker.
        dataset: which of several prepared datasets.
        split: split of a prepared dataset (default: test).
        format: form of the answer.
        full: in JSON, what the model says of every emotion under its own names: intensity, class,
            present and expected; without it intensity and probability.
        out: file to write instead of the screen.
        plot: of a recording: also draw waveform, F0 and emotions along time into this file.
    """

    common: ClassVar[tuple[str, ...]] = (
        *("model", "server", "segments", "window", "format", "out", "plot"),
    )

    input: list[str] = positional()
    model: str | None = None
    server: str | None = None
    model_name: str | None = None
    version: int | None = None
    label: str | None = None
    timeout: float | None = None
    segments: str | None = None
    window: float | None = None
    hop: float | None = None
    limit: int | None = None
    threshold: float | None = None
    context: Literal["recording", "none"] | None = None
    speaker_from: str | None = None
    dataset: str | None = None
    split: str | None = None
    format: Literal["table", "json", "csv"] = "table"
    full: bool = False
    out: str | None = None
    plot: str | None = None


def run(options: PredictOptions) -> int:
    with tempfile.TemporaryDirectory() as folder:
        if _STDIN in options.input:
            file = _standard_input(Path(folder))
            options.input = [file if source == _STDIN else source for source in options.input]
        return _predict(options)


def _standard_input(folder: Path) -> str:
    """A file with what standard input gives, as recordings are read at any place."""
    if sys.stdin.isatty():
        raise UserError("- stands for a recording on standard input: ... | mosei-ssl predict -")
    file = folder / "stdin.wav"  # in any format: libsndfile goes by the content
    with file.open("wb") as target:
        shutil.copyfileobj(sys.stdin.buffer, target)
    if not file.stat().st_size:
        raise UserError("standard input is empty: is there a recording?")
    return str(file)


def _predict(options: PredictOptions) -> int:
    _refuse_what_does_not_apply(options)
    from mosei_ssl.serving import LocalModel, connect, output, read_segments
    from mosei_ssl.serving.predictor import Predictor, predict_records

    if options.plot is not None:
        from mosei_ssl.serving import plotting  # Matplotlib takes half a second

        if len(options.input) > 1:
            raise UserError("--plot shows one recording: give a single INPUT, or leave it out.")
        plotting.check_plot(options.input[0], options.plot)
    if options.out is not None:
        check_writable(Path(options.out))
    found = read_segments(
        options.input,
        options.segments,
        15.0 if options.window is None else options.window,
        options.hop,
        limit=options.limit,
        speaker_from=options.speaker_from,
        dataset=options.dataset,
        split=options.split or "test",
    )
    # An input that is missing, or of another kind, is reported before a model is loaded.
    segments = itertools.chain([next(found)], found)
    kept = list(segments) if options.plot is not None else []
    predictor: Predictor
    if options.server is None:
        predictor = LocalModel(options.model or presets.DEFAULT)
    else:
        timeout = 30.0 if options.timeout is None else options.timeout
        predictor = connect(
            options.server,
            options.model_name or "emotion",
            options.version,
            label=options.label,
            export=options.model,
            timeout=timeout,
        )
    asked = options.speaker_from or options.context == "recording"
    if asked and predictor.feature_mean is None:
        raise UserError(
            f"{options.model} was trained without context, or does not tell the means of its "
            "training: leave out --context and --speaker-from."
        )
    with progress("predicting") as advance:
        given = (predictor, kept or segments, advance, options.threshold)
        records = list(predict_records(*given, context=options.context != "none"))
    if options.out is not None:
        write_output(Path(options.out), output.to_text(records, options.format, full=options.full))
        say(f"Written: {options.out}")
    elif options.format == "table":
        console().print(output.to_table(records))
    else:
        write_out(output.to_text(records, options.format, full=options.full))
    if options.plot is not None:
        plotting.write_plot(options.input[0], kept, records, options.plot)
        _log.info("plot of the expected intensities: %s", options.plot)
    return 0


def _refuse_what_does_not_apply(options: PredictOptions) -> None:
    """An option that changes nothing is a misunderstanding: it is refused, not ignored."""
    from mosei_ssl.serving.inputs import holds_datasets

    if not all(Path(source).exists() for source in options.input):
        return  # which is reported later
    folder = any(holds_datasets(Path(source)) for source in options.input)
    given = folder or options.segments is not None
    reasons = [
        ("segments that are given are not cut", given, ("window", "hop")),
        ("recordings are not cut with --window 0", options.window == 0, ("hop",)),
        ("the input is not a folder of prepared datasets", not folder, ("dataset", "split")),
        (
            "without --model it is not known what the server's was trained on",
            options.server is not None and options.model is None,
            ("context", "speaker_from"),
        ),
        ("there is no context", options.context == "none", ("speaker_from",)),
        ("only --format json has more to say", options.format != "json", ("full",)),
        (
            "there is no --server",
            options.server is None,
            ("timeout", "model_name", "version", "label"),
        ),
    ]
    for reason, applies, names in reasons:
        for name in names if applies else ():
            if getattr(options, name) not in (None, False):
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} does not apply: {reason}. Leave it out.")
