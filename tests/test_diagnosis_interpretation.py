"""What a log's numbers are taken for before any rule is asked: objective, halves, labels, D's."""

import dataclasses
import math
import re

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.inference import infer
from counterpoise.diagnosis.interpretation import views
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.errors import UserError
from counterpoise.objectives import OBJECTIVES, UNKNOWN, least_of_probabilities, least_of_scores
from counterpoise.programs import PROGRAMS
from log_helpers import one
from trace_helpers import ROWS, found, noise, trace

YOUNG, LATER = np.arange(ROWS) < ROWS // 2, np.arange(ROWS) >= 5


def interpret(trace):
    """What its numbers most likely mean."""
    return views(trace, given="said" if trace.objective else "")[0]


def scored(real, fake):
    return {"real_logit_mean": real, "fake_logit_mean": fake}


def scores(real, fake):
    """D's mean scores around these, by column."""
    return scored(real + noise(0.1, seed=1), fake + noise(0.1, seed=2))


def value_of_game():
    real, fake = 0.6 + noise(0.02), 0.4 + noise(0.02, seed=1)
    return {"d_real": real, "d_fake_before": fake, "d_loss": np.log(real) + np.log1p(-fake)}


def of_hinge(young):
    """D's scores and its printed mean of halves, untrained where `young`."""
    columns = scores(0.3, -0.2)
    loss = least_of_scores(*columns.values())["hinge"] / 2
    columns = {name: np.where(young, 0.01, column) for name, column in columns.items()}
    return columns | {"d_loss": np.where(young, 0, loss)}


def linear(real, fake):
    """What a loop prints whose D's loss is 1 - D(x) + D(G(z))."""
    real, fake = np.round(real + noise(0.01), 4), np.round(fake + noise(0.01, seed=1), 4)
    return {"d_real": real, "d_fake_before": fake, "d_loss": 1 - real + fake}


MOVES = 1.5 + noise(0.05)
BELOW = {"d_loss": noise(0.1) - 3, "g_loss": MOVES}
AT_LOG_2 = {"d_loss": 0.693 + noise(0.003), "g_loss": 0.72 + noise(0.02)}
MARGINS = scored(5.5 + noise(0.3), -4.6 + noise(0.3, seed=1))
DRIFTS = {"d_loss": lambda t: -9 + 7 * t, "g_loss": lambda t: 0.3 + 70 * t}
DRIFTS |= scored(lambda t: 5 - 900 * t, lambda t: -900 * t)
# What D maximises under BCE is below 0, too, and 0 is a D that has won.
FADES = {"d_loss": lambda t: -1.386 * np.exp(-8 * t) - 0.0015, "g_loss": lambda t: 0.7 + 8 * t}


def taken(objective, ids, note="", said=None, **columns):
    """The objective that numbers are of, all findings, a word of the notes; what is said."""
    return columns, said, objective, set(ids.split()), note


