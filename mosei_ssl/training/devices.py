"""Which devices a training runs on: those of `tf.distribute`, or of `keras.distribution` on JAX."""

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from typing import Any, Literal

import keras
import tensorflow as tf

from mosei_ssl.config import Precision
from mosei_ssl.utils.errors import UserError

_log = logging.getLogger(__name__)

Strategy = Literal["none", "mirrored", "multiworker"]

_EXAMPLE = (
    'TF_CONFIG=\'{"cluster": {"worker": ["host1:3333", "host2:3333"]}, '
    '"task": {"type": "worker", "index": 0}}\''
)


@dataclasses.dataclass(frozen=True)
class Devices:
    """The replicas that share each batch.

    Args:
        strategy: of tf.distribute; None where Keras's `fit` does all.
        replicas: number of them, over all processes.
        first: number of this process's first one.
        local: how many this process has.
        chief: whether this process writes the run directory.
    """

    strategy: Any = None
    replicas: int = 1
    first: int = 0
    local: int = 1
    chief: bool = True

    def scope(self) -> contextlib.AbstractContextManager:
        """Where model and optimizer are made."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.strategy is None or self.local == self.replicas:
            return

        @tf.function
        def meet():
            def arrive():
                context = tf.distribute.get_replica_context()
                return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(()))

            return self.strategy.run(arrive)

        meet()


def share_gpus() -> None:
    """Have TensorFlow take GPU memory as it is needed, so that others can use the device too.

    To be called before TensorFlow is used for anything, after which it has all the memory.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            _log.warning("TensorFlow is in use already, and keeps all memory of %s", gpu.name)


def ahead_on_gpu(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Have the next batch on TensorFlow's GPU before it is asked for; without one, as it is.

    Args:
        batches: for a training on one device.

    Returns:
        The same batches.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if keras.backend.backend() != "tensorflow" or not gpus:
        return batches
    return batches.apply(tf.data.experimental.prefetch_to_device(gpus[0].name, buffer_size=1))


@contextlib.contextmanager
def open_devices(
    strategy: Strategy, batch_size: int, precision: Precision = "float32"
) -> Iterator[Devices]:
    """Set up the devices of a run; the first thing it does, before TensorFlow is used.

    Args:
        strategy: `none`: one device; `mirrored`: all devices of this machine (GPUs if there are
            any); `multiworker`: one process per machine, told of each other by TF_CONFIG. On the
            JAX backend, `mirrored` is `keras.distribution.DataParallel`.
        batch_size: segments per batch over all replicas, of which each gets an equal share.
        precision: of the run.

    Yields:
        The devices.

    Raises:
        UserError: the devices cannot be set up, do not divide the batch, or another machine
            of the run has gone.

    Example:
        >>> with open_devices("mirrored", batch_size=32) as devices:  # doctest: +SKIP
        ...     print(devices.replicas)

    References:
        Goyal et al., "Accurate, Large Minibatch SGD", 2017 (https://arxiv.org/abs/1706.02677).
    """
    share_gpus()
    if strategy == "none":
        yield Devices()
        return
    jax = keras.backend.backend() == "jax"
    if not jax and precision == "mixed_float16":
        raise UserError(
            f"--strategy {strategy} works with float32 and mixed_bfloat16: the loss scale of "
            "mixed_float16 is not shared between replicas."
        )
    if jax:
        with _data_parallel(strategy, batch_size) as devices:
            yield devices
        return
    devices = _mirrored() if strategy == "mirrored" else _multiworker()
    _check_divides(devices.replicas, batch_size)
    _log.info("%d replicas, %d of them here", devices.replicas, devices.local)
    if strategy == "mirrored":
        yield devices
        return
    try:
        yield devices
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.InternalError,
        tf.errors.DeadlineExceededError,
    ) as error:
        _log.debug("lost a worker", exc_info=error)
        raise UserError(
            "another worker of this run has gone, or cannot be reached "
            f"({type(error).__name__}). Give the same command on every worker to go on from the "
            "last saved state."
        ) from None


def _mirrored() -> Devices:
    gpus = tf.config.list_logical_devices("GPU")
    names = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(names)
    count = strategy.num_replicas_in_sync
    return Devices(strategy, count, 0, count)


def _multiworker() -> Devices:
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        workers = [*cluster.get("chief", []), *cluster["worker"]]
        name, index = task["type"], int(task["index"])
        cluster[name][index]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise UserError(
            "--strategy multiworker needs the environment variable TF_CONFIG on every worker, "
            f"such as {_EXAMPLE}; it is {text!r}."
        ) from None
    _log.info("worker %s %d of %d: waiting for the others", name, index, len(workers))
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise UserError(
            f"the workers could not be set up ({str(error).splitlines()[0]}). With strategy "
            "'multiworker', pretrain() must come before anything else that uses TensorFlow."
        ) from None
    count = strategy.num_replicas_in_sync
    local = count // len(workers)
    place = index + (len(cluster.get("chief", [])) if name == "worker" else 0)
    return Devices(strategy, count, place * local, local, chief=place == 0)


@contextlib.contextmanager
def _data_parallel(strategy: Strategy, batch_size: int) -> Iterator[Devices]:
    if strategy == "multiworker":
        raise UserError(
            "--strategy multiworker needs the TensorFlow backend; on JAX, --strategy mirrored "
            "uses all devices of one machine."
        )
    count = len(keras.distribution.list_devices())
    _check_divides(count, batch_size)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        # `fit` itself spreads the batches; to the rest of the code this is one device.
        yield Devices()
    finally:
        keras.distribution.set_distribution(None)


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
            f"data.batch_size {batch_size} does not divide by the {replicas} replicas that share "
            "a batch: choose a multiple."
        )
