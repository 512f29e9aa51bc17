"""Pretraining by a masked autoencoder."""

import keras
from keras import ops

from mosei_ssl.layers.seeding import derive_seed
from mosei_ssl.layers.sinusoidal_positions import SinusoidalPositions
from mosei_ssl.layers.transformer_block import TransformerBlock
from mosei_ssl.models.pretraining_model import PretrainingModel


@keras.saving.register_keras_serializable(package="mosei_ssl")
class MaskedAutoencoderModel(PretrainingModel):
    """The encoder sees the unmasked timesteps only; a light decoder fills in the others.

    Each sequence is cut into spans, of which a fixed share is hidden at random. Seen timesteps
    move to the front, keep their positions, and are all that the encoder computes on, so a high
    ratio makes pretraining cheaper. The decoder, one transformer block, is thrown away. The loss
    counts hidden, valid timesteps only. A sequence of a single span hides nothing.

    Args:
        backbone: Backbone. What is pretrained.
        mask_ratio: float in (0, 1). Share of hidden spans.
        mask_span: int. Length of a span in timesteps.
        decoder_dim: int. Width of the decoder, a multiple of 8.
        loss: ``"l1"`` or ``"huber"``.
        seed: int. Seed of the masks and of the decoder's initial weights.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F] and `padding_mask` bool [B, T].
        training: bool. Masks are drawn anew when training and fixed by the seed otherwise.

    Returns:
        Dict of `reconstruction` float32 [B, T', F'], `target` float32 [B, T', F'] and `weight`
        float32 [B, T'], 1 where a timestep is hidden and valid, 0 elsewhere.

    Example:
        >>> model = MaskedAutoencoderModel(backbone, mask_ratio=0.75)

    References:
        He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022
        (https://arxiv.org/abs/2111.06377); Huang et al., Masked Autoencoders that Listen,
        NeurIPS 2022 (https://arxiv.org/abs/2207.06405).
    """

    OPTIONS = ("mask_ratio", "mask_span", "decoder_dim", "loss")

    def __init__(
        self,
        backbone: keras.Model,
        mask_ratio: float = 0.75,
        mask_span: int = 2,
        decoder_dim: int = 32,
        loss: str = "l1",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(backbone, seed=seed, **kwargs)
        if not 0.0 < mask_ratio < 1.0:
            raise ValueError(f"masking ratio must lie inside (0, 1), not {mask_ratio}")
        if mask_span < 1:
            raise ValueError(f"masking span must be at least 1, not {mask_span}")
        if decoder_dim < 8 or decoder_dim % 8:
            raise ValueError(f"decoder_dim must be a multiple of 8, not {decoder_dim}")

        # === Layers ===
        self.embed = self.make_dense(backbone.output_dim, decoder_dim, "embed")
        self.positions = SinusoidalPositions(dtype="float32")
        self.decoder = TransformerBlock(
            decoder_dim,
            num_heads=4,
            feedforward_dim=2 * decoder_dim,
            seed=derive_seed(seed, "decoder"),
            dtype="float32",
            name="decoder",
        )
        self.reconstruct = self.make_reconstruction(decoder_dim)
        self.token = self.add_weight(
            shape=(decoder_dim,),
            initializer=keras.initializers.RandomNormal(
                stddev=0.02, seed=derive_seed(seed, "token")
            ),
            name="token",
        )
        self.mask_seed = keras.random.SeedGenerator(derive_seed(seed, "masks"))
        self._evaluation_seed = derive_seed(seed, "evaluation masks")

        # === Config ===
        self.mask_ratio = mask_ratio
        self.mask_span = mask_span
        self.decoder_dim = decoder_dim
        self.loss_name = self.check_loss_name(loss)

        self.positions.build((None, None, decoder_dim))
        self.decoder.build((None, None, decoder_dim))
        self.built = True

    def forward(self, frames, padding_mask, training=False):
        seen, room = self.draw(padding_mask, training)
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        total = ops.shape(padding_mask)[1]
        # Seen timesteps first, in the order of time; every key is different.
        order = ops.argsort(ops.where(seen, steps, steps + total), axis=1)
        kept = ops.cast(order, "int32")[:, :room]
        kept_mask = ops.take_along_axis(seen, kept, axis=1)
        kept_frames = ops.take_along_axis(frames, kept[:, :, None], axis=1)
        encoded = self.backbone.encoder(kept_frames, kept_mask, positions=kept, training=training)

        place = ops.minimum(ops.cast(ops.argsort(order, axis=1), "int32"), room - 1)
        spread = ops.take_along_axis(self.embed(encoded), place[:, :, None], axis=1)
        token = ops.convert_to_tensor(self.token)
        decoded = self.positions(ops.where(seen[:, :, None], spread, token))
        decoded = self.decoder(decoded, padding_mask, training=training)
        hidden = ops.logical_and(padding_mask, ops.logical_not(seen))
        return {
            "reconstruction": self.reconstruct(decoded),
            "target": frames,
            "weight": ops.cast(hidden, "float32"),
        }

    def draw(self, padding_mask, training: bool = False):
        """Draws which timesteps the encoder sees.

        Args:
            padding_mask: bool [B, T]. True for real timesteps, which come first.
            training: bool. New masks at every call, or the fixed ones of evaluation.

        Returns:
            Tuple of bool [B, T], True where a timestep is seen, and the largest number of seen
            timesteps that a sequence of T can have.
        """
        seed = self.mask_seed if training else self._evaluation_seed
        batch, total = ops.shape(padding_mask)
        spans = -(-total // self.mask_span)
        steps = ops.cumsum(ops.ones_like(padding_mask, dtype="int32"), axis=1) - 1
        length = ops.sum(ops.cast(padding_mask, "int32"), axis=1, keepdims=True)
        valid_spans = -(-length // self.mask_span)
        index = ops.cumsum(ops.ones((1, spans), dtype="int32"), axis=1) - 1
        noise = keras.random.uniform((batch, spans), seed=seed)
        noise = ops.where(index < valid_spans, noise, 2.0)
        rank = ops.cast(ops.argsort(ops.argsort(noise, axis=1), axis=1), "int32")
        rank = ops.take_along_axis(rank, steps // self.mask_span, axis=1)
        # Whole numbers throughout: `room` must hold what the longest sequence keeps, exactly.
        # Something stays hidden, unless there is nothing but one span.
        seen_spans = self._kept_spans(valid_spans)
        seen_spans = ops.maximum(ops.minimum(seen_spans, valid_spans - 1), 1)
        seen = ops.logical_and(rank < seen_spans, ops.cast(padding_mask, "bool"))
        room = self._kept_spans(spans) * self.mask_span
        return seen, room

    def _kept_spans(self, spans):
        """How many of so many spans are seen, rounded up; for numbers and tensors."""
        kept_per_thousand = max(1, round(1000 * (1.0 - self.mask_ratio)))
        return -(-spans * kept_per_thousand // 1000)

    def objective(self, outputs):
        target, weight = outputs["target"], outputs["weight"]
        error = self.reconstruction_error(target, outputs["reconstruction"], weight, self.loss_name)
        trivial = self.reconstruction_error(target, ops.zeros_like(target), weight, self.loss_name)
        return error, {"relative_error": ops.divide_no_nan(error, trivial)}

    def get_config(self):
        config = super().get_config()
        config.update(
            mask_ratio=self.mask_ratio,
            mask_span=self.mask_span,
            decoder_dim=self.decoder_dim,
            loss=self.loss_name,
        )
        return config
