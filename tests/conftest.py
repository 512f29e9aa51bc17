"""Fixtures that every room of the test suite may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = Path(os.environ.get("MOSEI_SSL_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no core waits for one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not present: {SHARED} (set MOSEI_SSL_SHARED to its place)")
    return SHARED


@pytest.fixture(scope="session")
def voice():
    """1.5 s of a synthetic voice at 125 Hz (period 128 samples)."""
    from voices import pulse_train

    return pulse_train(125.0, 1.5)


@pytest.fixture(scope="session")
def shared_data(shared: Path) -> Path:
    """The corpora in MOSEI's layout: ravdess_covarep, emodb_covarep and others."""
    return shared / "data"
