"""What people print: names, numbers and places that vary more than any format."""

import numpy as np
import pytest

from counterpoise.errors import UserError
from counterpoise.logs.names import column_of, plain
from log_helpers import SEED_LINE, one, read, rows

D = "d_loss"
LOSSES = {"d_loss": 0.5, "g_loss": 1.25}
BOTH = "d_loss: 0.5 g_loss: 1.25"


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("train/loss_d", "d_loss"),
        ("INFO Loss_D", "d_loss"),
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
        ("acc", "d_accuracy"),
        ("tmp/cifar10/disc cost", "d_loss"),
        ("encoder_discriminator_loss", "g_adversarial"),
        ("discriminator_adv_loss", "d_loss"),
        ("GAN_loss/discrim/loss", "d_loss"),
        ("d_trn_l", "d_loss"),
        ("feature_matching_gan_loss", None),
        ("lr_discriminator", "d_learning_rate"),
        ("INFO lr_critic", "d_learning_rate"),
        ("Discriminator LR", "d_learning_rate"),
        ("lrD", "d_learning_rate"),
        ("Crit_LR", "d_learning_rate"),
        ("lr_netG", "g_learning_rate"),
        ("lrG", "g_learning_rate"),
        ("lr_encoder", None),
        ("success_rate_d", None),
        ("val_psnr", "held_out_psnr"),
        ("metrics/Set5/PSNR", "held_out_psnr"),
        ("eval/ssim_y", "held_out_ssim"),
        ("fid50k_full", "held_out_fid"),
        ("div_lpips", None),
        ("best_psnr", None),
        ("psnr_loss", None),
    ],
)
def test_a_word_before_a_name_may_make_it_another_number(name, column):
    assert column_of(plain(name), {}) == column


@pytest.mark.parametrize(
    "line",
    [
        "D loss: tensor(0.5, device='cuda:0', grad_fn=<MeanBackward0>), G loss: tensor(1.25)",
        "D loss: np.float64(0.5), G loss: np.float32(1.25)",
        "D loss: Array(0.5, dtype=float32), G loss: DeviceArray(1.25, dtype=float32)",
        "D loss: [0.5], G loss: [[1.25]]",
        "D loss: 0,5 G loss: 1,25",
        "D loss\uff1a0.5\uff0cG loss\uff1a1.25",
        "{'D loss': 0.5, 'G loss': 1.25}",
        "D loss 0.5 (0.6)\tG loss 1.25 ( 1.3)",
        "tmp/disc cost\t0.5\ttmp/gen cost\t1.25",
        "2024-05-01 12:30:45 dis_loss=0.5:  50%|##  | gen_loss=1.25",
        "D loss - 0.5 - G loss - 1.25",
        "the D loss is 0.5 and the G loss is 1.25",
        "D_real+fake: 0.5 G loss: 1.25",
        "D loss tensor(0.5, device='cuda:0', grad_fn=<AddBackward0>) G loss tensor(1.25)",
        "D loss: 0.5 [acc: 99%] G loss: 1.25, G/loss_fake: 9, val_d_loss: 4",
        "D loss: 0.5, acc: 0.99, A loss: 7.0, acc: 0.01, G loss: 1.25",
        "D loss: 0.5 G loss 1.25",
        "D loss 0.5 G loss: 1.25",
    ],
)
def test_values_are_read_however_they_are_printed(line):
    ((step, values),) = rows(one(f"step 3 {line}\n"))
    assert values.pop("d_accuracy", 0.99) == 0.99
    assert (step, values) == (3, LOSSES)


@pytest.mark.parametrize("loss", ["d_loss: tensor(nan, device='cuda:0')", "d_loss nan g_loss inf"])
def test_a_loss_that_is_not_a_number_is_seen_however_it_is_printed(loss):
    trace = one(f"step 1 {loss.replace('nan', '0.5').replace('inf', '2')}\nstep 2 {loss}\n")
    assert (2, "d_loss") in trace.non_finite


