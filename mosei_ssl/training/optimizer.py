"""The optimizer of both stages."""

import keras

from mosei_ssl.config import OptimizerConfig
from mosei_ssl.models import LayerwiseAdamW


def make_optimizer(
    config: OptimizerConfig, steps: int, multipliers: dict[str, float] | None = None
) -> keras.optimizers.Optimizer:
    """AdamW with linear warm-up and cosine decay to zero over `steps` steps in all.

    `multipliers` are of the learning rate, by variable path.

    Examples:
        >>> optimizer = make_optimizer(OptimizerConfig(learning_rate=0.002), steps=1000)
        >>> float(optimizer.learning_rate)  # the warm-up begins
        0.0

    References:
        Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """
    warmup = int(config.warmup_fraction * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = LayerwiseAdamW(
        multipliers,
        learning_rate=schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "scale", "token"])
    return optimizer
