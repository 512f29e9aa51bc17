"""What every model of feature rows has in common."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from mosei_ssl.utils.errors import UserError

_FEW_BATCHES = 16


class SegmentModel(keras.Model):
    """A model of batches of raw rows, all of whose weights exist once it is constructed.

    Call arguments:
        inputs: dict of `features` float32 [B, T, F], raw rows that may hold NaN and infinities,
            and `padding_mask` bool [B, T], True for real rows.
        training: bool.
    """

    def __init__(self, **kwargs):
        # Autocasting would round raw rows (F0 in Hz) to half precision before they are
        # standardised; each layer casts for itself.
        super().__init__(autocast=False, **kwargs)

    def build(self, inputs_shape=None):
        self.built = True

    def export(
        self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs
    ):
        """Exports the forward pass, as `keras.Model.export`, for any batch size and length.

        Args:
            filepath: where to.
            format: see `keras.Model.export`; likewise `verbose` and further arguments.
            input_signature: another signature than batches of any size and length.

        Raises:
            UserError: a SavedModel is asked for under another backend than TensorFlow.
        """
        if keras.backend.backend() != "tensorflow" and format == "tf_saved_model":
            raise UserError(
                "a SavedModel is made with KERAS_BACKEND=tensorflow: save the model as .keras and "
                "load it there"
            )
        if input_signature is None:
            columns = getattr(self, "backbone", self).num_features
            features = keras.InputSpec(dtype="float32", shape=(None, None, columns))
            padding_mask = keras.InputSpec(dtype="bool", shape=(None, None))
            input_signature = [{"features": features, "padding_mask": padding_mask}]
        return super().export(filepath, format, verbose, input_signature, **kwargs)

    def predict_once(self, batches, **kwargs):
        """`predict`, which for a few batches takes longer to trace than to run without.

        Never compiled by XLA on TensorFlow, which does so for each length anew.
        """
        if keras.backend.backend() != "tensorflow" or self.predict_function is not None:
            return self.predict(batches, **kwargs)
        self.run_eagerly = len(batches) < _FEW_BATCHES
        jit, self.jit_compile = self.jit_compile, False
        try:
            return self.predict(batches, **kwargs)
        finally:
            self.jit_compile = jit

    def get_config(self):
        return {"name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}

    @classmethod
    def from_config(cls, config):
        return cls(**keras.saving.deserialize_keras_object(config))


def inputs_of(batches: Any) -> Iterator[dict]:
    """The inputs of each batch, from anything that `fit` takes: with labels or without.

    Raises:
        UserError: `batches` can be gone through only once.
    """
    single = isinstance(batches, tuple) and not isinstance(batches[-1], dict | tuple)
    if isinstance(batches, dict) or single:
        batches = [batches]
    if isinstance(batches, Iterator) or not isinstance(batches, Iterable):
        raise UserError(
            "adapt goes through its batches several times: give a tf.data.Dataset, a list of "
            f"batches or one batch, not a {type(batches).__name__}"
        )
    for batch in batches:
        yield keras.utils.unpack_x_y_sample_weight(batch)[0]
