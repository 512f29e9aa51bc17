"""Segments as serialised `tf.train.Example` messages, without TensorFlow."""

import numpy as np

from mosei_ssl.serving.schema import EXAMPLE_FEATURE


def serialise(rows: np.ndarray) -> bytes:
    """Write a segment as the bytes of a `tf.train.Example`.

    The message is Example.features (1) > Features.feature (1) > map entry of key (1) and value
    (2) > Feature.float_list (2) > FloatList.value (1), packed.

    Args:
        rows: float32 [T, 74].

    Returns:
        What the signature `serving_examples` takes.

    Example:
        >>> len(serialise(np.zeros((1, 74), np.float32)))
        323
    """
    values = np.ascontiguousarray(rows, dtype="<f4").tobytes()
    feature = _field(2, _field(1, values))
    entry = _field(1, EXAMPLE_FEATURE.encode()) + _field(2, feature)
    return _field(1, _field(1, entry))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