def test_halves_behind_the_name_of_their_network():
    found = rows(one("step 1 D: real 0.6 fake 0.5 G: 1.2\n"))
    assert found == [(1, {"d_loss_real": 0.6, "d_loss_fake": 0.5, "g_loss": 1.2})]


@pytest.mark.parametrize(
    "log",
    [
        "step 1 actor_loss: -1.2 critic_loss: 0.5\nstep 2 actor_loss: -1.3 critic_loss: 0.4\n",
        "step,actor_loss,critic_loss\n1,-1.2,0.5\n2,-1.3,0.4\n",
        "[SAC] step 1 | policy loss -4.2 | critic loss 1.3 | ent_coef 0.2\n",
    ],
)
def test_the_critic_of_an_actor_is_no_discriminator(log):
    with pytest.raises(UserError, match="actor"):
        read(log)


def test_any_loss_that_is_not_a_number_is_one():
    trace = one("09:27:05 17940 0.00 0.1\n09:27:06 17950 0.00 nan ----\n")
    assert len(trace.non_finite) == 1
    assert rows(one(f"0.5 nan\n0.5 nan\nstep 3 {BOTH}\n")) == [(3, LOSSES)]
    trace = one("step 2 d_loss: 1 warp_loss: 0.5\nstep 3 d_loss: 1 warp_loss: nan\n")
    assert trace.non_finite == ((3, "warp_loss"),)
    with pytest.raises(UserError):
        read("step 1 psnr: inf val_loss: nan\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,386", 1.386),
        ("0,0011", 0.0011),
        ("1,234.5", 1234.5),
        ("2,5e-3", 0.0025),
        ("1.234,56", 1234.56),
    ],
)
def test_a_comma_is_a_point_unless_it_groups_digits(text, value):
    found = rows(one(f"iter: 1,000 d_loss: {text} g_loss: 1\n"))
    assert found == [(1000, {"d_loss": value, "g_loss": 1.0})]


@pytest.mark.parametrize(
    ("place", "step"),
    [("iter 3k:", 3000), ("Step: 2.5K/10k", 2500), ("step 12k,", 12000), ("step 3 kimg 7", 3)],
)
def test_thousands_of_steps(place, step):
    assert rows(one(f"{place} {BOTH}\n")) == [(step, LOSSES)]


@pytest.mark.parametrize(
    "more",
    [
        # An accuracy alone on its line is anybody's; prose among lines with colons is no step.
        f"step 2 {BOTH}\naccuracy: 0.99\nAccuracy 0.99\n",
        f"Saved checkpoint, d_loss 0.0100\nMean g_loss 0.8\nUpdating lr_d 0.0001\nstep 2 {BOTH}\n",
        f"[Val]: d_loss=4 g_loss=0.1\n validation - d_loss=4\n[eval]: d_loss=4\nstep 2 {BOTH}\n",
        f"step 2 {BOTH} d_loss_1: 0.2 d_loss_2: 0.3 g_loss_1: 1\n",
    ],
)
def test_lines_that_are_no_step(more):
    assert rows(one(f"step 1 {BOTH}\n{more}")) == [(1, LOSSES), (2, LOSSES)]


def test_a_printed_configuration_is_no_row():
    text = "lr_d: 0.0002\nacc: 3\ng_loss: 1\n" + SEED_LINE.format(epoch=1, step=5)
    assert [step for step, _ in rows(one(text))] == [5]


BAR = "{:3}%|##   | {}/100 [00:10<00:10, 10.1it/s, d_loss=0.5, g_loss=1.25]"


