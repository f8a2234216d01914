"""Whether a training goes on, and what is said of it: one rule for all who show a run."""

import pytest

from counterpoise.run_folder import CLOSED, DIVERGED, ENDED, FAILED, INTERRUPTED
from counterpoise.run_status import RUNNING, STALE, STALE_SECONDS, STARTING, Event, status_of


def status(*events, **known):
    given = {"step": 50, "planned_steps": 100, "quiet_seconds": 1.0} | known
    return status_of("runs/mine", events, **given)


@pytest.mark.parametrize(
    ("events", "kind", "said"),
    [
        ([Event(50, ENDED, "")], ENDED, "ended after step 50"),
        ([Event(50, INTERRUPTED, "")], INTERRUPTED, "step 50; go on: counterpoise resume runs/m"),
        ([Event(50, INTERRUPTED, "at once, without saving")], INTERRUPTED, "50, without saving"),
        ([Event(50, DIVERGED, "G's loss is nan")], DIVERGED, "diverged: G's loss is nan"),
        ([Event(50, FAILED, "broke off: full")], FAILED, "at step 50: full; go on: counterpoise"),
        ([Event(50, CLOSED, "")], CLOSED, "closed after step 50"),
        ([Event(50, ENDED, ""), Event(50, "note", "")], ENDED, "ended after step 50"),
        # It went on since.
        ([Event(50, INTERRUPTED, ""), Event(50, "resumed", "")], RUNNING, "running"),
        ([Event(49, INTERRUPTED, "")], RUNNING, "running"),
        ([], RUNNING, "running"),
    ],
)
def test_how_a_training_stands_by_its_events(events, kind, said):
    found = status(*events)
    assert found.kind == kind
    assert said in found.text


def test_before_the_first_step_and_after_the_last():
    assert status(step=None).kind == STARTING
    assert status(Event(0, FAILED, "no space left"), step=None).kind == FAILED
    assert status(step=100).text == "ended: all 100 steps are done"


def test_a_training_that_says_nothing_for_long():
    assert status(quiet_seconds=STALE_SECONDS).kind == RUNNING
    found = status(quiet_seconds=61)
    assert (found.kind, found.text.partition(":")[0]) == (STALE, "no new step for 61 s")
    assert "it hangs, or was killed; go on: counterpoise resume" in found.text
    assert status(quiet_seconds=61, step_seconds=[0.1]).kind == STALE
    for slow in ({"step_seconds": [4.0, 4.0, 500.0]}, {"longest_gap_seconds": 21.0}):
        assert status(quiet_seconds=61, **slow).kind == RUNNING
    assert "no step yet, and nothing new for 5 min" in status(step=None, quiet_seconds=300).text
    assert "resume" not in status(planned_steps=None, quiet_seconds=300).text
    foreign = status(planned_steps=None, quiet_seconds=300, own_run=False)
    assert foreign.text == "no new line for 5 min: ended, or hangs"
    assert "resume" not in status(quiet_seconds=61, has_checkpoint=False).text
    # An end that was told of is one, however long ago it was.
    assert status(Event(50, ENDED, ""), quiet_seconds=1e6).kind == ENDED


@pytest.mark.parametrize("time", [3, None, "yesterday"])
def test_rows_that_are_no_events_or_have_no_time(time):
    row = {"step": 1, "kind": "note", "message": "m", "time": time}
    assert Event.of(row) == Event(1, "note", "m")
    for name in ("step", "kind", "message"):
        assert Event.of(row | {name: [1]}) is None
