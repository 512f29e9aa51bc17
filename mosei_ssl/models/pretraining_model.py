"""What every pretraining task has in common."""

from collections.abc import Iterable

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed


class PretrainingModel(keras.Model):
    """A backbone with an objective that needs no labels.

    Compile with an optimizer alone and fit on batches of `x`; if a batch brings labels they are
    ignored. Subclasses give `forward` and `objective`, name the metrics that `objective` returns in
    `METRICS`, and create all weights when constructed.

    Args:
        backbone: Backbone. What is pretrained; shared, not copied.
        seed: int. Seed of the task's own random numbers and initial weights.
    """

    METRICS: tuple[str, ...] = ("relative_error",)

    def __init__(self, backbone: keras.Model, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.backbone = backbone
        self.seed = seed
        self.trackers = [keras.metrics.Mean(name=name) for name in self.METRICS]

    def call(self, inputs, training=False):
        frames, padding_mask = self.backbone.frontend(inputs["features"], inputs["padding_mask"])
        return self.forward(frames, padding_mask, training=training)

    def forward(self, frames, padding_mask, training=False) -> dict:
        """Does the task's work on timesteps that the frontend has made already.

        Args:
            frames: float32 [B, T', F'].
            padding_mask: bool [B, T']. True for real timesteps.
            training: bool.

        Returns:
            Dict of tensors, as documented by the task.
        """
        raise TypeError(f"{type(self).__name__} gives no forward pass")

    def adapt(self, batches: Iterable[dict]) -> None:
        """Standardises the backbone's summary, see `Backbone.adapt`; once, before fitting.

        Args:
            batches: inputs as for a call.
        """
        self.backbone.adapt(batches)

    def objective(self, outputs: dict) -> tuple:
        """Gives the loss of what `forward` returned.

        Args:
            outputs: what `forward` returned.

        Returns:
            Tuple of a float32 scalar, the loss, and a dict of float32 scalars, one per name in
            `METRICS`.
        """
        raise TypeError(f"{type(self).__name__} gives no objective")

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Loss of a batch, called by Keras's train and test steps; labels play no part."""
        loss, values = self.objective(y_pred)
        for tracker in self.trackers:
            tracker.update_state(values[tracker.name])
        return loss

    def make_dense(self, inputs: int, outputs: int, name: str) -> keras.layers.Dense:
        """A built dense layer in float32, seeded by its name."""
        layer = keras.layers.Dense(
            outputs,
            kernel_initializer=keras.initializers.GlorotUniform(derive_seed(self.seed, name)),
            dtype="float32",
            name=name,
        )
        layer.build((None, inputs))
        return layer

    def make_reconstruction(self, inputs: int) -> keras.layers.Dense:
        """A built dense layer to the frontend's columns, which begins near the corpus mean, zero.

        The first steps of a short pretraining would otherwise go into unlearning its noise.
        """
        layer = keras.layers.Dense(
            self.backbone.frontend.output_dim,
            kernel_initializer=keras.initializers.RandomNormal(
                stddev=0.002, seed=derive_seed(self.seed, "reconstruct")
            ),
            dtype="float32",
            name="reconstruct",
        )
        layer.build((None, inputs))
        return layer

    @staticmethod
    def check_loss_name(loss: str) -> str:
        """Returns `loss` if it names a reconstruction error, else raises ValueError."""
        if loss not in ("l1", "huber"):
            raise ValueError(f"reconstruction loss must be 'l1' or 'huber', not {loss!r}")
        return loss

    @staticmethod
    def huber(error):
        """Quadratic below 1 and linear above, of absolute errors."""
        return ops.where(error < 1.0, 0.5 * ops.square(error), error - 0.5)

    @staticmethod
    def reconstruction_error(target, reconstruction, weight, loss: str = "l1"):
        """Mean error over weighted timesteps.

        Args:
            target: float32 [B, T, F].
            reconstruction: float32 [B, T, F].
            weight: float32 [B, T]; timesteps of weight 0 do not count. All zero gives 0.
            loss: ``"l1"`` (absolute) or ``"huber"`` (quadratic below 1).

        Returns:
            float32 scalar.
        """
        error = ops.abs(ops.cast(target, "float32") - ops.cast(reconstruction, "float32"))
        if loss == "huber":
            error = PretrainingModel.huber(error)
        per_step = ops.mean(error, axis=-1) * weight
        return ops.divide_no_nan(ops.sum(per_step), ops.sum(weight))

    def get_config(self):
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": keras.saving.serialize_keras_object(self.backbone),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["backbone"] = keras.saving.deserialize_keras_object(config["backbone"])
        return cls(**config)
