"""What a log's numbers are taken for before any rule is asked: objective, halves, labels, D's."""

import dataclasses

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.inference import infer
from counterpoise.diagnosis.interpretation import interpret
from counterpoise.diagnosis.least_losses import least_of_probabilities, least_of_scores
from log_helpers import one
from trace_helpers import ROWS, found, noise, trace


def scores(real, fake):
    """D's mean scores around these, by column."""
    return {
        "real_logit_mean": real + noise(0.1, seed=1),
        "fake_logit_mean": fake + noise(0.1, seed=2),
    }


# Wasserstein.


def critic_drifts(t):
    return -9 + 7 * t


def test_a_value_that_fades_to_zero_is_not_called_healthy():
    """What D maximises under BCE is below 0, too, and 0 is a D that has won."""
    fades = trace(d_loss=lambda t: -1.386 * np.exp(-8 * t) - 0.0015, g_loss=lambda t: 0.7 + 8 * t)
    diagnosis = diagnose(fades)
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert "turn the sign" in diagnosis.findings[0].evidence[0].text
    assert diagnose(dataclasses.replace(fades, objective="wgan")).healthy


def test_a_loss_below_zero_is_wassersteins():
    diagnosis = diagnose(trace(d_loss=lambda t: -3 + 0.5 * t, g_loss=1.2))
    assert diagnosis.objective == "wgan"
    assert "below 0" in diagnosis.objective_evidence
    assert diagnosis.healthy


def test_the_value_of_the_game_is_not_taken_for_squares_of_probabilities():
    real, fake = 0.6 + noise(0.02), 0.4 + noise(0.02, seed=1)
    value = np.log(real) + np.log1p(-fake)
    diagnosis = diagnose(trace(d_real=real, d_fake_before=fake, d_loss=value))
    assert diagnosis.objective == "unknown"
    assert not diagnosis.problems


@pytest.mark.parametrize("objective", ["bce", "lsgan", "hinge", "relativistic-paired"])
def test_a_loss_below_zero_is_not_judged_under_objectives_that_have_none(objective):
    diagnosis = diagnose(trace(d_loss=-3.0, g_loss=1.2), objective)
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert any("--objective wgan" in note for note in diagnosis.notes)


def test_single_lines_below_zero_are_no_certainty():
    loss = np.where(np.arange(ROWS) % 3 == 0, -0.5, 1.0)
    assert not np.isfinite(interpret(trace(d_loss=loss, objective="hinge")).relative_d_loss[0])


def test_no_answer_names_one_objective_where_it_asks_for_any():
    diagnosis = diagnose(trace(d_loss=0.5, g_loss=1.2))
    texts = " ".join(r.text for r in found(diagnosis, "not-enough-evidence").remedies)
    assert "bce, lsgan, hinge or wgan" in texts


def test_a_critics_scores_may_drift():
    columns = {"d_loss": critic_drifts, "g_loss": lambda t: 0.3 + 70 * t}
    columns |= {"fake_logit_mean": lambda t: -900 * t, "real_logit_mean": lambda t: 5 - 900 * t}
    assert diagnose(trace(**columns)).healthy
    assert "divergence" not in diagnose(trace(**columns), "bce").ids()


def test_a_critics_distance_may_not_explode():
    diagnosis = diagnose(trace(d_loss=lambda t: -np.exp(12 * t), g_loss=1.0))
    assert found(diagnosis, "divergence").severity == "severe"


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda t: 5 - t, "sign turned"),
        (lambda t: -2300 * t, "only ever grows"),
    ],
)
def test_a_distance_that_shows_no_health_is_not_called_healthy(loss, says):
    finding = found(diagnose(trace(d_loss=loss, g_loss=1.0), "wgan"), "not-enough-evidence")
    assert says in finding.evidence[0].text


# The mean of D's halves.