NONE = "not-enough-evidence"
TAKEN = [
    # Wasserstein's.
    taken("wgan", "healthy", d_loss=lambda t: -3 + 0.5 * t, g_loss=MOVES),
    taken("non-saturating", "d-saturated", **FADES),
    taken("wgan", "healthy", said="wgan", **FADES),
    taken("wgan", "healthy", **DRIFTS),
    taken("wgan", "divergence", d_loss=lambda t: -np.exp(12 * t), g_loss=1),
    # A distance that shows no health: the sign is turned, or it only ever grows.
    taken("wgan", NONE, said="wgan", d_loss=lambda t: 5 - t, g_loss=1.0),
    taken("wgan", NONE, said="wgan", d_loss=lambda t: -2300 * t, g_loss=1.0),
    taken("wgan", "healthy", said="wgan", d_loss=lambda t: -2617 * np.exp(-3 * t), g_loss=1.0),
    taken("non-saturating", "healthy", **value_of_game()),
    # What never changes says that nothing is learned.
    taken("non-saturating", "g-frozen", said="bce", d_loss=0.5 + noise(0.1), g_loss=1.22),
    taken("non-saturating", "d-frozen", said="bce", d_loss=0.513, g_loss=MOVES),
    *(
        taken(said, NONE, "--objective wgan", said, **BELOW)
        for said in ("non-saturating", "lsgan", "hinge", "relativistic-paired")
    ),
    # Linear in probabilities, to the last digit; hinge whose margins are met, no critic's.
    taken("linear-on-sigmoid", "healthy", **linear(0.6, 0.4)),
    taken("linear-on-sigmoid", "d-too-weak", **linear(0.48, 0.52)),
    taken("hinge", NONE, d_loss=0.26 + noise(0.02, seed=2), **MARGINS),
    # Losses at log 2 are means, beside others they are none.
    taken("non-saturating", "d-too-weak", said="bce", **AT_LOG_2),
    taken("non-saturating", "healthy", said="bce", d_loss=0.693 + noise(0.1), g_loss=MOVES),
    # Several D's are not judged as one, and a loss that grows is not that of several.
    taken("lsgan", NONE, "several D's", "lsgan", d_loss=3.85 * (1 + noise(0.05))),
    taken("non-saturating", NONE, "several D's", "bce", d_loss=4.1 * (1 + noise(0.05))),
    taken("lsgan", "divergence", said="lsgan", d_loss=lambda t: 0.4 + np.exp(9 * t)),
    # A D that is not trained yet is not certain, one that never is is at chance.
    taken("hinge", "healthy", "first 30 lines", **of_hinge(YOUNG)),
    taken("hinge", "d-too-weak", "in every line", "hinge", d_loss=0.0, **scored(0.01, 0.0)),
    # Margins may be met from the start, and a D may have won before the log began.
    taken("hinge", "d-saturated", "", "hinge", d_loss=0.5 * ~YOUNG, **scored(2.0, -2.0)),
    taken("non-saturating", "d-saturated", "", "bce", d_loss=0.001 * LATER, g_loss=8.0),
]


@pytest.mark.parametrize(("columns", "said", "objective", "ids", "note"), TAKEN)
def test_numbers_are_taken_for_what_they_are(columns, said, objective, ids, note):
    diagnosis = diagnose(trace(**columns), said)
    assert (diagnosis.objective, diagnosis.ids()) == (objective, ids)
    assert note in " ".join(diagnosis.notes)
    assert bool(diagnosis.notes) == bool(note)


