"""Training on several replicas with tf.distribute, where Keras's `fit` does not work.

Every replica computes on its share of the batch. Losses are weighted by what they count, so that
the sum over replicas is the loss of the whole batch, and gradients are summed before they are
clipped: one worker with the same batch takes the same step, but for the random masks, and for
tasks that compare the segments of a batch with each other (docs/training.md). Scores of pretraining
that are ratios or perplexities are the replicas' mean, weighted likewise.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from mosei_ssl.data import TrainingData
from mosei_ssl.models import LayerwiseAdamW, PretrainingModel
from mosei_ssl.stopping import StopRequest
from mosei_ssl.training.devices import Devices

_SEED_STRIDE = 1_000_003
_STOP = "asked to stop"


class ReplicatedLoop:
    """What `fit` is for one device.

    Its running means of the epoch belong to the training state.

    Args:
        model: compiled and built under the scope of `devices`, with `LayerwiseAdamW`.
        devices: the replicas.
        stop: the request of a signal that came to this process.

    Attributes:
        stopping: whether any process was asked to stop; all learn of it after the same step.
    """

    def __init__(self, model: PretrainingModel, devices: Devices, stop: StopRequest):
        self.model, self.devices, self.stop = model, devices, stop
        self.stopping = False
        self.totals: dict[str, float] = {}
        self.steps = 0
        optimizer = model.optimizer
        if not isinstance(optimizer, LayerwiseAdamW):
            raise TypeError(f"replicas need LayerwiseAdamW, not {type(optimizer).__name__}")
        optimizer.sums_over_replicas = False
        self._step = tf.function(self._whole_step, reduce_retracing=True)

    def get_state(self) -> dict[str, Any]:
        return {"totals": self.totals, "steps": self.steps}

    def set_state(self, state: dict[str, Any]) -> None:
        self.totals, self.steps = state["totals"], state["steps"]

    def diversify(self) -> None:
        """Give each replica random numbers of its own; once, after the state is restored.

        The first replica keeps the numbers it has, and its state is the one that is saved.
        """
        seeds = [v for v in self.model.variables if v.name == "seed_generator_state"]

        @tf.function
        def shift():
            def shift_replica():
                context = tf.distribute.get_replica_context()
                number = tf.cast(context.replica_id_in_sync_group, seeds[0].dtype)
                for seed in seeds:
                    seed.assign(seed.value + tf.stack([number * _SEED_STRIDE, 0 * number]))

            self.devices.strategy.run(shift_replica)

        if seeds:
            shift()

    def fit(
        self,
        shares: list[TrainingData],
        callbacks: list[keras.callbacks.Callback],
        epoch: int,
        step: int,
        epochs: int,
        steps_per_epoch: int,
    ) -> None:
        """Train until `epochs` are done.

        Args:
            shares: batches of each replica of this process, all beginning at `step` of `epoch`.
            callbacks: as for Keras's `fit`.
            epoch: epoch to begin in.
            step: step of that epoch to begin with.
            epochs: epochs in all.
            steps_per_epoch: steps of a whole epoch.
        """
        calls = keras.callbacks.CallbackList(callbacks, model=self.model)
        batches = [iter(share.dataset) for share in shares]
        self.model.stop_training = False
        calls.on_train_begin()
        for number in range(epoch, epochs):
            if not step:
                self.totals, self.steps = {}, 0
            calls.on_epoch_begin(number)
            # An epoch taken up after its last step has no further one, but its means.
            logs = self._means()
            for batch in range(steps_per_epoch - step):
                calls.on_train_batch_begin(batch)
                values = self._step(self._next(batches), tf.constant(float(self.stop.asked)))
                found = {name: float(value) for name, value in values.items()}
                self.stopping = found.pop(_STOP) > 0
                self._count(found)
                logs = self._means()
                calls.on_train_batch_end(batch, logs)
            calls.on_epoch_end(number, dict(logs))
            step = 0
            if self.model.stop_training:
                break
        calls.on_train_end(logs)

    def _next(self, batches: list[Iterator]) -> Any:
        first = self.devices.first
        return self.devices.strategy.experimental_distribute_values_from_function(
            lambda context: next(batches[context.replica_id_in_sync_group - first])
        )

    def _count(self, values: dict[str, float]) -> None:
        self.steps += 1
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value

    def _means(self) -> dict[str, float]:
        return {name: total / self.steps for name, total in self.totals.items()}

    def _whole_step(self, inputs, stop):
        values = self.devices.strategy.run(self._replica_step, args=(inputs, stop))
        # Summed already, so the same on every replica.
        return {
            name: self.devices.strategy.experimental_local_results(value)[0]
            for name, value in values.items()
        }

    def _replica_step(self, inputs, stop):
        context = tf.distribute.get_replica_context()

        def total(value):
            return context.all_reduce(tf.distribute.ReduceOp.SUM, value)

        with tf.GradientTape() as tape:
            outputs = self.model(inputs, training=True)
            loss, values = self.model.objective(outputs)
            weight = outputs.get("weight")
            # Tasks without weights count every segment alike.
            share = tf.ones(()) if weight is None else tf.reduce_sum(weight)
            share = tf.math.divide_no_nan(share, total(share))
            loss = loss * share
        variables = self.model.trainable_variables
        gradients = tape.gradient(loss, variables)
        present = [i for i, gradient in enumerate(gradients) if gradient is not None]
        summed = total([gradients[i] for i in present])
        self.model.optimizer.apply(summed, [variables[i] for i in present])
        found = {name: value * share for name, value in values.items()}
        # A tensor of its own on each replica, as a sum takes nothing else.
        return total({"loss": loss, **found, _STOP: tf.identity(stop)})


def make_score(
    model: PretrainingModel, batches: Callable[[], tf.data.Dataset]
) -> Callable[[], dict[str, float]]:
    """What `model.evaluate` gives, on this process alone, for a model that has replicas.

    Args:
        model: the model.
        batches: makes the batches of one evaluation.

    Returns:
        A function that gives the loss, weighted by batch size, and the mean metrics.
    """

    @tf.function(reduce_retracing=True)
    def step(inputs):
        return model.objective(model(inputs, training=False))

    def score() -> dict[str, float]:
        loss, metrics, rows, count = 0.0, dict.fromkeys(model.METRICS, 0.0), 0, 0
        for inputs in batches():
            value, values = step(inputs)
            size = len(inputs["features"])
            loss, rows, count = loss + float(value) * size, rows + size, count + 1
            metrics = {name: total + float(values[name]) for name, total in metrics.items()}
        return {"loss": loss / rows, **{name: total / count for name, total in metrics.items()}}

    return score
