"""What several tests of the feature extraction look at."""

import pytest

from mosei_ssl.covarep import analyse


@pytest.fixture(scope="session")
def reference(shared):
    """Folder of the reference outputs."""
    return shared / "covarep" / "reference"


@pytest.fixture(scope="session")
def analysed(voice):
    """The analysis of the synthetic voice, for reading only."""
    return analyse(voice, 16_000)
