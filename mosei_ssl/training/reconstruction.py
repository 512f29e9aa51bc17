"""Pictures of what a pretraining model reconstructs of one segment."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from mosei_ssl.data import DataConfig, Segments, make_evaluation_dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_IMAGES = 8


def example_batch(segments: Segments, config: DataConfig) -> dict[str, Any]:
    """The segment of middle length, as inputs for a model, a batch of one."""
    middle = segments.length_order()[len(segments) // 2 :][:1]
    return next(iter(make_evaluation_dataset(segments.subset(middle), config)))[0]


def reconstruct(model: keras.Model, batch: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """What a model fills in of a batch of one; None if its task reconstructs nothing to be seen.

    That is `target` and `reconstruction` float32 [T', F'] and `hidden` bool [T'].
    """
    outputs = model(batch, training=False)
    if not {"reconstruction", "target", "weight"} <= set(outputs):
        return None
    target, filled, weight = (
        keras.ops.convert_to_numpy(outputs[key])[0]
        for key in ("target", "reconstruction", "weight")
    )
    frames = np.asarray(batch["padding_mask"])
    # The frontend pools in time: keep the timesteps that hold real frames.
    kept = max(1, int(np.ceil(frames.sum() * len(target) / frames.shape[1])))
    hidden = (weight if weight.ndim == 1 else weight.max(axis=-1)) > 0
    return {
        "target": target[:kept].astype(np.float32),
        "reconstruction": filled[:kept].astype(np.float32),
        "hidden": hidden[:kept],
    }


def draw_reconstruction(
    target: np.ndarray, reconstruction: np.ndarray, hidden: np.ndarray
) -> "Figure":
    """Draw what `reconstruct` returned: the segment, what was hidden, and what was filled in."""
    from matplotlib.figure import Figure  # takes half a second

    filled = np.where(hidden[:, None], reconstruction, target)
    seen = np.where(hidden[:, None], np.nan, target)
    figure = Figure(figsize=(11.0, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    image: Any = None
    titles = ("segment", "what the encoder saw", "with reconstructed timesteps")
    for axis, values, title in zip(axes, (target, seen, filled), titles, strict=True):
        image = axis.imshow(
            values.T,
            aspect="auto",
            cmap="cividis",
            vmin=-2.5,
            vmax=2.5,
            origin="lower",
            interpolation="nearest",
        )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("timestep")
    axes[0].set_ylabel(f"{target.shape[1]} columns")
    figure.colorbar(image, ax=list(axes), label="standard deviations", shrink=0.8)
    return figure


class ReconstructionImages(keras.callbacks.Callback):
    """Shows in TensorBoard how the model reconstructs one of some segments as it learns.

    Draws after the first epoch and then a few times until the last; nothing for tasks that
    reconstruct nothing that can be seen.
    """

    def __init__(self, directory: Path, segments: Segments, config: DataConfig, epochs: int):
        super().__init__()
        self.directory = directory
        self.segments = segments
        self.config = config
        self.due = {int(n) for n in np.unique(np.linspace(0, epochs - 1, min(epochs, _IMAGES)))}
        self.batch: dict[str, Any] | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch not in self.due:
            return
        if self.batch is None:
            self.batch = example_batch(self.segments, self.config)
        found = reconstruct(self.model, self.batch)
        if found is None:
            self.due = set()
            return
        import matplotlib as mpl

        png = io.BytesIO()
        with mpl.rc_context({"font.size": 9}):
            draw_reconstruction(**found).savefig(png, format="png", dpi=110)
        image = tf.io.decode_png(png.getvalue(), channels=3)[None]
        with tf.summary.create_file_writer(str(self.directory / "validation")).as_default():
            tf.summary.image("reconstruction", image, step=epoch)