SWING = np.sin(np.arange(ROWS))
# D's and G's losses as each objective ties them together.
PAIRS = {
    "non-saturating": {"d_loss": 0.9 + 0.2 * SWING, "g_loss": 1.0 - 0.3 * SWING},
    "lsgan": {"d_loss": 0.002 + 0.001 * SWING, "g_loss": 0.95 - 0.02 * SWING},
    "hinge": {"d_loss": 1.7 + 0.2 * SWING, "g_loss": 0.05 + 0.25 * np.cos(np.arange(ROWS))},
    "wgan": {"d_loss": -2 + 0.5 * SWING, "g_loss": 9 + 4 * SWING},
    # Keras prints no more than this.
    "clipped": {"d_loss": 1e-4 + 5e-5 * SWING, "g_loss": 16.1181},
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_pair_of_losses_tells_the_objective(name):
    readings = infer(trace(**PAIRS[name]))
    assert sum(each.probability for each in readings) == pytest.approx(1)
    assert readings[0].objective == ("non-saturating" if name == "clipped" else name)
    assert readings[0].probability > 0.6


def two(d_loss, g_loss, seed=5):
    """Losses in these ranges, by line, that do not go together in any other way."""
    draw = np.random.default_rng(seed)
    return {"d_loss": draw.uniform(*d_loss, ROWS), "g_loss": draw.uniform(*g_loss, ROWS)}


LN4 = {"d_loss": 1.3885 + noise(0.0015), "g_adversarial": 7e-4 + noise(1e-5)}
SQUARES = {"d_loss": 0.25 + noise(0.004), "g_loss": 0.5 + noise(0.006, seed=1)}
ON_FAKES = 0.75 + 0.1 * SWING


@pytest.mark.parametrize(
    ("columns", "objective"),
    [
        (two((0.2, 0.9), (2.0, 6.0)), "non-saturating"),  # scores that spread over a batch
        # Of a sum and of a mean of halves at chance G's loss, or a weight in it, tells.
        (SQUARES, "lsgan"),
        (LN4, "non-saturating"),
        # D's loss on fakes ties G's closer than both halves do.
        ({"d_loss_real": 0.72, "d_loss_fake": ON_FAKES, "g_adversarial": 1 - ON_FAKES}, "hinge"),
        ({"d_loss": 0.0, "g_loss": 25 + noise(2)}, "non-saturating"),  # no critic's
    ],
)
def test_both_losses_tell_the_objective_and_whether_ds_is_a_sum(columns, objective):
    likeliest = infer(trace(**columns))[0]
    assert (likeliest.objective, likeliest.is_mean) == (objective, False)
    assert likeliest.probability > 0.7


def test_what_holds_under_some_objectives_is_said_with_its_condition():
    alone = diagnose(trace(d_loss=2e-4 * (1.5 + SWING)))
    finding = found(alone, "d-saturated")
    assert {"non-saturating", "lsgan", "hinge"} <= set(finding.if_objective)
    assert (finding.severity, alone.objective) == ("warning", "non-saturating")
    assert 0.5 < finding.evidence[1].value < 0.9
    assert sum(each.probability for each in alone.objectives) == pytest.approx(1, abs=0.01)
    assert not found(diagnose(trace(d_loss=2e-4), "bce"), "d-saturated").if_objective
    # G's loss of 0.08 goes with no D that is certain: something else is printed.
    measured = {"d_loss": 0.004 * (1.5 + SWING), "g_loss": 0.08 + 0.01 * SWING}
    assert "not-enough-evidence" in diagnose(trace(**measured)).ids()


@pytest.mark.parametrize(
    ("columns", "program", "ids"),
    [
        ({"d_loss": 3.8 + 0.2 * SWING, "g_loss": 3 + 0.3 * SWING}, "rvc", {"healthy"}),
        ({"d_loss": 0.02 + 0.01 * SWING, "g_loss": 8.6 + 0.1 * SWING}, "rvc", {"d-saturated"}),
        ({"d_loss": 0.02 + 0.01 * SWING, "g_adversarial": 9.0 + SWING}, "pix2pix", {"d-saturated"}),
        ({"d_loss": -0.2 + 0.1 * SWING, "g_loss": -1 + 0.3 * SWING}, "ctgan", {"healthy"}),
        # D at chance is right for an autoencoder.
        (
            {"d_loss": 0.99 + 0.01 * SWING, "g_loss": 0.01 * SWING},
            "ldm",
            {"d-too-weak", "healthy"},
        ),
    ],
)
def test_a_program_says_what_its_numbers_are(columns, program, ids):
    diagnosis = diagnose(trace(**columns), program=program)
    assert (diagnosis.ids(), diagnosis.program) == (ids, program)
    assert PROGRAMS[program].normal in diagnosis.notes[-1]
    named = dataclasses.replace(trace(**columns), program=program)
    assert diagnose(named) == diagnosis


def test_where_the_likeliest_objective_has_no_fault_the_first_advice_is_to_tell_it():
    diagnosis = diagnose(trace(d_loss=1.83 + noise(0.03), g_loss=0.45 + noise(0.1, seed=1)))
    assert diagnosis.objective == "hinge"
    doubted = found(diagnosis, "d-too-weak")
    assert "hinge" not in doubted.if_objective
    assert doubted.remedies[0] == REMEDIES["say-objective"]


def test_every_program_is_of_objectives_that_are_known():
    for program in PROGRAMS.values():
        assert set(program.objectives) <= {*OBJECTIVES, UNKNOWN}, program.name
        assert re.search(r"\d", program.normal), program.name
        assert re.fullmatch(r"[\w-]+/[\w-]+: \S+(, \S+)*", program.source), program.name
    with pytest.raises(UserError, match="unknown program"):
        diagnose(trace(d_loss=1.0), program="nothing")


def test_an_objective_is_said_by_whom_it_was():
    """A stranger's file has no configuration of ours."""
    stats = dataclasses.replace(trace(**PAIRS["hinge"]), objective="non-saturating")
    layout = diagnose(dataclasses.replace(stats, format="stylegan-stats"))
    assert "configuration" not in layout.objective_evidence
    ours = dataclasses.replace(stats, format="run folder")
    assert "configuration" in diagnose(ours).objective_evidence


def test_one_line_after_ds_start_judges_nothing():
    log = "".join(f"step {n} d_loss: 0.0000 g_loss: 1.3{n % 7}\n" for n in range(5))
    diagnosis = diagnose(one(log + "step 5 d_loss: 3.1200 g_loss: 2.5\n"), "hinge")
    assert diagnosis.ids() == {NONE}
    assert "D's lead" not in {each.name for each in diagnosis.findings[0].evidence}


def test_single_lines_below_zero_are_no_certainty():
    loss = np.where(np.arange(ROWS) % 3 == 0, -0.5, 1.0)
    assert not np.isfinite(interpret(trace(d_loss=loss, objective="hinge")).relative_d_loss[0])


@pytest.mark.parametrize(
    ("objective", "at_chance"),
    [
        ("lsgan", 0.5),
        ("bce", math.log(4)),
        ("hinge", 2.0),
        ("relativistic-average", math.log(4)),
        ("relativistic-hinge", 2.0),
    ],
)
def test_a_mean_of_halves_at_chance_is_chance(objective, at_chance):
    given = trace(d_loss=at_chance / 2, g_loss=3.0)
    diagnosis = diagnose(given, objective, d_loss_is_mean=True)
    assert found(diagnosis, "d-too-weak").evidence[0].value == pytest.approx(at_chance)
    unsaid = diagnose(given, objective).findings
    assert all(f.if_objective for f in unsaid if f.id == "d-too-weak")
    halves = trace(d_loss_real=at_chance / 2, d_loss_fake=at_chance / 2)
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
    how = "said" if says else ""
    assert not infer(trace(**columns, objective=said), given=how)[0].is_mean
    halved = trace(**columns | {"d_loss": columns["d_loss"] / 2}, objective=said)
    inferred = infer(halved, given=how)[0]
    assert (inferred.objective, inferred.is_mean) == (objective, True)


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
    assert not interpret(trace(**columns, d_loss=loss)).halves_are_summed


def test_halves_of_a_loss_that_is_given_as_a_mean_are_whole():
    columns = of_probabilities("non-saturating")
    halves = {"d_loss_real": columns["d_loss"] / 2, "d_loss_fake": columns["d_loss"] / 2}
    columns["d_loss"] = columns["d_loss"] / 2
    view = interpret(trace(**columns, **halves))
    assert np.allclose(view.d_loss, 2 * columns["d_loss"])
    assert np.allclose(view.d_loss_halves, list(halves.values()))


def relativistic_hinge(ahead, spread=0.6, batch=12):
    """D's and G's losses where D's mean scores are so far apart, by line, and its own spread."""
    draw = np.random.default_rng(1).normal(size=(2, len(ahead), batch)) * spread
    real, fake = draw[0] + ahead[:, None] / 2, draw[1] - ahead[:, None] / 2
    of_real = real - fake.mean(axis=1, keepdims=True)
    of_fake = fake - real.mean(axis=1, keepdims=True)

    def halves(sign):
        margins = np.maximum(1 - sign * of_real, 0), np.maximum(1 + sign * of_fake, 0)
        return sum(each.mean(axis=1) for each in margins)

    return {"d_loss": halves(1), "g_loss": halves(-1)}


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [(np.abs(0.5 + noise(0.3)), "healthy"), (np.linspace(0, 5, ROWS), "d-saturated")],
)
def test_a_relativistic_hinge_is_known_by_losses_that_add_up_to_4(ahead, verdict):
    diagnosis = diagnose(trace(**relativistic_hinge(ahead)))
    assert (diagnosis.objective, diagnosis.findings[0].id) == ("relativistic-hinge", verdict)


