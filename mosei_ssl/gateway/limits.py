"""What a gateway takes on at most."""

from dataclasses import dataclass

from mosei_ssl.utils.options import Options, ranged


@dataclass(kw_only=True)
class Limits(Options):
    """What one gateway takes on at most.

    Args:
        max_megabytes: size of a recording; a larger one is refused (413).
        max_seconds: length of a recording; a longer one is refused (413).
        queue: requests in progress, waiting ones included; more are refused (429).
        timeout: seconds in which a recording must arrive (408), and then be answered, waiting
            included (504).
        workers: processes that compute features (default: one per core).
    """

    max_megabytes: float = ranged(20.0, 0, above=True)
    max_seconds: float = ranged(120.0, 0.1, 3600)
    queue: int = ranged(64, 1)
    timeout: float = ranged(60.0, 0, above=True)
    workers: int | None = ranged(None, 1)
