"""Scores of emotion predictions and the simple predictors they are printed beside."""

from mosei_ssl.metrics.classical import (
    PooledRegressor,
    all_zero,
    classical_predictions,
    pooled_features,
    prediction_dict,
    standardise_per_group,
    train_median,
)
from mosei_ssl.metrics.scores import (
    EMOTIONS,
    LOWER_IS_BETTER,
    METRICS,
    auroc,
    balanced_accuracy,
    evaluate_predictions,
    four_class,
    pearson,
)
from mosei_ssl.metrics.table import (
    CONSTANT_PREDICTORS,
    METRIC_LABELS,
    PREDICTOR_LABELS,
    format_score,
    json_safe,
    metrics_table,
    verdicts,
    write_json,
)

__all__ = [
    "CONSTANT_PREDICTORS",
    "EMOTIONS",
    "LOWER_IS_BETTER",
    "METRICS",
    "METRIC_LABELS",
    "PREDICTOR_LABELS",
    "PooledRegressor",
    "all_zero",
    "auroc",
    "balanced_accuracy",
    "classical_predictions",
    "evaluate_predictions",
    "format_score",
    "four_class",
    "json_safe",
    "metrics_table",
    "pearson",
    "pooled_features",
    "prediction_dict",
    "standardise_per_group",
    "train_median",
    "verdicts",
    "write_json",
]
