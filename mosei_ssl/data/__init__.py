"""From prepared TFDS datasets to padded batches: segments, label budgets, buckets, pipelines."""

from mosei_ssl.config import DataConfig
from mosei_ssl.data.buckets import BatchPlan, BatchSpec, bucket_boundaries
from mosei_ssl.data.budgets import draw_label_budget, label_order
from mosei_ssl.data.loading import (
    load_prepared,
    load_pretraining_segments,
    load_segments,
    normalization,
    refuse_held_out,
    split_names,
)
from mosei_ssl.data.pipeline import make_evaluation_dataset, make_training_dataset
from mosei_ssl.data.row_period import refuse_other_period
from mosei_ssl.data.segments import Segments, concatenate_segments, segments_from_arrays

__all__ = [
    "BatchPlan",
    "BatchSpec",
    "DataConfig",
    "Segments",
    "bucket_boundaries",
    "concatenate_segments",
    "draw_label_budget",
    "label_order",
    "load_prepared",
    "load_pretraining_segments",
    "load_segments",
    "make_evaluation_dataset",
    "make_training_dataset",
    "normalization",
    "refuse_held_out",
    "refuse_other_period",
    "segments_from_arrays",
    "split_names",
]
