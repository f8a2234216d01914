"""Anybody's log is judged as it grows, as it would be at once."""

import gc
import json
from pathlib import Path

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.logs.read import read_log
from counterpoise.trace import TraceBuilder
from counterpoise.watching.log_source import EventFilesSource, LogSource
from counterpoise.watching.options import WatchOptions
from watching_helpers import SEED, Clock, append, seed_lines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train.log"


@pytest.fixture
def clock(tmp_path):
    probe = tmp_path / "probe"
    probe.touch()
    return Clock(probe.stat().st_mtime)


@pytest.fixture
def source(path, clock):
    return LogSource(path, WatchOptions(clock=clock))


def look(source):
    source.poll()
    return source.state(judge_now=True)


def findings(state):
    return state.games[0].diagnosis.findings


@pytest.mark.parametrize("log", sorted(SEED.glob("*.log")), ids=lambda log: log.stem)
def test_a_log_that_is_written_line_by_line_is_judged_as_the_whole(source, path, log):
    text = log.read_text(encoding="utf-8")
    for start in range(0, len(text), 77):  # in pieces that tear lines
        append(path, text[start : start + 77])
        state = look(source)
    (trace,) = read_log(log)
    expected = diagnose(trace)
    assert state.step == expected.last_step
    assert findings(state) == expected.findings
    assert state.games[0].whole.steps.tolist() == trace.steps.tolist()


def test_a_log_whose_lines_are_not_known(source, path):
    append(path, "installing things\n")
    assert look(source).status.kind == "unknown"
    assert "--map errD=d_loss" in look(source).status.text
    append(path, *seed_lines())
    assert look(source).status.kind == "running"


def test_a_log_of_nothing_but_learning_rates_tells_nothing(source, path):
    append(path, "step: 1 lr: 0.1\n", "step: 2 lr: 0.1\n")
    assert look(source).status.kind == "unknown"


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_log_in_which_nothing_stands_yet(source, path, text):
    append(path, text)
    assert look(source).status.text == "starting: no step yet"


def test_columns_are_known_by_the_names_that_are_given(path, clock):
    mapping = {"errd": "d_loss", "errg": "g_loss"}
    source = LogSource(path, WatchOptions("hinge", mapping, clock=clock))
    append(path, *(f"step: {s} errD: 1.0 errG: 0.5\n" for s in range(1, 5)))
    (game,) = look(source).games
    assert game.whole.columns["d_loss"].tolist() == [1.0] * 4
    assert game.whole.objective == "hinge"


def test_a_log_that_is_cut_begins_anew(source, path):
    append(path, *seed_lines("bce_epoch3"))
    assert look(source).step == 21276
    path.write_text("")
    state = look(source)
    assert (state.status.kind, state.step, state.games) == ("starting", None, ())
    append(path, *seed_lines("mse_epoch1"))
    state = look(source)
    assert state.step == 1200
    assert "lsgan-on-sigmoid" in {finding.id for finding in findings(state)}


def test_a_log_that_is_rotated_is_waited_for(source, path):
    append(path, *seed_lines())
    look(source)
    path.rename(path.with_suffix(".1"))
    state = look(source)
    assert state.status.text == "the file is gone: waits for it to come back"
    append(path, *seed_lines("mse_epoch1"))
    assert (look(source).status.kind, look(source).step) == ("running", 1200)


def test_a_log_that_becomes_a_binary_file_and_a_log_again(source, path):
    append(path, *seed_lines())
    look(source)
    path.write_bytes(b"\x7fELF\0\1")
    state = look(source)
    assert state.status.kind == "unreadable"
    assert state.status.text == "a binary file, not a log; give a text log or a run folder"
    path.write_text("".join(seed_lines()))
    assert look(source).status.kind == "running"


def test_a_log_that_is_emptied_while_its_program_writes_on(source, path):
    path.write_bytes(b"\0" * 5000 + "".join(seed_lines()).encode())
    assert (look(source).status.kind, look(source).step) == ("running", 21276)


def test_a_table_without_a_known_column_is_said_as_diagnose_says_it(source, path):
    append(path, "foo,bar\n1,2\n")
    state = look(source)
    assert state.status.kind == "unreadable"
    assert state.status.text.startswith("no known column in its header (foo, bar)")
    append(path, "3,4\n")
    assert look(source).status == state.status


