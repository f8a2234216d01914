"""Programs are known by what they print, and what their own names mean is read so."""

import json

import pytest

from counterpoise.errors import UserError
from log_helpers import D_FAKE, D_REAL, RATE, A, C, D, G, one, read, rows

RVC = (
    "INFO:a:Train Epoch: {} [1%]\nINFO:a:[{}, 9.9e-05]\n"
    "INFO:a:loss_disc=3.5, loss_gen=2.5, loss_fm=10,loss_mel=20.5, loss_kl=1\n"
    "INFO:a:====> Epoch: {} [2023-01-02 08:52:05] | (1:32:29.3)\n"
)
WAVEGAN = "".join(
    f"2021-01-01 00:00:00,1 (train:5) INFO: (Steps: 9) {name}_loss = {value}.\n"
    for name, value in (
        ("train/adversarial", 1.5), ("train/real", 0.25), ("train/discriminator", 0.5),
        ("eval/discriminator", 8.5),
    )
)  # fmt: skip
COQUI = (
    "   --> STEP: 4/9 -- GLOBAL_STEP: {}\n     | > loss_disc: {}  (2.6)\n"
    "     | > loss_gen: 2  (2.2)\n     | > loss_mel: 20.5  (9.5)\n     | > loss_kl: 1.5\n"
)
BAR = "Epoch 0:  5%|5  | {}/200 [00:50<15:50,  2.0it/s, loss=7.5, v_num=0, {}]\n"
ACGAN = (
    "Testing for epoch {}:\ncomponent | loss | generation_loss | auxiliary_loss\n-----\n"
    "generator (train)     | 1.50 | 0.75 | 0.75\ngenerator (test)      | 9 | 9 | 9\n"
    "discriminator (train) | 1.70 | 0.5 | 1.01\ndiscriminator (test)  | 9 | 9 | 9\n"
)
HTML = (
    "<table><tr>\n<th>epoch</th>\n<th>train_loss</th><th>gen_loss</th><th>disc_loss</th></tr>"
    + (
        "\n  <tr>\n    <td>{}</td>\n    <td>9</td><td>1.5</td>\n    <td>0.5</td>\n  </tr>" * 2
    ).format(1, 2)
)
BOX = "\u2502  key  \u2502 value \u2502 mean \u2502\n" + "".join(
    f"\u2502  adv/{name} \u2502 {value} \u2502 9.5 \u2502\n"
    for name, value in (("disc_loss", 0.5), ("gen_loss", 1.5), ("disc_loss", 0.25))
)
STATS = {"Loss/scores/real": 1, "Loss/D/loss": 0.5, "Progress/kimg": 1, "Progress/augment": 0}
EVALUATION = (
    " > EVALUATION \n   --> STEP: 0\n     | > loss_disc: 9.5  (9.5)\n     | > loss_gen: 9.5\n"
)
LLAMAGEN = (
    "Beginning epoch 7...\n(Generator) rec_loss: 9, generator_adv_loss: 0.5, disc_weight: 1\n"
    "(Discriminator) discriminator_adv_loss: 0.25, disc_weight: 0.5, logits_real: -0.5\n"
)
TAMING = {"train/g_loss": -0.5, "train/disc_loss": 1, "train/disc_factor": 1, "step": 7}
PIPES = "D_loss    acc   G_loss\n0.75 | 100 | 9 | 2 days, 1:2\n0.5 | 99 | 8 | 2\n"
PROGRAMS = [
    ("rvc", RVC.format(2, 200, 2) + RVC.format(3, 400, 3), 400, {D: 3.5, A: 2.5, C: 31.5}),
    ("vits", "x [0%]\nINFO [2.5, 1.5, 0.5, 9, 1, 2, 200, 0.0002]\n", 200, {D: 2.5, A: 1.5}),
    ("so-vits-svc", "Losses: [2.5, 1.5, 7, 30, 3], step: 5, lr: 0.1\n", 5, {D: 2.5, A: 1.5}),
    ("so-vits-svc", "x [0%]\nINFO [2.5, 1.5, 7, 30, 3, 200, 9.98e-05]\n", 200, {D: 2.5, A: 1.5}),
    ("studiogan",
     "Step: 200 Progress: 9% Elapsed: 0:9 Discriminator_loss: 0.5 Generator_loss: 1.5\n"
     "> FID score (Step: 200, Using test moments): 40.5\n"
     "> Best FID score (Step: 100, Using test moments): 8.5\n", 200,
     {D: 0.5, G: 1.5, "held_out_fid": 40.5}),
    ("hifi-gan", "Steps : 5, Gen Loss Total : 40.5, Mel-Spec. Error : 0.6, s/b : 1", 5, {G: 40.5}),
    ("parallel-wavegan", WAVEGAN, 9, {A: 1.5, D_REAL: 0.25, D: 0.5}),
    ("wav2lip",
     "L1: 0.1, Sync: 0.0, Percep: 0.75 | Fake: 0.5, Real: 0.25: : 25it [02:03,  2.3s/it]\n", 25,
     {A: 0.75, D_FAKE: 0.5, D_REAL: 0.25}),
    ("vits", COQUI.format(10, 1) + COQUI.format(20, 0.5) + EVALUATION, 20, {D: 0.5, A: 2, C: 22}),
    ("vocos", BAR.format(7, "discriminator/total=3.5, generator/total_loss=9"), 7, {D: 3.5, G: 9}),
    ("dac", BOX, 1, {D: 0.25}),
    ("ldm", BAR.format(7, "aeloss_step=1, discloss_step=2, discloss_epoch=9.5"), 7, {G: 1, D: 2}),
    ("taming", json.dumps(TAMING), 7, {A: -0.5, D: 1.0}),
    ("llamagen", LLAMAGEN, 7, {A: 0.5, D: 0.5, "real_logit_mean": -0.5}),
    ("monai", BAR.format(5, "recons_loss=1, gen_loss=2, disc_loss=3"), 5, {A: 2, D: 3, C: 1}),
    ("ctgan", "Gen. (-1.5) | Discrim. (0.5):  3%|3 | 10/300 [00:10<05]\n", 10, {G: -1.5, D: 0.5}),
    ("lucidrains", "0% 49/90 [02:46<81:43, 3.2s/it]G: 2.5 | D: 0.5 | GP: 0", 49, {G: 2.5, D: 0.5}),
    ("wassersteingan",
     "[0/25][7/391][2] Loss_D: -0.25 Loss_G: 0.5 Loss_D_real: -1.0 Loss_D_fake -0.75\n", 7,
     {D: -0.25, G: 0.5, D_REAL: -1.0, D_FAKE: -0.75}),
    ("coqui",
     COQUI.format(1, 0.5).replace("loss_disc", "D_mse_gan_loss") + "     | > loss_0: 0.5 (1)\n",
     1, {D: 0.5, A: 2, C: 22}),
    ("r3gan", json.dumps(STATS | {"Loss/r2_penalty": 1, "Loss/r1_penalty": 2}), 1000,
     {D: 0.5, "d_penalty": 2}),
    ("biggan", "itr: 7, G_loss : +0.5, D_loss_real : +1.5, D_loss_fake : +0.25 ", 7,
     {G: 0.5, D_REAL: 1.5, D_FAKE: 0.25}),
    ("musika",
     "Epoch 0/9: 5%|5 | 7/90 [00:10<01:00, 1.2it/s, DR=0.5, DF=0.25, G=-1.5, GP=2, LR=0.1]\n", 7,
     {D_REAL: 0.5, D_FAKE: 0.25, G: -1.5, "d_penalty": 2, RATE: 0.1}),
    ("timegan", "step: 5/9, d_loss: 0.5, g_loss_u: 1.5, g_loss_v: 2", 5, {D: 0.5, A: 1.5}),
    ("dome272-vqgan", "8%|8 | 7/90 [00:10<01:00, 1.2it/s, VQ_Loss=1.5, GAN_Loss=0.5]\n", 7,
     {D: 0.5, G: 1.5}),
    ("pix2pixhd",
     "(epoch: 1, iters: 5, time: 1) G_GAN: 0.5 G_GAN_Feat: 5 G_VGG: 4 D_real: 1 D_fake: 2", 5,
     {A: 0.5, C: 9, D_REAL: 1, D_FAKE: 2}),
    ("fastai", HTML, 2, {G: 1.5, D: 0.5}),
    ("keras", "7 [D loss: 0.5, acc.: 50.0%] [G loss: 1.5]\n", 7, {D: 0.5, G: 1.5}),
    ("lightning", BAR.format(7, "d_loss=0.5, g_loss=1.5"), 7, {D: 0.5, G: 1.5}),
    ("stylegan-xl", json.dumps(STATS), 1000, {D: 0.5, "real_logit_mean": 1.0}),
    ("stylegan2-ada", json.dumps(STATS | {"Loss/r1_penalty": 1}), 1000, {D: 0.5, "d_penalty": 1.0}),
    ("", ACGAN.format(1) + ACGAN.format(2), 2, {G: 1.5, A: 0.75, D: 0.5}),
    ("", PIPES, 1, {D: 0.5, G: 8}),
    ("", "94: [D] real 0.5 fake 0.25 q 1 [G] fake 1.5 q 2\n", 94, {D_FAKE: 0.25, A: 1.5}),
    ("", "**Best**: Step - 9, Loss - 5\n{'d_loss': tensor([1]),\n 'g_loss': 2}", 9, {D: 1, G: 2}),
    ("", "progress  epoch 1  step 9  i/s 5\ndiscrim_loss 0.5\ngen_loss_GAN 1.5\ngen_loss_L1 2",
     9, {D: 0.5, A: 1.5, C: 2}),
    ("", "(epoch: 1, iters: 5, time: 0.8G_GAN: -0.5G_Lp: 9D_real: -0.000D_fake: 27.631", 5,
     {A: -0.5, D_REAL: 0, D_FAKE: 27.631}),
    ("", "epoch: 1, iters: 5, time: 0.8 G_GAN: 0.5 D_real: 0.25 D_fake: 26", 5, {D_FAKE: 26}),
    ("attngan",
     "errD0: 8.5 errD1: 8.5 errD2: 8.5 \ng_loss0: 8.5 w_loss: 8.5 s_loss: 8.5 kl_loss: 0.5 \n"
     "[3/600][12]\n        Loss_D: 0.5 Loss_G: 1.5 Time: 9.5s\n", 12, {D: 0.5, G: 1.5}),
    ("sagan", "Elapsed [0:01], G_step [10/90], D_step[10/90], d_out_real: 0.5", 10, {D_REAL: 0.5}),
    ("", "[D] loss: 0.5 acc: 0.75 | [G] loss: 1.5", 0, {D: 0.5, "d_accuracy": 0.75, G: 1.5}),
    ("", "step: 1 | Discriminator - loss: 0.5 - real: 1 | Generator - loss: 1.5", 1, {D_REAL: 1}),
    ("", "Ep: 5 d_loss: 0.5, g_loss: 1.5 -- mean_d_loss: 9.5, mean_g_loss: 9.5", 5, {D: 0.5}),
    ("", "Epoch [5/9], Avg_Loss_D: 0.5, Avg_Loss_EG: 9", 5, {D: 0.5, G: 9}),
    ("", "(epoch: 1, iters: 5, time: 1) G_GAN: 0.5 G: 5 NCE: 4 D_real: 1", 5, {A: 0.5, G: 5, C: 4}),
]  # fmt: skip


