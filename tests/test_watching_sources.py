"""What is at a path is followed through restarts, and whatever else happens to its files."""

import os
import shutil

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from counterpoise.json_lines import drop_rows_after
from counterpoise.logs.read import read_log
from counterpoise.watching.sources import LogSource, RunSource, WatchOptions, open_source
from watching_helpers import SEED, Clock, append, begin_run, event, row, seed_lines


@pytest.fixture
def clock(tmp_path):
    probe = tmp_path / "probe"
    probe.touch()
    return Clock(probe.stat().st_mtime)


def test_each_kind_has_its_source(tmp_path):
    begin_run(tmp_path / "run")
    append(tmp_path / "train.log", *seed_lines())
    append(tmp_path / "balanced" / "signals.jsonl", row(1))
    append(tmp_path / "stylegan" / "stats.jsonl", {"Loss/G/loss": {"mean": 1.0}})
    append(tmp_path / "board" / "events.out.tfevents.1", "")
    expected = {
        "run": RunSource,
        "balanced": RunSource,
        "train.log": LogSource,
        "stylegan": LogSource,
        "board": LogSource,
        "board/events.out.tfevents.1": LogSource,
    }
    options = WatchOptions()
    assert {name: type(open_source(tmp_path / name, options)) for name in expected} == expected


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("empty", "a folder without signals.jsonl"),
        ("program", "a binary file"),
        ("pipe", "not a file that can be followed"),
        ("x" * 300, r"cannot be read \(File name too long\)"),
    ],
)
def test_what_cannot_be_watched_is_said(tmp_path, name, why):
    (tmp_path / "empty").mkdir()
    (tmp_path / "program").write_bytes(b"MZ\0\1")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=f"{name}: {why}"):
        open_source(tmp_path / name, WatchOptions())


@pytest.fixture
def run(tmp_path):
    return begin_run(tmp_path / "run", steps=20)


@pytest.fixture
def run_source(run, clock):
    return RunSource(run.path, WatchOptions(clock=clock))


def steps(state):
    return state.games[0].whole.steps.tolist()


def test_a_run_under_way(run_source, run, clock):
    append(run.signals, row(21, action={"d_steps": 0, "reason": "D is at 0.9"}))
    append(run.metrics, {"stage": "bicubic", "psnr_y": 29.4}, {"stage": "train", "psnr_y": 29.1})
    run.sample(20).parent.mkdir()
    run.sample(10).touch()
    run.sample(20).touch()
    state = run_source.look()
    assert state.source == str(run.path)
    assert (state.status.kind, state.stage, state.step) == ("running", "train", 21)
    assert state.progress == "step 21 of 100, 2 steps/s, 39 s left"
    assert state.facts == (
        ("stage", "train"),
        ("policy", "threshold: d_steps 0 (D is at 0.9)"),
        ("learning rates", "G 0.0001, D 0.0002"),
        ("held out", "PSNR (Y) 29.10 (bicubic 29.40)"),
    )
    assert state.sample == run.sample(20)
    assert [e.message for e in state.events] == ["the training begins"]
    assert steps(state) == list(range(1, 22))
    assert (state.games[0].whole.policy, state.games[0].diagnosis.rows) == ("threshold", 21)
    assert state.notes == ()
    clock.now += 20
    append(run.signals, *(row(step) for step in range(22, 61)))
    state = run_source.look()
    assert (state.step, steps(state)) == (60, list(range(1, 61)))
    assert state.progress.startswith("step 60 of 100, 1.9")


def test_a_killed_run_is_stale_until_it_is_resumed(run_source, run, clock):
    assert run_source.look().status.kind == "running"
    clock.now += 61
    state = run_source.look()
    assert state.status.text.startswith("no new step for 61 s: it hangs, or was killed")
    assert state.progress == "step 20 of 100"
    append(run.events, event(20, "interrupted"))
    assert "resume" not in run_source.look().status.text  # There is no checkpoint.
    run.checkpoints.mkdir()
    run.checkpoint(20).touch()
    assert run_source.look().status.text.endswith(f"go on: counterpoise resume {run.path}")
    # Its log is no step, but a sign of life.
    drop_rows_after(run.signals, 12)  # as `resume` does
    append(run.events, event(12, "resumed"))
    clock.now = run.events.stat().st_mtime
    state = run_source.look()
    assert (state.status.kind, steps(state)) == ("running", list(range(1, 13)))


def test_a_stage_without_d_is_shown_and_not_judged(tmp_path, clock):
    run = begin_run(tmp_path / "run")
    source = RunSource(run.path, WatchOptions(clock=clock))
    state = source.look()
    assert (state.status.kind, state.games, state.progress) == ("starting", (), "no step yet")
    append(run.signals, *({"step": s, "stage": "pretrain", "g_loss": 0.1} for s in (1, 2, 3)))
    state = source.look()
    assert (state.stage, steps(state), state.games[0].diagnosis) == ("pretrain", [1, 2, 3], None)
    append(run.signals, row(4), row(5))
    state = source.look()
    assert (state.stage, steps(state), state.games[0].diagnosis.rows) == ("train", [4, 5], 2)


