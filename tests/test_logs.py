"""Logs of every known format, and of none."""

import json

import pytest

from counterpoise.errors import UserError
from counterpoise.logs.read import read_log
from log_helpers import (
    D_FAKE,
    D_REAL,
    RATE,
    SEED_LINE,
    SEED_VALUES,
    TWO_ROWS,
    A,
    C,
    D,
    G,
    one,
    read,
    rows,
)

LOSSES, REAL, FAKE = {D: 0.5, G: 1.25}, "real_logit_mean", "fake_logit_mean"
STYLEGAN = {
    f"Loss/{name}": {"num": 8, "mean": mean, "std": 0.1}
    for name, mean in (
        *(("scores/real", 1.5), ("scores/fake", -0.5), ("signs/real", 0.5), ("signs/fake", -1.0)),
        *(("G/loss", 0.75), ("D/loss", 1.25), ("r1_penalty", 0.5)),
    )
} | {"Progress/kimg": {"num": 1, "mean": 4.0, "std": 0}, "timestamp": 1.0}
# Name of the format, lines of it, the rows in them.
FORMATS = [
    (
        "epoch-step",
        SEED_LINE.format(epoch=2, step=10) + SEED_LINE.format(epoch=3, step=0),
        [(110, SEED_VALUES), (200, SEED_VALUES)],
    ),
    (
        "dcgan-tutorial",
        "Starting Training Loop...\n"
        "[0/5][50/1583]\tLoss_D: 0.4\tLoss_G: 5.1\tD(x): 0.9\tD(G(z)): 0.1 / 0.02\n"
        "2024-01-01 10:00:00 INFO: [1/5][0/1583]\tLoss_D: 0.4\tLoss_G: 5.1\tD(x): 0.9\n",
        [(50, {D: 0.4, G: 5.1, "d_real": 0.9, "d_fake_before": 0.1}),
         (1583, {D: 0.4, G: 5.1, "d_real": 0.9})],
    ),
    (
        "pytorch-gan",
        # Its accuracy is a classifier's (ACGAN, SGAN).
        "[Epoch 1/200] [Batch 7/938] [D loss: 0.5, acc: 75%] [G loss: 1.25]\n"
        "[Epoch 1/9] [Batch 8/938] [D loss: 0.5] [G loss: 3, adv: 1, pixel: 1.5, cycle: 0.5]\n",
        [(945, LOSSES), (946, {D: 0.5, G: 3.0, A: 1.0, C: 2.0})],
    ),
    (
        "keras-gan",
        "[Epoch 0/2] [Batch 3/9] [D loss: 0.5, acc:  99%] [G loss: 1.25] time: 0:00:12.3\n",
        [(3, LOSSES | {"d_accuracy": 0.99})],
    ),
    (
        "basicsr",
        "2021-01-01 12:00:00,123 INFO: [train..][epoch:  0, iter:   1,000, lr:(1.000e-04,)] "
        "[eta: 5 days, 1:02:03, time (data): 0.500 (0.002)] l_g_pix: 2.0e-02 l_g_percep: 1.0e+00 "
        "l_g_gan: 5.0e-01 l_d_real: 6.0e-01 out_d_real: 2.0e-01 l_d_fake: nan\n"
        "[ epoch:   0 ] [ iter:  1,100 ] [ eta: 1:00:00 ] l_g_gan: 0.5 out_d_fake: -1\n",
        [(1000, {C: pytest.approx(1.02), A: 0.5, RATE: 1e-4, D_REAL: 0.6, REAL: 0.2}),
         (1100, {A: 0.5, FAKE: -1.0})],
    ),
    (
        "kair",
        "21-06-01 10:00:00.123 : <epoch: 12, iter:   5,000, lr:1.000e-04> G_loss: 1.0e-01 "
        "F_loss: 2.0e+00 D_loss: 3.0e-01 l_d_real: 4.0e-01 D_real: 2.5 D_fake: -3\n",
        [(5000, {C: pytest.approx(2.1), A: 0.3, RATE: 1e-4, D_REAL: 0.4, REAL: 2.5, FAKE: -3.0})],
    ),
    (
        "pix2pix",
        "(epoch: 1, iters: 100, time: 0.1, data: 0.2) G_GAN: 1.5 G_L1: 9.25 D_real: 0.25 "
        "D_fake: 0.5 \n",
        [(100, {A: 1.5, C: 9.25, D_REAL: 0.25, D_FAKE: 0.5})],
    ),
    (
        "machine-learning-mastery",
        ">1, 1/936, d1=0.5, d2=0.25 g=1.25\n>2, 3/936, d1=0.5, d2=0.25 g=1.25\n",
        [(n, {D_REAL: 0.5, D_FAKE: 0.25, G: 1.25}) for n in (1, 939)],
    ),
    (
        "stylegan-stats",
        json.dumps(STYLEGAN) + "\n",
        [(4000, {G: 0.75, D: 1.25, "d_penalty": 0.5, REAL: 1.5, FAKE: -0.5,
                 "d_accuracy_real": 0.75, "d_accuracy_fake": 1.0})],
    ),
    (
        "name: value lines",
        "Epoch 1/3\n"
        "\x1b[1m 1/100\x1b[0m [.......] - ETA: 3s - d_loss: 0.5 - g_loss: 1.25\r"
        "100/100 [=======] - 5s 50ms/step - d_loss: 0.5 - g_loss: 1.25\n"
        "Epoch 2/3\n100/100 [=======] - 5s 50ms/step - d_loss: 0.5 - g_loss: 1.25\n",
        [(1, LOSSES), (100, LOSSES), (200, LOSSES)],
    ),
    (
        "name: value lines",
        "INFO 2024-01-01 10:00:01 trainer: epoch=0 step=120 loss_d=0.5 loss_g=1.25 lr=1e-4\n"
        "140 [D loss: 0.5, acc.: 43.75%] [G loss: 1.25]\n",
        [(120, LOSSES | {RATE: 1e-4}), (140, LOSSES | {"d_accuracy": 0.4375})],
    ),
    (
        "name: value lines",
        "step 1: D loss: 0.5 D(x): 0.7\nstep 1: G loss: 1.25\nstep 2: D loss: 0.5\n",
        [(1, LOSSES | {"d_real": 0.7}), (2, {D: 0.5})],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "expected"), FORMATS)
