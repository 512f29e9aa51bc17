"""What a small run can do without, so that it takes less time."""

import contextlib
import functools
import os

import keras
import pytest

from mosei_ssl.data import loading
from mosei_ssl.layers import cpu_kernels, masked_self_attention
from mosei_ssl.training.reconstruction import ReconstructionImages

PARTS = ("graph", "pictures")


def _nothing(self, *arguments, **options):
    """Stands in for a method."""


_loaded = functools.cache(loading.load_prepared)


def _load_once(directory, split: str, *, context=False, mean=None):
    mean = None if mean is None else tuple(mean)
    return _loaded(os.path.abspath(directory), split, context=context, mean=mean)


@contextlib.contextmanager
def quick_runs(*parts: str):
    """Leaves out what takes most of a small run's time: compiled kernels, pictures, reading data.

    Also the graph that TensorFlow makes of a step. The parts in `PARTS` that are named stay.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "graph" not in parts and keras.backend.backend() == "tensorflow":
            patch.setattr(keras.Model, "run_eagerly", property(lambda model: True, _nothing))
        for module in (cpu_kernels, masked_self_attention):
            patch.setattr(module, "on_tensorflow_cpu", lambda: False)
        patch.setattr(loading, "load_prepared", _load_once)
        if "pictures" not in parts:
            patch.setattr(ReconstructionImages, "on_epoch_end", _nothing)
        yield


@contextlib.contextmanager
def padded_to_one_length():
    """All batches padded to one length, since each length is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mosei_ssl.data.buckets.LENGTH_MULTIPLE", 640)
        yield
