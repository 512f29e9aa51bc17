"""Which segments are most worth labelling, found without any label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_COMPONENTS = 20
_NEIGHBOURS = 20


def select_segments(
    features: np.ndarray, budget: int, labelled: Sequence[int] = (), seed: int = 0
) -> np.ndarray:
    """Choose the segments to label next: one typical segment of each group of similar ones.

    Segments are grouped by k-means into as many groups as there will be labels; of the largest
    groups without a labelled segment the one with the nearest neighbours is chosen. Similar means
    near each other in the first 20 principal components of the standardised features.

    Args:
        features: [N, D] float, one row per segment, such as `mosei_ssl.metrics.pooled_features`.
        budget: how many to choose; fewer are chosen if there are no more.
        labelled: indices of segments that have labels.
        seed: seed of the grouping.

    Returns:
        int64 indices, the most useful first.

    Examples:
        >>> near = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
        >>> select_segments(near, 1, labelled=[0]).tolist()
        [4]

    References:
        Hacohen, Dekel and Weinshall, Active Learning on a Budget: Opposite Strategies Suit High
        and Low Budgets, ICML 2022 (TypiClust).
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    features = np.asarray(features, dtype=np.float64)
    deviation = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(deviation > 1e-6, deviation, 1.0)
    components = min(_COMPONENTS, *scaled.shape)
    places = PCA(components, random_state=seed).fit_transform(np.clip(scaled, -5.0, 5.0))
    distinct = len(np.unique(places.round(6), axis=0))
    count = min(budget + len(labelled), distinct)
    groups = KMeans(count, n_init=3, random_state=seed).fit_predict(places)
    sizes = np.bincount(groups, minlength=count).astype(float)
    sizes[groups[list(labelled)]] = 0
    chosen = []
    for group in np.argsort(-sizes, kind="stable")[:budget]:
        members = np.flatnonzero(groups == group)
        if sizes[group]:
            apart = np.linalg.norm(places[members][:, None] - places[members], axis=-1)
            nearest = np.sort(apart, axis=1)[:, 1 : _NEIGHBOURS + 1]
            chosen.append(members[nearest.mean(axis=1).argmin() if nearest.size else 0])
    return np.array(chosen, dtype=np.int64)
