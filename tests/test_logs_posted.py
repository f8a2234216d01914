"""How people print and paste what they post: kinds that a stranger's logs had."""

import json

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.errors import UserError
from log_helpers import D_REAL, TWO_ROWS, A, D, G, one, read, rows

C = "g_content"


@pytest.mark.parametrize("line", ["dis_loss: 9 D_loss: {d}", "D_loss: {d} dis_loss: 9"])
def test_the_own_spelling_of_a_column_goes_before_its_words(line):
    text = "".join(f"step {n} {line.format(d=d)}\n" for n, d in ((1, 0.5), (2, 0.25)))
    assert rows(one(text)) == [(1, {D: 0.5}), (2, {D: 0.25})]
    assert rows(one(text, mapping={"dis_loss": "d_loss"})) == [(1, {D: 9}), (2, {D: 9})]
    objects = [{"step": 1, "dis_loss": 9, "D_loss": 0.5}, {"step": 2, "dis_loss": 9, "D_loss": 1}]
    assert rows(one("".join(map(json.dumps, objects)).replace("}{", "}\n{")))[0] == (1, {D: 0.5})


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("Gen/Dis Loss: 33.5/-5.5", {G: 33.5, D: -5.5}),
        ("D_loss: 0.5 D(SR1)/D(SR2): 0.25/0.125", {D: 0.5, "d_fake_before": 0.25}),
        ("D_loss_real/adv_loss: 0.5 / 1.5", {D_REAL: 0.5, A: 1.5}),
        # What names one number has one.
        ("train/D_loss: 0.5/100", {D: 0.5}),
    ],
)
def test_a_pair_of_names_is_a_pair_of_numbers(line, values):
    ((_, found),) = rows(one(f"step 1 {line}\n"))
    assert values.items() <= found.items()


def test_a_tensor_that_is_not_a_number_needs_no_name():
    tensor = "tensor({}, device='cuda:0', grad_fn=<NegBackward>) None\n"
    text = "".join(f"epoch\n3 step {50 * n}\n{tensor.format(n)}" for n in range(4))
    found = diagnose(one(f"{text}epoch\n3 step 200\n{tensor.format('nan')}")).findings[0]
    assert (found.id, found.severity, found.first_step) == ("non-finite", "severe", 200)


WITHIN = "step {step} Loss_D: {d} Loss_G: {g}"


@pytest.mark.parametrize(
    "line",
    [
        '  7 {{"step": {step}, "d_loss": {d}, "g_loss": {g}}}',
        '{{"log":"' + WITHIN + '\\n","stream":"stdout","time":"2026-01-01"}}',
        '{{"level":"INFO","message":"' + WITHIN + '"}}',
    ],
)
@pytest.mark.parametrize("above", ["", "a_log.jsonl\n"])
def test_json_lines_behind_a_number_or_around_a_text(line, above):
    text = "".join(f"{line.format(step=n, d=v[D], g=v[G])}\n" for n, v in TWO_ROWS)
    assert rows(one(above + text)) == TWO_ROWS


def test_a_line_that_is_printed_twice_is_one():
    bar = "7/9 [====>..] - ETA: 3s - d_loss: 0.5 - g_loss: 1.5\n"
    assert rows(one(bar * 2)) == [(7, TWO_ROWS[0][1])]
    assert rows(one("".join(f"niter: {n}, D_loss: 0.5\n" for n in (3, 3, 4)))) == [
        (3, {D: 0.5}),
        (4, {D: 0.5}),
    ]


def test_shuffled_batches_are_of_one_training_and_a_restart_is_none():
    shuffled = [3300, 6150, 50, 350, 9600, 6450, 4800, 6900, 2250, 3600, 900, 7600, 100, 4250, 700]
    line = "[0/9][{}/9999] Loss_D: 0.5 Loss_G: {}\n"
    trace = one("".join(line.format(step, n) for n, step in enumerate(shuffled)))
    assert list(trace.get(G)) == list(range(len(shuffled)))
    again = "".join(line.format(step, 1) for step in [0, 50, 100, 150] * 4)
    assert len(read(again)) == 4


