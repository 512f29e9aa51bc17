"""What decides the features of a recording."""

from dataclasses import dataclass

from mosei_ssl.utils.options import Options, ranged

EXTRACTOR_VERSION = 1
"""Raised whenever the features of the same recording change; old ones in caches no longer count."""


@dataclass(kw_only=True)
class ExtractionOptions(Options):
    """Options of an extraction; see :func:`~mosei_ssl.covarep.extract`.

    Attributes:
        channel: Channel to use; None averages all of them.
        dither: Deviation of Gaussian noise to add; 0 adds none.
        chunk_seconds: Length from which recordings are worked through in chunks; None for never.
        seed: Of the random phases and the dither.
    """

    channel: int | None = None
    dither: float = ranged(0.0, 0)
    chunk_seconds: float | None = ranged(300.0, 0, above=True)
    seed: int = ranged(0, 0)
