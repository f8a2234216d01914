"""Logs that broke their reader once, or were made to: what fuzzing found stays found."""

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.logs import lines, runs, text
from counterpoise.logs.formats import PAIR
from counterpoise.logs.read import read_log
from helpers import one_line
from log_helpers import SEED_LINE, one, read, rows

EVENT = "events.out.tfevents.1"
NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r{[,;\t"), max_size=60).filter(
    lambda s: ":" not in s and "=" not in s
)


@settings(max_examples=40)
@given(noise=st.lists(NOISE, max_size=6))
def test_noise_between_the_lines_changes_nothing(noise):
    lines = [SEED_LINE.format(epoch=1, step=n) for n in range(1, 4)]
    clean = rows(one("".join(lines)))
    mixed = lines[0] + "".join(f"{text}\n" for text in noise) + lines[1] + lines[2]
    assert rows(one(mixed)) == clean


def test_numbers_too_large_for_a_float_are_infinite():
    numbers = (f'{{"step": {n}, "d_loss": {sign}{10**400}}}\n' for n, sign in ((1, ""), (2, "-")))
    assert one("".join(numbers)).non_finite == ((1, "d_loss"), (2, "d_loss"))


@pytest.mark.parametrize(
    "text",
    [
        *(f'{{"Progress/kimg": {n}, "Loss/D/loss": 0.5}}\n' for n in ("NaN", "-Infinity", "1e300")),
        "[0/5][1/4,00]\tLoss_D: 0.5\n[0/5][2/4,00]\tLoss_D: 0.5\n",
        "[epoch:  0, iter: ,,, lr:(1e-4,)] l_g_gan: 0.5\n",
        "step: 99999999999999999999999 d_loss: 0.5\n",
        "[900000000000000/5][1/900000000000000]\tLoss_D: 0.5\n",
        'step,d_loss\n1,0.5\n"2,0.5\r\n3,0.5\n',
        "epoch: 3 d_loss: 0.5\nd_loss: 0.25\nepoch: 3 step: 1 d_loss: 0.125\n",
    ],
)
def test_numbers_that_are_none_break_nothing(text):
    for trace in read(text):
        assert (np.diff(trace.steps) >= 0).all()


@pytest.mark.parametrize("unit", ["a", "a ", "step ", "a.", "1", "1,", "a: 1", "\x1b]", "\x1b["])
@pytest.mark.parametrize("pattern", [PAIR, lines._ANSI])
def test_a_line_costs_no_more_than_its_length(pattern, unit):
    """These cost quadratic time once: half an hour for such a line."""
    line = "a: " + unit * (200_000 // len(unit))
    assert len(list(pattern.finditer(line))) <= len(line) // len(unit)


def test_names_without_end_fill_no_memory():
    reader = text.TextReader({})
    reader.feed(f"Epoch 1/5 - Step: {n}/99999 Loss_D: 1 name{n}: 2\n" for n in range(6000))
    assert reader._name.cache_info().currsize <= text.NAMES_KEPT
    assert len(reader.unknown_names) <= 32
    assert reader.collectors()[0].last_step == 5999


def test_only_the_last_of_many_runs_are_kept():
    traces = read("".join(f"step: {2 - n % 2} Loss_D: {n}\n" for n in range(1000)))
    assert len(traces) == runs.RUNS_KEPT
    assert traces[-1].title == "run 501 of 501"
    assert traces[-1].columns["d_loss"].tolist() == [999]
    assert any("501 times" in note for note in traces[0].notes)


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


def test_what_is_no_number_in_event_files(tmp_path):
    write_events(
        tmp_path / EVENT,
        [
            (1, {"tensor": {"dtype": 1, "float_val": [0.5]}}),
            (4, {"tensor": {"dtype": 2, "tensor_content": b"123"}}),
            (6, {"simple_value": 0.125}),
            (7, {"tensor": {"dtype": 7, "string_val": [b"text"]}}),
        ],
    )
    (trace,) = read_log(tmp_path)
    assert rows(trace) == [(step, {"d_loss": d}) for step, d in ((1, 0.5), (6, 0.125))]


def test_a_pipe_is_read_whole():
    """`diagnose <(cat log)`: what was read to tell the format must not be lost."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        file.write("".join(f"step: {n} Loss_D: 0.5\n" for n in range(1500)))
    try:
        (trace,) = read_log(Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
    assert trace.rows_read == 1500


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_standard_input_may_hold_any_bytes(counterpoise, monkeypatch, encoding):
    data = ("\udcff Loss_D: 1\r\n" + "Loss_D: 0.5 Loss_G: 1\r\n" * 9).encode(encoding, "replace")
    data = data.replace(b"?", b"\xff") if encoding == "utf-8" else data
    stream = io.BufferedReader(io.BytesIO(data))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream, encoding="utf-8"))
    code, out, err = counterpoise("diagnose", "-", "--json")
    assert code in (0, 1, 3)
    assert json.loads(out)["rows"] == 10
    assert err == ""


def test_names_that_do_not_print(tmp_path, counterpoise):
    path = tmp_path / os.fsdecode(b"a\xff\x1b[31m\n<script>.log")
    path.write_text("Loss_D: 0.5 Loss_G: 1\n" * 9, encoding="utf-8")
    page = tmp_path / "page.html"
    code, out, _ = counterpoise("diagnose", str(path), "--html", str(page))
    assert code in (0, 1, 3)
    assert "\x1b" not in out
    assert "<script>.log" not in page.read_text(encoding="utf-8")
    one_line(counterpoise("diagnose", str(path) + "x"))