@pytest.mark.parametrize(
    "line", ["AUC: 0.9{} max AUC: 0.98", "AUC: 0.9{}", "D_loss: 1 AUC: 0.9{} best AUC: 1"]
)
def test_an_auc_alone_or_beside_its_best_is_a_detectors(line):
    text = "".join(f"step {n} {line.format(n)}\n" for n in range(9))
    if "D_loss" in line:
        assert not one(text).has("auc")
        return
    with pytest.raises(UserError, match="AUC"):
        read(text)
    assert one(text, mapping={"AUC": "auc"}).has("auc")


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("[D loss: 0.5] [G loss:: 1.5]", {D: 0.5, G: 1.5}),
        ("Generator (U-Net) loss: 9.5, Discriminator (PatchGAN) loss: 0.5", {D: 0.5, G: 9.5}),
        (
            "D_Loss: 0.5 Generator_Loss (Content/Advers/Total): 0.25/1.5/2.5e-1",
            {D: 0.5, C: 0.25, A: 1.5, G: 0.25},
        ),
        ("Loss_G: 7.5  (L1: 6.5, GAN: 1.5) Loss_D: 0.5", {D: 0.5, A: 1.5, C: 6.5, G: 7.5}),
        ("g_loss_kl: 1,204,331 d_loss: 0.5", {D: 0.5, C: 1_204_331}),
        ("Class_loss: 0.25, Domain_loss: 0.5", {D: 0.5}),
    ],
)
def test_names_with_more_than_letters_and_terms_behind_a_total(line, values):
    assert rows(one(f"step 7 {line}\n")) == [(7, values)]


def test_a_loss_of_g_that_is_not_read_is_named():
    (note,) = one("step 7 d_loss: 0.5 gen_q_loss: 2\n").notes
    assert "gen_q_loss" in note


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        (
            "{step} (C loss: 0.625, acc.: 51.5%) [G loss: 1.5]",
            {D: 0.625, "d_accuracy": 0.515, G: 1.5},
        ),
        (
            "{step}: [D loss: 7.5, acc: 0.5]  [A loss: 0.25, acc: 1]",
            {D: 7.5, "d_accuracy": 0.5, G: 0.25},
        ),
        ("+[0/30][{step}] D_Loss: 0.75 G_Loss: 1.5", {D: 0.75, G: 1.5}),
        (
            "[epoch_index: 0/200][batch_index:{step}/1067] D_Loss: 0.75 G_Loss: 1.5",
            {D: 0.75, G: 1.5},
        ),
    ],
)
def test_steps_and_critics_of_loops_in_notebooks(line, columns):
    text = "".join(line.format(step=n) + "\n" for n in (3, 4))
    assert rows(one(text)) == [(3, columns), (4, columns)]


def test_the_index_of_a_pandas_table_is_the_step():
    assert rows(one(",losses_d,losses\n50,0.5,1\n100,0.25,1\n"))[1][0] == 100


def test_srgans_scores_are_ds_outputs():
    table = "".join(f"{n},0.{n},0.5,0.875,0.25,20,0.5\n" for n in range(1, 9))
    trace = one("Epoch,Loss_D,Loss_G,Score_D,Score_G,PSNR,SSIM\n" + table)
    assert rows(trace)[0][1] | {"d_real": 0.875, "d_fake_before": 0.25} == rows(trace)[0][1]


def test_a_configuration_of_audio_is_no_program():
    text = " | > sample_rate:22050\nSteps : 5, Gen Loss Total : 40.5, Mel-Spec. Error : 0.5\n"
    assert one(text).program == "hifi-gan"


def test_coquis_vits_sums_six_discriminators():
    text = (
        "  --> STEP: 4/9 -- GLOBAL_STEP: 1\n | > loss_disc: 3 (3)\n | > loss_disc_real_5: 1 (1)\n"
    )
    assert one(text).program == "vits"


def test_pix2pixhds_names_may_stand_in_any_order():
    line = "(epoch: 1, iters: 9, time: 1) D_fake: 1 D_real: 1 G_GAN_Feat: 9 G_GAN: 1 G_VGG: 1\n"
    assert one(line).program == "pix2pixhd"


def test_a_line_for_each_epoch_has_its_number():
    text = "".join(
        f"(epoch: {n}, iter: 0, time: 0.2) g_loss: 9 d_loss: 0.5\n" for n in (40, 41, 43)
    )
    trace = one(text)
    assert [step for step, _ in rows(trace)] == [40, 41, 43]
    assert not trace.counts_batches
    assert not trace.notes


def test_an_epoch_is_called_what_the_log_calls_it():
    (note,) = one("[24/25][7/9] Loss_D: 0.5 Loss_G: 1 D(x): 0.5 D(G(z)): 0.5 / 0.5\n").notes
    assert "epoch 24" in note
