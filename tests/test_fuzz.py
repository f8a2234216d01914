"""The fuzzers, for seconds: some of the inputs that `make fuzz` tries tens of thousands of."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from harness import fuzz
from targets import TARGETS

# For one input on the slowest of machines.
SECONDS = 60.0
COUNTS = {"logs": 300, "configurations": 60, "pictures": 300, "weights": 200}


@pytest.fixture(autouse=True)
def _quiet():
    """Libraries' logs are switched off by the fuzzers."""
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", COUNTS)
def test_inputs_are_read_or_refused_in_one_line(name):
    outcomes, failures = fuzz(TARGETS[name], range(COUNTS[name]), seed=0, seconds=SECONDS)
    assert failures == {}
    assert outcomes.total() == COUNTS[name]
    assert 0 < outcomes["refused"] < COUNTS[name]
