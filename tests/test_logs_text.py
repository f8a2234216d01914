"""What people print: names, numbers and places that vary more than any format."""

import pytest

from counterpoise.errors import UserError
from counterpoise.logs.names import column_of, plain
from log_helpers import one, read, rows

LOSSES = {"d_loss": 0.5, "g_loss": 1.25}


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("train/loss_d", "d_loss"),
        ("INFO Loss_D", "d_loss"),
        ("INFO trainer d_loss", "d_loss"),
        ("val_d_loss", None),
        ("test/loss_d", None),
        ("G/loss_fake", None),  # StarGAN: G's loss on its images
        ("D/loss_fake", "d_loss_fake"),
        ("generator/adv_loss", "g_adversarial"),
        ("G/g_loss", "g_loss"),
        ("adv/d_loss", "d_loss"),
        ("Discriminator Accuracy", "d_accuracy"),
        ("d_real_accuracy", "d_accuracy_real"),
        ("cls_acc", None),
        ("train_acc", None),
        ("d_acc", "d_accuracy"),
        ("acc", "d_accuracy"),
        ("tmp/cifar10/disc cost", "d_loss"),
    ],
)
def test_a_word_before_a_name_may_make_it_another_number(name, column):
    assert column_of(plain(name), {}, most_before=2) == column


@pytest.mark.parametrize(
    "line",
    [
        "D loss: tensor(0.5, device='cuda:0', grad_fn=<MeanBackward0>), G loss: tensor(1.25)",
        "D loss: np.float64(0.5), G loss: np.float32(1.25)",
        "D loss: Array(0.5, dtype=float32), G loss: DeviceArray(1.25, dtype=float32)",
        "D loss: [0.5], G loss: [[1.25]]",
        "D loss: 0,5 G loss: 1,25",
        "D loss\uff1a0.5\uff0cG loss\uff1a1.25",
        "D loss 0.5 (0.6)\tG loss 1.25 ( 1.3)",
        "tmp/disc cost\t0.5\ttmp/gen cost\t1.25",
        "2024-05-01 12:30:45 dis_loss=0.5:  50%|##  | gen_loss=1.25",
        "D loss: 0.5 [acc: 99%] G loss: 1.25, G/loss_fake: 9, val_d_loss: 4",
    ],
)
def test_values_are_read_however_they_are_printed(line):
    trace = one(f"step 3 {line}\n")
    (row,) = rows(trace)
    assert row[1].pop("d_accuracy", 0.99) == 0.99
    assert row == (3, LOSSES)


@pytest.mark.parametrize("loss", ["d_loss: tensor(nan, device='cuda:0')", "d_loss nan g_loss inf"])
def test_a_loss_that_is_not_a_number_is_seen_however_it_is_printed(loss):
    trace = one(f"step 1 {loss.replace('nan', '0.5').replace('inf', '2')}\nstep 2 {loss}\n")
    assert (2, "d_loss") in trace.non_finite


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,386", 1.386), ("0,0011", 0.0011), ("1,234.5", 1234.5), ("2,5e-3", 0.0025)],
)
def test_a_comma_is_a_point_unless_it_groups_digits(text, value):
    assert rows(one(f"iter: 1,000 d_loss: {text} g_loss: 1\n"))[0] == (
        1000,
        {"d_loss": value, "g_loss": 1.0},
    )


def test_an_accuracy_alone_on_its_line_is_anybodys():
    text = "step 1 d_loss: 0.5 g_loss: 1.25\naccuracy: 0.99\nAccuracy 0.99\n"
    assert rows(one(text)) == [(1, LOSSES)]
    assert rows(one("step 1 d_acc: 0.75\n")) == [(1, {"d_accuracy": 0.75})]


def test_prose_among_lines_with_colons_is_no_step():
    line = "step {} d_loss: 0.5 g_loss: 1.25\n"
    prose = "Saved checkpoint, d_loss 0.0100\nMean g_loss 0.8\nUpdating lr_d 0.0001\n"
    assert rows(one(line.format(1) + prose + line.format(2))) == [(1, LOSSES), (2, LOSSES)]


def test_the_accuracy_of_the_model_that_trains_g_is_not_ds():
    line = "[D loss: 0.5, acc: 0.98] [A loss: 7.0, acc: 0.01]\n"
    assert rows(one(f"0: {line}")) == [(0, {"d_loss": 0.5, "d_accuracy": 0.98})]


@pytest.mark.parametrize("name", ["Val", "  validation -", "[eval]"])
def test_lines_of_a_validation_are_passed_over(name):
    text = f"Epoch 0\n train: d_loss=0.5 g_loss=1.25\n{name}: d_loss=4 g_loss=0.1\n"
    assert rows(one(text)) == [(0, LOSSES)]


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("itr: 7, ", 7),
        ("Epoch: [ 0] [   7/ 781] ", 7),
        ("Steps:   1%|#  | 7/12000 [00:10<10:00,  2.0it/s], ", 7),
        ("[7/120] ", 7),
    ],
)
def test_steps_are_found_where_they_stand(place, step):
    assert rows(one(f"{place}d_loss: 0.5 g_loss: 1.25\n")) == [(step, LOSSES)]