@pytest.mark.parametrize(
    ("objective", "mean_at_chance", "sum_at_chance"),
    [
        ("lsgan", 0.25, 0.5),
        ("bce", 0.6931, 1.3863),
        ("hinge", 1.0, 2.0),
        ("relativistic-average", 0.6931, 1.3863),
    ],
)
def test_a_mean_of_halves_at_chance_is_chance(objective, mean_at_chance, sum_at_chance):
    columns = {"d_loss": mean_at_chance, "g_loss": 3.0}
    diagnosis = diagnose(trace(**columns), objective, d_loss_is_mean=True)
    text = found(diagnosis, "d-too-weak").evidence[0].text
    assert f"{sum_at_chance:g}" in text
    assert "twice the mean" in text
    assert "d-too-weak" not in diagnose(trace(**columns), objective).ids()
    halves = trace(d_loss_real=mean_at_chance, d_loss_fake=mean_at_chance)
    halves = dataclasses.replace(halves, d_loss_is_mean=True)
    assert "d-too-weak" in diagnose(halves, objective).ids()


@pytest.mark.parametrize("objective", ["wgan", "relativistic-paired"])
def test_a_loss_without_halves_is_never_doubled(objective):
    given = trace(d_loss=0.5, objective=objective)
    assert interpret(dataclasses.replace(given, d_loss_is_mean=True)).d_loss[0] == 0.5


def of_probabilities(objective):
    real, fake = 0.8 + noise(0.05, seed=1), 0.2 + noise(0.05, seed=2)
    least = least_of_probabilities(real, fake)[objective]
    spread = 1.05 + 0.1 * np.random.default_rng(0).random(ROWS)
    return {"d_real": real, "d_fake_before": fake, "d_loss": spread * least}


@pytest.mark.parametrize("objective", ["non-saturating", "lsgan"])
@pytest.mark.parametrize("says", [True, False])
def test_halves_are_inferred_from_probabilities(objective, says):
    columns = of_probabilities(objective)
    said = objective if says else None
    assert not infer(trace(**columns, objective=said)).is_mean
    columns["d_loss"] = columns["d_loss"] / 2
    inferred = infer(trace(**columns, objective=said))
    assert (inferred.objective, inferred.is_mean) == (objective, True)
    assert "mean of its halves" in inferred.evidence


@pytest.mark.parametrize(
    ("objective", "real", "fake"),
    [("hinge", 0.3, 0.0), ("relativistic-average", 3.0, -1.0), ("non-saturating", 1.0, -1.5)],
)
@pytest.mark.parametrize("as_halves", [True, False])
def test_halves_are_inferred_from_scores(objective, real, fake, as_halves):
    columns = scores(real, fake)
    loss = least_of_scores(*columns.values())[objective] * 1.01
    printed = {"d_loss": loss / 2}
    if as_halves:
        printed = {"d_loss_real": loss / 4, "d_loss_fake": loss / 4}
    view = interpret(trace(**columns, **printed))
    assert view.objective_name == objective
    assert np.allclose(view.d_loss, loss)
    whole = interpret(trace(**columns, d_loss=loss))
    assert not whole.printed_is_mean


def test_halves_of_a_loss_that_is_given_as_a_mean_are_whole():
    columns = of_probabilities("non-saturating")
    halves = {"d_loss_real": columns["d_loss"] / 2, "d_loss_fake": columns["d_loss"] / 2}
    columns["d_loss"] = columns["d_loss"] / 2
    view = interpret(trace(**columns, **halves))
    assert np.allclose(view.d_loss, 2 * columns["d_loss"])
    assert np.allclose(view.d_loss_halves, list(halves.values()))


def test_squares_near_chance_are_not_taken_for_a_mean_of_bce():
    columns = scores(0.55, 0.4)
    least = least_of_scores(*columns.values())["lsgan"]
    loss = least + 0.04 + np.abs(noise(0.1, seed=3))
    assert infer(trace(**columns, d_loss=loss)).objective in ("lsgan", "unknown")


def test_losses_at_log_2_may_be_means():
    columns = {"d_loss": 0.693 + noise(0.003), "g_loss": 0.72 + noise(0.02)}
    diagnosis = diagnose(trace(**columns), "bce")
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert any("--d-loss-is-mean" in note for note in diagnosis.notes)
    assert "d-too-weak" in diagnose(trace(**columns), "bce", d_loss_is_mean=True).ids()
    columns["g_loss"] = 1.5
    assert diagnose(trace(**columns), "bce").healthy


# Whose loss it is.


