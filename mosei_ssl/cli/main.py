"""Entry point: picks the verb, turns bad input into one line and exit code 2."""

import importlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Sequence
from types import ModuleType

from rich.logging import RichHandler

import mosei_ssl
from mosei_ssl.cli.completion import completion_script
from mosei_ssl.cli.options import parse_options
from mosei_ssl.cli.output import write_out
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.keras_settings import check_keras_settings, own_process
from mosei_ssl.utils.parsing import nearest
from mosei_ssl.utils.quiet import quiet_process
from mosei_ssl.utils.signals import Interrupted, stop_politely
from mosei_ssl.utils.terminal import console

_log = logging.getLogger(__name__)
_RESUMABLE = ("pretrain", "finetune", "quickstart", "extract", "study")
_TRAIN = ("pretrain", "finetune", "quickstart", "evaluate", "export", "study")
_PREDICT = ("predict", "demo", "serve")
_TRAIN_PACKAGES = ("tensorflow", "tensorflow_datasets", "tensorboard", "apache_beam")

VERBS: tuple[str, ...] = ("demo", "quickstart", "build", "convert", "pretrain", "finetune")
VERBS += ("evaluate", "export", "verify", "labels", "select", "extract", "predict", "serve")
VERBS += ("folds", "promote", "study", "pool")

_SWITCHES = frozenset(("-q", "--quiet", "-v", "--verbose", "--debug"))

_HELP = """usage: mosei-ssl VERB [options]

Self-supervised, label-efficient emotion recognition on CMU-MOSEI's acoustic features.

verbs:
{verbs}

`mosei-ssl VERB --help` explains a verb, with an example; --help-all also its rarely used options.
Every verb takes -q, -v and --debug. `mosei-ssl --version` and `mosei-ssl --print-completion bash`
(or zsh, tcsh) stand alone. With recordings, `mosei-ssl quickstart RECORDINGS --labels SHEET` does
everything; without labels, `mosei-ssl predict RECORDINGS` answers. With MOSEI, the usual order:

  mosei-ssl build    --manual-dir DIR
  mosei-ssl pretrain --run runs/pre
  mosei-ssl finetune --run runs/ssl100 --labels 100 --pretrained runs/pre
  mosei-ssl finetune --run runs/base100 --labels 100 --from-scratch
  mosei-ssl evaluate --run runs/ssl100 --split test
  mosei-ssl export   --run runs/ssl100 --to saved_models/emotion
  mosei-ssl predict  INPUT --model saved_models/emotion

Exit codes: 0 done; 1 a study has failed cells, or nobody reads the output any more; 2 bad input;
3 an export is damaged or has been tampered with; 130 stopped by Ctrl-C, 143 by SIGTERM.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code, as the end of `mosei-ssl --help` explains it."""
    start = time.monotonic()
    arguments = list(sys.argv[1:] if argv is None else argv)
    before = list(itertools.takewhile(_SWITCHES.__contains__, arguments))
    verb, *arguments = arguments[len(before) :] or ["--help"]
    if verb in ("-h", "--help", "--help-all"):
        first = {verb: str(_module(verb).__doc__).splitlines()[0] for verb in VERBS}
        verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in first.items())
        sys.stdout.write(_HELP.format(verbs=verbs))
        return 0
    if verb == "--version":
        print(f"mosei-ssl {mosei_ssl.__version__}")
        return 0
    if verb not in (*VERBS, "--print-completion"):
        sys.stderr.write(
            f"mosei-ssl: there is no verb {verb!r}{nearest(verb, VERBS)}; "
            f"there are: {', '.join(VERBS)}.\n"
        )
        return 2
    arguments = before + arguments
    debug = "--debug" in arguments
    _set_up_logging(arguments)
    try:
        # From here on: importing TensorFlow takes seconds, in which a machine may be taken away.
        with stop_politely():
            if verb == "--print-completion":
                modules = {verb: _module(verb) for verb in VERBS}
                write_out(completion_script("".join(arguments[:1]), modules))
                return 0
            module = _module(verb)
            options = parse_options(module, arguments)
            if verb in (*_TRAIN, *_PREDICT) and not getattr(options, "server", None):
                check_keras_settings(trains=verb in _TRAIN)
            _log.debug("options: %s", options)
            code = module.run(options)
            took = time.monotonic() - start
            _log.debug("took %.1f s, %.1f s of processor time", took, time.process_time())
            return code
    except UserError as error:
        return _fail(verb, error, debug)
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in _TRAIN_PACKAGES:
            raise
        what = f"{error.name} is needed, which is not installed: pip install 'mosei_ssl[train]'"
        return _fail(verb, UserError(what), debug)
    except Interrupted as error:
        told = f"{error}. Give the same command to resume" if verb in _RESUMABLE else "stopped"
        sys.stderr.write(f"mosei-ssl {verb}: {told}.\n")
        return error.exit_code
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(verb, UserError(f"{error.filename}: {error.strerror}."), debug)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nmosei-ssl {verb}: stopped.\n")
        return 130


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"mosei_ssl.cli.{verb}")


def _fail(verb: str, error: UserError, debug: bool) -> int:
    if debug:
        raise error
    code = error.exit_code
    # Recognised by name: importing the class takes seconds.
    if type(error).__name__ == "NothingPreparedError":
        option = "data.data_dir in the --config" if verb == "study" else "--data-dir"
        error = UserError(f"{error} {option} names another folder.")
    sys.stderr.write(f"mosei-ssl {verb}: {error}\n")
    return code


def _set_up_logging(arguments: Sequence[str]) -> None:
    given = _SWITCHES.intersection(arguments)
    debug = "--debug" in given
    level = logging.WARNING if given & {"-q", "--quiet"} else logging.INFO
    level = logging.DEBUG if debug or given & {"-v", "--verbose"} else level
    screen, form = console(stderr=True), "%(message)s"
    handler: logging.Handler = RichHandler(console=screen, show_path=debug, show_time=debug)
    if not screen.is_terminal:
        # A table of levels and messages is for people.
        handler, form = logging.StreamHandler(), "%(levelname)-8s %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, handlers=[handler], force=True)
    for name in ("mosei_ssl", "tfds_mosei"):
        logging.getLogger(name).setLevel(level)
    # TFDS (through absl) and TensorFlow warn about internals that a user cannot change.
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.WARNING if debug else logging.ERROR)


def console_script(argv: Sequence[str] | None = None) -> int:
    """`main` as a process, whose stderr is this program's alone."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0")  # what is not worth a line is dropped here
    arguments = sys.argv[1:] if argv is None else argv
    if "--debug" not in arguments:
        quiet_process()
    verb = next((word for word in arguments if word not in _SWITCHES), None)
    own_process(predicts=verb in _PREDICT)
    code = main(argv)
    if code > 128:
        # Python would end with SIGINT if the interrupt came while a C extension ran Python code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
