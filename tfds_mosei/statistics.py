"""Mean, spread and range of columns, gathered piece by piece."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class ColumnMoments:
    """Statistics of the finite values in each of d columns, mergeable, in float64.

    Sums are kept as count, mean and sum of squared differences from the mean, so that columns far
    from zero lose nothing; minimum and maximum are infinite where nothing finite was seen.

    References:
        Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance.
    """

    rows: int
    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @classmethod
    def empty(cls, width: int) -> "ColumnMoments":
        """Statistics of nothing, which leave others unchanged when merged with them."""
        return cls(
            rows=0,
            count=np.zeros(width, np.int64),
            mean=np.zeros(width),
            squares=np.zeros(width),
            minimum=np.full(width, np.inf),
            maximum=np.full(width, -np.inf),
        )

    @classmethod
    def of(cls, values: np.ndarray) -> "ColumnMoments":
        """Statistics of one array [n, d], which may hold NaN and infinities."""
        if not len(values):
            return cls.empty(values.shape[1])
        wide = values.astype(np.float64)
        finite = np.isfinite(wide)
        if finite.all():
            count = np.full(wide.shape[1], len(wide), np.int64)
            mean = wide.mean(axis=0)
            minimum, maximum = wide.min(axis=0), wide.max(axis=0)
            wide -= mean
        else:
            count = finite.sum(axis=0)
            minimum = np.where(finite, wide, np.inf).min(axis=0)
            maximum = np.where(finite, wide, -np.inf).max(axis=0)
            wide[~finite] = 0.0
            mean = wide.sum(axis=0) / np.maximum(count, 1)
            wide -= mean
            wide[~finite] = 0.0
        squares = np.einsum("nd,nd->d", wide, wide)
        return cls(len(values), count, mean, squares, minimum, maximum)

    def merge(self, other: "ColumnMoments") -> "ColumnMoments":
        """Statistics of both together; neither operand changes."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        return ColumnMoments(
            rows=self.rows + other.rows,
            count=count,
            mean=self.mean + delta * share,
            squares=self.squares + other.squares + delta * delta * (self.count * share),
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
        )

    def to_dict(self) -> dict[str, object]:
        """The statistics as JSON can hold them.

        ``mean``, ``std`` (population), ``min``, ``max``, ``non_finite`` are lists of d numbers,
        ``count`` is the number of rows. A column without finite values has 0 for all four.
        """
        seen = self.count > 0
        std = np.sqrt(np.maximum(self.squares, 0.0) / np.maximum(self.count, 1))
        return {
            "mean": np.where(seen, self.mean, 0.0).tolist(),
            "std": np.where(seen, std, 0.0).tolist(),
            "min": np.where(seen, self.minimum, 0.0).tolist(),
            "max": np.where(seen, self.maximum, 0.0).tolist(),
            "non_finite": (self.rows - self.count).tolist(),
            "count": self.rows,
        }
