"""Pictures of what a pretraining model fills in."""

import numpy as np
import pytest
from quick_runs import quick_runs
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mosei_ssl.config import (
    CodebookConfig,
    CodebookTaskConfig,
    DataConfig,
    MaskedTimestepConfig,
)
from mosei_ssl.data import load_segments, segments_from_arrays
from mosei_ssl.models import build_backbone, build_pretraining_model
from mosei_ssl.training import pretrain
from mosei_ssl.training.reconstruction import (
    ReconstructionImages,
    draw_reconstruction,
    example_batch,
    reconstruct,
)


def test_what_was_hidden_and_what_was_filled_in_of_a_padded_segment(options, synthetic_data):
    config = DataConfig(data_dir=str(synthetic_data))
    batch = example_batch(load_segments(config, "validation"), config)
    frames = int(np.asarray(batch["padding_mask"]).sum())
    backbone = build_backbone(options["backbone"], [0.0] * 74, [1.0] * 74)
    model = build_pretraining_model(MaskedTimestepConfig(mask_ratio=0.5), backbone)
    found = reconstruct(model, batch)
    steps = -(-frames // 10)
    assert found["target"].shape == found["reconstruction"].shape == (steps, 148)
    assert 0 < found["hidden"].sum() < steps
    for key, value in reconstruct(model, batch).items():
        np.testing.assert_array_equal(value, found[key])


def test_a_figure_shows_the_reconstruction_where_it_was_hidden_only():
    target, filled = np.zeros((6, 3)), np.ones((6, 3))
    hidden = np.array([False, True, True, False, False, False])
    figure = draw_reconstruction(target, filled, hidden)
    images = [axis.images[0].get_array() for axis in figure.axes[:3]]
    np.testing.assert_array_equal(np.ma.getmaskarray(images[1]).all(axis=0), hidden)
    np.testing.assert_array_equal(images[2].sum(axis=0), 3.0 * hidden)


@pytest.mark.parametrize(("task", "images"), [("masked_timestep", [0, 1]), ("codebook", [])])
def test_tensorboard_gets_pictures_of_tasks_that_reconstruct(pretraining, task, images):
    codebook = {"backbone": CodebookConfig(hidden_dim=8, code_dim=4), "task": CodebookTaskConfig()}
    config = pretraining("pre", epochs=2, **(codebook if task == "codebook" else {}))
    with quick_runs("pictures"):
        run = pretrain(config)
    events = EventAccumulator(str(run.path / "validation"), size_guidance={"images": 0}).Reload()
    tags = events.Tags()["images"]
    found = [event.step for event in events.Images("reconstruction")] if tags else []
    # Tensors, not the older image summaries, hold what tf.summary.image writes.
    if "reconstruction" in events.Tags()["tensors"]:
        found = [event.step for event in events.Tensors("reconstruction")]
    assert found == images


def test_a_long_run_is_drawn_a_few_times_from_first_to_last(tmp_path):
    segments = segments_from_arrays([np.zeros((5, 74))], np.zeros((1, 6)))
    due = ReconstructionImages(tmp_path, segments, DataConfig(), epochs=100).due
    assert len(due) == 8
    assert {0, 99} <= due
