"""Reading the prepared dataset: rows per second of every way, and of the step that consumes them.

Every way reads the same split from the page cache, in turn, several times.

Example:
    python benchmarks/dataset_read.py --tfrecord data/tfds_mosei/covarep-1a2b3c4d5e/1.2.0 \
        --array-record records/tfds_mosei/covarep-1a2b3c4d5e/1.2.0
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

SPLIT = "train"
BATCH = 32


def read_tfds(directory: Path) -> int:
    """Reads TFRecords example by example, as `tfds.load` gives them; the rows read."""
    config = tfds.ReadConfig(try_autocache=False)
    builder = tfds.builder_from_directory(directory)
    lengths = builder.as_dataset(split=SPLIT, read_config=config).map(
        lambda item: tf.shape(item["features"])[0]
    )
    return int(sum(lengths.as_numpy_iterator()))


def read_tfds_batches(directory: Path) -> int:
    """Reads padded batches straight from TFDS, in file order; the rows without padding."""
    config = tfds.ReadConfig(try_autocache=False)
    builder = tfds.builder_from_directory(directory)
    batches = (
        builder.as_dataset(split=SPLIT, read_config=config)
        .map(lambda item: (item["features"], tf.shape(item["features"])[0]))
        .padded_batch(BATCH)
        .prefetch(2)
    )
    return sum(int(tf.reduce_sum(lengths)) for _, lengths in batches)


def read_data_source(directory: Path) -> int:
    """Reads ArrayRecords example by example, without TensorFlow; the rows read."""
    source = tfds.builder_from_directory(directory).as_data_source(split=SPLIT)
    return sum(len(item["features"]) for item in source)


def training_reader(directory: Path) -> Callable[[Path], int]:
    """What reads an epoch as training does: shuffled, bucketed, padded batches."""
    from mosei_ssl.data import DataConfig, load_prepared, make_training_dataset

    segments = load_prepared(directory, SPLIT)
    dataset = make_training_dataset(segments, DataConfig(batch_size=BATCH), with_labels=False)

    def read(_: Path) -> int:
        return sum(int(np.count_nonzero(x["padding_mask"])) for x in dataset)

    return read


def pretraining_speed(directory: Path, steps: int) -> float:
    """Rows per second, without padding, that the default pretraining step takes in.

    The batches measured go before, too, since every length is compiled once.
    """
    from mosei_ssl.config import PretrainConfig
    from mosei_ssl.data import load_prepared, make_training_dataset
    from mosei_ssl.models import build_pretraining_model
    from mosei_ssl.training.pretraining import backbone_for

    config = PretrainConfig(run="unused", batch_size=BATCH)
    segments = load_prepared(directory, SPLIT)
    backbone = backbone_for(config.backbone, segments, config.seed)
    model = build_pretraining_model(config.task, backbone, config.seed)
    model.compile(optimizer="adam")
    batches = list(make_training_dataset(segments, config, with_labels=False).take(steps))
    for batch in batches:
        model.train_on_batch(batch)
    start = time.perf_counter()
    for batch in batches:
        model.train_on_batch(batch)
    seconds = time.perf_counter() - start
    return sum(int(np.count_nonzero(x["padding_mask"])) for x in batches) / seconds


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tfrecord", type=Path, required=True, help="directory of a dataset")
    parser.add_argument("--array-record", type=Path, help="the same dataset as ArrayRecord")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="pretraining steps to measure")
    args = parser.parse_args()
    ways: dict[str, tuple[Callable[[Path], int], Path]] = {
        "tfds, one by one": (read_tfds, args.tfrecord),
        "tfds, padded batches": (read_tfds_batches, args.tfrecord),
    }
    if args.array_record:
        ways["data_source, one by one"] = (read_data_source, args.array_record)
    ways["training reader"] = (training_reader(args.tfrecord), args.tfrecord)
    print("| way | rows | s (median, min-max) | rows/s | MB/s |")
    print("|---|---|---|---|---|")
    slowest = np.inf
    for name, (read, directory) in ways.items():
        read(directory)
        seconds = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            rows = read(directory)
            seconds.append(time.perf_counter() - start)
        middle = statistics.median(seconds)
        if name.startswith("training"):
            slowest = min(slowest, rows / middle)
        print(
            f"| {name} | {rows:,} | {middle:.2f} ({min(seconds):.2f}-{max(seconds):.2f}) "
            f"| {rows / middle:,.0f} | {rows * 296 / 1e6 / middle:,.0f} |",
            flush=True,
        )
    consumed = pretraining_speed(args.tfrecord, args.steps)
    print(f"default pretraining step: {consumed:,.0f} rows/s")
    print(f"training reader / pretraining step: {slowest / consumed:.1f}")


if __name__ == "__main__":
    main()
