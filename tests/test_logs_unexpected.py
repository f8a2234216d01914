"""Logs with something in them that nobody expects, and logs of no format."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import UserError
from counterpoise.logs.json_reader import JsonReader
from counterpoise.logs.read import read_log
from log_helpers import SEED_LINE, one, read, rows

NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\n\r{[,;\t"), max_size=60).filter(
    lambda s: ":" not in s and "=" not in s
)


@settings(max_examples=60)
@given(noise=st.lists(NOISE, max_size=6))
def test_noise_between_the_lines_changes_nothing(noise):
    lines = [SEED_LINE.format(epoch=1, step=n) for n in range(1, 4)]
    clean = rows(one("".join(lines)))
    mixed = lines[0] + "".join(f"{text}\n" for text in noise) + lines[1] + lines[2]
    assert rows(one(mixed)) == clean


PIECES = st.sampled_from(
    [
        "Epoch 1/5 - Step: ",
        "[0/5][1/9]",
        "Loss D: ",
        "d_loss=",
        "nan",
        "1e999",
        "-",
        "/",
        "0.5",
        " ",
        "\r",
        "\n",
        "{",
        '"d_loss": ',
        "}",
        ",",
        "\t",
        "iter:",
        "999999999999999999999999",
        "\x1b[1m",
        "inf",
        "D(G(z)): ",
        "Epoch 2/3\n",
        "g_loss",
        "d_loss",
        "<epoch: 1, iter: 5>",
        "12/100 [=",
    ]
)


@settings(max_examples=300)
@given(text=st.text(max_size=400) | st.lists(PIECES, max_size=40).map("".join))
def test_any_text_is_read_or_refused_in_one_line(text):
    try:
        traces = read(text)
    except UserError as error:
        message = str(error)
        traces = []
    else:
        message = ""
    assert bool(message) != bool(traces)
    assert "\n" not in message
    for trace in traces:
        assert len(trace)
        assert all(not math.isinf(x) for column in trace.columns.values() for x in column)


def test_a_file_that_is_not_there_anymore(tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    path.write_text("x")
    monkeypatch.setattr(
        Path, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    with pytest.raises(UserError, match="cannot be read"):
        read_log(path)


def test_dcgan_lines_behind_a_loggers_prefix():
    line = "2024-01-01 10:00:00 INFO: [1/5][50/1583]\tLoss_D: 0.4\tLoss_G: 5.1\tD(x): 0.9\n"
    assert rows(one(line)) == [(1633, {"d_loss": 0.4, "g_loss": 5.1, "d_real": 0.9})]


def test_neosrs_lines():
    line = (
        "[ epoch:   0 ] [ iter:  {} ] [ eta: 1:00:00 ] l_g_gan: 0.5 out_d_real: 2 out_d_fake: -1\n"
    )
    trace = one("".join(line.format(n) for n in ("   100", "   200", " 1,100")))
    assert trace.format == "basicsr"
    assert list(trace.steps) == [100, 200, 1100]
    expected = {"g_adversarial": 0.5, "real_logit_mean": 2.0, "fake_logit_mean": -1.0}
    assert rows(trace)[2] == (1100, expected)


def test_a_printed_config_is_no_row():
    text = "lr_d: 0.0002\nacc: 3\ng_loss: 1\n" + SEED_LINE.format(epoch=1, step=5)
    assert [step for step, _ in rows(one(text))] == [5]


def test_epochs_and_batches_of_a_table_are_one_run():
    text = "epoch,batch,d_loss\n" + "".join(
        f"{epoch},{batch},0.5\n" for epoch in range(3) for batch in (0, 10, 20)
    )
    trace = one(text)
    assert list(trace.steps) == [0, 10, 20, 21, 31, 41, 42, 52, 62]
    assert "the length of an epoch is not printed" in trace.notes[0]
    # Steps that go on over the epochs count over the whole training.
    text = "epoch,step,d_loss\n0,10,1\n0,20,1\n1,30,1\n1,40,1\n"
    assert list(one(text).steps) == [10, 20, 30, 40]
    assert not one(text).notes


def test_a_torn_last_line_is_left_out():
    text = SEED_LINE.format(epoch=1, step=1) + SEED_LINE.format(epoch=1, step=2)
    trace = one(text + "Epoch 1/5 - Step: 3/100  Loss G: 3.5  Loss D: 0.")
    assert list(trace.steps) == [1, 2]
    assert trace.notes == ("the last line is torn: left out",)
    # A whole last line without its end is kept.
    assert len(one(text.splitlines()[0])) == 1


def test_keras_gans_lines_begin_with_their_step():
    line = "{} [D loss: 0.5, acc.: 43.75%] [G loss: 1.5]\n"
    trace = one("".join(line.format(n) for n in (0, 50, 100)))
    assert rows(trace)[1] == (50, {"d_loss": 0.5, "d_accuracy": 0.4375, "g_loss": 1.5})


@pytest.mark.parametrize(
    "text",
    [
        '"step","d_loss"\n"10","0.5"\n"20","0.25"\n',
        "step;d_loss\n10;0,5\n20;0,25\n",
        '[\n{"step": 10, "d_loss": 0.5},\n{"step": 20, "d_loss": 0.25}\n]\n',
        '[{"step": 10, "d_loss": 0.5}, {"step": 20, "d_loss": 0.25}]',
        "{'step': 10, 'd_loss': 0.5}\n{'step': 20, 'd_loss': 0.25}\n",
        "step  d_loss\n10  0.5\n20  0.25\n",
    ],
)
def test_tables_in_other_clothes(text):
    assert rows(one(text)) == [(10, {"d_loss": 0.5}), (20, {"d_loss": 0.25})]


def test_a_single_column():
    assert [v for _, v in rows(one("d_loss\n0.5\n0.25\n"))] == [{"d_loss": 0.5}, {"d_loss": 0.25}]


def test_learning_rates_alone_are_no_log_of_a_game():
    with pytest.raises(UserError, match="no losses or outputs of D"):
        read("lr_d: 0.1\n")


def test_lines_without_a_step_are_counted_and_it_says_so():
    trace = one("loss_d: 0.5 loss_g: 1\nloss_d: 0.25 loss_g: 1\n")
    assert list(trace.steps) == [0, 1]
    assert "do not say their step" in trace.notes[0]


def test_a_line_with_a_word_for_a_number_is_another_line():
    good = SEED_LINE.format(epoch=1, step=1)
    odd = good.replace("3.5", "none").replace("Step: 1/", "Step: x/")
    half = good.replace("3.5", "none").replace("Step: 1/", "Step: 2/")
    trace = one(good + odd + half + SEED_LINE.format(epoch=1, step=3))
    assert list(trace.steps) == [1, 2, 3]
    assert np.isnan(trace.get("g_loss")[1])
    assert trace.get("d_loss")[1] == 0.25


@pytest.mark.parametrize(
    "text",
    [
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


def test_values_that_look_like_names_are_no_header():
    text = "NaN infinity\nNaN infinity\n" + SEED_LINE.format(epoch=1, step=1) * 2
    assert one(text).rows_read == 2


def test_passing_over_rows_changes_nothing(tmp_path, monkeypatch):
    """Of a long run a trace keeps one row of many; those it does not keep need no reading."""
    rows = []
    for step in range(1, 301):
        row = {"step": step, "stage": "train", "g_loss": step / 7, "g_terms": {"pixel": step / 7}}
        row |= {"d_loss": 1.0 + step / 1000, "d_real": 0.5}
        row["d_penalty"] = 0.1 if step % 9 == 0 else None
        if step == 201:
            row |= {"d_real": None, "non_finite": ["d_real"]}
        if step % 10 == 0:
            row["auc_quantised"] = 0.75
        if step % 30 == 0:  # as where D is trained in one of three steps
            row |= {"d_gradient_norm": 1.0, "action": {"d_steps": 2, "reason": "D leads"}}
        if step % 7 == 0:
            row["g_gradient_norm"] = 2.0
        rows.append(row)
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    lines[119] = json.dumps(rows[119])  # as earlier versions wrote them
    lines[140] = lines[140][:40]
    rows_again = [json.dumps(row) for row in rows[249:]]  # steps fall: another run
    path = tmp_path / "signals.jsonl"
    path.write_text("\n".join([*lines, *rows_again]) + "\n", encoding="utf-8")
    monkeypatch.setattr("counterpoise.trace.MOST_ROWS", 16)
    passed = []
    read = JsonReader._passes_over

    def watched(self, line):
        passed.append(read(self, line))
        return passed[-1]

    monkeypatch.setattr(JsonReader, "_passes_over", watched)
    some = read_log(path)
    monkeypatch.setattr(JsonReader, "_passes_over", lambda self, line: False)
    whole = read_log(path)
    assert sum(passed) > 200
    assert len(some) == len(whole) == 2
    for a, b in zip(some, whole, strict=True):
        assert a.steps.tolist() == b.steps.tolist()
        assert a.columns.keys() == b.columns.keys()
        assert all(np.array_equal(a.get(n), b.get(n), equal_nan=True) for n in a.columns)
        assert (a.rows_read, a.non_finite, a.notes) == (b.rows_read, b.non_finite, b.notes)
