"""Right loops as people write them: nothing that they compute is changed by a bit, nothing is
reported, and D's outputs on real and on G's images are told apart."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

import loop_shapes as shapes
from loop_helpers import Loop, rows_of, same

AFTER, ASIDE, IMAGES = "d_fake_after", "auc_quantised", "diversity_ratio"
# What reaches G through D, told from the rest.
SHARE = "g_gradient_adversarial"


@dataclass
class Shape:
    """A way to write a loop."""

    turn: Callable[..., None] = shapes.plain
    loop: Callable[[], Loop] = Loop
    # What is read from D's loss, or named.
    objective: str = "non-saturating"
    named: bool = False
    findings: set[str] = field(default_factory=set)
    # What cannot be read in it.
    unread: set[str] = field(default_factory=set)
    # All sensors are on in the tenth; what never happens is reported after six.
    turns: int = 11


SHAPES = {
    "plain": Shape(),
    "D ends in a sigmoid": Shape(loop=lambda: Loop(sigmoid=True)),
    "float64": Shape(loop=lambda: shapes.InType(torch.float64)),
    "bfloat16": Shape(loop=lambda: shapes.InType(torch.bfloat16)),
    "least squares beyond their labels": Shape(loop=shapes.settled, objective="lsgan"),
    "G first": Shape(shapes.generator_first),
    "ESRGAN": Shape(shapes.esrgan, objective="relativistic-average", named=True),
    "VQGAN": Shape(shapes.d_begins_later, turns=15),
    "VQGAN, named": Shape(shapes.d_begins_later, named=True, turns=15),
    "closure": Shape(shapes.with_a_closure),
    "a step for each half": Shape(shapes.a_step_for_each_half),
    "both step at the end": Shape(shapes.both_step_at_the_end, unread={AFTER, SHARE}),
    "accumulation": Shape(shapes.accumulated, unread={ASIDE}, turns=21),
    "one pass": Shape(shapes.one_pass_on_both),
    "AMP": Shape(shapes.mixed_precision, shapes.Scaled),
    "a tuple of G": Shape(shapes.a_tuple_of_g, lambda: Loop(g=shapes.Several())),
}
for first, real_first in (("real first", True), ("fake first", False)):
    for how, (d, ask) in shapes.ASKED.items():
        SHAPES[f"{how}, {first}"] = Shape(
            shapes.conditional(ask, real_first=real_first),
            lambda d=d: Loop(d=d()),
            unread={SHARE} if "channels" in how else {ASIDE},
        )
    SHAPES[f"augmented, {first}"] = Shape(
        shapes.augmented(real_first=real_first), findings={"fake-not-detached"}
    )


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_changed_reported_or_confused(tmp_path, name):
    shape = SHAPES[name]
    bare, watched = shape.loop(), shape.loop()
    bare.run(None, shape.turns, turn=shape.turn)
    balance = watched.balance(
        run_dir=tmp_path / "run", check=True, sensors_every=1,
        objective=shape.objective if shape.named else None,
        held_out=torch.rand(4, 1, 8, 8) if shape.turn is shapes.plain else None,
        grad_scaler=getattr(watched, "scaler", None),
    )  # fmt: skip
    watched.run(balance, shape.turns, turn=shape.turn)
    objective = balance.state_dict()["objective"]["name"]
    balance.close()
    assert same(bare.state(), watched.state())
    assert {finding.id for finding in balance.loop_findings} == shape.findings
    assert objective == shape.objective
    assert "d-frozen" not in balance.diagnosis().ids()
    rows = rows_of(tmp_path / "run")
    # A loop that begins with G ends in the middle of a turn.
    accumulates = shape.turn is shapes.accumulated
    late = shapes.LATE * (shape.turn is shapes.d_begins_later)
    ends_amid = shape.turn in (shapes.generator_first, shapes.esrgan)
    turns = 5 if accumulates else shape.turns - ends_amid
    assert len(rows) == turns
    assert not any("d_loss" in row for row in rows[:late])
    columns = ("d_real", "d_fake_before") if name == "D ends in a sigmoid" else (
        "real_logit_mean", "fake_logit_mean")  # fmt: skip
    judged_first = watched.judged[:: 4 if accumulates else 1]
    for row, judged in list(zip(rows, judged_first, strict=False))[late:]:
        assert [row[column] for column in columns] == pytest.approx(judged, rel=1e-2, abs=1e-2)
        assert "non_finite" not in row
    assert all(row["d_updated"] and row["g_updated"] for row in rows[late:])
    # Once in ten turns all of the sensors are on.
    last = rows[3] if accumulates else rows[9]
    assert {
        each for each in (AFTER, ASIDE, IMAGES, SHARE) if last.get(each) is None
    } == shape.unread
    if shape.turn is shapes.plain:
        assert last["d_accuracy_held_out"] is not None
    if name == "AMP":
        assert [row["g_loss"] for row in rows] == pytest.approx(watched.g_losses, rel=1e-2)
        assert max(last["g_gradient_norm"], last["g_gradient_adversarial"]) < 10