def test_squares_near_chance_are_not_taken_for_a_mean_of_bce():
    columns = scores(0.55, 0.4)
    least = least_of_scores(*columns.values())["lsgan"]
    loss = least + 0.04 + np.abs(noise(0.1, seed=3))
    assert infer(trace(**columns, d_loss=loss))[0].objective in ("lsgan", "unknown")


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


@pytest.mark.parametrize("says", ["non-saturating", None])
@pytest.mark.parametrize(
    ("real", "fake", "verdict"), [(0.0005, 0.9994, "d-saturated"), (0.3, 0.65, "healthy")]
)
def test_flipped_labels_are_exchanged(says, real, fake, verdict):
    swing = np.exp(noise(0.02))
    real, fake = real * swing, fake / swing.max()
    loss = 1.1 * (-np.log1p(-real) - np.log(fake))
    flipped = trace(
        d_real=real, d_fake_before=fake, d_fake_after=fake + 0.0001, d_loss=loss, objective=says
    )
    diagnosis = diagnose(flipped)
    assert diagnosis.objective == "non-saturating"
    assert diagnosis.findings[0].id == verdict
    assert any("flipped" in note for note in diagnosis.notes)


def test_a_d_that_is_wrong_is_no_flipped_one():
    real, fake = 0.45 + noise(0.01), 0.55 + noise(0.01, seed=1)
    wrong = {"d_real": real, "d_fake_before": fake}
    for loss in (least_of_probabilities(real, fake)[name] for name in ("non-saturating", "lsgan")):
        assert not diagnose(trace(**wrong, d_loss=1.05 * loss)).notes