def bars(*steps):
    return "\r".join(BAR.format(step, step) for step in steps) + "\n"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (f"itr: 7, {BOTH}", [7]),
        (f"E:7, {BOTH}", [7]),
        (f"7 epoch. {BOTH}", [7]),
        (f"7 iters | {BOTH}", [7]),
        (f"===> Epoch[1](7/400): {BOTH}", [7]),
        (f"[  0/ 20][  7/781] {BOTH}", [7]),
        (f"Time for epoch 7 {BOTH} s/step: 5.25", [7]),
        (f"Epoch: [ 0] [   7/ 781] {BOTH}", [7]),
        (f"Steps:   1%|#  | 7/12000 [00:10<10:00,  2.0it/s], {BOTH}", [7]),
        (f"[7/120] {BOTH}", [7]),
        (f"[3,     7] {BOTH}", [7]),
        # A bar after a full one is the next epoch.
        (bars(50, 95) + bars(1, 50, 100) + bars(10), [50, 95, 101, 150, 200, 210]),
        *(
            (
                f"{header.format(1)}\nstep 0 {BOTH}\nstep 10 {BOTH}\n{header.format(2)}\n"
                f"step 0 {BOTH}",
                [0, 10, 11],
            )
            for header in ("--- Epoch {} ---", "Epoch [{}/3]", "Epoch {} of 3", "epoch: {}")
        ),
        # Steps that go on over epochs are those of the training.
        *(
            (
                "".join(f"{place.format(*at)} {BOTH}\n" for at in ((1, 9), (1, 10), (2, 11))),
                [9, 10, 11],
            )
            for place in ("Epoch {}\nStep {}/3000", "Epoch {} [{}/3000]")
        ),
        # Epochs may be said at their ends.
        ("".join(f"step 0 {BOTH}\nstep 9 {BOTH}\nEpoch {n}\n" for n in (1, 2)), [0, 9, 10, 19]),
    ],
)
def test_steps_are_found_where_they_stand(text, steps):
    trace = one(text + "\n")
    assert rows(trace) == [(step, LOSSES) for step in steps]


def test_after_a_bar_that_broke_off_the_training_begins_anew():
    assert len(read(bars(50, 60) + bars(1, 50))) == 2


def test_two_ds_are_two_games():
    line = "step {} loss_D_A: 0.5 loss_D_B: 0.25 loss_G_A: 1.25 loss_G: 3\n"
    a, b = read(line.format(1) + line.format(2))
    assert (a.title, b.title) == ("A", "B")
    assert rows(a) == [(1, LOSSES), (2, LOSSES)]
    assert rows(b)[0] == (1, {"d_loss": 0.25, "g_loss": 3.0})
    first, second = read("step 1 loss_d1: 0.5 loss_d2: 0.25 loss_g: 1.25\n")
    assert rows(first) == [(1, LOSSES)]
    assert rows(second) == [(1, {"d_loss": 0.25, "g_loss": 1.25})]


def test_a_game_that_is_not_played_is_left_out_and_that_is_said():
    line = "step {} D_A: 0.5 G_A: 1.25 cycle_A: 2 D_B: 0.000 G_B: 0.000 lr: 0.1\n"
    trace = one(line.format(1) + line.format(2))
    assert trace.title == "A"
    assert any("B" in note for note in trace.notes)
    assert len(read(line.format(1) + line.format(2).replace("B: 0.000", "B: nan"))) == 2


def test_discriminators_that_are_counted_from_0_are_parts_of_one():
    line = "step {} loss_disc: 0.5 loss_disc_real_0: 9 loss_disc_real_1: 9 g_loss: 1.25\n"
    assert rows(one(line.format(1) + line.format(2))) == [(1, LOSSES), (2, LOSSES)]


def test_a_counter_that_begins_anew_as_far_each_time_is_an_epochs():
    lines = [f"batch {step}: {BOTH}\n" for step in (0, 10, 20)]
    trace = one("".join(lines * 5))
    assert list(trace.steps) == [21 * epoch + step for epoch in range(5) for step in (0, 10, 20)]
    assert trace.notes
    # What broke off was another training.
    assert len(read("".join([*lines * 4, *lines[:2], *lines]))) == 2
    assert len(read("".join([*lines, *lines[:2], *lines, *lines]))) == 4


def test_losses_that_are_printed_as_lists():
    trace = one("betas: [1, 2, 3]\nlosses_d [0.5, 0.25, 0.125]\nlosses_g = [1.5, 2, 2.5]\n")
    assert [values for _, values in rows(trace)] == [
        {"d_loss": 0.5, "g_loss": 1.5},
        {"d_loss": 0.25, "g_loss": 2.0},
        {"d_loss": 0.125, "g_loss": 2.5},
    ]