@pytest.mark.parametrize(("program", "text", "step", "values"), PROGRAMS)
def test_programs_are_known_and_read_in_their_own_words(program, text, step, values):
    trace = one(text)
    assert trace.program == program
    last, found = rows(trace)[-1]
    assert last == step
    assert values.items() <= found.items()
    assert not any(value > 50 or value in (8.5, 9.5) for value in found.values())


def test_networks_behind_their_losses():
    trace, _ = read(
        "[loss_h_AB(G): 0.5] [loss_h_AB(D): 1]\n[loss_h_BA(G): 0.5] [loss_h_BA(D): 1]\n"
    )
    assert (trace.title, rows(trace)) == ("AB", [(0, {G: 0.5, D: 1.0})])


def test_stargans_two_games():
    latent, ref = read(
        "Iteration [10/90], D/latent_real: [0.5] D/latent_fake: [0.25] D/ref_real: [1.0] "
        "D/ref_fake: [2.0] G/latent_adv: [3.0] G/ref_adv: [4.0] G/latent_sty: [9.0]\n"
    )
    assert (latent.title, ref.title) == ("LATENT", "REF")
    assert rows(latent) == [(10, {D_REAL: 0.5, D_FAKE: 0.25, A: 3})]
    assert rows(ref) == [(10, {D_REAL: 1, D_FAKE: 2, A: 4})]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Steps 5 TIME: 3 lr: 0.1 loss_q_real: 2 psnr: 3\n", "loss_q_real=d_loss_real"),
        ("Steps 5 TIME: 3 gen_q_loss: 2\n", "gen_q_loss=g_loss"),
    ],
)
def test_a_hint_names_what_may_be_a_loss_and_what_of(text, hint):
    with pytest.raises(UserError, match=hint):
        read(text)


