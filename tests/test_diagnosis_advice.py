"""What is said of what was found: since when, in which numbers, and what to do first."""

from pathlib import Path

import numpy as np
import pytest

from counterpoise.diagnosis.diagnose import RULES, diagnose
from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.wording import remedies, verdict
from counterpoise.logs.read import read_log
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
    swings,
    trace,
    within,
)

SEED = Path(__file__).parent / "data" / "seed"
# By what they did to a D that had won, where that was measured.
MEASURED = tuple(REMEDIES.values())[:9]


def test_the_questions_logs():
    names = ("bce_epoch1", "bce_epoch3", "mse_epoch1")
    judged = [diagnose(read_log(SEED / f"{name}.log")[0]) for name in names]
    first, third, squares = judged
    assert first.objective == third.objective == "non-saturating"
    assert squares.objective == "lsgan-on-sigmoid"
    severities = [[(f.id, f.severity) for f in each.problems] for each in judged]
    assert severities == [
        [("d-frozen", "warning")],
        [("d-frozen", "severe"), ("d-saturated", "severe")],
        [(name, "severe") for name in ("lsgan-on-sigmoid", "d-saturated", "g-vanishing-gradient")],
    ]
    # 5 of 15 lines, and D's steps lower D(G(z)) in 8 of 10.
    shares = [e.value for e in found(first, "d-frozen").evidence]
    assert (shares[0], shares[-1]) == pytest.approx((5 / 15, 8 / 10))
    frozen = found(third, "d-frozen")
    assert (frozen.first_step, frozen.last_step) == (2 * 9338 + 1100, 2 * 9338 + 2600)
    assert frozen.evidence[0].value == 1.0
    assert frozen.remedies[0] == MEASURED[0]
    assert found(squares, "lsgan-on-sigmoid").first_step == 100  # the code's, not a moment's
    assert found(squares, "d-saturated").first_step <= 300
    assert "r1 =" in remedies(squares)[0].code
    # Of G's loss, what cannot be adversarial.
    assert found(squares, "loss-inconsistent").evidence[-1].value == pytest.approx(0.21, abs=0.01)
    # Pairs printed as 0.000000 / 0.000000 say nothing about D's updates.
    assert "d-frozen" in {item.id for item in squares.not_judged}


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


def test_a_d_that_judges_the_fakes_of_a_g_that_is_nan_is_not_too_strong():
    log = "".join(f"step: {n} loss_d: 0.9{n % 7} loss_g: 1.{n % 9}\n" for n in range(1, 9))
    log += "".join(f"step: {n} loss_d: 0.0000 loss_g: nan\n" for n in range(9, 20))
    assert [each.id for each in diagnose(one(log), "bce").problems] == ["non-finite"]


def test_no_evidence_of_a_certain_d_says_the_opposite():
    """The accuracy of smoothed labels, and a D(x) that is seldom 0.99, are left out."""
    columns = {"d_real": 0.985 + noise(0.003), "d_fake_before": 0.002, "d_loss": 0.02}
    saturated = found(diagnose(trace(**columns, d_accuracy=0.5)), "d-saturated")
    assert "D's accuracy" not in {each.name for each in saturated.evidence}
    saturated = found(diagnose(trace(**columns, d_accuracy=0.999)), "d-saturated")
    assert saturated.evidence[0].name == "D's accuracy"


def test_what_a_program_has_already_is_not_advised():
    lines = [f"step {n} d_loss: {0.01 + n % 3 / 1000} g_loss: 7.{n % 7}\n" for n in range(30)]
    for program, first in (("stylegan-xl", "lower-d-rate"), ("stylegan3", "spectral")):
        diagnosis = diagnose(one("".join(lines)), program=program)
        assert remedies(diagnosis)[0] == REMEDIES[first], program


def test_where_nothing_is_wrong_the_first_advice_is_of_that():
    over = diagnose(trace(**certain(5, 20)))
    assert found(over, "d-saturated").severity == "note"
    assert remedies(over)[0] == REMEDIES["look"]
    assert RULES["d-saturated"].title != found(over, "d-saturated").title


def test_a_nan_that_stays_is_answered_by_a_checkpoint_and_names_whose_number_was_first():
    log = "".join(f"step: {n} loss_d: 0.6{n % 7} loss_g: 1.{n % 9}\n" for n in range(1, 37))
    log += "step: 37 loss_d: 0.0202 loss_g: nan\n"
    log += "".join(f"step: {n} loss_d: nan loss_g: nan\n" for n in range(38, 45))
    nan = found(diagnose(one(log)), "non-finite")
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


def test_remedies_are_for_this_log():
    frozen = found(diagnose(trace(**at_rest(True, balanced()))), "d-frozen")
    assert "check=True" in frozen.remedies[0].code  # D is bad, and still does not move
    columns = balanced() | {"g_gradient_adversarial": within(0, 30, 1.0, 1e-4)}
    for objective, offered in ((None, False), ("hinge", True)):
        finding = found(diagnose(trace(**columns), objective), "g-vanishing-gradient")
        # Its objective may be the non-saturating one already.
        assert any("non-saturating" in r.config for r in finding.remedies) == offered


def test_remedies_come_in_the_order_that_was_measured():
    for rule in RULES.values():
        places = [MEASURED.index(each) for each in rule.remedies if each in MEASURED]
        assert places == sorted(places), rule.id
    assert [len(MEASURED), MEASURED[-1]] == [9, REMEDIES["auto"]]
