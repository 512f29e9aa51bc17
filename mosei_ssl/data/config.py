"""What a user may set about reading and batching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mosei_ssl.errors import UserError

CACHE_MODES = ("auto", "memory", "disk")


@dataclass
class DataConfig:
    """Which prepared dataset to read, and how its segments become batches.

    Args:
        data_dir: Folder that `mosei-ssl build` or `tfds build` prepared datasets in.
        dataset: Name of one prepared dataset there, such as "covarep-1a2b3c4d5e"; None takes
            the only one.
        extra_datasets: Further prepared datasets whose train splits are added to pretraining,
            their rows mapped to the first dataset's feature statistics.
        batch_size: Segments per batch.
        max_frames: Longest training window in frames of 10 ms; a longer segment gives a random
            window of this length, another one in each epoch. 1660 is MOSEI's 95th percentile.
            None never crops.
        eval_max_frames: Evaluation keeps the first so many frames; None keeps whole segments.
        padding_target: Share of padded frames that the bucket boundaries aim to stay below.
        max_buckets: Most bucket lengths, thus most shapes of a training batch.
        length_multiple: Bucket lengths are multiples of so many frames, so that they divide by
            the pooling factor.
        cache: Where decoded frames are kept between epochs: "memory", "disk" (a flat file that
            the operating system pages in as needed), or "auto": memory up to
            `memory_limit_mb`, else disk.
        memory_limit_mb: Largest split, in MB, that "auto" holds in memory.
        cache_dir: Folder of the disk cache; None means `DATA_DIR/frame_cache`.
        prefetch: Batches prepared ahead of the training step.

    Raises:
        UserError: If a value is out of range; the message names the key.

    Example:
        >>> DataConfig(batch_size=16).max_frames
        1660
    """

    data_dir: str = "data"
    dataset: str | None = None
    extra_datasets: list[str] = field(default_factory=list)
    batch_size: int = 32
    max_frames: int | None = 1660
    eval_max_frames: int | None = None
    padding_target: float = 0.08
    max_buckets: int = 12
    length_multiple: int = 20
    cache: Literal["auto", "memory", "disk"] = "auto"
    memory_limit_mb: int = 1024
    cache_dir: str | None = None
    prefetch: int = 4

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "max_buckets": 1, "length_multiple": 1, "memory_limit_mb": 0}
        for key, bound in {**least, "prefetch": 1}.items():
            if not isinstance(getattr(self, key), int) or getattr(self, key) < bound:
                raise UserError(
                    f"data.{key} must be a whole number of at least {bound}, "
                    f"not {getattr(self, key)!r}"
                )
        for key in ("max_frames", "eval_max_frames"):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"data.{key} must be a positive number of frames or null")
        if not 0 < self.padding_target < 1:
            raise UserError(f"data.padding_target must lie in (0, 1), not {self.padding_target!r}")
        if self.cache not in CACHE_MODES:
            raise UserError(f"data.cache must be one of {', '.join(CACHE_MODES)}")
