"""How features are stored: lists of floats against bytes, TFRecord against ArrayRecord.

Example:
    python benchmarks/dataset_storage.py --examples 1000
"""

import argparse
import statistics
import tempfile
import time

import numpy as np
import tensorflow_datasets as tfds

ROWS = 650  # MOSEI's median segment is 6.5 s long


def make_builder(encoding: str, file_format: str, examples: int, data_dir: str):
    """A dataset of drawn examples, not yet prepared.

    Its encoding is ``"bytes"``, ``"zlib"`` or ``"none"`` (lists of floats), its format
    ``"tfrecord"`` or ``"array_record"``.
    """
    rows = np.random.default_rng(0).standard_normal((ROWS, 74)).astype(np.float32)

    with tfds.core.registered.skip_registration():

        class Storage(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                tensor = tfds.features.Tensor(
                    shape=(None, 74), dtype=np.float32, encoding=tfds.features.Encoding(encoding)
                )
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict({"features": tensor})
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                for number in range(examples):
                    yield number, {"features": rows}

    return Storage(data_dir=data_dir, file_format=file_format)


def measure(encoding: str, file_format: str, examples: int, repeats: int) -> tuple[float, float]:
    """MB/s written, and read (median, after one to warm up), counting four bytes a value."""
    megabytes = examples * ROWS * 74 * 4 / 1e6
    with tempfile.TemporaryDirectory() as folder:
        builder = make_builder(encoding, file_format, examples, folder)
        start = time.perf_counter()
        builder.download_and_prepare()
        written = megabytes / (time.perf_counter() - start)
        seconds = []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            if file_format == "tfrecord":
                config = tfds.ReadConfig(try_autocache=False)
                for _ in builder.as_dataset(split="train", read_config=config):
                    pass
            else:
                for _ in builder.as_data_source(split="train"):
                    pass
            seconds.append(time.perf_counter() - start)
    return written, megabytes / statistics.median(seconds[1:])


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| encoding | format | written MB/s | read MB/s |")
    print("|---|---|---|---|")
    for encoding in ("none", "bytes", "zlib"):
        for file_format in ("tfrecord", "array_record"):
            written, read = measure(encoding, file_format, args.examples, args.repeats)
            name = "list of floats" if encoding == "none" else encoding
            print(f"| {name} | {file_format} | {written:,.0f} | {read:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
