"""Logs of every known format, and of none."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import UserError
from counterpoise.logs.read import read_log
from counterpoise.logs.tables import JsonReader
from counterpoise.trace import MOST_ROWS

SEED_LINE = (
    "Epoch {epoch}/5 - Step: {step}/100  Loss G: 3.5  Loss D: 0.25  D(x): 0.75  "
    "D(G(z)): 0.125 / 0.0625\nTime for the last step: 51.55 s    Epoch ETA: 01:04:13\n"
)
BASICSR = """2021-01-01 12:00:00,123 INFO: [train..][epoch:  0, iter:   1,000, lr:(1.000e-04,)] \
[eta: 5 days, 1:02:03, time (data): 0.500 (0.002)] l_g_pix: 2.0e-02 l_g_percep: 1.0e+00 \
l_g_gan: 5.0e-01 l_d_real: 6.0e-01 out_d_real: 2.0e-01 l_d_fake: 7.0e-01 out_d_fake: -1.0e-01
2021-01-01 12:01:00,123 INFO: [train..][epoch:  0, iter:   1,100, lr:(1.000e-04,)] \
[eta: 5 days, 1:02:03, time (data): 0.500 (0.002)] l_g_pix: 2.0e-02 l_g_percep: 1.0e+00 \
l_g_gan: 5.5e-01 l_d_real: 6.0e-01 out_d_real: 2.0e-01 l_d_fake: nan out_d_fake: -1.0e-01
"""


def read(text, **options):
    return read_log(io.StringIO(text), **options)


def one(text, **options):
    (trace,) = read(text, **options)
    return trace


def rows(trace):
    """The rows as (step, values)."""
    columns = trace.columns
    return [
        (int(step), {n: float(c[row]) for n, c in columns.items() if np.isfinite(c[row])})
        for row, step in enumerate(trace.steps)
    ]


def test_the_questions_format():
    trace = one(SEED_LINE.format(epoch=2, step=10) + SEED_LINE.format(epoch=3, step=0))
    assert trace.format == "epoch-step"
    expected = {
        "g_loss": 3.5,
        "d_loss": 0.25,
        "d_real": 0.75,
        "d_fake_before": 0.125,
        "d_fake_after": 0.0625,
    }
    assert rows(trace) == [(110, expected), (200, expected)]


def test_the_dcgan_tutorials_format():
    line = "[{}/5][{}/1583]\tLoss_D: 0.4\tLoss_G: 5.1\tD(x): 0.9\tD(G(z)): 0.1 / 0.02\n"
    trace = one("Starting Training Loop...\n" + line.format(0, 50) + line.format(1, 0))
    assert [step for step, _ in rows(trace)] == [50, 1583]
    assert rows(trace)[0][1] == {
        "d_loss": 0.4,
        "g_loss": 5.1,
        "d_real": 0.9,
        "d_fake_before": 0.1,
        "d_fake_after": 0.02,
    }


def test_pytorch_gans_formats():
    trace = one("[Epoch 1/200] [Batch 7/938] [D loss: 0.5] [G loss: 1.25]\n")
    assert rows(trace) == [(945, {"d_loss": 0.5, "g_loss": 1.25})]
    trace = one("[Epoch 0/200] [Batch 7/938] [D loss: 0.5, acc: 75%] [G loss: 1.25]\n")
    assert rows(trace) == [(7, {"d_loss": 0.5, "d_accuracy": 0.75, "g_loss": 1.25})]
    line = "[Epoch 0/9] [Batch 7/938] [D loss: 0.5] [G loss: 3, adv: 1, pixel: 1.5, cycle: 0.5]\n"
    expected = {"d_loss": 0.5, "g_loss": 3.0, "g_adversarial": 1.0, "g_content": 2.0}
    assert rows(one(line)) == [(7, expected)]


def test_basicsrs_format_has_logits_and_terms():
    trace = one(BASICSR)
    assert trace.format == "basicsr"
    assert rows(trace)[0] == (
        1000,
        {
            "g_content": pytest.approx(1.02),
            "g_adversarial": 0.5,
            "d_loss_real": 0.6,
            "real_logit_mean": 0.2,
            "d_loss_fake": 0.7,
            "fake_logit_mean": -0.1,
        },
    )
    assert trace.non_finite == ((1100, "d_loss_fake"),)


def test_kairs_names_mean_other_things():
    line = (
        "21-06-01 10:00:00.123 : <epoch: 12, iter:   5,000, lr:1.000e-04> G_loss: 1.0e-01 "
        "F_loss: 2.0e+00 D_loss: 3.0e-01 l_d_real: 4.0e-01 l_d_fake: 5.0e-01 D_real: 2.5 "
        "D_fake: -3\n"
    )
    assert rows(one(line)) == [
        (
            5000,
            {
                "g_content": pytest.approx(2.1),
                "g_adversarial": 0.3,
                "d_loss_real": 0.4,
                "d_loss_fake": 0.5,
                "real_logit_mean": 2.5,
                "fake_logit_mean": -3.0,
            },
        )
    ]


def test_pix2pix_prints_losses_where_others_print_outputs():
    line = (
        "(epoch: {}, iters: {}, time: 0.141, data: 0.2) "
        "G_GAN: 1.5 G_L1: 9.25 D_real: 0.25 D_fake: 0.5 \n"
    )
    trace = one(line.format(1, 100) + line.format(1, 200) + line.format(2, 100))
    values = {"g_adversarial": 1.5, "g_content": 9.25, "d_loss_real": 0.25, "d_loss_fake": 0.5}
    assert [v for _, v in rows(trace)] == [values] * 3
    assert trace.steps[0] == 100
    assert (np.diff(trace.steps) > 0).all()


def test_cyclegan_has_two_pairs():
    line = (
        "(epoch: 1, iters: 100, time: 0.1, data: 0.2) D_A: 0.25 G_A: 0.5 cycle_A: 1 idt_A: 2 "
        "D_B: 0.75 G_B: 0.125 cycle_B: 3 idt_B: 4\n"
    )
    first, second = read(line)
    assert (first.title, second.title) == ("A", "B")
    assert rows(first) == [(100, {"d_loss": 0.25, "g_adversarial": 0.5, "g_content": 3.0})]
    assert rows(second) == [(100, {"d_loss": 0.75, "g_adversarial": 0.125, "g_content": 7.0})]


def test_stylegans_stats():
    row = {
        "Loss/scores/real": {"num": 8, "mean": 1.5, "std": 0.1},
        "Loss/scores/fake": {"num": 8, "mean": -0.5, "std": 0.1},
        "Loss/signs/real": {"num": 8, "mean": 0.5, "std": 0.1},
        "Loss/signs/fake": {"num": 8, "mean": -1.0, "std": 0.1},
        "Loss/G/loss": {"num": 8, "mean": 0.75, "std": 0.1},
        "Loss/D/loss": {"num": 8, "mean": 1.25, "std": 0.1},
        "Progress/kimg": {"num": 1, "mean": 4.0, "std": 0},
        "timestamp": 1.0,
    }
    trace = one(json.dumps(row) + "\n")
    assert (trace.format, trace.objective) == ("stylegan-stats", "non-saturating")
    assert rows(trace) == [
        (
            4000,
            {
                "g_loss": 0.75,
                "d_loss": 1.25,
                "real_logit_mean": 1.5,
                "fake_logit_mean": -0.5,
                "d_accuracy_real": 0.75,
                "d_accuracy_fake": 1.0,
            },
        )
    ]


def test_keras_with_progress_bars():
    text = (
        "Epoch 1/3\n"
        "\x1b[1m 1/100\x1b[0m [.......] - ETA: 3s - d_loss: 0.9 - g_loss: 1.5\r"
        "100/100 [=======] - 5s 50ms/step - d_loss: 0.6 - g_loss: 1.2\n"
        "Epoch 2/3\n100/100 [=======] - 5s 50ms/step - d_loss: 0.5 - g_loss: 1.1\n"
    )
    trace = one(text)
    assert trace.format == "keras"
    assert [v["d_loss"] for _, v in rows(trace)] == [0.9, 0.6, 0.5]
    assert list(trace.steps) == [1, 100, 200]


def test_tables():
    text = "epoch,step,errD,errG,note\n0,10,0.5,1.5,x\n0,20,,1.25,y\n0,30,0.75,nan,\n"
    trace = one(text)
    assert rows(trace) == [
        (10, {"d_loss": 0.5, "g_loss": 1.5}),
        (20, {"g_loss": 1.25}),
        (30, {"d_loss": 0.75}),
    ]
    assert trace.non_finite == ((30, "g_loss"),)
    assert rows(one("d_loss\tg_loss\n1\t2\n3\t4\n")) == [
        (0, {"d_loss": 1.0, "g_loss": 2.0}),
        (1, {"d_loss": 3.0, "g_loss": 4.0}),
    ]


def test_two_bare_columns_under_a_header():
    trace = one("some text\nloss_D   loss_G\n0.5  1.5\n0.25 1.75\n")
    assert [v for _, v in rows(trace)] == [
        {"d_loss": 0.5, "g_loss": 1.5},
        {"d_loss": 0.25, "g_loss": 1.75},
    ]


def test_mapping_of_foreign_columns():
    text = "when,loss one,loss two\n5,1,2\n7,3,4\n"
    with pytest.raises(UserError, match="no known column in its header"):
        read(text)
    mapping = {"when": "step", "loss one": "d_loss", "loss two": "g_loss"}
    assert rows(one(text, mapping=mapping))[1] == (7, {"d_loss": 3.0, "g_loss": 4.0})
    with pytest.raises(UserError, match="no column 'dloss'"):
        read(text, mapping={"when": "dloss"})


def test_json_lines_with_a_torn_end():
    trace = one('{"step": 1, "loss/D": 0.5, "g_loss": 2}\n{"step": 2, "loss/D": 0.25}\n{"st')
    assert [v for _, v in rows(trace)] == [{"d_loss": 0.5, "g_loss": 2.0}, {"d_loss": 0.25}]
    assert trace.notes == ("1 line is torn or not a JSON object: left out",)


def test_lines_of_no_known_format():
    text = (
        "INFO 2024-01-01 10:00:01 trainer: epoch=3 step=120 loss_d=0.5 loss_g=1.5 lr=1e-4\n"
        "INFO 2024-01-01 10:00:09 trainer: epoch=3 step=140 loss_d=0.25 loss_g=1.75 lr=1e-4\n"
    )
    trace = one(text)
    assert [v for _, v in rows(trace)] == [
        {"d_loss": 0.5, "g_loss": 1.5},
        {"d_loss": 0.25, "g_loss": 1.75},
    ]
    assert np.diff(trace.steps) == 20


def test_d_and_g_on_lines_of_their_own():
    text = "".join(
        f"step {n}: D loss: 0.{n} D(x): 0.7\nstep {n}: G loss: 1.{n}\n" for n in (1, 2, 3)
    )
    trace = one(text)
    assert rows(trace)[1] == (2, {"d_loss": 0.2, "d_real": 0.7, "g_loss": 1.2})
    assert len(trace) == 3


def test_several_runs_in_one_file():
    text = "".join(
        SEED_LINE.format(epoch=epoch, step=step)
        for epoch, step in ((1, 10), (1, 20), (2, 10), (1, 10), (1, 20))
    )
    first, second = read(text)
    assert (first.title, second.title) == ("run 1 of 2", "run 2 of 2")
    assert list(first.steps) == [10, 20, 110]
    assert list(second.steps) == [10, 20]


def test_a_run_folder_of_ours(tmp_path):
    config = "loss: {adversarial: {form: hinge}}\nbalance: {policy: threshold}\n"
    (tmp_path / "config.yaml").write_text(config)
    row = {
        "step": 5,
        "stage": "train",
        "g_loss": 2.0,
        "g_terms": {"adversarial": 0.5, "pixel": 1.5},
    }
    d_part = {"d_loss": 1.0, "d_updated": False, "action": {"d_steps": 0, "reason": "good"}}
    pretraining = {"step": 1, "stage": "pretrain", "g_loss": 2.0, "g_terms": {"pixel": 2.0}}
    lines = [json.dumps(pretraining), json.dumps(row | d_part), '{"step": 6, "sta']
    (tmp_path / "signals.jsonl").write_text("\n".join(lines))
    (trace,) = read_log(tmp_path)
    assert (trace.objective, trace.policy, trace.format) == ("hinge", "threshold", "run folder")
    expected = {"g_loss": 2.0, "g_adversarial": 0.5, "g_content": 1.5, "d_loss": 1.0}
    assert rows(trace) == [(5, expected | {"d_updated": 0.0, "policy_acted": 1.0})]
    assert "torn" in trace.notes[0]


def test_tensorboards_event_files(tmp_path):
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("Loss/D", 0.5 + step, step * 10)
            writer.add_scalar("train/loss_g", 1.5, step * 10)
            writer.add_scalar("unrelated", 9.0, step * 10)
    (trace,) = read_log(tmp_path)
    assert trace.format == "tensorboard"
    assert rows(trace) == [(s * 10, {"d_loss": 0.5 + s, "g_loss": 1.5}) for s in range(3)]


def test_a_long_log_stays_small():
    lines = (SEED_LINE.format(epoch=1 + n // 100, step=n % 100) for n in range(2 * MOST_ROWS))
    trace = one("".join(lines))
    assert trace.rows_read == 2 * MOST_ROWS
    assert len(trace) <= MOST_ROWS
    assert trace.kept_every == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x00\x01\x02", "binary"),
        (b"hello world\nno numbers here\n", "--map errD=d_loss"),
    ],
)
def test_nothing_to_read_is_a_users_mistake(tmp_path, content, says):
    path = tmp_path / "a.log"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        read_log(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_without_a_log(tmp_path):
    with pytest.raises(UserError, match="a folder without"):
        read_log(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_log(tmp_path / "nothing")


def test_bytes_that_are_no_text_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.log"
    text = SEED_LINE.format(epoch=1, step=1).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbfM\xfcller \xff\r\n" + text.encode())
    (trace,) = read_log(path)
    assert trace.get("d_real")[0] == 0.75


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
        if step == 201:
            row |= {"d_real": None, "non_finite": ["d_real"]}
        if step % 10 == 0:
            row["auc_quantised"] = 0.75
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
