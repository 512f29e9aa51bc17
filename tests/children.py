"""Processes that train, forked from one that has imported TensorFlow, which takes seconds."""

import atexit
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_MODULES = ["mosei_ssl.training.pretraining", "mosei_ssl.study", "tfds_mosei"]
_CONTEXT.set_forkserver_preload(_MODULES)


def start_child(
    function: Callable[..., int], *arguments, log: Path, environment=None, context=_CONTEXT
):
    """Run a function of a module in a process of its own.

    Args:
        function: gives the process's exit code.
        *arguments: its arguments.
        log: file that gets what the process says on stderr.
        environment: variables to set before the function is called.
        context: how the process is started.

    Returns:
        The process; `exitcode` is as for `subprocess`.
    """
    arguments = (function, arguments, str(log), environment or {})
    process = context.Process(target=_run, args=arguments)
    process.start()
    return process


def _run(function, arguments, log, environment) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 2)
    os.environ.update(environment)
    code = function(*arguments)
    sys.stderr.flush()
    # A forked process of this kind would end without what TensorFlow does at exit.
    atexit._run_exitfuncs()
    sys.exit(code)