def test_names_of_any_script_can_be_mapped():
    text = "step 3 判官: 0.5 画家: 1.25\n"
    mapping = {"判官": "d_loss", "画家": "g_loss"}
    assert rows(one(text, mapping=mapping)) == [(3, LOSSES)]
    with pytest.raises(UserError, match="no losses or outputs of D that are known"):
        read(text)


@pytest.mark.parametrize(
    "line",
    [
        "Époque {}/9 — perte discriminateur : 0,5 — perte générateur : 1,25",
        "Époque {} | Perte du générateur : 1,25 ; Perte du discriminateur : 0,5",
        "Época {}/9 | pérdida D: 0.5 | pérdida generador: 1.25",
        "Época {} - perda do discriminador: 0.5 - perda do gerador: 1.25",
        "Epoche {}/9: Diskriminator-Verlust: 0,5; Generator-Verlust: 1,25",
        "Epoche {} Verlust Diskriminator 0,5, Verlust Generator 1,25",
        "第 {}/9 轮\uff0c判别器损失\uff1a0.5\uff0c生成器损失\uff1a1.25",
        "第{}轮 判别器损失\uff08平均\uff09\uff1a0.5 生成器损失\uff1a1.25",
        "轮次 {} 判别器 loss: 0.5 生成器 loss: 1.25",
        "エポック {}/9 識別器の損失: 0.5 生成器の損失: 1.25",
        "Эпоха {}/9 потери дискриминатора: 0.5 потери генератора: 1.25",
    ],
)
def test_losses_and_epochs_in_other_languages(line):
    trace = one("".join(f"{line.format(epoch)}\n" for epoch in (3, 4, 5)))
    assert [values for _, values in rows(trace)] == [LOSSES] * 3
    assert list(np.diff(trace.steps)) == [1, 1]
    assert trace.steps[0] > 0


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("D(réel)", "d_real"),
        ("D(faux)", "d_fake_before"),
        ("D(falso)", "d_fake_before"),
        ("D(真)", "d_real"),
        ("判别器真实损失", "d_loss_real"),
        ("判别器准确率", "d_accuracy"),
        ("假图得分", "d_fake_before"),
        ("验证 判别器损失", None),
        ("分类器损失", None),
        ("perte", None),
    ],
)
def test_names_in_other_languages(name, column):
    assert column_of(plain(name), {}) == column


def test_a_column_may_be_mapped_by_a_name_it_is_known_by():
    trace = one("步数 3 甲: 0.5 乙: 0.25\n", mapping={"甲": "D(x)", "乙": "d_fake"})
    assert rows(trace) == [(3, {"d_real": 0.5, "d_fake_before": 0.25})]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("D(q): 0.6 score_q: 0.9 l_pix: 2 discriminator_q_perte: 7", "discriminator_q_perte=d_"),
        ("D(q): 0.6 gen_q_loss: 2 l_pix: 0.3", "gen_q_loss=g_loss"),
        ("real_q_acc: 0.6 disc_q: 2 l_pix: 0.3", "NAME_OF_D_LOSS=d_loss"),
        ("some_loss: 0.6", "NAME_OF_D_LOSS=d_loss"),
    ],
)
def test_only_what_says_that_it_is_a_loss_is_proposed_for_one(line, hint):
    with pytest.raises(UserError, match=f"--map '{hint}"):
        read(f"{line}\n")


def test_a_count_in_a_remark_behind_a_name_is_no_value():
    line = "gen_adv(mpd+msd, 8 D) 1.25 | disc_loss(sum of 8) 0.5 | 3.1 s/100it\n"
    assert [values for _, values in rows(one(line * 2))] == [{"g_adversarial": 1.25, D: 0.5}] * 2
    assert rows(one("losses (D: 0.5, G: 1.25)\n")) == [(0, LOSSES)]


