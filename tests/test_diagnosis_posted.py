"""What numbers mean that people post: kinds that a stranger's logs had."""

import dataclasses

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.wording import verdict
from log_helpers import one
from trace_helpers import ROWS, bce_columns, found, noise, trace

SMALL = {"d_real": 0.003 + 0.0005 * np.sin(np.arange(ROWS)), "d_fake_before": 0.0004}


@pytest.mark.parametrize("said", [None, "lsgan"])
def test_outputs_near_0_on_both_sides_are_halves_where_gs_loss_goes_with_them(said):
    diagnosis = diagnose(trace(**SMALL, g_adversarial=0.98 + noise(0.01)), said)
    assert "d-saturated" in diagnosis.ids()
    assert not {"d-too-weak", "lsgan-on-sigmoid"} & diagnosis.ids()
    assert any("halves" in note for note in diagnosis.notes)


def test_where_nothing_tells_whether_they_are_halves_or_outputs_neither_is_judged():
    diagnosis = diagnose(trace(**SMALL))
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert any("--map" in note for note in diagnosis.notes)


@pytest.mark.parametrize(
    ("loss", "said"), [(6e5 * 0.8 ** np.arange(48), None), (40 * 0.81 ** np.arange(14), "lsgan")]
)
def test_a_loss_that_falls_from_a_wild_beginning_is_no_divergence(loss, said):
    ids = diagnose(trace(len(loss), d_loss=loss, g_loss=3 + loss / 100), said).ids()
    assert not {"divergence", "healthy"} & ids


def test_an_adversarial_term_of_a_thousandth_of_gs_loss_is_drowned():
    of_vae = {"d_loss": -50 + noise(2), "g_loss": 1e7 * (1.5 + np.sin(np.arange(ROWS)))}
    critic = of_vae | {"g_adversarial": -58 + noise(1, seed=1)}
    assert diagnose(trace(**critic), "wgan").ids() == {"adversarial-term-drowned"}


def test_a_flip_begins_where_it_does():
    flips = np.arange(ROWS) >= 25
    columns = {"d_loss": np.where(flips, 100.0, 0.02), "g_loss": np.where(flips, 0.0, 8.0)}
    assert found(diagnose(trace(**columns)), "divergence").first_step == 2600


@pytest.mark.parametrize("clip", [13.82, 16.118, 18.42, 27.63])
@pytest.mark.parametrize(("g_loss", "says"), [(0.0, "every fake"), (None, "every real")])
def test_a_loss_of_d_at_a_clip_says_what_d_takes_for_what(clip, g_loss, says):
    columns = {"d_loss": clip, "g_loss": clip if g_loss is None else g_loss}
    assert says in found(diagnose(trace(12, **columns), "bce"), "divergence").title


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([(0.3, 2.4), (0.005, 6.1), (0.004, 6.4), (0.006, 6.3), (0.002, 7.2)], "4 of 5 lines"),
        ([(0.02, 7.5), (0.001, 33), (0.18, 15), (0.02, 9), (100, 0)], "100"),
        ([(0.4, 4.7), (0.6, 5), (2.6, 671)], "671"),
        ([(0.4, "1 PSNR: 20"), (0.6, "1 PSNR: 15"), (0.5, "1.1 PSNR: 9")], "is 9"),
    ],
)
def test_few_lines_that_are_sick_are_said_to_be(lines, says):
    text = "".join(f"step {n} D_loss: {d} G_loss: {g}\n" for n, (d, g) in enumerate(lines))
    assert says in verdict(diagnose(one(text)))


def test_two_lines_before_the_end_do_not_end_a_long_spell():
    loss = np.full(ROWS, 0.003)
    loss[56:58] = 1
    g_loss = 6 + noise(0.3)
    g_loss[30] = 6000
    diagnosis = diagnose(trace(d_loss=loss, g_loss=g_loss), "bce")
    assert found(diagnosis, "d-saturated").last_step == ROWS * 100
    assert any("6000" in note for note in diagnosis.notes)  # and what is no trend is said


def test_a_d_that_is_wrong_is_not_called_certain():
    text = verdict(diagnose(trace(d_loss=2 + noise(0.35), g_loss=5 + noise(0.2)), "bce"))
    assert "wrong" in text
    assert "certain" not in text


