"""What serving tests run in other processes: not in conftest.py, a name of several modules."""

import contextlib
import sys


def serve(arguments, pipe) -> int:
    """The stand-in server, until the other end of the pipe says or closes anything."""
    import standin

    def wait():
        with contextlib.suppress(EOFError):
            pipe.recv()

    standin.main(arguments, pipe.send, wait)
    return 0


class Refuse:
    """Finds neither this package nor Keras."""

    packages = ("mosei_ssl", "tfds_mosei", "keras", "tf_keras")

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            raise ImportError(f"{name} is not there")


def answer_without_this_package(saved_model, inputs, outputs) -> int:
    """Answers of a SavedModel by TensorFlow alone, from file to file.

    A program that never had the packages in memory: `test_c_program_gives_the_same_numbers`.
    """
    import numpy as np
    import tensorflow as tf

    for name in [name for name in sys.modules if name.split(".")[0] in Refuse.packages]:
        del sys.modules[name]
    sys.meta_path.insert(0, Refuse())
    given = np.load(inputs)
    signature = tf.saved_model.load(saved_model).signatures["serving_default"]
    found = signature(features=tf.constant(given["features"]), length=tf.constant(given["length"]))
    np.savez(outputs, **{name: value.numpy() for name, value in found.items()})
    assert not set(Refuse.packages) & set(sys.modules)
    return 0


def gateway_command(*arguments) -> int:
    """`mosei-ssl serve`."""
    from mosei_ssl.cli import main

    return main(["serve", *arguments])
