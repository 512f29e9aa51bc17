"""Seeds for the parts of a layer, derived from one seed."""

import hashlib


def derive_seed(seed: int, *path: str | int) -> int:
    """Derives the seed of a part from the seed of the whole.

    Two sublayers that were given the same seed would start from the same numbers (a query and a
    key kernel, say), so every part gets one of its own. The result depends on its arguments only:
    not on the process, the backend or the order of construction.

    Args:
        seed: int. Seed of the whole.
        *path: names or indices that tell the part, from the outside in.

    Returns:
        int in [0, 2**31).

    Example:
        >>> derive_seed(0, "encoder", 1) == derive_seed(0, "encoder", 1)
        True
        >>> derive_seed(0, "encoder", 1) == derive_seed(0, "encoder", 2)
        False
    """
    text = "/".join([str(int(seed)), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
