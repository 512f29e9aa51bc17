"""A process that trains on several devices.

Masks are the same function of the timestep on every replica, so that all there is to compare is
the arithmetic.
"""

import sys


def hide_every_third(self, padding_mask, training=False):
    """Stands in for `TimestepMasking.draw`, whose masks are random."""
    from keras import ops

    steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
    return ops.logical_and(padding_mask, steps % 3 == 1)


def main(options: dict) -> int:
    if options["logical_devices"]:
        import tensorflow as tf

        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * options["logical_devices"],
        )
    from quick_runs import padded_to_one_length, quick_runs

    from mosei_ssl.config import PretrainConfig
    from mosei_ssl.layers import TimestepMasking
    from mosei_ssl.training import pretrain
    from mosei_ssl.utils.errors import UserError
    from mosei_ssl.utils.parsing import from_mapping

    TimestepMasking.draw = hide_every_third
    for run, strategy in options["runs"].items():
        try:
            config = from_mapping(PretrainConfig, {**options["config"], "run": run})
            with padded_to_one_length(), quick_runs("graph"):
                pretrain(config, strategy=strategy)
        except UserError as error:
            print(f"UserError: {error}", file=sys.stderr)
            return 2
    return 0
