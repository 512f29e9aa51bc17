"""Every stage once: build, pretrain, fine-tune, evaluate, export, predict.

On recordings with labels (as `extract` takes them), on a corpus in MOSEI's layout, or on a small
synthetic corpus. Fine-tunes from what was learned without labels, from scratch (the baseline) and
from the shipped model, and exports what is best on the validation speakers. Shows each command
that it runs. Given again it goes on where it was; finished steps are not repeated.

Examples:
  mosei-ssl quickstart
  mosei-ssl quickstart recordings/ --labels labels.xlsx
  mosei-ssl quickstart --manual-dir corpus --budget 200
"""

import importlib
import itertools
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mosei_ssl import presets
from mosei_ssl.cli.options import parse_options, positional
from mosei_ssl.cli.output import say
from mosei_ssl.config import Budget
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.options import Options
from mosei_ssl.utils.terminal import console

_SYNTHETIC_BUDGET = 200


@dataclass(kw_only=True)
class QuickstartOptions(Options):
    """Options of `mosei-ssl quickstart`.

    Args:
        recordings: recordings (wav, flac, mp3, ogg), or folders of them.
        labels: table of their labels, or folder of class folders.
        present_level: intensity assumed where a label only says that an emotion is present.
        speaker_from: regular expression for file names, whose first group is the speaker.
        workers: processes that compute features, one core each.
        manual_dir: instead of recordings: folder of a corpus in MOSEI's layout, see `build`.
        folds: folds file instead of the corpus's own.
        budget: how many labels to fine-tune on (default: all; 200 of the synthetic corpus).
        epochs: of the pretraining (default: as in the configuration small_pretrain).
        out: where data and runs go.
        saved_models: where the export goes.
        seed: fixes labelled subset, data order and initial weights.
    """

    common: ClassVar[tuple[str, ...]] = (
        *("labels", "speaker_from", "workers", "manual_dir", "folds", "budget", "out"),
        *("saved_models", "seed"),
    )

    recordings: list[str] = positional(default_factory=list)
    labels: str | None = None
    present_level: float | None = None
    speaker_from: str | None = None
    workers: int | None = None
    manual_dir: str | None = None
    folds: str | None = None
    budget: Budget | None = None
    epochs: int | None = None
    out: str = "quickstart"
    saved_models: str = "saved_models"
    seed: int = 0


def run(options: QuickstartOptions) -> int:
    name, source = _source(options)
    synthetic = source == ["--synthetic"]
    place = Path(options.out) / name
    data = ["--data-dir", str(place / "data")]
    budget = str(options.budget or (_SYNTHETIC_BUDGET if synthetic else "all"))
    if options.recordings:
        say_step("Features of the recordings, labels and folds by speaker")
        source = ["--manual-dir", str(place / "corpus"), *source]
        run_step("extract", *_extraction(options, place))
    say_step("Dataset")
    dataset = build(*source, *data, *([] if budget == "all" else ["--labels", budget]))

    # A run keeps its options: others get separate runs.
    marks = [f"-seed{options.seed}"] if options.seed else []
    marks += [] if options.epochs is None else [f"-epochs{options.epochs}"]
    runs = place / "runs" / "".join([dataset, *marks])
    common = [*data, "--dataset", dataset, "--seed", str(options.seed)]
    pre, epochs = runs / "pre", _given("--epochs", options.epochs)
    say_step("Pretraining, without labels")
    run_step("pretrain", "--run", pre, "--config", "small_pretrain", *common, *epochs)

    say_step(f"Fine-tuning on labels: {budget}")
    arms = {"ssl": ["--pretrained", str(pre)], "baseline": ["--from-scratch"]}
    if not synthetic:
        arms[presets.DEFAULT] = ["--pretrained", presets.DEFAULT]
    done: dict[str, Path] = {}
    for arm, start in arms.items():
        path = runs / f"{arm}-{budget}"
        line = ["--run", path, "--config", "small_finetune", "--labels", budget, *start, *common]
        try:
            run_step("finetune", *line)
            done[arm] = path
        except UserError as error:
            if arm != presets.DEFAULT:
                raise
            say(f"Left out: {error}")

    say_step("Scores on the test split")
    ours, *others = done.values()
    run_step("evaluate", "--run", ours, "--against", *others)
    best = _best_on_validation(list(done.values()))

    say_step("Export, and predictions of the SavedModel")
    export = _exported(best, Path(options.saved_models) / name)
    run_step("predict", place / "data", "--dataset", dataset, "--limit", "5", "--model", export)

    say_step("Done")
    say(_sentence(best, done))
    if synthetic:
        say(
            "The data is SYNTHETIC, made so that it has sounds to be found without labels: that "
            "every stage works is all it shows."
        )
    say(f"That is {best}, the best on the validation split, exported as {export}.")
    say("Next:")
    say(f"  tensorboard --logdir {shlex.quote(str(runs))}")
    say(f"  mosei-ssl predict RECORDING --model {shlex.quote(str(export))}")
    return 0


