"""Seeds for the parts of a layer, derived from one seed."""

import hashlib

import keras


def derive_seed(seed: int, *path: str | int) -> int:
    """Derives the seed, in [0, 2**31), of a part, by its path from the outside in.

    The whole's seed and the path decide it. Two sublayers with the same seed would start from the
    same numbers (a query and a key kernel, say), so every part gets another one. The result depends
    on the arguments only: not on the process, the backend or the order of construction.

    Examples:
        >>> derive_seed(0, "encoder", 1) == derive_seed(0, "encoder", 1)
        True
        >>> derive_seed(0, "encoder", 1) == derive_seed(0, "encoder", 2)
        False
    """
    text = "/".join([str(int(seed)), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def seeded_dense(units: int, seed: int, name: str, dtype) -> keras.layers.Dense:
    """A dense layer whose initial kernel depends on the seed and its name."""
    initializer = keras.initializers.GlorotUniform(derive_seed(seed, name))
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype=dtype, name=name)