def certain_outputs():
    return {"d_real": 0.9998 + noise(5e-5), "d_fake_before": 0.0004 + noise(5e-5, seed=1)}


@pytest.mark.parametrize("more", [{}, {"d_loss": 0.45 + noise(0.02, seed=2)}])
def test_outputs_at_0_and_1_are_certain_whatever_the_objective(more):
    diagnosis = diagnose(trace(**certain_outputs(), **more))
    assert {each.id for each in diagnosis.problems} == {"d-saturated"}
    assert diagnosis.problems[0].evidence[0].value == pytest.approx(0.9998, abs=1e-3)


def test_losses_by_the_names_of_outputs_are_no_certain_d():
    low = {"d_real": 0.01 + noise(1e-3), "d_fake_before": 0.02 + noise(1e-3, seed=1)}
    assert "d-saturated" not in diagnose(trace(**low)).ids()


@pytest.mark.parametrize(
    "columns",
    [
        {"d_loss": 0.15 + noise(0.005), "g_loss": 1 + noise(0.03, seed=1)},
        {"d_loss": 1.83 + noise(0.03), "g_loss": 0.45 + noise(0.1, seed=1)},
        {"d_real": 0.5 + noise(0.03), "d_fake_before": 0.7 + noise(0.03, seed=2)},
    ],
)
def test_health_is_not_said_of_an_objective_under_which_something_is_found(columns):
    diagnosis = diagnose(trace(**columns))
    (doubted,) = (each for each in diagnosis.findings if each.if_objective)
    doubt, *rest = found(diagnosis, "not-enough-evidence").evidence
    assert doubt.value == doubted.confidence
    healthy = [each.text.partition(";")[0] for each in rest if each.text.startswith("healthy")]
    titles = {OBJECTIVES[each].title for each in doubted.if_objective}
    assert not [title for title in titles for text in healthy if title in text]


def test_a_sentence_names_few_objectives():
    evidence = diagnose(trace(g_loss=0.75 + noise(0.02))).objective_evidence
    assert evidence.count("%") <= 4