def test_health_near_chance_says_so():
    for real, is_near in ((0.53, True), (0.65, False)):
        led = np.where(np.arange(ROWS) < 15, 0.7, real) + noise(0.02)
        healthy = found(diagnose(trace(**bce_columns(led, 1 - led))), "healthy")
        assert ("near chance" in healthy.evidence[0].text) == is_near


def test_a_d_that_is_fooled_a_little_in_most_lines_is_found():
    diagnosis = diagnose(trace(d_loss=0.88 + noise(0.1), g_loss=0.6 + noise(0.05)), "bce")
    assert "d-too-weak" in diagnosis.ids()


@pytest.mark.parametrize(
    "line",
    [
        "| disc/disc_acc_expert | 1 | disc/disc_acc | 1 | disc/disc_loss | 0.00{} |",
        "DANN iter {0} class_loss: 0.2 d_loss: 0.00{0} d_acc: 1.0",
    ],
)
def test_a_d_that_judges_no_images_is_not_helped_by_what_is_of_images(line):
    text = "".join(f"step {n} {line.format(n)}\n" for n in range(1, 10))
    remedies = found(diagnose(one(text)), "d-saturated").remedies
    assert not {REMEDIES["r1"], REMEDIES["same-batch"]} & set(remedies)


CERTAIN_FIRST = np.where(np.arange(ROWS) < 10, 0.002, 0.6931 + noise(0.0005))


@pytest.mark.parametrize("rows", [slice(None), slice(12, None)])
def test_a_d_that_stands_at_chance_at_the_end_is_not_called_healthy(rows):
    loss = CERTAIN_FIRST[rows]
    ids = diagnose(trace(len(loss), d_loss=loss, g_loss=np.where(loss < 0.1, 11, 1.2))).ids()
    assert "healthy" not in ids


@pytest.mark.parametrize("place", [0, 5, ROWS - 1])
def test_a_number_a_thousand_times_the_others_forbids_health_wherever_it_stands(place):
    g_loss = 30 + noise(2)
    g_loss[place] = 40_000
    late = trace(d_loss=0.9 + noise(0.1), g_loss=g_loss, g_adversarial=1.2)
    late = dataclasses.replace(late, steps=late.steps + 50_000)
    assert "healthy" not in diagnose(late, "bce").ids()


def test_a_regression_of_a_metric_is_judged_as_no_game():
    columns = {"d_loss": 0.002 + noise(0.0005), "g_loss": 1 + noise(0.03)}
    assert diagnose(trace(**columns), program="metricgan").ids() == {"not-enough-evidence"}


def test_between_a_loss_and_the_mean_of_its_halves_the_objective_settles_nothing():
    loss = 0.6931 + noise(0.0005)
    said = str(diagnose(trace(d_loss=loss, g_loss=1.3 - np.arange(ROWS) / 300), "bce"))
    assert "--d-loss-is-mean" in said
    assert "--objective" not in said


def test_a_loss_at_half_a_clip_with_half_of_the_images_right_takes_fakes_for_real():
    text = "".join(f"{n}: [D loss: 7.9712, acc: 0.5]  [A loss: 0.0, acc: 1]\n" for n in range(12))
    assert "for real" in found(diagnose(one(text)), "divergence").title


def test_means_of_epochs_that_are_linear_in_the_scores_are_that():
    x, z = 0.69 + noise(0.01), 0.31 + noise(0.01, seed=1)
    columns = {"d_real": x, "d_fake_before": z, "d_loss": (1 - x + z) * (1 + noise(0.001, seed=2))}
    assert diagnose(trace(**columns, g_content=0.004)).objective == "linear-on-sigmoid"


def test_of_a_nan_in_the_last_line_nobody_knows_whether_it_stays():
    text = "".join(f"step {n} d_loss: {0.5 + n / 9} g_loss: 1\n" for n in range(9))
    diagnosis = diagnose(one(text + "step 9 d_loss: nan g_loss: 1\n"))
    assert "the log ends" in found(diagnosis, "non-finite").evidence[0].text


def test_a_certain_d_under_which_fid_still_falls_is_no_severe_finding():
    fid = np.where(np.arange(ROWS) % 10 == 9, 90 - np.arange(ROWS), np.nan)
    for column, severity in ((fid, "warning"), (fid[::-1], "severe")):
        losses = {"d_loss": 0.003 + noise(0.0005), "g_loss": 7 + noise(0.3)}
        diagnosis = diagnose(trace(**losses, held_out_fid=column), "bce")
        assert found(diagnosis, "d-saturated").severity == severity
