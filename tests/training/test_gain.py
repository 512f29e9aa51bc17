"""What the quickstart shows: pretraining finds what labels depend on."""

import pytest

import tfds_mosei
from mosei_ssl.config import FinetuneConfig, PretrainConfig
from mosei_ssl.data import load_segments
from mosei_ssl.metrics.video_sums import with_intervals
from mosei_ssl.training import finetune, load_model, pretrain
from mosei_ssl.training.evaluation import predict_segments
from mosei_ssl.utils.parsing import from_mapping, merge, read_yaml


@pytest.mark.slow
@pytest.mark.usefixtures("graph", "quick")
def test_ssl_beats_its_baseline_beyond_the_interval_with_each_seed(tmp_path):
    data = str(tmp_path / "data")
    tfds_mosei.build("synthetic", data_dir=data, size=20)
    common = {"data_dir": data, "backbone": {"hidden_dim": 96}}

    def options(cls, name, **given):
        return from_mapping(cls, merge(read_yaml(name), common, given))

    pre = str(tmp_path / "pre")
    pretrain(options(PretrainConfig, "small_pretrain", run=pre, epochs=10))
    for seed in (0, 1):
        found = []
        for arm, start in (("ssl", {"pretrained": pre}), ("base", {"from_scratch": True})):
            given = {
                "run": str(tmp_path / f"{arm}{seed}"),
                "labels": 100,
                "seed": seed,
                "epochs": 4,
            }
            config = options(FinetuneConfig, "small_finetune", **given, **start)
            model = load_model(finetune(config) / "model.keras")
            test = load_segments(config, "test")
            found.append(predict_segments(model, test, config))
        gain = with_intervals(test.video_ids, test.emotions, found[0], 500, minus=found[1])

        for metric in ("pearson_r", "auroc"):
            value, low, high = gain[metric][:, -1]
            assert 0 < low < value < high