def test_a_folder_that_goes_away_comes_back_as_another_run(run_source, run):
    run_source.look()
    shutil.rmtree(run.path)
    state = run_source.look()
    assert (state.status.kind, state.step, state.games, state.events) == ("gone", None, (), ())
    begin_run(run.path, steps=3, config="train: {steps: 7}\n")
    state = run_source.look()
    assert (state.step, state.planned_steps, steps(state)) == (3, 7, [1, 2, 3])


def test_the_configuration_may_come_later_than_the_steps(run_source, run, clock):
    run.config.unlink()
    source = RunSource(run.path, WatchOptions(clock=clock))
    assert (source.look().policy, source.look().planned_steps) == (None, None)
    run.config.write_text("balance: {policy: auto}\nloss: {adversarial: {form: hinge}}\n")
    state = source.look()
    assert (state.policy, state.games[0].whole.policy) == ("auto", "auto")
    assert state.games[0].whole.objective == "hinge"
    asked = RunSource(run.path, WatchOptions("wgan", clock=clock)).look()
    assert asked.games[0].whole.objective == "wgan"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.log"


@pytest.fixture
def source(path, clock):
    return LogSource(path, WatchOptions(clock=clock))


def findings(state):
    return state.games[0].diagnosis.findings


@pytest.mark.parametrize("log", sorted(SEED.glob("*.log")), ids=lambda log: log.stem)
def test_a_log_that_is_written_line_by_line_is_judged_as_the_whole(source, path, log):
    text = log.read_text(encoding="utf-8")
    for start in range(0, len(text), 77):  # in pieces that tear lines
        append(path, text[start : start + 77])
        state = source.look()
    (trace,) = read_log(log)
    expected = diagnose(trace)
    assert state.step == expected.last_step
    assert findings(state) == expected.findings
    assert state.games[0].whole.steps.tolist() == trace.steps.tolist()


@pytest.mark.parametrize(
    "text", ["installing things\n", "step: 1 lr: 0.1\nstep: 2 lr: 0.1\n", '{"note": "\\u6f22"}\n']
)
def test_a_log_whose_lines_are_not_known(source, path, text):
    append(path, text)
    assert source.look().status.kind == "unknown"
    assert "d_loss" in source.look().status.text
    if not text.startswith(("step", "{")):
        append(path, *seed_lines())
        assert source.look().status.kind == "running"


@pytest.mark.parametrize("rotated", [False, True])
def test_a_log_that_is_cut_or_rotated_begins_anew(source, path, rotated):
    append(path, *seed_lines("bce_epoch3"))
    assert source.look().step == 21276
    if rotated:
        path.rename(path.with_suffix(".1"))
    else:
        path.write_text("")
    state = source.look()
    assert (state.status.kind, state.step) == ("gone" if rotated else "starting", None)
    assert state.games == ()
    append(path, *seed_lines("mse_epoch1"))
    state = source.look()
    assert state.step == 1200
    assert "lsgan-on-sigmoid" in {finding.id for finding in findings(state)}


def test_a_log_that_stops_is_stale_and_its_pace_is_measured(source, path, clock):
    append(path, *seed_lines()[:20])
    first = source.look().step
    append(path, *seed_lines()[20:])
    clock.now += 30
    state = source.look()
    assert state.steps_per_second == pytest.approx((21276 - first) / 30, rel=0.1)
    clock.now = path.stat().st_mtime + 200
    assert source.look().status.text == "no new line for 3 min: ended, or hangs"


def write_events(folder, steps, suffix="", writer=None, **values):
    from torch.utils.tensorboard.writer import SummaryWriter

    writer = writer or SummaryWriter(str(folder), filename_suffix=suffix)
    for step in steps:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
    writer.flush()
    return writer


def test_an_event_file_is_followed_as_it_grows(tmp_path, clock):
    writer = write_events(tmp_path / "logs", range(1, 4), d_loss=1.3, g_loss=0.7)
    source = open_source(tmp_path, WatchOptions(clock=clock))
    state = source.look()
    assert state.step == 3
    assert state.games[0].whole.columns["d_loss"].tolist() == pytest.approx([1.3] * 3)
    write_events(tmp_path / "logs", [4], writer=writer, d_loss=1.2, g_loss=0.8)
    writer.close()
    state = source.look()
    assert (state.step, state.games[0].diagnosis.rows) == (4, 4)
    source.path.unlink()
    assert source.look().status.text == "the file is gone: waits for it to come back"


def test_the_newest_event_file_of_a_folder_is_the_one(tmp_path):
    write_events(tmp_path, [1], suffix=".new", d_loss=1.0, g_loss=1.0).close()
    write_events(tmp_path, range(1, 4), suffix=".old", d_loss=1.3, g_loss=0.7).close()
    os.utime(next(tmp_path.glob("*.old")), (0, 0))
    assert open_source(tmp_path, WatchOptions()).path.suffix == ".new"
