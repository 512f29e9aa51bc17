"""One of several processes that train a model together on Keras's JAX backend."""


def main(data_dir: str, out: str, address: str, processes: int, rank: int) -> int:
    import jax

    if processes > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    import keras
    import numpy as np
    import tensorflow as tf

    if processes > 1:
        keras.distribution.initialize(address, processes, rank)
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    from mosei_ssl.data import DataConfig, load_segments, make_training_dataset
    from mosei_ssl.models import MaskedTimestepModel, TransformerBackbone

    keras.utils.set_random_seed(0)
    train = load_segments(DataConfig(data_dir=data_dir), "train")
    config = DataConfig(data_dir=data_dir, batch_size=8)
    whole = next(iter(make_training_dataset(train, config, with_labels=False)))
    share = len(whole["features"]) // processes
    part = {name: array[rank * share : (rank + 1) * share] for name, array in whole.items()}
    backbone = TransformerBackbone(
        **train.normalization, hidden_dim=16, num_layers=1, num_heads=2, feedforward_dim=16, seed=1
    )
    model = MaskedTimestepModel(backbone, seed=2)
    model.compile(keras.optimizers.SGD(0.01))
    model.fit(tf.data.Dataset.from_tensors(part).repeat(2), epochs=1, verbose=0)
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]
    np.savez(f"{out}-{processes}-{rank}.npz", *weights)
    if processes > 1:
        # Waits for the other processes, which would otherwise report a failure.
        jax.distributed.shutdown()
    return 0
