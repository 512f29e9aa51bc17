"""What every pretraining task has in common."""

from collections.abc import Iterable

import keras

from mosei_ssl.models.segment_model import SegmentModel


class PretrainingModel(SegmentModel):
    """A backbone with an objective that needs no labels.

    Compile with an optimizer alone and fit on batches of inputs; if a batch brings labels they are
    ignored. Subclasses give `forward` and `objective`, name the metrics that `objective` returns in
    `METRICS`, and create all weights when constructed.

    Args:
        backbone: Backbone. What is pretrained; shared, not copied.
        seed: int. Seed of the task's random numbers and initial weights.
    """

    METRICS: tuple[str, ...] = ("relative_error",)

    def __init__(self, backbone: keras.Model, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.backbone = backbone
        self.seed = seed
        self.trackers = [keras.metrics.Mean(name=name) for name in self.METRICS]

    def call(self, inputs, training=False):
        return self.forward(*self.backbone.timesteps(inputs), training=training)

    def forward(self, frames, padding_mask, training=False) -> dict:
        """The task's outputs, a dict of tensors, from what `Backbone.timesteps` gives."""
        raise TypeError(f"{type(self).__name__} gives no forward pass")

    def objective(self, outputs: dict) -> tuple:
        """The loss of these outputs, a float32 scalar, and a dict of those in `METRICS`."""
        raise TypeError(f"{type(self).__name__} gives no objective")

    def adapt(self, batches: Iterable) -> None:
        """Sets what is estimated rather than trained; once, before fitting.

        Args:
            batches: batches as for `fit`; gone through several times.
        """
        self.backbone.adapt(batches)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Loss of a batch, called by Keras's train and test steps; labels play no part."""
        loss, values = self.objective(y_pred)
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name])
        # Keras sums over the replicas of `tf.distribute`, of its own losses shares of the mean.
        replicas = _replicas()
        return loss / replicas if replicas > 1 else loss

    def get_config(self):
        config = super().get_config()
        config.update(
            backbone=keras.saving.serialize_keras_object(self.backbone),
            seed=self.seed,
        )
        return config


def _replicas() -> int:
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
