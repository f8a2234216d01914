"""Logs that broke their reader once, or were made to: what fuzzing found stays found."""

import io
import json
import math
import os
import re
import sys

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError, one_line
from counterpoise.logs import folders, runs, text
from counterpoise.logs.formats import NUMBER, PAIR
from counterpoise.logs.read import read_log
from counterpoise.pages.page import page
from counterpoise.pages.run import log_run

EVENT = "events.out.tfevents.1"


def read(content: str):
    return read_log(io.StringIO(content))


def test_numbers_too_large_for_a_float_are_infinite():
    (trace,) = read(
        "".join(f'{{"step": {n}, "d_loss": {sign}{10**400}}}\n' for n, sign in ((1, ""), (2, "-")))
    )
    assert trace.non_finite == ((1, "d_loss"), (2, "d_loss"))
    row = {"stage": "train", "g_terms": {"adversarial": 10**400}, "d_loss": 1.0, "step": 3}
    (trace,) = read(json.dumps(row) + "\n")
    assert trace.non_finite == ((3, "g_adversarial"),)


@pytest.mark.parametrize("listed", ["1", "null", '"d_loss"', "{}"])
def test_a_list_of_non_finite_values_that_is_none(listed):
    (trace,) = read(
        '{"step": 1, "stage": "x", "g_terms": {}, "d_loss": 1, "non_finite": ' + listed + "}\n"
    )
    assert trace.non_finite == ()


@pytest.mark.parametrize("kimg", ["NaN", "1e400", "-Infinity", "1e300"])
def test_thousands_of_images_that_are_no_number(kimg):
    (trace,) = read(f'{{"Progress/kimg": {kimg}, "Loss/D/loss": 0.5}}\n')
    assert trace.columns["d_loss"].tolist() == [0.5]


def test_a_template_is_matched_without_going_back():
    """Before, forty numbers with letters between them took for ever."""
    place = "Epoch 1/5 - Step: {}/9 Loss_D: 0.5 "
    lines = [place.format(1) + "1a" * 40, *(place.format(n) + "1a" * 39 + "!" for n in (2, 3))]
    (trace,) = read("\n".join(lines) + "\n")
    assert trace.columns["d_loss"].tolist() == [0.5] * 3


