"""A tiny prepared TFDS dataset with the features of tfds_mosei."""

import numpy as np
import pytest


def tiny_examples(split, count=7, seed=0, longest=60):
    rng = np.random.default_rng([seed, len(split)])
    for index in range(count):
        length = int(rng.integers(3, longest))
        features = rng.normal(size=(length, 74)).astype(np.float32)
        features[0, 7] = -np.inf
        yield (
            f"{split}_{index}",
            {
                "video_id": f"{split}_{index // 3}",
                "segment_id": index,
                "interval": np.array([index, index + length * 0.01], np.float32),
                "features": features,
                "emotions": np.eye(6, dtype=np.float32)[index % 6],
                "sentiment": np.float32(index - 3),
            },
        )


@pytest.fixture(scope="session", name="tiny_examples")
def tiny_examples_fixture():
    """What the tiny dataset of a seed holds: (key, example) pairs of a split."""
    return tiny_examples


@pytest.fixture(scope="session")
def prepare_tiny(tmp_path_factory):
    """A function that prepares a dataset and gives its directory."""
    import tensorflow_datasets as tfds

    def prepare(seed=0, metadata=None, counts=None, longest=60):
        counts = counts or {"train": 7, "test": 7}

        class TinyMosei(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(
                        {
                            "video_id": tfds.features.Text(),
                            "segment_id": np.int64,
                            "interval": tfds.features.Tensor(shape=(2,), dtype=np.float32),
                            "features": tfds.features.Tensor(
                                shape=(None, 74), dtype=np.float32, encoding="bytes"
                            ),
                            "emotions": tfds.features.Tensor(shape=(6,), dtype=np.float32),
                            "sentiment": np.float32,
                        }
                    ),
                    metadata=tfds.core.MetadataDict(metadata or {"fingerprint": f"tiny{seed}"}),
                )

            def _split_generators(self, dl_manager):
                return {
                    name: tiny_examples(name, count, seed, longest)
                    for name, count in counts.items()
                }

            def _generate_examples(self):
                return iter(())

        builder = TinyMosei(data_dir=tmp_path_factory.mktemp("tfds"))
        builder.download_and_prepare()
        return builder.data_dir

    return prepare


@pytest.fixture(scope="session")
def tiny_dataset(prepare_tiny):
    """Directory of a prepared dataset of 7 train and 7 test segments."""
    return prepare_tiny()
