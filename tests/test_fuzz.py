"""The fuzzers, for seconds: thousands of the inputs that `make fuzz` tries millions of."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fuzz"))

import fuzz_config
import fuzz_diagnose
import fuzz_images
import fuzz_weights
from harness import Target, UnclearError, fuzz, run_one

from counterpoise.errors import UserError

# CPU seconds for one input on the slowest of machines.
SECONDS = 60.0


@pytest.fixture(autouse=True)
def _quiet():
    """Libraries' logs are switched off by the fuzzer of images."""
    import logging

    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("target", "count"),
    [
        (fuzz_diagnose.TARGET, 700),
        (fuzz_config.TARGET, 60),
        (fuzz_images.TARGET, 500),
        (fuzz_weights.TARGET, 300),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_hostile_inputs(target, count):
    outcomes, failures = fuzz(target, range(count), seed=0, seconds=SECONDS)
    assert [failure.trace for failure in failures] == []
    assert outcomes.total() == count
    assert outcomes["refused"] < count


def refused(text):
    def check(data, source):
        raise UserError(text)

    return check


def test_what_counts_as_a_failure():
    def crash(data, source):
        raise KeyError("x")

    def endless(data, source):
        while True:
            pass

    def unclear(data, source):
        raise UnclearError("no")

    def outcome(check, seconds=SECONDS):
        target = Target("x", lambda source: b"data", check)
        kind, failure = run_one(target, 0, 0, seconds)
        return kind, "" if failure is None else failure.trace

    assert outcome(lambda data, source: "read") == ("read", "")
    assert outcome(refused("a.log: empty")) == ("refused", "")
    assert outcome(refused(""))[0] == "failed"
    assert outcome(crash)[1].startswith("KeyError at test_fuzz.py")
    assert outcome(unclear)[1].startswith("UnclearError")
    assert outcome(endless, 0.01)[1].startswith("TooSlowError")


@pytest.mark.parametrize(
    "target",
    [fuzz_diagnose.TARGET, fuzz_config.TARGET, fuzz_images.TARGET, fuzz_weights.TARGET],
    ids=lambda target: target.name,
)
def test_inputs_are_repeated_by_their_number(target):
    from random import Random

    first, second, other = (target.make(Random(seed)) for seed in (5, 5, 6))  # noqa: S311
    assert first == second
    assert first != other
