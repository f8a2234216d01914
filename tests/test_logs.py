"""Logs of every known format."""

import json

import numpy as np
import pytest

from counterpoise.errors import UserError
from counterpoise.logs.read import read_log
from counterpoise.trace import MOST_ROWS
from log_helpers import BASICSR, SEED_LINE, one, read, rows


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
    # Its accuracy is a classifier's (ACGAN, SGAN).
    assert rows(trace) == [(7, {"d_loss": 0.5, "g_loss": 1.25})]
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
