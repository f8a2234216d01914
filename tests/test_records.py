import json
import math
from dataclasses import replace

from counterpoise.records import Action, StepRecord
from helpers import SIGNALS

RECORD = StepRecord(
    step=7,
    stage="train",
    g_loss=1.5,
    g_terms={"perceptual/pool2": 1.0, "adversarial": 0.5},
    g_updated=True,
    g_learning_rate=1e-4,
    seconds=0.25,
    signals=SIGNALS,
    d_fake_after=0.4,
    d_penalty=0.0,
    d_updated=False,
    d_learning_rate=1e-4,
    action=Action(d_steps=0, reason="too good"),
)


def test_row_has_what_gan_users_ask_for():
    row = RECORD.to_json()
    assert row["step"] == 7
    assert row["d_loss"] == 1.4
    assert (row["d_real"], row["d_fake_before"], row["d_fake_after"]) == (0.5, 0.5, 0.4)
    assert row["d_updated"] is False
    assert row["action"] == {"d_steps": 0, "reason": "too good"}
    assert row["g_terms"] == {"perceptual/pool2": 1.0, "adversarial": 0.5}
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_row_of_a_stage_without_a_discriminator():
    row = replace(RECORD, signals=None, d_fake_after=None, d_penalty=None).to_json()
    assert "d_loss" not in row
    assert "action" not in row


def test_non_finite_values_are_named_not_hidden():
    broken = replace(
        RECORD,
        g_terms={"adversarial": math.inf},
        signals=replace(SIGNALS, real_logit_mean=math.nan),
    )
    assert broken.non_finite() == ["g_terms.adversarial", "real_logit_mean"]
    row = broken.to_json()
    assert row["non_finite"] == ["g_terms.adversarial", "real_logit_mean"]
    assert row["g_terms"]["adversarial"] is None
    json.dumps(row, allow_nan=False)
    assert RECORD.non_finite() == []
