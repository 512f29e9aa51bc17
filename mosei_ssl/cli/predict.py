"""`mosei-ssl predict`."""

import io
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from mosei_ssl.cli.output import progress_bar, say, write_out
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import write_text

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
        "--model-name",
        type=str | None,
        default=None,
        help="name of the model on the server (default: emotion)",
    )
    parser.add_argument(
        "--timeout",
        type=float | None,
        default=None,
        help="seconds that a request to a server may take (default: 30)",
    )
    parser.add_argument(
        "--segments",
        type=str | None,
        default=None,
        help="which stretches to judge: a .csd label file, or a .csv with id, start, end; "
        "without it whole recordings, long ones in windows",
    )
    parser.add_argument(
        "--window",
        type=float | None,
        default=None,
        help="seconds of a window; 0 never cuts (default: 15)",
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
    parser.add_argument(
        "--split", type=str | None, default=None, help="split of a prepared dataset (default: test)"
    )
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
    _refuse_what_does_not_apply(options)
    from mosei_ssl.serving.plotting import check_plot, write_plot
    from mosei_ssl.serving.predicting import iterate_segments, predict_records

    if options.plot is not None:
        check_plot(options.input, options.plot)
    if options.out is not None:
        _check_writable(Path(options.out))
    segments = iterate_segments(
        options.input,
        options.segments,
        window=15.0 if options.window is None else options.window,
        hop=options.hop,
        limit=options.limit,
        dataset=options.dataset,
        split=options.split or "test",
    )
    # An input that is not there, or of another kind, is told before a model is loaded.
    segments = itertools.chain([next(segments)], segments)
    predictor = _predictor(options)
    lengths = _Lengths(getattr(predictor, "manifest", {}))
    kept: list = []
    with progress_bar("predicting") as progress:
        records = list(
            predict_records(
                predictor,
                _watched(segments, lengths, kept if options.plot is not None else None),
                progress=lambda done: progress(done, lengths.seen if lengths.complete else None),
            )
        )
    lengths.warn()
    _write(records, options)
    if options.plot is not None:
        write_plot(options.input, kept, records, options.plot)
        _log.info("plot of the expected intensities: %s", options.plot)
    return 0


def _refuse_what_does_not_apply(options: Namespace) -> None:
    """An option that changes nothing is a misunderstanding: better told than ignored."""
    if not Path(options.input).exists():
        return  # which is told as such
    folder = Path(options.input).is_dir()
    cut = folder or options.segments is not None
    refused = {
        "window": "segments that are given are not cut" if cut else None,
        "hop": "segments that are given are not cut"
        if cut
        else "recordings are not cut with --window 0"
        if options.window == 0
        else None,
        "dataset": None if folder else "the input is no folder of prepared datasets",
        "split": None if folder else "the input is no folder of prepared datasets",
        "timeout": None if options.server is not None else "there is no --server",
        "model_name": None if options.server is not None else "there is no --server",
    }
    for name, reason in refused.items():
        if reason is not None and getattr(options, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} does not apply: {reason}. Leave it out.")


def _watched(segments: Iterable, lengths: "_Lengths", kept: list | None) -> Iterator:
    for segment in segments:
        lengths.add(len(segment.features))
        if kept is not None:
            kept.append(segment)
        yield segment
    lengths.complete = True


class _Lengths:
    """Counts segments of lengths that the model has never been trained on."""

    def __init__(self, manifest: dict):
        self.longest = manifest.get("dataset", {}).get("train_seconds", {}).get("longest")
        self.seen = 0
        self.long = 0
        self.complete = False

    def add(self, frames: int) -> None:
        from mosei_ssl.serving.schema import FRAME_PERIOD

        self.seen += 1
        self.long += bool(self.longest) and frames * FRAME_PERIOD > 2 * self.longest

    def warn(self) -> None:
        """Say it once, for all of them."""
        if self.long:
            _log.warning(
                "%d of %d segments are more than twice as long as any that the model was trained "
                "on (%.1f s): a shorter --window, or --segments, suits it better",
                *(self.long, self.seen, self.longest),
            )


def _predictor(options: Namespace):
    if options.model is not None:
        from mosei_ssl.serving.local import LocalModel

        return LocalModel(options.model)
    from mosei_ssl.serving.client import connect

    timeout = 30.0 if options.timeout is None else options.timeout
    return connect(options.server, options.model_name or "emotion", timeout=timeout)


def _write(records: list, options: Namespace) -> None:
    from rich.console import Console

    from mosei_ssl.serving.output import to_csv, to_json, to_table

    if options.format != "table":
        text = (to_json if options.format == "json" else to_csv)(records)
    elif options.out is None:
        Console().print(to_table(records))
        return
    else:
        page = io.StringIO()
        Console(file=page, width=120).print(to_table(records))
        text = page.getvalue()
    if options.out is None:
        write_out(text)
        return
    _save(Path(options.out), text)
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


def _save(path: Path, text: str) -> None:
    """Write a file whole, so that an older one is there until the new one is."""
    path = path.resolve()
    mode = path.stat().st_mode if path.is_file() else None
    try:
        if (path.exists() and mode is None) or not os.access(path.parent, os.W_OK):
            # A pipe or a device; or a file in a folder that is closed to others beside it.
            path.write_text(text, encoding="utf-8")
            return
        write_text(path, text)
        if mode is not None:
            path.chmod(mode)
    except OSError as error:
        raise UserError(f"cannot write to {path}: {error.strerror or error}.") from None
