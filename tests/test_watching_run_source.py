"""A run folder is followed through restarts, and whatever else happens to its files."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.json_lines import drop_rows_after
from counterpoise.watching.options import WatchOptions
from counterpoise.watching.run_source import RunSource, planned_steps
from watching_helpers import Clock, append, begin_run, event, row


@pytest.fixture
def clock(tmp_path):
    probe = tmp_path / "probe"
    probe.touch()
    return Clock(probe.stat().st_mtime)


@pytest.fixture
def run(tmp_path):
    return begin_run(tmp_path / "run", steps=20)


@pytest.fixture
def source(run, clock):
    return RunSource(run.path, WatchOptions(clock=clock))


def look(source):
    source.poll()
    return source.state(judge_now=True)


def steps(state):
    return state.games[0].whole.steps.tolist()


def test_a_run_under_way(source, run):
    append(run.signals, row(21, action={"d_steps": 0, "reason": "D is at 0.9"}))
    append(run.metrics, {"stage": "bicubic", "psnr_y": 29.4}, {"stage": "train", "psnr_y": 29.1})
    run.sample(20).parent.mkdir()
    run.sample(10).touch()
    run.sample(20).touch()
    state = look(source)
    assert state.source == str(run.path)
    assert (state.status.kind, state.stage, state.step) == ("running", "train", 21)
    assert state.progress == "step 21 of 100, 2 steps/s, 39 s left"
    assert (state.policy, state.action) == ("threshold", "D is not trained (D is at 0.9)")
    assert state.learning_rates == (("G", 1e-4), ("D", 2e-4))
    assert state.held_out == "PSNR (Y) 29.10 (bicubic 29.40)"
    assert state.sample == run.sample(20)
    assert [e.message for e in state.events] == ["the training begins"]
    (game,) = state.games
    assert steps(state) == list(range(1, 22))
    assert game.whole.policy == "threshold"
    assert game.diagnosis.rows == 21
    assert state.notes == ()


def test_new_steps_are_taken_as_they_come(source, run, clock):
    assert look(source).step == 20
    clock.now += 20
    append(run.signals, *(row(step) for step in range(21, 61)))
    state = look(source)
    assert (state.step, steps(state)) == (60, list(range(1, 61)))
    assert state.progress == "step 60 of 100, 2 steps/s, 20 s left"


def test_a_torn_last_line_waits_for_its_end(source, run):
    append(run.signals, '{"step": 21, "sta')
    assert look(source).step == 20
    append(run.signals, 'ge": "train", "d_loss": 1.0}\n')
    state = look(source)
    assert (state.step, state.notes) == (21, ())


def test_lines_that_are_torn_for_good_are_said(source, run):
    append(run.signals, '{"step": 21, "sta\n', "\n", row(21))
    state = look(source)
    assert state.step == 21
    assert state.notes == ("1 line of signals.jsonl left out: torn, or no step",)


def test_a_resumed_run_goes_on_from_its_checkpoint(source, run):
    look(source)
    drop_rows_after(run.signals, 12)  # as `resume` does
    append(run.events, event(12, "resumed", "goes on after step 12"))
    assert (look(source).step, steps(look(source))) == (12, list(range(1, 13)))
    append(run.signals, row(13, d_loss=9.0), row(14))
    state = look(source)
    assert steps(state) == list(range(1, 15))
    assert state.games[0].whole.columns["d_loss"][12] == 9.0
    assert [e.message for e in state.events] == ["the training begins", "goes on after step 12"]


def test_steps_that_come_again_take_the_place_of_the_first(source, run):
    append(run.signals, row(15, d_loss=9.0), row(16))  # a `Balance` that goes on, in the same file
    state = look(source)
    assert steps(state) == list(range(1, 17))
    assert state.games[0].whole.columns["d_loss"][14] == 9.0


def test_a_killed_run_is_stale_until_it_is_resumed(source, run, clock):
    assert look(source).status.kind == "running"
    clock.now += 61
    state = look(source)
    assert state.status.text == "no new step for 61 s: it hangs, or was killed"
    assert state.progress == "step 20 of 100"
    # Its log is no step, but a sign of life.
    append(run.events, event(20, "resumed"))
    clock.now = run.events.stat().st_mtime
    assert look(source).status.kind == "running"


def test_an_interrupted_run_says_how_to_go_on(source, run):
    append(run.events, event(20, "interrupted"))
    assert look(source).status.text.endswith(f"go on: counterpoise resume {run.path}")
    append(run.events, event(20, "resumed"))
    append(run.signals, row(21))
    assert look(source).status.kind == "running"


def test_numbers_of_another_stage_are_of_another_loss(source, run):
    run.signals.unlink()
    alone = [{"step": s, "stage": "pretrain", "g_loss": 0.1, "seconds": 1.0} for s in (1, 2, 3)]
    append(run.signals, *alone)
    state = look(source)
    assert (state.stage, steps(state)) == ("pretrain", [1, 2, 3])
    assert state.games[0].diagnosis is None
    append(run.signals, row(4), row(5))
    state = look(source)
    assert (state.stage, steps(state)) == ("train", [4, 5])
    assert state.games[0].diagnosis.rows == 2


def test_a_run_before_its_first_step(tmp_path, clock):
    run = begin_run(tmp_path / "new")
    state = look(RunSource(run.path, WatchOptions(clock=clock)))
    assert (state.status.kind, state.games, state.progress) == ("starting", (), "no step yet")
    assert state.action == ""


def test_a_folder_that_goes_away_comes_back_as_another_run(source, run):
    look(source)
    shutil.rmtree(run.path)
    state = look(source)
    assert (state.status.kind, state.step, state.games, state.events) == ("gone", None, (), ())
    begin_run(run.path, steps=3, config="train: {steps: 7}\n")
    state = look(source)
    assert (state.step, state.total_steps, steps(state)) == (3, 7, [1, 2, 3])


def test_the_configuration_may_come_later_than_the_steps(source, run):
    run.config.unlink()
    assert (look(source).policy, look(source).total_steps) == (None, None)
    run.config.write_text("balance: {policy: auto}\nloss: {adversarial: {form: hinge}}\n")
    state = look(source)
    assert (state.policy, state.games[0].whole.policy) == ("auto", "auto")
    assert state.games[0].whole.objective == "hinge"


def test_an_objective_that_was_asked_for_is_the_one(run, clock):
    run.config.write_text("loss: {adversarial: {form: hinge}}\n")
    state = look(RunSource(run.path, WatchOptions("wgan", clock=clock)))
    assert state.games[0].whole.objective == "wgan"


def test_signals_that_cannot_be_read_are_said(source, run):
    run.signals.unlink()
    run.signals.mkdir()
    state = look(source)
    assert state.status.kind == "unreadable"
    assert state.status.text == "signals.jsonl cannot be read (Is a directory)"


@pytest.mark.parametrize(
    ("config", "count"),
    [
        ({"train": {"pretrain_steps": 10, "steps": 20}}, 30),
        ({"train": {"steps": 20}}, 20),
        ({"train": {"steps": None}}, None),
        ({"train": {"pretrain_steps": "many", "steps": 20}}, None),
        ({"train": []}, None),
        ({}, None),
    ],
)
def test_the_steps_of_a_plan(config, count):
    assert planned_steps(config) == count


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5)
    # Larger than any float, and than any step.
    | st.sampled_from([0, -1, 7, 10**400, -(10**18), 1 << 60]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip
FIELDS = st.sampled_from(
    [*row(1), "kind", "message", "time", "psnr_y", "ssim_y", "non_finite", "auc"]
)


@given(st.lists(st.dictionaries(FIELDS, ANYTHING, max_size=8), max_size=4))
@settings(max_examples=25)
def test_whatever_stands_in_the_files_is_taken_or_left_out(rows):
    with tempfile.TemporaryDirectory() as folder:
        run = begin_run(Path(folder), steps=3)
        for path in (run.signals, run.events, run.metrics):
            append(path, *rows, *({"step": 5, "stage": "train"} | item for item in rows))
        state = look(RunSource(run.path, WatchOptions(clock=Clock())))
        assert state.progress
        assert state.seconds_left is None or state.seconds_left >= 0
        assert all(isinstance(e.clock, str) for e in state.events)


def test_a_run_that_stopped_early_says_so(source, run):
    append(run.events, event(20, "stopped-early", "stopped early at step 1 because of that"))
    append(run.events, event(20, "ended", "the training ended"))
    status = look(source).status
    assert (status.kind, status.text.partition(";")[0]) == (
        "ended",
        "stopped early at step 1 because of that",
    )
    append(run.events, event(20, "resumed"))
    assert look(source).status.kind != "ended"


@pytest.mark.parametrize("time", [3, None, "yesterday"])
def test_times_that_are_none_are_left_out(source, run, time):
    append(run.events, event(1, "note", time=time))
    assert look(source).events[-1].time is None
