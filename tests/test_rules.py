"""Every rule on hand-made traces with a known verdict."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.diagnosis.diagnose import RULES, diagnose
from counterpoise.diagnosis.finding import SEVERITIES
from counterpoise.trace import COLUMNS, TraceBuilder
from log_helpers import one
from trace_helpers import (
    ROWS,
    at_rest,
    balanced,
    bce_columns,
    certain,
    chance,
    found,
    noise,
    smoothed_labels,
    swings,
    trace,
    within,
)


def gated():
    """D rests where it is good."""
    real, fake = np.where(RESTS, 0.95, 0.62), np.where(RESTS, 0.08, 0.4) + noise(0.003)
    return at_rest(RESTS, bce_columns(real, fake))


def printed(digits):
    """A certain D whose pairs are equal at the printed digits."""
    columns = bce_columns(np.full(ROWS, 0.995), np.full(ROWS, 0.0004))
    before = np.round(columns["d_fake_before"], digits)
    return columns | {"d_fake_before": before, "d_fake_after": before}


def drifting(loss):
    return {
        "real_logit_mean": lambda t: 1 - 600 * np.maximum(t - 0.5, 0) * 2,
        "fake_logit_mean": lambda t: -600 * np.maximum(t - 0.5, 0) * 2,
        "d_loss": loss,
        "g_loss": 1.5 + noise(0.05, seed=1),
    }


def right(real, fake, accuracy):
    """A D that is right about this share of the images by as little as this."""
    columns = bce_columns(real + noise(0.02), fake + noise(0.002, seed=1))
    return columns | {"d_accuracy_real": accuracy, "d_accuracy_fake": accuracy}


RESTS = (np.arange(ROWS) // 6) % 2 == 0
FADING = 0.25 * np.exp(-np.linspace(0, 8, ROWS))
FALLING = within(40, ROWS, 0.1, 0.9)
LOGITS = bce_columns(0.85 + noise(0.02), 0.15 + noise(0.02, seed=1))
LOGITS |= {"real_logit_mean": 2.0, "fake_logit_mean": -2.0}
LIKELY = smoothed_labels(0.8, 0.01)
OBVIOUS = bce_columns(0.94 + noise(0.01), 0.03 + noise(0.004, seed=1))
RISES, FALLS = np.linspace(0.5, 1.5, ROWS), np.linspace(93, 60, ROWS)
GRADIENT = within(0, 30, 1.0, 1e-4)
GONE = "learning-rate-gone"
# Where it is halved it is below Jensen's bound.
HALVED = balanced()["d_loss"] * np.where(np.arange(ROWS) % 4, 1, 0.5)


def case(finding_id, severity, columns, **more):
    """Which finding, how bad it is ("": it is not there), in which numbers."""
    return finding_id, severity, columns | more


LESS_SURE = np.r_[np.full(20, 0.999), np.linspace(0.96, 0.88, 40)]
STILL = noise(0.002)


def drowned(adversarial, content):
    return balanced() | {"g_gradient_adversarial": adversarial, "g_gradient_content": content}


CASES = [
    case("healthy", "healthy", balanced()),
    case("d-saturated", "severe", certain(30, ROWS)),
    case("d-saturated", "warning", certain(30, 50)),
    case("d-saturated", "note", certain(10, 25)),
    case("d-saturated", "", certain(10, 14)),
    # It was certain at first, and is less and less so; it is nearly so; it is of other fakes.
    case("d-saturated", "note", bce_columns(LESS_SURE, 1 - LESS_SURE)),
    case("d-saturated", "warning", {"d_loss": 0.118 + noise(0.01), "g_loss": 4.5}, objective="bce"),
    case("d-saturated", "", {"d_loss": 1e-7, "g_loss": 1.1e-7 + noise(1e-8)}),
    case("loss-inconsistent", "warning", {"d_loss": 1e-7, "g_loss": 1.1e-7 + noise(1e-8)}),
    case(
        "loss-inconsistent", "", {"d_loss": 1e-4, "g_loss": -1e-4 - 1e-5 * RISES}, objective="bce"
    ),
    # At chance, whatever factor is in both losses.
    case("d-too-weak", "warning", {"d_loss": 23.56 + STILL, "g_loss": 11.78 + STILL / 2}),
    case("d-too-weak", "warning", {"d_loss": 23.56 + STILL, "g_loss": 11.78}, objective="bce"),
    case("d-saturated", "severe", {"d_loss": 0.001, "g_loss": 8.0}, objective="bce"),
    # A D that is certain of smoothed labels: their own entropy is left of its loss. From means
    # alone it might be a few images that D is wrong about.
    case("d-saturated", "warning", LIKELY),
    case("d-saturated", "warning", smoothed_labels(0.87, 0.01)),
    case("d-saturated", "severe", smoothed_labels(0.95, 0.01)),
    case("healthy", "healthy", smoothed_labels(0.9, 0.15)),
    case("healthy", "healthy", smoothed_labels(0.8, 0.3)),
    case("d-saturated", "", LIKELY, d_accuracy=0.88),
    # The loss of a D(x) that swings below 1 is that of labels of 1.
    case("d-saturated", "", bce_columns(np.clip(0.75 + noise(0.08), 0.05, 0.95), 0.02)),
    case("d-saturated", "warning", right(0.8, 0.008, 1.0)),
    case("d-saturated", "warning", right(0.7, 0.2, 0.997)),
    case("d-frozen", "severe", at_rest(True, balanced())),
    case("d-frozen", "", printed(4)),
    # Numbers that do not move; 0.5 may be rounded, a loss that is cut off is not.
    case("d-frozen", "severe", {"d_loss": 5.0, "g_loss": 2.0}),
    case("g-frozen", "severe", balanced(), g_loss=16.118095),
    case("g-frozen", "severe", balanced(), g_loss=0.6931),
    case("g-frozen", "", balanced(), g_loss=0.5),
    case("g-frozen", "warning", balanced(), g_gradient_norm=0.0),
    case("g-frozen", "", balanced(), g_gradient_norm=np.r_[0.0, np.full(ROWS - 1, 0.1)]),
    # Of the label that D has for fakes; of the other one with a weight of this size.
    case("loss-inconsistent", "warning", OBVIOUS, g_loss=-np.log1p(-OBVIOUS["d_fake_after"])),
    case("loss-inconsistent", "", OBVIOUS, g_loss=-0.01 * np.log(OBVIOUS["d_fake_after"])),
    case("loss-inconsistent", "note", balanced(), d_loss=HALVED),
    case("healthy", "healthy", balanced(), d_loss=HALVED),  # printed wrongly, not trained so
    case("d-frozen", "note", balanced(), d_updated=~RESTS, policy="threshold"),
    case("d-restarts", "note", gated()),
    case("d-restarts", "", at_rest(RESTS, balanced())),  # at random, no gate
    case("d-too-weak", "warning", chance()),
    case("d-too-weak", "", bce_columns(0.5 + FADING, 0.5 - FADING)),
    case("oscillation", "warning", swings()),
    case("mode-collapse", "severe", balanced(), diversity_ratio=FALLING),
    case("mode-collapse", "", balanced(), diversity_ratio=FALLING[::-1]),
    # A young G.
    case("mode-collapse", "note", balanced(), diversity_ratio=lambda t: 0.05 + 0.35 * t),
    case("d-memorises", "severe", LOGITS, held_out_logit_mean=-1.5),
    case("d-memorises", "", LOGITS, held_out_logit_mean=1.5),
    case("d-memorises", "warning", LOGITS, held_out_logit_mean=-0.9),
    case("divergence", "severe", balanced(), g_loss=lambda t: np.exp(10 * t)),
    case("divergence", "severe", {"d_loss": 4e8 + noise(1e7), "g_loss": 2e8 + noise(1e7)}),
    # Scores that are only compared may drift.
    case("divergence", "severe", drifting(0.6), objective="bce"),
    case("healthy", "healthy", drifting(0.6 + noise(0.05)), objective="relativistic-average"),
    case("healthy", "healthy", drifting(0.6 + noise(0.05)), objective="relativistic-paired"),
    case("divergence", "severe", drifting(lambda t: np.exp(12 * t - 6)), objective="rpgan"),
    case("adversarial-term-drowned", "warning", drowned(0.005, 0.995)),
    case("content-term-drowned", "warning", drowned(0.995, 0.005)),
    case("content-term-drowned", "warning", balanced(), g_adversarial=FALLS, g_content=RISES),
    case("content-term-drowned", "note", balanced(), g_adversarial=FALLS / 90, g_content=RISES),
    case("healthy", "healthy", balanced(), g_adversarial=FALLS, g_content=RISES[::-1]),
    case("healthy", "healthy", drowned(0.3, 0.7)),
    case("healthy", "healthy", drowned(1.0, 0.0)),
    case("g-vanishing-gradient", "severe", balanced(), g_gradient_adversarial=GRADIENT),
    # Its weight may be 0 so far.
    case("g-vanishing-gradient", "warning", balanced(), g_gradient_adversarial=0.0),
    case("g-vanishing-gradient", "", balanced(), g_gradient_adversarial=within(30, ROWS, 1.0, 0.0)),
    case("trivially-separable", "severe", balanced(), auc=0.99, auc_quantised=0.6),
    case("trivially-separable", "severe", balanced(), auc=0.99, auc_border_hidden=0.6),
    case("trivially-separable", "", balanced(), auc=0.99, auc_border_hidden=0.98),
    case("trivially-separable", "severe", balanced(), auc=0.99, fake_out_of_range=0.2),
    case("inert-rule", "note", balanced(), policy="threshold", policy_acted=0),
    case("inert-rule", "", balanced(), policy="none", policy_acted=0),
    case("inert-rule", "", balanced(), policy="ada", policy_acted=within(7, 8, 1, 0)),
]


@pytest.mark.parametrize(("finding_id", "severity", "columns"), CASES)
def test_findings_of_hand_made_traces(finding_id, severity, columns):
    rows = next((len(c) for c in columns.values() if isinstance(c, np.ndarray)), ROWS)
    diagnosis = diagnose(trace(rows, **columns))
    severities = {finding.id: finding.severity for finding in diagnosis.findings}
    assert severities.get(finding_id, "") == severity
    # A D that fades to chance is an equilibrium, or dead: that cannot be told.
    assert diagnosis.healthy == (not diagnosis.problems and "not-enough-evidence" not in severities)


@pytest.mark.parametrize("objective", ["hinge", "relativistic-average", "lsgan"])
def test_zero_loss_on_raw_scores_is_never_severe(objective):
    columns = {"d_loss": 0.0, "real_logit_mean": -25.0, "fake_logit_mean": -40.0}
    diagnosis = diagnose(trace(**columns), objective)
    assert all(f.severity != "severe" for f in diagnosis.findings)


def test_a_d_that_is_wrong_about_some_images_is_not_certain_of_smoothed_labels():
    """Logits of N(1.5, 3) and N(-4, 1), in means over a large batch."""
    random = np.random.default_rng(0)
    real, fake = random.normal(1.5, 3, (ROWS, 256)), random.normal(-4, 1, (ROWS, 256))
    columns = {
        "d_real": (1 / (1 + np.exp(-real))).mean(1),
        "d_fake_before": (1 / (1 + np.exp(-fake))).mean(1),
        "d_loss": np.logaddexp(0, -real).mean(1) + np.logaddexp(0, fake).mean(1),
        "g_loss": np.logaddexp(0, -fake).mean(1),
    }
    assert diagnose(trace(**columns)).healthy


def test_a_critic_that_separates_is_what_a_wasserstein_loss_asks_for():
    separated = {"auc": np.ones(ROWS), "d_accuracy": np.ones(ROWS)}
    fading = {"d_loss": -3 + np.linspace(0, 1, ROWS), "g_loss": 1.5 + noise(0.05, seed=1)}
    assert not diagnose(trace(**separated, **fading), "wgan").problems
    hinge = {"d_loss": noise(0.01), "g_loss": 1.5 + noise(0.05, seed=1)}
    assert "d-saturated" in diagnose(trace(**separated, **hinge), "hinge").ids()


def test_of_one_image_to_a_batch_the_share_that_d_judges_rightly_is_over_lines():
    columns = right(0.9, 0.05, np.where(np.arange(ROWS) % 30, 1.0, 0.0))
    by_name = {e.name: e.value for e in found(diagnose(trace(**columns)), "d-saturated").evidence}
    assert 0.95 < by_name["D's accuracy"] < 1


def test_findings_begin_where_they_show():
    saturated = found(diagnose(trace(**certain(30, ROWS))), "d-saturated")
    assert (saturated.first_step, saturated.last_step) == (3100, 6000)
    diagnosis = diagnose(trace(**balanced(), non_finite=[(12, "g_loss")]))
    assert diagnosis.findings[0].id == "non-finite"
    assert diagnosis.findings[0].first_step == 1300
    of_reading = diagnose(trace(**balanced(), non_finite=[(12, "g_gradient_cosine")]))
    assert found(of_reading, "non-finite").severity == "note"


def test_what_was_wrong_long_before_a_divergence_is_to_be_changed_first():
    columns = bce_columns(0.8 + noise(0.02), 0.3 + noise(0.02, seed=1))
    columns["g_loss"] = np.where(np.arange(ROWS) < 50, columns["g_loss"], 1e3)
    frozen = trace(**columns | {"d_fake_after": columns["d_fake_before"]})
    assert [f.id for f in diagnose(frozen, "bce").problems] == ["d-frozen", "divergence"]
    assert [f.id for f in diagnose(trace(**columns), "bce").problems] == ["divergence"]


def test_a_g_that_is_still_alone_is_neither_sick_nor_healthy():
    alone = chance() | {"g_gradient_adversarial": 0.0, "g_gradient_content": 1.0}
    diagnosis = diagnose(trace(12, every=10, **{k: np.resize(v, 12) for k, v in alone.items()}))
    assert not diagnosis.ids() & {"g-vanishing-gradient", "adversarial-term-drowned", "healthy"}


def test_what_is_not_judged_and_why():
    diagnosis = diagnose(trace(g_loss=8 + noise(0.1)))
    assert diagnosis.ids() == {"not-enough-evidence"}
    missing = {item.id: item.missing for item in diagnosis.not_judged}
    assert missing["d-saturated"] == (RULES["d-saturated"].needs,)
    assert "--objective" in RULES["d-saturated"].needs
    # Every young D is at chance, every young G's outputs are alike.
    young = trace(every=1, policy="ada", policy_acted=0, diversity_ratio=0.1, **chance())
    diagnosis = diagnose(young)
    assert diagnosis.ids().isdisjoint({"d-too-weak", "inert-rule", "mode-collapse"})
    missing = {item.id: item.missing for item in diagnosis.not_judged}
    assert missing["d-too-weak"] == ("at least 200 steps",)


def few(ids, objective=None, **columns):
    """All findings in the numbers of a few lines."""
    return set(ids.split()), objective, columns


NONE = "not-enough-evidence"
ONE, ALIKE = 1.35 + noise(0.1, 30), 0.482 + noise(0.002, 30, seed=1)
FAR, SURE = np.array([15.0, 16, 23, 84, 103, 38, 6, 59]), np.array([0.01, 0.004, 0.02])
SMOOTHED = 0.327 + 0.004 * np.arange(30) % 0.02
LATE = np.r_[0.8 + noise(0.1, 20), np.full(10, 3.0)]
FEW = [
    # Sizes that speak for themselves.
    few("divergence", g_loss=10.0 ** np.array([22, 25, 27])),
    few("divergence", d_loss=FAR, g_loss=0.7 + noise(0.1, 8)),
    few("d-frozen", d_loss=-8.6347, g_loss=np.array([3.0, 5.0, 4.0])),
    # A G whose loss is that of one that fools D altogether; a D that is wrong by its accuracy.
    few("divergence", d_loss=60 + noise(9, 8), g_loss=np.zeros(8)),
    few("d-too-weak", d_loss=0.86 + noise(0.03, 8), g_loss=0.4 + noise(0.02, 8), d_accuracy=0.03),
    # Keras' accuracy of smoothed labels is 0, whatever D does.
    few("healthy", "bce", d_loss=0.6 + noise(0.02, 8), d_accuracy=0.0),
    # Few lines that all show one thing.
    few("d-saturated not-enough-evidence", "bce", d_loss=SURE, g_loss=np.array([6.0, 7, 5])),
    few("d-too-weak not-enough-evidence", "lsgan", d_loss=np.array([0.5, 0.5001, 0.4999])),
    # What forbids the word healthy.
    few(NONE, "bce", d_loss=0.9 + noise(0.1, 30), g_loss=9 + noise(0.5, 30)),
    few(NONE, "wgan", d_loss=-7900 + noise(30, 30), g_loss=-3950 + noise(30, 30)),
    few("d-saturated", "bce", d_loss=SMOOTHED, g_loss=8.5 + noise(0.5, 30)),
    few(NONE, "bce", d_loss=LATE, g_loss=1 + noise(0.1, 30)),
    # One number of a thousand times the others' size, in few lines and in fewer.
    few(NONE, "bce", d_loss=1 + noise(0.1, 7), g_loss=np.r_[0.8 + noise(0.1, 6), 27e4]),
    few(NONE, d_loss=1.1 + noise(0.1, 2), g_loss=np.array([0.77, 27e4])),
    # A D that is far ahead, that goes there, that is at chance so far.
    few(NONE, "lsgan", d_loss=0.05 + noise(0.01, 6), g_loss=1.05 + noise(0.02, 6)),
    few(NONE, "bce", d_loss=np.linspace(1.38, 0.45, 24), g_loss=np.linspace(0.7, 2.5, 24)),
    few(NONE, "bce", d_loss=1.386 + noise(0.03, 6), g_loss=0.7 + noise(0.03, 6)),
    # Too few lines, whatever they show.
    few(NONE, "bce", d_loss=1 + noise(0.1, 7), g_loss=1 + noise(0.1, 7, seed=1)),
    # A D that is far ahead and level in turns, two losses that never move, a G that gets worse.
    few(NONE, "bce", d_loss=np.array([0.1, 1.3, 0.7, 0.1, 1.3, 0.8, 0.9, 0.7, 0.1])),
    few(NONE, "bce", d_loss=1.1 + np.zeros(10), g_loss=0.9 + np.zeros(10)),
    few(NONE, "bce", d_loss=1 + noise(0.1, 9), g_loss=np.geomspace(0.5, 3.8, 9)),
    # A critic whose distance has grown, and has not come back.
    few(NONE, "wgan", d_loss=-np.r_[-0.5, -0.3, 0.1, 2, 9, 22, 8, 15 + noise(1, 9)]),
    # One variable is printed as both losses.
    few(NONE, "bce", d_loss=ONE, g_loss=ONE),
    # A critic that says the same of real and fake: no certainty, though its loss is 0.
    few("d-too-weak", d_loss=noise(1e-6, 30), d_loss_real=ALIKE, d_loss_fake=ALIKE, g_loss=ALIKE),
    few("d-too-weak", d_loss=abs(noise(1e-6, 30)), d_loss_real=ALIKE, d_loss_fake=ALIKE),
]


@pytest.mark.parametrize(("ids", "objective", "columns"), FEW)
def test_never_healthy_where_a_number_contradicts_it(ids, objective, columns):
    rows = next(len(c) for c in columns.values() if isinstance(c, np.ndarray))
    assert diagnose(trace(rows, **columns), objective).ids() == ids


@pytest.mark.parametrize(
    ("rate", "printed", "finding_id"),
    [
        (lambda n: 2e-4 * 0.1 ** (3 * n), "{:.6g}", GONE),  # a factor of an epoch in every batch
        (lambda n: 7e-111, "{:.6g}", GONE),
        # The ends of schedules.
        (lambda n: 2e-4 * (1 - n / 60), "{:.6g}", "healthy"),
        (lambda n: 1e-4 + 1e-4 * math.cos(n * math.pi / 60), "{:.6g}", "healthy"),
        (lambda n: 0.0, "{:.6g}", "healthy"),  # rounded
        # One of 0 after others is not, even where it may be rounded.
        (lambda n: 2e-4 if n < 25 else 0.0, "{:.2e}", GONE),
        (lambda n: 2e-4 if n < 25 else 0.0, "{:.4f}", "not-enough-evidence"),
    ],
)
def test_a_learning_rate_that_is_gone_for_more_than_the_end_of_a_schedule(
    rate, printed, finding_id
):
    columns = balanced()
    log = ""
    for n, (d, g) in enumerate(zip(columns["d_loss"], columns["g_loss"], strict=True)):
        at = printed.format(rate(n))
        log += f"iter={n:06d} lrG={at} lrD={at} lossD={d:.4f} lossG={g:.4f}\n"
    diagnosis = diagnose(one(log))
    assert finding_id in diagnosis.ids()
    assert diagnosis.healthy == (finding_id == "healthy")


@pytest.mark.parametrize("line", ["iter = {}/250000 D: {} G: 0.8", "epoch 1 step {} D: {} G: 0.8"])
@pytest.mark.parametrize("every", [1, 5])
def test_the_first_steps_are_no_health(line, every):
    log = "".join(line.format(n * every, 1 + n % 3 / 10) + "\n" for n in range(1, 10))
    assert diagnose(one(log)).ids() == {"not-enough-evidence"}


def test_in_its_first_steps_no_d_is_too_weak():
    log = "".join(f"epoch 1 step {n} D: 1.386{n % 3} G: 0.693{n % 5}\n" for n in range(10, 170, 10))
    assert "d-too-weak" not in diagnose(one(log)).ids()
    assert "d-too-weak" in diagnose(one(log.replace("step ", "step 9"))).ids()


@pytest.mark.parametrize("prints", [1, 7, 10])  # one of so many steps
def test_a_log_of_epochs_whose_d_is_trained_in_every_third_step_is_not_of_a_frozen_d(prints):
    rows = [(epoch, step) for epoch in range(5) for step in range(100)][::prints]
    trained = np.array([step % 3 == 0 for _, step in rows])
    fake = 0.33 + noise(0.05, len(rows))
    columns = bce_columns(0.65 + noise(0.05, len(rows), seed=1), fake)
    columns["d_fake_after"] = np.where(trained, columns["d_fake_after"], fake)
    for count in (4, 9, len(rows)):
        part = trace(count, **{name: values[:count] for name, values in columns.items()})
        assert not diagnose(part, "bce").ids() & {"d-frozen", "d-restarts"}


def test_a_d_that_is_trained_in_every_third_step_is_not_frozen():
    updated = (np.arange(ROWS) % 3 == 0).astype(float)
    assert "d-frozen" not in diagnose(trace(**balanced(), d_updated=updated)).ids()
    updated[ROWS // 2 :] = 0
    assert "d-frozen" in diagnose(trace(**balanced(), d_updated=updated)).ids()


@pytest.mark.parametrize("short", [TraceBuilder().build(), trace(4, **balanced(4))])
def test_a_short_log_is_not_enough(short):
    diagnosis = diagnose(short)
    assert diagnosis.ids() == {"not-enough-evidence"}
    assert not diagnosis.healthy


COLUMN_VALUES = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1e300, math.nan, math.inf])
)


@settings(max_examples=60)
@given(
    rows=st.integers(0, 40),
    names=st.sets(st.sampled_from(sorted(COLUMNS)), max_size=8),
    objective=st.sampled_from([None, "bce", "lsgan", "hinge", "wgan", "ragan"]),
    data=st.data(),
)
def test_any_numbers_give_a_diagnosis(rows, names, objective, data):
    builder = TraceBuilder()
    for row in range(rows):
        builder.add(row * 10, {name: data.draw(COLUMN_VALUES) for name in names})
    diagnosis = diagnose(builder.build(), objective)
    assert diagnosis.findings
    order = [SEVERITIES.index(f.severity) for f in diagnosis.findings]
    assert order == sorted(order)
    for finding in diagnosis.findings:
        assert 0 <= finding.confidence <= 1
        assert finding.first_step <= finding.last_step
    assert bool(diagnosis.problems) != (
        diagnosis.healthy or "not-enough-evidence" in diagnosis.ids()
    )
    assert json.dumps([e.text for f in diagnosis.findings for e in f.evidence])


def test_what_follows_a_nan_that_stays_is_of_no_other_finding():
    """A D that is certain until the losses are NaN, whatever is printed of it then."""
    columns = {"d_loss": np.r_[np.full(30, 0.002), np.zeros(20)], "g_loss": 6 + noise(0.3, 50)}
    columns["g_loss"][30:] = np.nan
    diagnosis = diagnose(trace(50, **columns), "bce")
    assert diagnosis.ids() == {"non-finite", "d-saturated"}
    assert found(diagnosis, "d-saturated").last_step == 3000 < diagnosis.last_step
    assert found(diagnosis, "non-finite").first_step == 3100