def test_json_lines_and_a_second_training_in_the_same_file(source, path):
    rows = [{"step": s, "d_loss": 1.3, "g_loss": 0.7, "d_real": 0.5} for s in range(1, 6)]
    append(path, *rows)
    assert look(source).games[0].title == ""
    append(path, *rows[:2])
    state = look(source)
    assert (state.step, state.games[0].title) == (2, "run 2 of 2")


def test_trainings_that_are_past_take_no_room(source, path):
    lines = [f"step: {step} d_loss: 1.3 g_loss: 0.7\n" for step in (3, 3, 2, 2, 1, 1)]
    for _ in range(20):
        append(path, *lines * 10)
        state = look(source)
    assert state.games[0].title == "run 401 of 401"  # it falls twice in each of 200 times
    gc.collect()
    builders = [item for item in gc.get_objects() if type(item) is TraceBuilder]
    assert len([item for item in builders if item.source == str(path)]) < 5


def test_a_log_of_two_pairs_of_networks_has_two_games(source, path):
    line = "(epoch: 1, iters: {0}, time: 0.1) D_A: 0.2 G_A: 0.3 cycle_A: 1 D_B: 0.3 G_B: 0.4\n"
    append(path, *(line.format(100 * s) for s in range(1, 6)))
    assert [game.title for game in look(source).games] == ["A", "B"]


def test_a_log_that_stops_is_stale_and_its_pace_is_measured(source, path, clock):
    append(path, *seed_lines()[:20])
    first = look(source).step
    append(path, *seed_lines()[20:])
    clock.now += 30
    state = look(source)
    assert state.steps_per_second == pytest.approx((21276 - first) / 30, rel=0.1)
    clock.now = path.stat().st_mtime + 200
    assert look(source).status.text == "no new line for 3 min: ended, or hangs"


@pytest.fixture
def write_events():
    writer_module = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    def write(folder, steps, suffix="", writer=None, **values):
        writer = writer or writer_module.EventFileWriter(str(folder), filename_suffix=suffix)
        for step in steps:
            scalars = [Summary.Value(tag=name, simple_value=v) for name, v in values.items()]
            writer.add_event(Event(step=step, summary=Summary(value=scalars)))
        writer.flush()
        return writer

    return write


def test_event_files_are_followed_as_they_grow(tmp_path, clock, write_events):
    source = EventFilesSource(tmp_path, WatchOptions(clock=clock))
    assert look(source).status.text == "the file is gone: waits for it to come back"
    writer = write_events(tmp_path / "logs", range(1, 4), d_loss=1.3, g_loss=0.7)
    clock.now += 10
    state = look(source)
    assert (state.step, state.games[0].whole.columns["d_loss"].tolist()) == (
        3,
        pytest.approx([1.3] * 3),
    )
    assert state.notes[-1].startswith("follows logs/events.out.tfevents")
    write_events(tmp_path / "logs", [4], writer=writer, d_loss=1.2, g_loss=0.8)
    writer.close()
    state = look(source)
    assert (state.step, state.games[0].diagnosis.rows) == (4, 4)


def test_the_newest_event_file_is_the_one(tmp_path, clock, write_events):
    write_events(tmp_path, range(1, 4), d_loss=1.3, g_loss=0.7).close()
    source = EventFilesSource(tmp_path, WatchOptions(clock=clock))
    assert look(source).step == 3
    write_events(tmp_path, [1], suffix=".new", d_loss=1.0, g_loss=1.0).close()
    clock.now += EventFilesSource.LOOK_SECONDS + 1
    state = look(source)
    assert (state.step, state.notes[-1].endswith(".new, the newest event file")) == (1, True)
    for file in tmp_path.glob("events*"):
        file.unlink()
    assert look(source).status.kind == "gone"


def test_one_event_file_needs_no_note(tmp_path, clock, write_events):
    write_events(tmp_path, [1], d_loss=1.0, g_loss=1.0).close()
    (file,) = tmp_path.glob("events*")
    state = look(EventFilesSource(file, WatchOptions(clock=clock)))
    assert (state.step, state.notes) == (1, ())


def test_what_is_read_does_not_depend_on_the_language_of_a_line(source, path):
    append(path, json.dumps({"note": "漢"}) + "\n")
    assert look(source).status.kind == "unknown"
    assert Path(look(source).source) == path
