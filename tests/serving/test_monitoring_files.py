"""Drift against training, and files of Prometheus and Grafana that name metrics which exist."""

import json
import re

import numpy as np
import pytest
import yaml

from mosei_ssl.serving import export_model
from mosei_ssl.serving.deployment import deployment_files
from mosei_ssl.serving.drift import LEAST, QUANTITIES, DriftWindow, quantities, write_reference


@pytest.fixture(scope="module")
def trained_on():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(2000, len(QUANTITIES)))
    values[:, 5] = 0.0  # a column that never changes
    values[:, 6] = draw.random(2000) < 0.9  # and one of two values
    return values


@pytest.fixture
def window(trained_on, tmp_path):
    write_reference(tmp_path, trained_on)
    return DriftWindow.of(tmp_path)


def test_psi_is_small_for_the_same_and_large_for_another_distribution(window, trained_on):
    draw = np.random.default_rng(1)
    values = draw.normal(size=(1000, len(QUANTITIES)))
    values[:, :5] += 1.0
    values[:, 5] = 0.0
    values[:, 6] = draw.random(1000) < 0.9
    window.add(values)
    found = window.psi()
    assert list(found) == list(QUANTITIES)
    # Between normal distributions one deviation apart it is 1 in the limit of fine bins.
    assert all(0.8 < found[name] < 1.1 for name in QUANTITIES[:5])
    assert found[QUANTITIES[5]] == 0.0
    assert all(found[name] < 0.05 for name in QUANTITIES[6:])
    values[:, 5] = -1.0
    window.add(values)
    assert window.psi()[QUANTITIES[5]] == 0.0  # below and at the only edge are one bin
    values[:, 5] = 1.0
    window.add(values)
    assert window.psi()[QUANTITIES[5]] > 5


def test_few_segments_say_nothing(window, trained_on):
    window.add(trained_on[: LEAST - 1])
    assert window.psi() == {}
    window.add(trained_on[:1])
    assert max(window.psi().values()) < 0.25


def test_an_export_with_train_segments_knows_them(emotion_model, tmp_path):
    draw = np.random.default_rng(2)
    train = [draw.normal(size=(n, 74)).astype(np.float32) for n in draw.integers(20, 60, 300)]
    train[0][0, 7] = -np.inf
    version = export_model(emotion_model, tmp_path / "emotion", train=train)
    window = DriftWindow.of(version)
    from mosei_ssl.serving import LocalModel

    answers = LocalModel(version).predict(train)["expected"]
    window.add(map(quantities, train, answers))
    assert max(window.psi().values()) < 0.01
    stored = json.loads((version / "assets.extra/drift.json").read_text())
    means = [np.where(np.isfinite(rows[:, 7]), rows[:, 7], np.nan) for rows in train]
    median = np.median([np.nanmean(column) for column in means])
    assert stored["segments"] == 300
    assert stored["quantities"]["peakSlope"]["edges"][4] == pytest.approx(median, rel=1e-4)
    assert DriftWindow.of(version / "assets.extra") is None


def metric_names():
    from mosei_ssl.gateway.metrics import Metrics

    pytest.importorskip("prometheus_client")
    families = Metrics().registry.collect()
    return {
        family.name + ending
        for family in families
        for ending in {"counter": ("_total",), "histogram": ("_bucket",)}.get(family.type, ("",))
    }


def test_alerts_and_dashboard_name_metrics_that_exist():
    files = deployment_files("emotion")
    rules = yaml.safe_load(files["alerts.yml"])["groups"][0]["rules"]
    assert len(rules) == 4
    for rule in rules:
        assert {"expr", "for", "labels", "annotations"} < set(rule)
    dashboard = json.loads(files["grafana.json"])
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    names = set(re.findall(r"\b(mosei_gateway_\w+|process_\w+)", " ".join(shown)))
    names |= set(re.findall(r"\bmosei_gateway_\w+", files["alerts.yml"]))
    assert names <= metric_names()
    assert len(names) >= 6
    scraped = yaml.safe_load(files["prometheus.yml"])
    targets = {c["static_configs"][0]["targets"][0] for c in scraped["scrape_configs"]}
    services = yaml.safe_load(files["docker-compose.yml"])["services"]
    assert {target.split(":")[0] for target in targets} == set(services)
    assert set(scraped["rule_files"]) <= set(files)