BAR = "{:3}%|##   | {}/100 [00:10<00:10, 10.1it/s, d_loss=0.5, g_loss=1.25]"


def bars(*steps):
    return "\r".join(BAR.format(step, step) for step in steps) + "\n"


def test_a_bar_after_a_full_one_is_the_next_epoch():
    trace = one(bars(50, 95) + bars(1, 50, 100) + bars(10))
    assert [step for step, _ in rows(trace)] == [50, 95, 101, 150, 200, 210]
    assert any("taken for the next epoch" in note for note in trace.notes)
    # After one that broke off, the training begins anew.
    assert len(read(bars(50, 60) + bars(1, 50))) == 2


@pytest.mark.parametrize(
    "header", ["--- Epoch {} ---", "Epoch [{}/3]", "Epoch {} of 3", "epoch: {}"]
)
def test_a_line_may_say_the_epoch_of_those_after_it(header):
    line = "step {} d_loss: 0.5 g_loss: 1.25"
    lines = [header.format(1), line.format(0), line.format(10), header.format(2), line.format(0)]
    trace = one("\n".join(lines) + "\n")
    assert [step for step, _ in rows(trace)] == [0, 10, 11]


@pytest.mark.parametrize("place", ["Epoch {}\nStep {}/3000", "Epoch {} [{}/3000]"])
def test_steps_that_go_on_over_epochs_are_those_of_the_training(place):
    line = f"{place} d_loss: 0.5 g_loss: 1.25\n"
    steps = [(1, 100), (1, 1000), (2, 1100), (2, 2000), (3, 2100)]
    trace = one("".join(line.format(*each) for each in steps))
    assert [step for step, _ in rows(trace)] == [100, 1000, 1100, 2000, 2100]


def test_epochs_may_be_said_at_their_ends():
    block = "step 0 d_loss: 0.5\nstep 10 d_loss: 0.5\n"
    trace = one(f"{block}Epoch 1\n{block}Epoch 2\n{block}")
    assert [step for step, _ in rows(trace)] == [0, 10, 11, 21, 22, 32]


def test_two_ds_are_two_games():
    line = "step {} loss_D_A: 0.5 loss_D_B: 0.25 loss_G_A: 1.25 loss_G: 3\n"
    a, b = read(line.format(1) + line.format(2))
    assert (a.title, b.title) == ("A", "B")
    assert rows(a) == [(1, LOSSES), (2, LOSSES)]
    assert rows(b)[0] == (1, {"d_loss": 0.25, "g_loss": 3.0})
    first, second = read("step 1 loss_d1: 0.5 loss_d2: 0.25 loss_g: 1.25\n")
    assert rows(first) == [(1, LOSSES)]
    assert rows(second) == [(1, {"d_loss": 0.25, "g_loss": 1.25})]


def test_the_losses_of_parts_are_left_out_beside_their_total():
    text = "step 1 d_loss: 0.5 g_loss: 1.25 d_loss_1: 0.2 d_loss_2: 0.3 g_loss_1: 1\n"
    assert rows(one(text)) == [(1, LOSSES)]


def test_of_several_processes_one_is_read():
    text = "[rank1] step 5 loss_D: 0.5 loss_G: 1.25\n[rank0] step 4 loss_D: 9 loss_G: 9\n"
    assert rows(one(text)) == [(5, LOSSES)]
    metric = "step {} d_loss: 0.5 g_loss: 1.25 rank: {}\n"
    assert len(rows(one(metric.format(1, 3) + metric.format(2, 4)))) == 2


def test_halves_of_another_tutorial():
    trace = one(">1, 1/936, d1=0.5, d2=0.25 g=1.25\n>2, 3/936, d1=0.5, d2=0.25 g=1.25\n")
    assert rows(trace)[1] == (939, {"d_loss_real": 0.5, "d_loss_fake": 0.25, "g_loss": 1.25})


def test_the_accuracy_of_keras_gan_is_ds():
    line = "[Epoch 0/2] [Batch 3/9] [D loss: 0.5, acc:  99%] [G loss: 1.25] time: 0:00:12.3\n"
    trace = one(line)
    assert (trace.format, trace.d_loss_is_mean) == ("keras-gan", True)
    assert rows(trace) == [(3, LOSSES | {"d_accuracy": 0.99})]


def test_names_of_any_script_can_be_mapped():
    text = "step 3 判别器损失: 0.5 生成器损失: 1.25\n"
    mapping = {"判别器损失": "d_loss", "生成器损失": "g_loss"}
    assert rows(read(text, mapping=mapping)[0]) == [(3, LOSSES)]
    with pytest.raises(UserError, match="no losses or outputs of D that are known"):
        read(text)
