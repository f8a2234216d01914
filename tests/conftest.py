"""Shared fixtures."""

import os
from pathlib import Path

# The networks of the tests are tiny: a second thread only waits, and on a busy machine for long.
# Set before torch is imported, so that the processes that tests start have it too.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

# Nothing here is timed: a busy machine must not fail a test.
settings.register_profile("counterpoise", deadline=None)
settings.load_profile("counterpoise")

DATA = Path(
    os.environ.get("COUNTERPOISE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")
)


@pytest.fixture
def shared_data() -> Path:
    """The folder of benchmark images and published weights, which the project does not ship."""
    if not DATA.is_dir():
        pytest.skip("shared/data (benchmark images and published weights) is not here")
    return DATA
