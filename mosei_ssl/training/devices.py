"""Which devices a training runs on: one, or all of this machine through Keras's `fit`."""

import contextlib
import dataclasses
import logging
import os
import re
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import keras
import tensorflow as tf

from mosei_ssl.config import Precision, TrainingConfig
from mosei_ssl.utils.errors import UserError
from mosei_ssl.utils.files import cache_folder

_log = logging.getLogger(__name__)

Strategy = Literal["none", "mirrored"]
Scope = Callable[[], contextlib.AbstractContextManager]
Config = TypeVar("Config", bound=TrainingConfig)

_XLA_STEPS = 10_000
"""Steps for which compiling four lengths pays. On an H200 TensorFlow's first step took 34 s longer
with XLA, and each later one 14 ms less."""

_COMPILED_LENGTHS = 4
_STEPS_UNSEEN = 32


def share_gpus(deterministic: bool = False) -> None:
    """Have TensorFlow take GPU memory as it is needed, so that others can use the device too.

    Under JAX it takes none, and what XLA compiles for a GPU is kept for later runs. Call this
    before anything uses TensorFlow or JAX: once TensorFlow has initialised a GPU, it holds all
    memory, and JAX has read its flags.
    """
    on_jax = keras.backend.backend() == "jax"
    if on_jax:
        import jax

        if deterministic:
            _add_flag("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
        # Not on TensorFlow: a file that its cache left half written ends the training.
        if jax.default_backend() == "gpu":
            jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            if on_jax:
                tf.config.set_visible_devices([], "GPU")
            else:
                tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            _log.warning("TensorFlow is in use already, and keeps all memory of %s", gpu.name)


def _add_flag(variable: str, flag: str) -> None:
    """Set a flag of XLA, unless the user has."""
    given = os.environ.get(variable, "")
    if flag.partition("=")[0] not in given:
        os.environ[variable] = f"{given} {flag}".strip()


def steps_between_looks() -> int:
    """How often callbacks look at the loss: whoever does waits for a GPU to finish the step."""
    return 1 if keras.distribution.list_devices()[0].startswith("cpu") else _STEPS_UNSEEN


def is_deterministic(config: TrainingConfig) -> bool:
    """Whether TensorFlow is held to operations that give the same numbers twice."""
    if config.jit_compile is True:
        return False
    return config.deterministic or not tf.config.list_physical_devices("GPU")


def compiled(config: Config, steps: int) -> Config:
    """The options with `jit_compile` settled for this device and a run of so many steps.

    Where XLA compiles the step for each length anew, batches have few. `"auto"` stays where Keras
    is to decide: not every layer can be compiled.
    """
    jit = config.jit_compile
    if jit == "auto" and keras.backend.backend() == "tensorflow":
        one_gpu = tf.config.list_physical_devices("GPU") and not tf.distribute.has_strategy()
        if config.deterministic or steps < _XLA_STEPS or not one_gpu:
            jit = False
    lengths = config.max_lengths or (_COMPILED_LENGTHS if jit else None)
    return dataclasses.replace(config, jit_compile=jit, max_lengths=lengths)


@contextlib.contextmanager
def memory_errors_reported(batch_size: int) -> Iterator[None]:
    """Turn an error of a device whose memory a batch does not fit into a `UserError`."""
    try:
        yield
    except (tf.errors.OpError, RuntimeError) as error:
        # XLA, CUDA and its libraries say so only in the text.
        said = re.search("resource.exhausted|out.of.memory|alloc.failed", str(error), re.IGNORECASE)
        if not said and not isinstance(error, tf.errors.ResourceExhaustedError):
            raise
        smaller = f"--batch-size {batch_size // 2}" if batch_size > 1 else "a smaller --max-frames"
        raise UserError(
            f"a batch does not fit into the memory of the device, at batch_size {batch_size}: give "
            f"{smaller}, with another --run."
        ) from error


@contextlib.contextmanager
def open_devices(
    strategy: Strategy,
    batch_size: int,
    precision: Precision = "float32",
    deterministic: bool = False,
) -> Iterator[Scope]:
    """Set up the devices of a run, before TensorFlow is used for anything.

    `none` is one device; `mirrored` all devices of this machine (GPUs if there are any): on
    TensorFlow `tf.distribute.MirroredStrategy`, on JAX `keras.distribution.DataParallel`. Each
    gets an equal share of a batch. Yields a function that returns the scope to build and compile
    a model in.

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017 (https://arxiv.org/abs/1706.02677).
    """
    share_gpus(deterministic)
    if strategy == "none":
        yield contextlib.nullcontext
    elif keras.backend.backend() == "jax":
        _check_divides(len(keras.distribution.list_devices()), batch_size)
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        try:
            yield contextlib.nullcontext
        finally:
            keras.distribution.set_distribution(None)
    else:
        if precision == "mixed_float16":
            raise UserError(
                "--strategy mirrored works with float32 and mixed_bfloat16: the loss scale of "
                "mixed_float16 is not shared between replicas."
            )
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        _check_divides(len(devices), batch_size)
        yield tf.distribute.MirroredStrategy([device.name for device in devices]).scope


@contextlib.contextmanager
def one_device() -> Iterator[None]:
    """On JAX, leave batches of any size whole, which data parallelism would have to divide."""
    before = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if before is None:
        yield
        return
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _check_divides(replicas: int, batch_size: int) -> None:
    if batch_size % replicas:
        raise UserError(
            f"batch_size {batch_size} is not divisible by {replicas}, the number of devices that "
            f"share a batch: choose a multiple of {replicas}."
        )
