"""One process of a training on several replicas, started by the tests with its options as JSON.

Masks are the same function of the timestep on every replica, so that all there is to compare is
the arithmetic.
"""

import json
import os
import sys


def hide_every_third() -> None:
    """Replaces random masks."""
    from keras import ops

    from mosei_ssl.layers import TimestepMasking

    def draw(self, padding_mask, training=False):
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        return ops.logical_and(padding_mask, steps % 3 == 1)

    TimestepMasking.draw = draw


def attend_in_tiles() -> None:
    """As for long segments, whatever the length."""
    from mosei_ssl.layers import MaskedSelfAttention

    MaskedSelfAttention.TILED_FROM = 4


def signal_before(step: int, number: int) -> None:
    """Sends this process a signal before it computes that step: SIGKILL is its machine's end."""
    from mosei_ssl.training.replicated import ReplicatedLoop

    original, done = ReplicatedLoop._next, [0]

    def following(self, batches):
        done[0] += 1
        if done[0] == step:
            os.kill(os.getpid(), number)
        return original(self, batches)

    ReplicatedLoop._next = following


def main(options: dict) -> int:
    if options["logical_devices"]:
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * options["logical_devices"],
        )
    from mosei_ssl.data import DataConfig
    from mosei_ssl.models import BackboneConfig
    from mosei_ssl.training import Interrupted, PretrainConfig, pretrain
    from mosei_ssl.utils.errors import UserError

    hide_every_third()
    attend_in_tiles()
    if options["signal"]:
        signal_before(*options["signal"])
    for run, strategy in options["runs"].items():
        config = PretrainConfig(
            run=run,
            data=DataConfig(**options["data"]),
            backbone=BackboneConfig(**options["backbone"]),
            epochs=options["epochs"],
            checkpoint_steps=options["checkpoint_steps"],
        )
        try:
            pretrain(config, strategy=strategy)
        except UserError as error:
            print(f"UserError: {error}", file=sys.stderr)
            return 2
        except Interrupted as error:
            print(f"Interrupted: {error}", file=sys.stderr)
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
