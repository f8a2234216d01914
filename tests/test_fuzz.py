"""The fuzzers, for seconds: some of the inputs that `make fuzz` tries tens of thousands of."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

from harness import Target, UnclearError, fuzz, run_one
from targets import TARGETS

from counterpoise.errors import UserError

# For one input on the slowest of machines.
SECONDS = 60.0
COUNTS = {"logs": 500, "configurations": 60, "pictures": 300, "weights": 200}


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


def raising(error):
    def check(data, source):
        raise error

    return check


@pytest.mark.parametrize(
    ("check", "outcome", "what"),
    [
        (lambda data, source: None, "read", ""),
        (raising(UserError("a.log: empty")), "refused", ""),
        (raising(UserError("")), "failed", "UnclearError"),
        (raising(KeyError("x")), "failed", "KeyError at test_fuzz.py"),
        (raising(UnclearError("no")), "failed", "UnclearError"),
    ],
)
def test_what_counts_as_a_failure(check, outcome, what):
    kind, trace = run_one(Target("x", lambda: [b"data"], check), 0, 0)
    assert kind == outcome
    assert trace.startswith(what)


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_inputs_are_repeated_by_their_number(target):
    first, second, other = (target.input(1, number)[0] for number in (5, 5, 6))
    assert first == second
    assert first != other