def test_trainings_whose_lines_take_turns_are_told_apart():
    line = "(epoch: {}, iters: {}, time: 1) G_GAN: {} D_real: 1\n"
    text = "".join(
        line.format(9 + n // 4, 10 * (n % 4), 0.5) + line.format(1 + n // 4, 10 * (n % 4), 0.25)
        for n in range(8)
    )
    first, second = read(text)
    assert set(first.get(A)) == {0.5}
    assert set(second.get(A)) == {0.25}
    assert len(first) == len(second) == 8
    assert any("take turns" in note for note in first.notes)


def test_lines_alike_but_for_digits_in_names_are_not_mixed_up():
    trace = one("step 1 d_g_z1: 0.5 d_loss: 1\nstep 2 d_g_z2: 0.25 d_loss: 1\n")
    assert rows(trace)[1] == (2, {D: 1.0, "d_fake_after": 0.25})


def test_what_cannot_be_read_is_told_with_what_would_be():
    ticks = "tick 0     kimg 0.0   time 30s   sec/tick 5.0   gpumem 10.0   augment 0.000\n"
    with pytest.raises(UserError, match=r"stats\.jsonl"):
        read(ticks * 2)
    with pytest.raises(UserError, match=r"^(?!.*--map).*`step: 1 d_loss: .*`step: 2 d_loss: "):
        read("tick: 5 val_loss: 3\n")
