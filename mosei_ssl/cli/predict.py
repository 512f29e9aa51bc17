"""`mosei-ssl predict`."""

import logging
import os
import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import progress_bar, say
from mosei_ssl.errors import UserError

_log = logging.getLogger(__name__)


def add_arguments(parser: ArgumentParser) -> None:
    parser.description = (
        "Predict the emotions of a recording (wav, flac, mp3, ogg), of a .csd file, of a .npy "
        "array [frames, 74] of raw COVAREP rows, or of a split of a prepared dataset. Examples: "
        "mosei-ssl predict talk.wav --model saved_models/emotion ; "
        "mosei-ssl predict speech.csd --segments labels.csd --model saved_models/emotion ; "
        "mosei-ssl predict rows.npy --server http://localhost:8501 --format json"
    )
    parser.add_argument(
        "input",
        type=str,
        help="a .csd, .npy or audio file, or the folder that datasets were prepared in",
    )
    parser.add_argument(
        "--model", type=str | None, default=None, help="saved_models/NAME or NAME/VERSION"
    )
    parser.add_argument(
        "--server",
        type=str | None,
        default=None,
        help="instead of --model: a TF Serving server, http://HOST:8501 or grpc://HOST:8500",
    )
    parser.add_argument(
        "--model-name", type=str, default="emotion", help="name of the model on the server"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, help="seconds that a request to a server may take"
    )
    parser.add_argument(
        "--segments",
        type=str | None,
        default=None,
        help="which stretches to judge: a .csd label file, or a .csv with id, start, end; "
        "without it whole recordings, long ones in windows",
    )
    parser.add_argument(
        "--window", type=float, default=15.0, help="seconds of a window; 0 never cuts"
    )
    parser.add_argument(
        "--hop", type=float | None, default=None, help="seconds between windows (default: --window)"
    )
    parser.add_argument(
        "--limit", type=int | None, default=None, help="judge the first so many segments only"
    )
    parser.add_argument(
        "--dataset", type=str | None, default=None, help="which of several prepared datasets"
    )
    parser.add_argument("--split", type=str, default="test", help="split of a prepared dataset")
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="form of the answer"
    )
    parser.add_argument(
        "--out", type=str | None, default=None, help="file to write instead of the screen"
    )
    parser.add_argument(
        "--plot",
        type=str | None,
        default=None,
        help="of a recording: also draw waveform, F0 and emotions along time into this file",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="accepted by every verb; predicting draws nothing"
    )


def run(parser: ArgumentParser, options: Namespace) -> int:
    if (options.model is None) == (options.server is None):
        raise UserError("give either --model DIRECTORY or --server URL.")
    from mosei_ssl.serving.plotting import check_plot, write_plot
    from mosei_ssl.serving.predicting import collect_segments

    if options.plot is not None:
        check_plot(options.input, options.plot)
    if options.out is not None:
        _check_writable(Path(options.out))
    segments = collect_segments(
        options.input,
        options.segments,
        window=options.window,
        hop=options.hop,
        limit=options.limit,
        dataset=options.dataset,
        split=options.split,
    )
    predictor = _predictor(options)
    _warn_of_lengths(segments, getattr(predictor, "manifest", {}))
    from mosei_ssl.serving.output import as_records

    with progress_bar("predicting") as progress:
        predictions = predictor.predict(
            [segment.features for segment in segments],
            progress=lambda done: progress(done, len(segments)),
        )
    _write(as_records(segments, predictions), options)
    if options.plot is not None:
        write_plot(options.input, segments, predictions, options.plot)
        _log.info("plot of the expected intensities: %s", options.plot)
    return 0


def _warn_of_lengths(segments: list, manifest: dict) -> None:
    """Say once where segments are of lengths that the model has never been trained on."""
    from mosei_ssl.serving.schema import FRAME_PERIOD

    longest = manifest.get("dataset", {}).get("train_seconds", {}).get("longest")
    if not longest:
        return
    long = sum(len(segment.features) * FRAME_PERIOD > 2 * longest for segment in segments)
    if long:
        _log.warning(
            "%d of %d segments are more than twice as long as any that the model was trained on "
            "(%.1f s): a shorter --window, or --segments, suits it better",
            *(long, len(segments), longest),
        )


def _predictor(options: Namespace):
    if options.model is not None:
        from mosei_ssl.serving.local import LocalModel

        return LocalModel(options.model)
    from mosei_ssl.serving.client import connect

    return connect(options.server, options.model_name, timeout=options.timeout)


def _write(records: list, options: Namespace) -> None:
    from rich.console import Console

    from mosei_ssl.serving.output import to_csv, to_json, to_table

    if options.format == "table":
        if options.out is None:
            Console().print(to_table(records))
            return
        with open_for_writing(options.out) as file:
            Console(file=file, width=120).print(to_table(records))
        say(f"Written: {options.out}")
        return
    text = (to_json if options.format == "json" else to_csv)(records)
    if options.out is None:
        sys.stdout.write(text)
        return
    with open_for_writing(options.out) as file:
        file.write(text)
    say(f"Written: {options.out}")


def _check_writable(path: Path) -> None:
    """Tell before the work what would be told after it."""
    place = path if path.exists() else path.absolute().parent
    if not place.exists():
        raise UserError(f"cannot write to {path}: its folder does not exist.")
    if path.is_dir():
        raise UserError(f"cannot write to {path}: it is a folder.")
    if not os.access(place, os.W_OK):
        raise UserError(f"cannot write to {path}: permission denied.")


def open_for_writing(path: str):
    """Open a file for text, or raise a UserError that says why not."""
    try:
        return open(Path(path), "w", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}.") from None
