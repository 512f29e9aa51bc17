"""A study killed with kill -9 ends in the same numbers as an undisturbed one."""

import os
import random
import signal

import pytest
from children import start_child
from small_study import run_small_study, run_until

from mosei_ssl.study import report, runner

FILES = 150
"""A study has opened and renamed more files than these before its last training ends."""


def without_drawing(monkeypatch):
    """A report's figures are left out, which would take most of its time."""
    for name in dir(report.figures):
        if name.endswith("_figure"):
            monkeypatch.setattr(report.figures, name, lambda *args, **options: "<svg/>")


def hparams(out):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    found = set()
    for folder in (out / "cells" / "train").rglob("run/hparams"):
        content = EventAccumulator(str(folder)).Reload().PluginTagToContent("hparams")
        started = content[metadata.SESSION_START_INFO_TAG]
        values = metadata.parse_session_start_info_plugin_data(started).hparams
        found.add((values["arm"].string_value, values["fold"].string_value))
    return found


@pytest.mark.slow
def test_killed_at_a_random_moment_and_resumed(corpora, tmp_path, monkeypatch):
    data, whole, out = str(corpora), tmp_path / "whole", tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(runner, "write_report", lambda *_: None)
        assert not run_small_study(data, str(whole)).failed
    expected = (whole / "results.csv").read_bytes()
    assert expected.count(b"\n") > 100
    assert hparams(whole) == {("ssl", "1"), ("baseline", "1")}
    moments = random.Random(int(os.environ.get("MOSEI_SSL_KILL_SEED", "0")))
    child = start_child(
        run_until, data, str(out), moments.randrange(1, FILES), log=tmp_path / "log"
    )
    child.join(120)
    assert child.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert not (out / "results.csv").exists()
    without_drawing(monkeypatch)
    assert not run_small_study(data, str(out)).failed
    assert (out / "results.csv").read_bytes() == expected
    assert "SYNTHETIC" in (out / "report.html").read_text()
