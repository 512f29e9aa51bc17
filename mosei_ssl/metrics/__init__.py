"""Scores of emotion predictions and the simple predictors they are printed next to."""

from mosei_ssl.metrics.classical import (
    all_zero,
    classical_predictions,
    pooled_features,
    prediction_dict,
    regression,
    train_median,
)
from mosei_ssl.metrics.scores import (
    LOWER_IS_BETTER,
    METRICS,
    auroc,
    balanced_accuracy,
    emotion_threshold,
    evaluate_predictions,
    pearson,
)
from mosei_ssl.metrics.table import (
    METRIC_LABELS,
    PREDICTOR_LABELS,
    format_score,
    json_safe,
    metrics_table,
    verdicts,
    write_json,
)
from tfds_mosei.schema import EMOTIONS, four_class

__all__ = [
    "EMOTIONS",
    "LOWER_IS_BETTER",
    "METRICS",
    "METRIC_LABELS",
    "PREDICTOR_LABELS",
    "all_zero",
    "auroc",
    "balanced_accuracy",
    "classical_predictions",
    "emotion_threshold",
    "evaluate_predictions",
    "format_score",
    "four_class",
    "json_safe",
    "metrics_table",
    "pearson",
    "pooled_features",
    "prediction_dict",
    "regression",
    "train_median",
    "verdicts",
    "write_json",
]