def _source(options: QuickstartOptions) -> tuple[str, list[str]]:
    """Name of the corpus, and the options that `build` gets."""
    if options.recordings and options.manual_dir is not None:
        raise UserError("give either recordings or --manual-dir.")
    if options.recordings and options.labels is None:
        raise UserError(
            "--labels is missing: a table with the columns file and emotions (to have one to fill "
            "in: `mosei-ssl labels RECORDINGS --template labels.xlsx`), or a folder with a folder "
            "of recordings per emotion. Without labels, `mosei-ssl predict RECORDINGS` answers."
        )
    for option in ("labels", "present_level", "speaker_from", "workers"):
        if not options.recordings and getattr(options, option) is not None:
            hint = " How many labels to use is --budget." if option == "labels" else ""
            raise UserError(
                f"--{option.replace('_', '-')} goes with recordings: name them too.{hint}"
            )
    folds = _given("--folds", options.folds)
    if options.recordings:
        return Path(options.recordings[0]).resolve().stem, folds
    if options.manual_dir is None:
        if options.folds is not None:
            raise UserError("--folds goes with recordings or --manual-dir.")
        return "synthetic", ["--synthetic"]
    if not Path(options.manual_dir).is_dir():
        raise UserError(f"--manual-dir {options.manual_dir}: there is no such folder.")
    return Path(options.manual_dir).resolve().name, ["--manual-dir", options.manual_dir, *folds]


def _extraction(options: QuickstartOptions, place: Path) -> list[str]:
    features = ["--out", str(place / "corpus" / "features.csd"), "--overwrite"]
    names = ("labels", "present_level", "speaker_from", "workers", "seed")
    given = [_given(f"--{name.replace('_', '-')}", getattr(options, name)) for name in names]
    return [*options.recordings, *features, *itertools.chain(*given)]


def _given(option: str, value: Any) -> list[str]:
    return [] if value is None else [option, str(value)]


def say_step(title: str) -> None:
    """Announce a stage."""
    console().print(f"\n[bold]== {title}")


def _command(verb: str, line: tuple[Any, ...]) -> tuple[Any, Any]:
    """Show a command; gives the module of its verb and its options."""
    words = list(map(str, line))
    say(f"$ mosei-ssl {verb} {shlex.join(words)}")
    module = importlib.import_module(f"mosei_ssl.cli.{verb}")
    return module, parse_options(module, words)


def run_step(verb: str, *line: Any) -> None:
    """Show a command and run it."""
    module, options = _command(verb, line)
    module.run(options)


def build(*line: str) -> str:
    """Build the dataset, and give its name."""
    module, options = _command("build", line)
    return module.build_dataset(options)


def _best_on_validation(runs: list[Path]) -> Path:
    """The run with the highest r on the validation speakers; the first of those that are level."""
    from mosei_ssl.training import evaluate

    scores = [evaluate(run, "validation")["predictors"]["model"]["overall"] for run in runs]
    values = [score["pearson_r"] or 0.0 for score in scores]
    return runs[values.index(max(values))]


def _exported(run: Path, to: Path) -> Path:
    """The version that a run was exported as, now or before."""
    note = run / "exported_to"
    if note.is_file() and Path(note.read_text()).is_dir():
        say(f"Exported before: {note.read_text()}")
        return Path(note.read_text())
    before = set(to.glob("[0-9]*"))
    run_step("export", "--run", run, "--to", to)
    (version,) = set(to.glob("[0-9]*")) - before
    note.write_text(str(version))
    return version


def _sentence(best: Path, runs: dict[str, Path]) -> str:
    from mosei_ssl.metrics.comparison import summary

    labels = json.loads((runs["ssl"] / "metrics.json").read_text())["labels"]
    return summary(best, runs["ssl"], runs["baseline"], labels)
