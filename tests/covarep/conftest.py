"""Signals and reference files for the tests of the feature extraction."""

import numpy as np
import pytest
from voices import pulse_train


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """1.5 s of a pulse train at 125 Hz (period 128 samples)."""
    return pulse_train(125.0, 1.5)


@pytest.fixture(scope="session")
def reference(shared):
    """Folder of the reference outputs."""
    return shared / "covarep" / "reference"
