"""Processes on Keras's JAX backend, forked from one that has imported it, which takes seconds."""

import json
import multiprocessing
import os
import sys
from pathlib import Path

# The checkout first: there is a folder tests/tfds_mosei too.
sys.path += [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import one_of_several
import replica_process
from children import start_child

# Programs that run once are hardly worth optimising.
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
FUNCTIONS = {"replicas": replica_process.main, "several": one_of_several.main}


def main(folder: Path, jobs: dict[str, tuple[str, list, int]]) -> None:
    """Run jobs side by side: by name, which function it is, its arguments, the number of devices.

    Writes `NAME.log` for each, and `exitcodes.json`.
    """
    import jax  # noqa: F401
    import tensorflow  # noqa: F401

    import mosei_ssl.training  # noqa: F401

    children = {}
    for name, (function, arguments, devices) in jobs.items():
        flags = f"{QUICK} --xla_force_host_platform_device_count={devices}"
        children[name] = start_child(
            FUNCTIONS[function],
            *arguments,
            log=folder / f"{name}.log",
            environment={"XLA_FLAGS": flags},
            context=multiprocessing.get_context("fork"),
        )
    for child in children.values():
        child.join(400)
    codes = {name: child.exitcode for name, child in children.items()}
    (folder / "exitcodes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    assert os.environ["KERAS_BACKEND"] == "jax"
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
