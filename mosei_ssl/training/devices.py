"""Which devices a training runs on: one, or all of this machine through Keras's `fit`."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Literal

import keras
import tensorflow as tf

from mosei_ssl.config import Precision
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)

Strategy = Literal["none", "mirrored"]
Scope = Callable[[], contextlib.AbstractContextManager]


def share_gpus() -> None:
    """Have TensorFlow take GPU memory as it is needed, so that others can use the device too.

    Call this before anything uses TensorFlow: once it has initialised a GPU, it holds all memory.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            _log.warning("TensorFlow is in use already, and keeps all memory of %s", gpu.name)


@contextlib.contextmanager
def open_devices(
    strategy: Strategy, batch_size: int, precision: Precision = "float32"
) -> Iterator[Scope]:
    """Set up the devices of a run, before TensorFlow is used for anything.

    `none` is one device; `mirrored` all devices of this machine (GPUs if there are any): on
    TensorFlow `tf.distribute.MirroredStrategy`, on JAX `keras.distribution.DataParallel`. Each
    gets an equal share of a batch. Yields a function that returns the scope to build and compile
    a model in.

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017 (https://arxiv.org/abs/1706.02677).
    """
    share_gpus()
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