@pytest.mark.parametrize("unit", ["a", "a ", "step ", "a.", "1", "1,", "a: 1", "\x1b]", "\x1b["])
@pytest.mark.parametrize("pattern", [PAIR, text._ANSI])
def test_a_line_costs_no_more_than_its_length(pattern, unit):
    """These cost quadratic time once: half an hour for such a line."""
    line = "a: " + unit * (200_000 // len(unit))
    assert len(list(pattern.finditer(line))) <= len(line) // len(unit)


@pytest.mark.parametrize("line", ["1", "-1.5e-3", "1,000.5", ".5", "5.", "nan", "-inf", "Infinity"])
def test_numbers_are_whole(line):
    assert re.fullmatch(NUMBER, line, re.IGNORECASE)
    found = PAIR.search(f"Loss_D: {line}, x")
    assert found is not None
    assert found["number"] == line


def test_kinds_of_lines_and_names_without_end_fill_no_memory():
    reader = text.TextReader("x", None, {})
    reader.feed(
        f"Epoch 1/5 - Step: {n}/99999 Loss_D: 1 name{'x' * (n % 50)}{chr(97 + n % 26)}q{n}: 2\n"
        for n in range(6000)
    )
    assert len(reader._templates) <= text.MOST_TEMPLATES
    assert len(reader._names) <= text.MOST_NAMES
    assert reader.collectors()[0].last_step == 5999


def test_only_the_last_of_many_runs_are_kept():
    lines = (f"step: {2 - n % 2} Loss_D: {n}\n" for n in range(1000))
    traces = read("".join(lines))
    assert len(traces) == runs.MOST_RUNS
    assert traces[-1].title == "run 501 of 501"
    assert traces[-1].columns["d_loss"].tolist() == [999]
    assert "steps begin anew 501 times: only the last 64 are judged" in traces[0].notes


def test_a_long_line_is_torn_once():
    (trace,) = read("Loss_D: 1 Loss_G: 2\n" * 9 + ("Loss_D: 1 " + "x" * 70_000) * 4)
    assert trace.notes.count(text.TORN) == 1


def write_events(path, summaries):
    """An event file of (step, summary value)s."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    with path.open("wb") as file:
        writer = RecordWriter(file)
        for step, options in summaries:
            value = Summary.Value(tag="Loss/D", **options)
            writer.write(Event(step=step, summary=Summary(value=[value])).SerializeToString())


def test_tensors_that_lie_in_event_files(tmp_path):
    shape = {"dim": [{"size": 1 << 40}]}
    write_events(
        tmp_path / EVENT,
        [
            (1, {"tensor": {"dtype": 1, "float_val": [0.5]}}),
            (2, {"tensor": {"dtype": 1}}),
            (3, {"tensor": {"dtype": 1, "float_val": [1.0], "tensor_shape": shape}}),
            (4, {"tensor": {"dtype": 2, "tensor_content": b"123"}}),
            (5, {"tensor": {"dtype": 2, "double_val": [0.25]}}),
            (6, {"simple_value": 0.125}),
        ],
    )
    (trace,) = read_log(tmp_path)
    assert dict(zip(trace.steps.tolist(), trace.columns["d_loss"].tolist(), strict=True)) == {
        1: 0.5,
        5: 0.25,
        6: 0.125,
    }


def test_an_event_file_without_end_is_sampled_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MOST_EVENT_STEPS", 200)
    write_events(tmp_path / EVENT, [(100 * n, {"simple_value": float(n)}) for n in range(1500)])
    (trace,) = read_log(tmp_path)
    assert 90 < len(trace) <= 200
    assert max(b - a for a, b in zip(trace.steps, trace.steps[1:], strict=False)) < 8000
    assert any("so many steps" in note for note in trace.notes)


def test_a_pipe_is_read_whole(tmp_path):
    """`diagnose <(cat log)`: what was read to tell the format must not be lost."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        file.write("".join(f"step: {n} Loss_D: 0.5\n" for n in range(1500)))
    try:
        (trace,) = read_log(folders.Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
    assert trace.rows_read == 1500


def test_standard_input_may_hold_any_bytes(counterpoise, monkeypatch):
    data = b"\xff\xe4 Loss_D: 1\n" + b"Loss_D: 0.5 Loss_G: 1\n" * 9
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    code, out, err = counterpoise("diagnose", "-", "--json")
    assert code in (0, 1)
    assert json.loads(out)["rows"] == 10
    assert err == ""


def test_names_that_do_not_print(tmp_path, counterpoise):
    path = tmp_path / os.fsdecode(b"a\xff\x1b[31m\n<script>.log")
    path.write_text("Loss_D: 0.5 Loss_G: 1\n" * 9, encoding="utf-8")
    page = tmp_path / "page.html"
    code, out, _ = counterpoise("diagnose", str(path), "--html", str(page))
    assert code in (0, 1)
    assert "\x1b" not in out
    assert "<script>.log" not in page.read_text(encoding="utf-8")
    code, _, err = counterpoise("diagnose", str(path) + "x")
    assert code == 2
    assert err.count("\n") == 1


def test_one_line():
    assert one_line("a b\u00fc") == "a b\u00fc"
    assert one_line("a\nb\udcff\x1b[31m") == "a\\nb\\udcff\\x1b[31m"
    assert len(one_line("x" * 100_000)) < 4000
    assert str(UserError("a\nb")) == "a\\nb"


def test_a_page_holds_no_script_from_anywhere(tmp_path):
    script = "<script>document.title=1</script>"
    (tmp_path / "run").mkdir()
    rows = [
        {"step": n, "stage": script, "d_loss": 0.1, "g_terms": {script: 1.0, "adversarial": 2.0}}
        for n in range(20)
    ]
    (tmp_path / "run" / "signals.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    (tmp_path / "run" / "config.yaml").write_text(
        json.dumps({"balance": {"policy": script}}), encoding="utf-8"
    )
    (trace,) = read_log(tmp_path / "run")
    html = page([log_run(trace.source, [(trace, diagnose(trace))])])
    assert trace.policy == script
    assert script not in html


def test_a_brackets_bomb_as_a_runs_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text("[" * 100_000, encoding="utf-8")
    (tmp_path / "signals.jsonl").write_text('{"step": 1, "d_loss": 0.5}\n', encoding="utf-8")
    (trace,) = read_log(tmp_path)
    assert trace.policy is None
    assert math.isclose(trace.columns["d_loss"][0], 0.5)


def test_an_event_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / EVENT)
    with pytest.raises(UserError, match=r"cannot be read \(not a regular file\)"):
        read_log(tmp_path / EVENT)