def test_a_heading_of_weights_is_no_line_of_losses():
    heading = "12:30:05 Start SR finetune, weights: pix=0.01 adv=1.0 d_loss=1\n"
    trace = one(heading + "[100] pix 0.5 adv 0.75 d_loss 0.5\n[200] pix 0.5 adv 0.75 d_loss 0.25\n")
    assert list(trace.get(D)) == [0.5, 0.25]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        # The other half, and what is measured behind it.
        (
            "G 0.5 D real 0.25 fake 0.75 | val PSNR 28.5 SSIM 0.75",
            {"g_loss": 0.5, "d_real": 0.25, "d_fake_before": 0.75}
            | {"held_out_psnr": 28.5, "held_out_ssim": 0.75},
        ),
        ("D_real: 0.25, fake: 0.75", {"d_real": 0.25, "d_fake_before": 0.75}),
        # Objects within objects.
        (
            "losses: {'D': {'real': 0.25, 'fake': 0.75}, 'G': {'adv': 0.5, 'l1': 9}}",
            {"d_loss_real": 0.25, "d_loss_fake": 0.75, "g_adversarial": 0.5},
        ),
        ("{'d': {'loss': 0.25}, 'g': {'loss': 0.5}}", {"d_loss": 0.25, "g_loss": 0.5}),
        ("train: {d_loss: 0.25}, val: {g_loss: 0.5, d_loss: 9}", {"d_loss": 0.25}),
        # Sections, and a classifier's accuracy.
        (
            "[G - adv: 1.5, rec: 9] [D - real: 0.25, fake: 0.75]",
            {"d_loss_real": 0.25, "d_loss_fake": 0.75, "g_adversarial": 1.5},
        ),
        (
            "discriminator losses: real - 0.25, fake = 0.75, Generator losses: adv - 1.5",
            {"d_loss_real": 0.25, "d_loss_fake": 0.75, "g_adversarial": 1.5},
        ),
        (
            "[D loss supervised: 0.1, acc.: 99.00%] [D loss unsupervised: 0.25] [G loss: 0.5]",
            {"d_loss": 0.25, "g_loss": 0.5},
        ),
        # A critic's scores beside its penalty, which are no halves of a loss.
        (
            "(epoch: 1, iters: 9, time: 0.1) D_real: 0.25 D_fake: 0.5 D_gp: 0.125 G_GAN: -0.5",
            {"real_logit_mean": 0.25, "fake_logit_mean": 0.5, "g_adversarial": -0.5}
            | {"d_penalty": 0.125},
        ),
        # A sum of both is neither's.
        ("D loss 0.25 G loss 0.5 G+D loss 0.75", {"d_loss": 0.25, "g_loss": 0.5}),
    ],
)
def test_a_name_is_read_with_what_stands_before_it(line, values):
    assert [found for _, found in rows(one(f"step 1 {line}\nstep 2 {line} \n"))][-1] == values


def test_of_a_list_the_first_is_read_and_that_is_said():
    for text in (
        "step 1 losses: {'d': [0.25, 0.5], 'g': [0.75]}\n",
        "step 1 D: 0.25, 0.5, 0.75 | G: 0.75, 0.5, 0.25 | Cyc: 3, 4, 5\n",
        '{"step": 1, "losses": {"d": [0.25, 0.5], "g": [0.75]}}\n',
    ):
        trace = one(text)
        assert rows(trace) == [(1, {"d_loss": 0.25, "g_loss": 0.75})]
        assert any("the first" in note for note in trace.notes)
    assert not one("step 1 d_loss: [0.25] g_loss: [0.75] lr: [0.1, 0.1]\n").notes


def test_means_of_epochs_are_read_where_there_is_nothing_else():
    step = "Train | Epoch 1 | 2/9 | 1.5 it/sec | g_loss=0.25 | d_loss=0.5\n"
    summary = "Train Summary | Epoch 1 | g_loss=2 | d_loss=1\nValid Summary | Epoch 1 | d_loss=9\n"
    assert rows(one(step + summary))[0][1] == {"d_loss": 0.5, "g_loss": 0.25}
    assert rows(one(summary)) == [(1, {"d_loss": 1.0, "g_loss": 2.0})]