def test_esrgans_halves_show_that_d_has_won():
    text = "".join(
        f"INFO: [epoch:  0, iter:   {100 * row}, lr:(1.000e-04,)] l_g_gan: 5.2e-02 "
        f"l_d_real: {loss / 4:.4e} out_d_real: {real:.4e} l_d_fake: {loss / 4:.4e} "
        f"out_d_fake: {fake:.4e}\n"
        for row, (real, fake) in enumerate(
            zip(6 + noise(0.3), -8 + noise(0.3, seed=1), strict=True)
        )
        for loss in [2.1 * np.logaddexp(0, fake - real)]
    )
    diagnosis = diagnose(one(text))
    assert diagnosis.objective == "relativistic-average"
    assert found(diagnosis, "d-saturated").severity == "warning"


def test_a_d_that_is_not_trained_yet_is_not_certain():
    columns = scores(0.3, -0.2)
    loss = least_of_scores(*columns.values())["hinge"] / 2
    young = np.arange(ROWS) < ROWS // 2
    columns = {name: np.where(young, 0.01, column) for name, column in columns.items()}
    diagnosis = diagnose(trace(**columns, d_loss=np.where(young, 0, loss)))
    assert diagnosis.objective == "hinge"
    assert diagnosis.healthy
    assert any("not trained yet in the first 30 lines" in note for note in diagnosis.notes)
    given = diagnose(trace(d_loss=np.where(young, 0, loss)), "hinge", d_loss_is_mean=True)
    assert given.healthy


def test_margins_that_are_met_from_the_start_are_no_untrained_d():
    columns = {"real_logit_mean": 2.0, "fake_logit_mean": -2.0}
    loss = np.where(np.arange(ROWS) < ROWS // 2, 0, 0.5)
    assert not diagnose(trace(**columns, d_loss=loss), "hinge").notes


def test_a_d_that_won_before_the_log_began_is_trained():
    loss = np.where(np.arange(ROWS) < 5, 0, 0.001)
    diagnosis = diagnose(trace(d_loss=loss, g_loss=8.0), "bce")
    assert found(diagnosis, "d-saturated").first_step == 100
    assert not diagnosis.notes


def test_a_d_that_is_never_trained_is_at_chance_and_not_certain():
    diagnosis = diagnose(trace(d_loss=0.0, real_logit_mean=0.01, fake_logit_mean=0.0), "hinge")
    assert [f.id for f in diagnosis.problems] == ["d-too-weak"]
    assert any("in every line" in note for note in diagnosis.notes)


@pytest.mark.parametrize(("objective", "loss"), [("lsgan", 3.85), ("lsgan", 1.0), ("bce", 4.1)])
def test_several_ds_are_not_judged_as_one(objective, loss):
    columns = {"d_loss": loss * (1 + noise(0.05)), "g_loss": 3.2}
    diagnosis = diagnose(trace(**columns), objective)
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert any("several D's" in note for note in diagnosis.notes)


def test_a_loss_that_grows_is_not_several_ds():
    diagnosis = diagnose(trace(d_loss=lambda t: 0.4 + np.exp(9 * t), g_loss=3.2), "lsgan")
    assert "divergence" in diagnosis.ids()
    assert not diagnosis.notes


# Labels.


@pytest.mark.parametrize("says", ["non-saturating", None])
@pytest.mark.parametrize(
    ("real", "fake", "verdict"), [(0.0005, 0.9994, "d-saturated"), (0.3, 0.65, "healthy")]
)
def test_flipped_labels_are_exchanged(says, real, fake, verdict):
    real, fake = np.full(ROWS, real), np.full(ROWS, fake)
    loss = 1.1 * (-np.log1p(-real) - np.log(fake))
    flipped = trace(
        d_real=real, d_fake_before=fake, d_fake_after=fake + 0.0001, d_loss=loss, objective=says
    )
    diagnosis = diagnose(flipped)
    assert diagnosis.objective == "non-saturating"
    assert diagnosis.findings[0].id == verdict
    assert any("labels are flipped" in note for note in diagnosis.notes)


def test_a_d_that_is_wrong_is_no_flipped_one():
    real, fake = 0.45 + noise(0.01), 0.55 + noise(0.01, seed=1)
    wrong = {"d_real": real, "d_fake_before": fake}
    for loss in (least_of_probabilities(real, fake)[name] for name in ("non-saturating", "lsgan")):
        assert not diagnose(trace(**wrong, d_loss=1.05 * loss)).notes
