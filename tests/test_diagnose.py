"""Every rule on hand-made traces with a known verdict, and on the question's own logs."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.diagnosis.diagnose import RULES, diagnose
from counterpoise.diagnosis.finding import SEVERITIES
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.wording import remedies, verdict
from counterpoise.logs.read import read_log
from counterpoise.trace import COLUMNS, TraceBuilder
from trace_helpers import ROWS, bce_columns, found, noise, smoothed_labels, trace

SEED = Path(__file__).parent / "data" / "seed"
# By what they did to a D that had won, where that was measured.
MEASURED = tuple(REMEDIES.values())[:9]


def balanced(rows=ROWS):
    """D leads by a little and the lead wanders."""
    real = np.clip(0.65 + noise(0.05, rows), 0.05, 0.95)
    fake = np.clip(0.33 + noise(0.05, rows, seed=1), 0.05, 0.95)
    return bce_columns(real, fake)


def within(first, last, inside, outside):
    """A column that is `inside` from row `first` to before row `last`."""
    rows = np.arange(ROWS)
    return np.where((rows >= first) & (rows < last), inside, outside)


def certain(first, last):
    return bce_columns(within(first, last, 0.999, 0.65), within(first, last, 0.004, 0.35))


def chance():
    return bce_columns(0.5 + noise(0.005), 0.5 + noise(0.005, seed=1))


def at_rest(rests, columns):
    after = np.where(rests, columns["d_fake_before"], columns["d_fake_after"])
    return columns | {"d_fake_after": after}


def gated():
    """D rests where it is good."""
    real, fake = np.where(RESTS, 0.95, 0.62), np.where(RESTS, 0.08, 0.4) + noise(0.003)
    return at_rest(RESTS, bce_columns(real, fake))


def swings():
    real = 0.7 + 0.27 * np.sin(np.linspace(0, 8 * math.pi, ROWS * 4))
    return bce_columns(real, np.clip(0.95 - real, 0.02, 0.98))


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


def case(finding_id, severity, columns, **more):
    """Which finding, how bad it is ("": it is not there), in which numbers."""
    return finding_id, severity, columns | more


def drowned(adversarial, content):
    return balanced() | {"g_gradient_adversarial": adversarial, "g_gradient_content": content}


CASES = [
    case("healthy", "healthy", balanced()),
    case("d-saturated", "severe", certain(30, ROWS)),
    case("d-saturated", "warning", certain(30, 50)),
    case("d-saturated", "note", certain(10, 25)),
    case("d-saturated", "", certain(10, 14)),
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
    case("d-frozen", "note", balanced(), d_updated=~RESTS, policy="threshold"),
    case("d-restarts", "warning", gated()),
    case("d-restarts", "", at_rest(RESTS, balanced())),  # at random, no gate
    case("d-too-weak", "warning", chance()),
    case("d-too-weak", "", bce_columns(0.5 + FADING, 0.5 - FADING)),
    case("oscillation", "warning", swings()),
    case("mode-collapse", "severe", balanced(), diversity_ratio=FALLING),
    case("mode-collapse", "", balanced(), diversity_ratio=FALLING[::-1]),
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
    assert diagnosis.healthy == (not diagnosis.problems)


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


@pytest.mark.parametrize(
    ("name", "objective", "problems"),
    [
        ("bce_epoch1", "non-saturating", [("d-frozen", "warning"), ("d-restarts", "warning")]),
        ("bce_epoch3", "non-saturating", [("d-frozen", "severe"), ("d-saturated", "severe")]),
        (
            "mse_epoch1",
            "lsgan-on-sigmoid",
            [
                ("lsgan-on-sigmoid", "severe"),
                ("d-saturated", "severe"),
                ("g-vanishing-gradient", "severe"),
            ],
        ),
    ],
)
def test_the_questions_logs(name, objective, problems):
    diagnosis = diagnose(read_log(SEED / f"{name}.log")[0])
    assert diagnosis.objective == objective
    assert [(f.id, f.severity) for f in diagnosis.problems] == problems
    if name == "bce_epoch1":
        # 5 of 15 lines, and D's steps lower D(G(z)) in 8 of 10.
        shares = [e.value for e in found(diagnosis, "d-frozen").evidence]
        assert shares[0] == pytest.approx(5 / 15)
        assert shares[-1] == pytest.approx(8 / 10)
        assert found(diagnosis, "d-restarts").evidence[-1].name == "range of D(G(z))"
    if name == "bce_epoch3":
        frozen = found(diagnosis, "d-frozen")
        assert (frozen.first_step, frozen.last_step) == (2 * 9338 + 1100, 2 * 9338 + 2600)
        assert frozen.evidence[0].value == 1.0
        assert frozen.remedies[0] == MEASURED[0]
    if name == "mse_epoch1":
        assert found(diagnosis, "d-saturated").first_step <= 300
        # Of G's loss, what cannot be adversarial.
        assert found(diagnosis, "loss-inconsistent").evidence[-1].value == pytest.approx(
            0.21, abs=0.01
        )
        # Pairs printed as 0.000000 / 0.000000 say nothing about D's updates.
        assert "d-frozen" in {item.id for item in diagnosis.not_judged}


def test_findings_begin_where_they_show():
    saturated = found(diagnose(trace(**certain(30, ROWS))), "d-saturated")
    assert (saturated.first_step, saturated.last_step) == (3100, 6000)
    diagnosis = diagnose(trace(**balanced(), non_finite=[(12, "g_loss")]))
    assert diagnosis.findings[0].id == "non-finite"
    assert diagnosis.findings[0].first_step == 1300


@pytest.mark.parametrize(
    ("before", "first"),
    [
        (balanced(), "check-batches"),
        (balanced() | {"g_loss": np.exp(np.arange(ROWS) / 4)}, "clip-gradients"),
        (certain(0, ROWS), "losses-from-logits"),
    ],
)
def test_a_nan_is_answered_by_what_stood_before_it(before, first):
    nan = found(diagnose(trace(**before, non_finite=[(40, "d_loss")]), "bce"), "non-finite")
    assert nan.remedies[0] == REMEDIES[first]
    assert len(set(nan.remedies)) == len(nan.remedies)


def test_a_nan_that_stays_is_answered_by_a_checkpoint_and_names_whose_number_was_first():
    log = "".join(f"step: {n} loss_d: 0.6{n % 7} loss_g: 1.{n % 9}\n" for n in range(1, 37))
    log += "step: 37 loss_d: 0.0202 loss_g: nan\n"
    log += "".join(f"step: {n} loss_d: nan loss_g: nan\n" for n in range(38, 45))
    nan = found(diagnose(read_log(io.StringIO(log))[0]), "non-finite")
    assert nan.remedies[0] == REMEDIES["reload"]
    assert REMEDIES["check-batches"] not in nan.remedies
    first, then = nan.evidence[0].text.split(";")
    assert ("G's" in first, "37" in first) == ("D's" in then, "38" in then) == (True, True)


@pytest.mark.parametrize("name", ["r1", "r1-without-gate", "non-saturating"])
def test_the_r1_that_is_advised_is_of_logits(name):
    torch = pytest.importorskip("torch")
    slope = torch.tensor([3.0, 4.0])  # D(x) = <slope, x>: a penalty of 25 gamma / 2 everywhere
    zero, weight = torch.zeros(()), torch.zeros(1, requires_grad=True)

    def d(images):
        return images @ slope

    said = {"torch": torch, "d": d, "gamma": 1.0, "softplus": torch.nn.functional.softplus}
    said |= {"real": 9 * torch.ones(4, 2), "fake": torch.zeros(4, 2, requires_grad=True)}
    said |= {"loss_d": zero, "loss_d_real": zero, "loss_d_fake": weight.sum()}
    said["d_optimizer"] = torch.optim.SGD([weight])
    exec(REMEDIES[name].code, said)  # noqa: S102
    assert float(said.get("r1", said["loss_d"])) == pytest.approx(12.5)


def test_a_d_that_is_trained_and_at_chance_is_not_called_untrained():
    quality = {"held_out_distance": np.linspace(9, 5, ROWS)}
    for columns in (chance(), {"real_logit_mean": 0.01, "fake_logit_mean": 0.0}):
        columns = columns | {"d_updated": 1.0, "d_learning_rate": 1e-4}
        weak = found(diagnose(trace(**columns, **quality), "wgan" if len(columns) < 5 else "bce"),
                     "d-too-weak")  # fmt: skip
        assert weak.title != RULES["d-too-weak"].title
        assert REMEDIES["check-loop"] not in weak.remedies
        assert [weak.evidence[1].value] == pytest.approx([5 / 9])
    idle = found(diagnose(trace(d_loss=1.3863 + noise(0.001)), "bce"), "d-too-weak")
    assert (idle.title, idle.remedies[0]) == (RULES["d-too-weak"].title, REMEDIES["check-loop"])


def test_of_the_latest_lines_nothing_is_said_of_the_beginning():
    real, fake = 0.5 + noise(0.005, 3000), 0.5 + noise(0.005, 3000, seed=1)
    whole = trace(3000, every=1, **bce_columns(real, fake), d_updated=1.0)
    said = verdict(diagnose(whole.latest(), "bce"))
    assert ("first line" in said, "2,048" in said) == (False, True)
    assert "from the first line to the last" in verdict(diagnose(whole, "bce"))


def test_what_was_wrong_long_before_a_divergence_is_to_be_changed_first():
    columns = bce_columns(0.8 + noise(0.02), 0.3 + noise(0.02, seed=1))
    columns["g_loss"] = np.where(np.arange(ROWS) < 50, columns["g_loss"], 1e3)
    frozen = trace(**columns | {"d_fake_after": columns["d_fake_before"]})
    assert [f.id for f in diagnose(frozen, "bce").problems] == ["d-frozen", "divergence"]
    assert [f.id for f in diagnose(trace(**columns), "bce").problems] == ["divergence"]


def test_an_absurd_loss_is_said_with_its_range():
    sizes = trace(6, d_loss=np.array([1, 1, 1.1e11, 3e11, 9e11, 1.4e12]), g_loss=1.0)
    assert all(size in found(diagnose(sizes), "divergence").evidence[0].text
               for size in ("1.1e+11", "1.4e+12"))  # fmt: skip


def test_least_squares_behind_a_sigmoid_is_answered_by_what_was_measured_to_help():
    (log,) = read_log(SEED / "mse_epoch1.log")
    assert "r1 =" in remedies(diagnose(log))[0].code
    assert found(diagnose(log), "lsgan-on-sigmoid").first_step == 100  # the code's, not a moment's


def test_what_a_program_has_no_layers_for_is_not_advised():
    columns = certain(0, ROWS)
    for program, advised in (("hifi-gan", False), ("dcgan-tutorial", True)):
        saturated = found(diagnose(trace(**columns), "bce", program=program), "d-saturated")
        assert (REMEDIES["same-batch"] in saturated.remedies) == advised
        assert saturated.remedies


def test_what_is_normal_for_a_program_is_no_problem():
    assert found(diagnose(trace(4 * ROWS, **swings()), "bce"), "oscillation").severity == "warning"
    of_cyclegan = diagnose(trace(4 * ROWS, **swings()), "bce", program="cyclegan")
    assert found(of_cyclegan, "oscillation").severity == "note"


def test_the_step_and_epoch_of_the_log_are_named():
    notes = " ".join(read_log(SEED / "bce_epoch3.log")[0].notes)
    assert all(part in notes for part in ("21276", "step 2600", "epoch 3"))
    assert not read_log(SEED / "bce_epoch1.log")[0].notes  # they are the log's own


def test_a_g_that_is_still_alone_is_neither_sick_nor_healthy():
    alone = chance() | {"g_gradient_adversarial": 0.0, "g_gradient_content": 1.0}
    diagnosis = diagnose(trace(12, every=10, **{k: np.resize(v, 12) for k, v in alone.items()}))
    assert not diagnosis.ids() & {"g-vanishing-gradient", "adversarial-term-drowned", "healthy"}


def test_remedies_are_for_this_log():
    frozen = found(diagnose(trace(**at_rest(True, balanced()))), "d-frozen")
    assert "check=True" in frozen.remedies[0].code  # D is bad, and still does not move
    columns = balanced() | {"g_gradient_adversarial": GRADIENT}
    for objective, offered in ((None, False), ("hinge", True)):
        finding = found(diagnose(trace(**columns), objective), "g-vanishing-gradient")
        # Its objective may be the non-saturating one already.
        assert any("non-saturating" in r.config for r in finding.remedies) == offered


def test_loss_inconsistent_below_jensens_bound():
    columns = balanced()
    columns["d_loss"] = np.where(np.arange(ROWS) % 4, columns["d_loss"], columns["d_loss"] / 2)
    diagnosis = diagnose(trace(**columns))
    assert found(diagnosis, "loss-inconsistent").severity == "note"
    assert diagnosis.healthy  # what is printed is wrong, not what is trained


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


ONE, ALIKE = 1.35 + noise(0.1, 30), 0.482 + noise(0.002, 30, seed=1)
FEW = {
    # Sizes that speak for themselves.
    "huge": ({"g_loss": 10.0 ** np.array([22, 25, 27])}, None, {"divergence"}),
    "stands": ({"d_loss": -8.6347, "g_loss": np.array([3.0, 5.0, 4.0])}, None, {"d-frozen"}),
    "far": (
        {"d_loss": np.array([15.0, 16, 23, 84, 103, 38, 6, 59]), "g_loss": 0.7 + noise(0.1, 8)},
        None,
        {"divergence"},
    ),
    # A G whose loss is that of one that fools D altogether; a D that is wrong by its accuracy.
    "fooled": (
        {"d_loss": 60 + noise(9, 8), "g_loss": np.zeros(8)},
        None,
        {"divergence"},
    ),
    "wrong": (
        {"d_loss": 0.86 + noise(0.03, 8), "g_loss": 0.4 + noise(0.02, 8), "d_accuracy": 0.03},
        None,
        {"d-too-weak"},
    ),
    # Keras' accuracy of smoothed labels is 0, whatever D does.
    "no accuracy": ({"d_loss": 0.6 + noise(0.02, 8), "d_accuracy": 0.0}, "bce", {"healthy"}),
    # Few lines that all show one thing.
    "certain so far": (
        {"d_loss": np.array([0.01, 0.004, 0.02]), "g_loss": np.array([6.0, 7, 5])},
        "bce",
        {"d-saturated", "not-enough-evidence"},
    ),
    "at chance so far": (
        {"d_loss": np.array([0.5, 0.5001, 0.4999])},
        "lsgan",
        {"d-too-weak", "not-enough-evidence"},
    ),
    # What forbids the word healthy.
    "hopeless": (
        {"d_loss": 0.9 + noise(0.1, 30), "g_loss": 9 + noise(0.5, 30)},
        "bce",
        {"not-enough-evidence"},
    ),
    "unbounded": (
        {"d_loss": -7900 + noise(30, 30), "g_loss": -3950 + noise(30, 30)},
        "wgan",
        {"not-enough-evidence"},
    ),
    "smoothed": (
        {"d_loss": 0.327 + 0.004 * np.arange(30) % 0.02, "g_loss": 8.5 + noise(0.5, 30)},
        "bce",
        {"d-saturated"},
    ),
    # One variable is printed as both losses.
    "one": ({"d_loss": ONE, "g_loss": ONE}, "bce", {"not-enough-evidence"}),
    # A critic that says the same of real and fake: no certainty, though its loss is 0.
    "same": (
        {"d_loss": noise(1e-6, 30), "d_loss_real": ALIKE, "d_loss_fake": ALIKE, "g_loss": ALIKE},
        None,
        {"d-too-weak"},
    ),
    "same above 0": (
        {"d_loss": 1e-6 + abs(noise(1e-6, 30)), "d_loss_real": ALIKE, "d_loss_fake": ALIKE},
        None,
        {"d-too-weak"},
    ),
    "late": (
        {"d_loss": np.r_[0.8 + noise(0.1, 20), np.full(10, 3.0)], "g_loss": 1 + noise(0.1, 30)},
        "bce",
        {"not-enough-evidence"},
    ),
}


@pytest.mark.parametrize("name", FEW)
def test_never_healthy_where_a_number_contradicts_it(name):
    columns, objective, ids = FEW[name]
    rows = next(len(c) for c in columns.values() if isinstance(c, np.ndarray))
    assert diagnose(trace(rows, **columns), objective).ids() == ids


@pytest.mark.parametrize(
    ("rate", "is_gone"),
    [
        (lambda n: 2e-4 * 0.1 ** (3 * n), True),  # a factor of an epoch in every batch
        (lambda n: 7e-111, True),
        (lambda n: 2e-4 * (1 - n / 60), False),
        (lambda n: 1e-4 + 1e-4 * math.cos(n * math.pi / 60), False),
        (lambda n: 0.0, False),  # rounded
    ],
)
def test_a_learning_rate_that_is_gone_for_more_than_the_end_of_a_schedule(rate, is_gone):
    line = "step {} lr: {:.6g} d_loss: {:.3f} g_loss: {:.3f}\n"
    columns = balanced()
    losses = list(zip(columns["d_loss"], columns["g_loss"], strict=True))
    log = "".join(line.format(n, rate(n), *each) for n, each in enumerate(losses))
    (trace,) = read_log(io.StringIO(log))
    assert ("learning-rate-gone" in diagnose(trace).ids()) == is_gone


@pytest.mark.parametrize(
    ("printed", "finding_id"),
    [("{:.2e}", "learning-rate-gone"), ("{:.4f}", "not-enough-evidence")],  # it may be rounded
)
def test_a_learning_rate_of_0_after_others_is_never_healthy(printed, finding_id):
    columns = balanced()
    log = ""
    for n, (d, g) in enumerate(zip(columns["d_loss"], columns["g_loss"], strict=True)):
        rate = printed.format(2e-4 if n < 25 else 0.0)
        log += f"iter={n:06d} lrG={rate} lrD={rate} lossD={d:.4f} lossG={g:.4f}\n"
    (trace,) = read_log(io.StringIO(log))
    diagnosis = diagnose(trace)
    assert finding_id in diagnosis.ids()
    assert not diagnosis.healthy


@pytest.mark.parametrize("line", ["iter = {}/250000 D: {} G: 0.8", "epoch 1 step {} D: {} G: 0.8"])
def test_the_first_steps_one_by_one_are_no_health(line):
    log = "".join(line.format(n, 1 + n % 3 / 10) + "\n" for n in range(1, 9))
    (short,) = read_log(io.StringIO(log))
    assert diagnose(short).ids() == {"not-enough-evidence"}


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


def test_remedies_come_in_the_order_that_was_measured():
    for rule in RULES.values():
        places = [MEASURED.index(each) for each in rule.remedies if each in MEASURED]
        assert places == sorted(places), rule.id
    assert [len(MEASURED), MEASURED[-1]] == [9, REMEDIES["auto"]]


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
