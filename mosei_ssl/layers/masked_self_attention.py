"""Multi-head self-attention that takes its mask as an argument."""

import keras
from keras import ops

from mosei_ssl.layers.cpu_kernels import on_tensorflow_cpu, tiled_attention
from mosei_ssl.layers.seeding import seeded_dense


@keras.saving.register_keras_serializable(package="mosei_ssl")
class MaskedSelfAttention(keras.layers.Layer):
    """Multi-head scaled dot-product self-attention with an explicit padding mask.

    Unlike `keras.layers.MultiHeadAttention`, it removes no implicit masks and gives each kernel its
    own initial values. Called with float [B, T, hidden_dim] and bool [B, T], True for timesteps
    that may be attended to. From Vaswani et al., Attention Is All You Need, NeurIPS 2017
    (https://arxiv.org/abs/1706.03762).
    """

    # Finite in float16 and bfloat16 too; a row without valid timesteps stays finite.
    MASKED_SCORE = -3e4
    # On TensorFlow; shorter scores fit into the cache as they are.
    TILED_FROM = 256

    def __init__(self, hidden_dim: int, num_heads: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if hidden_dim % num_heads:
            raise ValueError(f"hidden_dim {hidden_dim} is not a multiple of num_heads {num_heads}")

        # === Layers ===
        names = ("query", "key", "value", "output_projection")
        self.query, self.key, self.value, self.output_projection = (
            seeded_dense(hidden_dim, seed, name, self.dtype_policy) for name in names
        )

        # === Config ===
        self.hidden_dim = hidden_dim
        self.num_heads = num_heads
        self.scale = (hidden_dim // num_heads) ** -0.5

    def build(self, inputs_shape, padding_mask_shape=None):
        for layer in (self.query, self.key, self.value, self.output_projection):
            layer.build((None, None, self.hidden_dim))

    def call(self, inputs, padding_mask, training=False):
        if training and on_tensorflow_cpu():
            merged = ops.cond(
                ops.logical_and(
                    ops.shape(inputs)[1] >= self.TILED_FROM, self._padding_comes_last(padding_mask)
                ),
                lambda: self._attend_in_tiles(inputs, padding_mask),
                lambda: self._attend_at_once(inputs, padding_mask, self._attend),
            )
        else:
            fuse = training and keras.backend.backend() != "tensorflow"
            attend = self._attend_fused if fuse else self._attend
            merged = self._attend_at_once(inputs, padding_mask, attend)
        # Flat: a dense layer on three dimensions costs a dozen small operations around its product.
        outputs = self.output_projection(ops.reshape(merged, (-1, self.hidden_dim)))
        return ops.reshape(outputs, ops.shape(inputs))

    @staticmethod
    def _padding_comes_last(padding_mask):
        """Whether there are sequences, all with their real timesteps before their padding."""
        valid = ops.cast(padding_mask, "int32")
        return ops.logical_and(ops.shape(valid)[0] > 0, ops.all(valid[:, 1:] <= valid[:, :-1]))

    def _attend_at_once(self, inputs, padding_mask, attend):
        """[B, T, D] -> [B, T, D]."""
        batch, steps = ops.shape(inputs)[:2]
        flat = ops.reshape(inputs, (-1, self.hidden_dim))
        query = self._split(self.query(flat), batch, steps) * self.scale
        key = self._split(self.key(flat), batch, steps)
        value = self._split(self.value(flat), batch, steps)
        merged = ops.swapaxes(attend(query, key, value, padding_mask), 1, 2)
        return ops.reshape(merged, (batch, steps, self.hidden_dim))

    def _attend_in_tiles(self, inputs, padding_mask):
        # One product instead of three, and the queries' scale in its kernel.
        scaled = [(self.query, self.scale), (self.key, 1.0), (self.value, 1.0)]
        kernel = ops.concatenate([layer.kernel * scale for layer, scale in scaled], axis=1)
        bias = ops.concatenate([layer.bias * scale for layer, scale in scaled], axis=0)
        kernel, bias = (ops.cast(x, inputs.dtype) for x in (kernel, bias))
        lengths = ops.sum(ops.cast(padding_mask, "int32"), axis=1)
        return tiled_attention(inputs, kernel, bias, lengths, self.num_heads)

    def _attend(self, query, key, value, padding_mask):
        """[B, heads, T, d] each -> [B, heads, T, d]."""
        scores = ops.cast(ops.matmul(query, ops.swapaxes(key, -1, -2)), "float32")
        scores = ops.where(padding_mask[:, None, None, :], scores, self.MASKED_SCORE)
        weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
        return ops.matmul(weights, value)

    def _attend_fused(self, query, key, value, padding_mask):
        """As the backend does it best: on a GPU under JAX, flash attention where it applies."""
        query, key, value = (ops.swapaxes(x, 1, 2) for x in (query, key, value))
        mask = ops.broadcast_to(
            padding_mask[:, None, None, :],
            (ops.shape(key)[0], 1, ops.shape(query)[1], ops.shape(key)[1]),
        )
        outputs = ops.dot_product_attention(query, key, value, mask=mask, scale=1.0)
        return ops.swapaxes(outputs, 1, 2)

    def _split(self, x, batch, steps):
        """[B * T, D] -> [B, heads, T, D / heads]."""
        x = ops.reshape(x, (batch, steps, self.num_heads, self.hidden_dim // self.num_heads))
        return ops.swapaxes(x, 1, 2)