def test_lines_of_every_format(name, text, expected):
    trace = one(text)
    assert trace.format == name
    found = rows(trace)
    assert [step for step, _ in found] == [step for step, _ in expected]
    for (_, values), (_, wanted) in zip(found, expected, strict=True):
        assert wanted.items() <= values.items()
        assert values.keys() - wanted.keys() <= {"d_fake_after"}


def test_what_a_format_says_beside_its_numbers():
    by_name = {name: text for name, text, _ in FORMATS}
    assert one(by_name["basicsr"]).non_finite == ((1000, "d_loss_fake"),)
    means = {name for name, text in by_name.items() if one(text).d_loss_is_mean}
    assert means == {"pytorch-gan", "keras-gan", "pix2pix"}


def test_a_word_for_a_number_is_none():
    first, second = (SEED_LINE.format(epoch=1, step=step) for step in (1, 2))
    odd = second.replace("Loss G: 3.5", "Loss G: none")
    assert rows(one(first + odd.replace("Step: 2/", "Step: x/") + odd)) == [
        (1, SEED_VALUES),
        (2, {name: value for name, value in SEED_VALUES.items() if name != "g_loss"}),
    ]


def test_steps_of_epochs_without_their_length_are_counted_on():
    line = "(epoch: {}, iters: {}, time: 0.1, data: 0.2) G_GAN: 1.5 D_real: 0.25 \n"
    trace = one(line.format(1, 100) + line.format(1, 200) + line.format(2, 100))
    assert list(trace.steps) == [100, 200, 301]
    text = "epoch,batch,d_loss\n" + "".join(
        f"{epoch},{batch},0.5\n" for epoch in range(3) for batch in (0, 10, 20)
    )
    trace = one(text)
    assert list(trace.steps) == [0, 10, 20, 21, 31, 41, 42, 52, 62]
    assert "length of an epoch" in trace.notes[0]
    # Steps that go on over the epochs count over the whole training.
    trace = one("epoch,step,d_loss\n0,10,1\n0,20,1\n1,30,1\n1,40,1\n")
    assert (list(trace.steps), trace.notes) == ([10, 20, 30, 40], ())


def test_cyclegan_has_two_pairs():
    line = (
        "(epoch: 1, iters: 100, time: 0.1, data: 0.2) D_A: 0.25 G_A: 0.5 cycle_A: 1 idt_A: 2 "
        "D_B: 0.75 G_B: 0.125 cycle_B: 3 idt_B: 4\n"
    )
    first, second = read(line)
    assert (first.title, second.title) == ("A", "B")
    assert rows(first) == [(100, {"d_loss": 0.25, "g_adversarial": 0.5, "g_content": 3.0})]
    assert rows(second) == [(100, {"d_loss": 0.75, "g_adversarial": 0.125, "g_content": 7.0})]


def test_several_runs_in_one_file():
    places = ((1, 10), (1, 20), (2, 10), (1, 10), (1, 20))
    first, second = read("".join(SEED_LINE.format(epoch=e, step=s) for e, s in places))
    assert (first.title, second.title) == ("run 1 of 2", "run 2 of 2")
    assert list(first.steps) == [10, 20, 110]
    assert list(second.steps) == [10, 20]


def test_mapping_of_foreign_columns():
    text = "when,loss one,loss two\n10,0.5,1.5\n20,0.25,2\n"
    with pytest.raises(UserError, match="loss one, loss two, when; .* --map '.*=d_loss'"):
        read(text)
    mapping = {"when": "step", "loss one": "d_loss", "loss two": "g_loss"}
    assert rows(one(text, mapping=mapping)) == TWO_ROWS
    with pytest.raises(UserError, match="no column 'not_ours'"):
        read(text, mapping={"when": "not_ours"})


def signals_row(step, **d_part):
    terms = {"adversarial": 0.5, "pixel": 1.5}
    return {"step": step, "stage": "train", "g_loss": 2.0, "g_terms": terms} | d_part


