"""AdamW with smaller steps for deeper layers."""

import keras
from keras import ops

from mosei_ssl.models.emotion_model import EmotionModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is multiplied by another number for some variables.

    The multiplied learning rate is that of the step and of the weight decay. Also keeps the sum and
    the number of the global gradient norms, before clipping, since they were last taken.

    Under TensorFlow's MirroredStrategy Keras clips each replica's gradients, by `global_clipnorm`
    too, before it sums them over the replicas; the norms kept are those of the first replica.

    Args:
        multipliers: numbers by variable path; 1 where there is none.
        **kwargs: as for `keras.optimizers.AdamW`.

    Examples:
        >>> model = EmotionModel(backbone)
        >>> multipliers = learning_rate_multipliers(model, layer_decay=0.5)
        >>> model.compile(LayerwiseAdamW(multipliers, learning_rate=1e-3))

    References:
        Howard and Ruder, Universal Language Model Fine-tuning, ACL 2018
        (https://arxiv.org/abs/1801.06146).
    """

    def __init__(self, multipliers: dict[str, float] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.multipliers = dict(multipliers or {})
        self._multiplier_by_index: list[float] = []

    def build(self, variables):
        super().build(variables)
        self._multiplier_by_index = [self.multipliers.get(v.path, 1.0) for v in variables]
        self.gradient_norms = self.add_variable(
            shape=(2,), aggregation="only_first_replica", name="gradient_norms"
        )

    def apply(self, grads, trainable_variables=None):
        if not self.built and trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        present = [gradient for gradient in grads if gradient is not None]
        if present:
            squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in present]
            norm = ops.sqrt(sum(squares))
            self.gradient_norms.assign_add(ops.stack([norm, ops.ones_like(norm)]))
        super().apply(grads, trainable_variables)

    def take_gradient_norm(self) -> float:
        """The mean norm since this was last called; NaN if no step was made."""
        total, count = ops.convert_to_numpy(self.gradient_norms)
        self.gradient_norms.assign([0.0, 0.0])
        return float(total / count) if count else float("nan")

    def update_step(self, gradient, variable, learning_rate):
        # By index: the TensorFlow backend passes its own variables, which have no path.
        multiplier = self._multiplier_by_index[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate * multiplier, variable.dtype)
        if self.weight_decay is not None and self._use_weight_decay(variable):
            decay = ops.cast(self.weight_decay, variable.dtype)
            self.assign_sub(variable, variable * decay * rate)
        super().update_step(gradient, variable, rate)

    def _apply_weight_decay(self, variables):
        """Done in `update_step`: here Keras has one learning rate for all variables."""

    def get_config(self):
        config = super().get_config()
        config.update(multipliers=self.multipliers)
        return config


def learning_rate_multipliers(model: EmotionModel, layer_decay: float) -> dict[str, float]:
    """Smaller steps the farther a layer is from the head.

    Args:
        model: the emotion model.
        layer_decay: float in [0, 1]. The encoder's last stage gets this share of the head's
            learning rate, the one before it this share of that, and so on. 1 treats all alike, 0
            leaves the encoder as it is.

    Returns:
        Multipliers by variable path, of the encoder's trainable variables.

    Raises:
        ValueError: If `layer_decay` is out of range.

    Examples:
        >>> multipliers = learning_rate_multipliers(EmotionModel(backbone), 0.5)
        >>> sorted(set(multipliers.values()))
        [0.25, 0.5]
    """
    if not 0.0 <= layer_decay <= 1.0:
        raise ValueError(f"layer_decay must lie in [0, 1], not {layer_decay}")
    multipliers, multiplier = {}, 1.0
    for stage in reversed(model.backbone.encoder.stages):
        multiplier *= layer_decay
        for layer in stage:
            multipliers.update({v.path: multiplier for v in layer.trainable_variables})
    return multipliers