@pytest.fixture
def run(tmp_path):
    """Writes a run folder with these rows, and lines that are none."""

    def write(*lines):
        config = "loss: {adversarial: {form: hinge}}\nbalance: {policy: threshold}\n"
        (tmp_path / "config.yaml").write_text(config)
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "signals.jsonl").write_text("\n".join(texts))
        return tmp_path

    return write


def test_a_run_folder_of_ours(run):
    pretraining = {"step": 1, "stage": "pretrain", "g_loss": 2.0, "g_terms": {"pixel": 2.0}}
    rest = {"d_steps": 0, "reason": "good"}
    row = signals_row(5, d_loss=1.0, d_updated=False, action=rest)
    folder = run(pretraining, row, '{"step": 6, "sta')
    (trace,) = read_log(folder)
    assert (trace.objective, trace.policy, trace.format) == ("hinge", "threshold", "run folder")
    expected = {"g_loss": 2.0, "g_adversarial": 0.5, "g_content": 1.5, "d_loss": 1.0}
    scales = {"d_learning_rate_scale": 1.0, "g_learning_rate_scale": 1.0}
    assert rows(trace) == [(5, expected | scales | {"d_updated": 0.0, "policy_acted": 1.0})]
    assert "torn" in trace.notes[0]
    (same,) = read_log(folder / "signals.jsonl")
    assert (rows(same), same.policy) == (rows(trace), trace.policy)


def test_a_run_without_a_discriminator_yet(run):
    with pytest.raises(UserError, match="no step with a discriminator"):
        read_log(run(signals_row(1)))


def test_tensorboards_event_files(tmp_path):
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in (0, 10, 20):
            writer.add_scalar("Loss/D", 0.5 + step, step)
            writer.add_scalar("d_loss_step", 7.0, step)
            writer.add_scalar("train/loss_g", 1.5, step)
            writer.add_scalar("val/g_loss", 9.0, step)
            writer.add_scalar("epoch", 1.0, step)
    (trace,) = read_log(tmp_path)
    assert trace.format == "tensorboard"
    assert rows(trace) == [(s, {"d_loss": 0.5 + s, "g_loss": 1.5}) for s in (0, 10, 20)]
    (trace,) = read_log(tmp_path, mapping={"d_loss_step": "d_loss"})
    assert rows(trace)[1] == (10, {"d_loss": 7.0, "g_loss": 1.5})


def test_of_several_event_files_each_trace_tells_of_its_own_names(tmp_path):
    from torch.utils.tensorboard.writer import SummaryWriter

    for name, other in (("a", "d_part_loss"), ("b", "loss_style_of_texture")):
        with SummaryWriter(str(tmp_path / name)) as writer:
            for step in range(8):
                writer.add_scalar("loss_g", 1.5, step)
                writer.add_scalar(other, 0.5, step)
    notes = [" ".join(trace.notes) for trace in read_log(tmp_path)]
    assert ["d_part_loss" in note for note in notes] == [True, False]


def test_what_becomes_nan_in_an_event_file_is_told_whatever_its_tag(tmp_path):
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(8):
            writer.add_scalar("Loss/D", 0.5, step)
            writer.add_scalar("warp_loss", 0.5 if step < 5 else float("nan"), step)
    (trace,) = read_log(tmp_path)
    assert trace.non_finite == ((5, "warp_loss"),)


def test_lines_without_a_step_are_counted_and_it_says_so():
    trace = one("loss_d: 0.5 loss_g: 1\nloss_d: 0.25 loss_g: 1\n")
    assert list(trace.steps) == [0, 1]
    assert "do not say their step" in trace.notes[0]


def test_a_torn_last_line_is_left_out():
    text = SEED_LINE.format(epoch=1, step=1) + SEED_LINE.format(epoch=1, step=2)
    trace = one(text + "Epoch 1/5 - Step: 3/100  Loss G: 3.5  Loss D: 0.")
    assert list(trace.steps) == [1, 2]
    assert "torn" in trace.notes[0]
    # A whole last line without its end is kept.
    assert len(one(text.splitlines()[0])) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"\x1f\x8b\x08\1", "gunzip it"),
        (b"PK\x03\x04\x14\0", "a binary file"),
        (b"\x7fELF\0\1\2\3" + bytes(range(256)), "a binary file"),
        (b"hello world\nno numbers here\n", "`step: 1 d_loss: 0.69 g_loss: 0.71`"),
        (b"lr_d: 0.1\n", "no losses or outputs of D"),
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
    with pytest.raises(UserError, match="no such file"):
        read_log(tmp_path / "nothing")
    with pytest.raises(UserError, match="a folder without"):
        read_log(tmp_path)


def test_bytes_that_are_no_text_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.log"
    text = SEED_LINE.format(epoch=1, step=1).replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbfM\xfcller \xff\r\n" + text.encode())
    (trace,) = read_log(path)
    assert trace.get("d_real")[0] == 0.75
    path.write_bytes(text.encode("utf-16"))
    assert read_log(path)[0].get("d_real")[0] == 0.75
