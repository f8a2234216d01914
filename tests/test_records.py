import json
import math
from dataclasses import replace

from counterpoise.records import Action, Readings, compact, is_written, rows_every
from counterpoise.trace import rows_by_discriminator
from helpers import SIGNALS, step_record

RECORD = step_record(
    7,
    g_loss=1.5,
    g_terms={"perceptual/pool2": 1.0, "adversarial": 0.5},
    d_fake_after=0.4,
    d_updated=False,
    d_action=Action(d_steps=0, reason="too good"),
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
    alone = replace(RECORD, discriminators={}).to_json()  # of a stage without D
    assert not {"d_loss", "action"} & alone.keys()


def test_non_finite_values_are_named_not_hidden():
    broken = step_record(
        7, replace(SIGNALS, real_logit_mean=math.nan), g_terms={"adversarial": math.inf}
    )
    assert broken.non_finite() == ["g_terms.adversarial", "real_logit_mean"]
    row = broken.to_json()
    assert row["non_finite"] == ["g_terms.adversarial", "real_logit_mean"]
    assert row["g_terms"]["adversarial"] is None
    json.dumps(row, allow_nan=False)
    assert RECORD.non_finite() == []
    # A reading may have nothing to read: it is named, and stops nothing.
    read = replace(RECORD, readings=Readings(g_gradient_cosine=math.nan))
    assert (read.non_finite(), read.to_json()["non_finite"]) == ([], ["g_gradient_cosine"])


def test_rows_grow_sparser_as_a_training_grows_long_but_not_where_something_went_wrong():
    of_steps = {1: 1, 250_000: 1, 250_001: 2, 500_000: 2, 500_001: 4, 1_000_000: 4, 1_000_001: 8}
    assert {step: rows_every(step) for step in of_steps} == of_steps
    record = step_record(250_001)
    assert not is_written(record)
    assert is_written(replace(record, step=250_002))
    assert is_written(replace(record, g_loss=math.inf))
    assert is_written(step_record(250_001, d_action=Action(roll_back=True)))


def test_rows_are_written_with_seven_digits():
    row = {"step": 3, "g_loss": 0.17179465270601213, "g_terms": {"pixel": 1e-4 / 3}, "flag": True}
    assert compact(row) == {
        "step": 3, "g_loss": 0.1717947, "g_terms": {"pixel": 3.333333e-05}, "flag": True,
    }  # fmt: skip


def test_several_discriminators_have_rows_of_their_own():
    own = {"mpd": 0.25, "msd": math.nan}
    each = {
        name: step_record(7, replace(SIGNALS, d_loss_real=loss)).discriminators[""]
        for name, loss in own.items()
    }
    record = replace(RECORD, discriminators=each)
    row = record.to_json()
    assert "d_loss" not in row
    assert row["discriminators"]["msd"]["non_finite"] == ["d_loss_real"]
    assert record.non_finite() == ["msd.d_loss_real"]
    flat = rows_by_discriminator(json.loads(json.dumps(row, allow_nan=False)))
    assert flat["mpd"] == replace(RECORD, discriminators={"": each["mpd"]}).to_json()
    assert rows_by_discriminator(flat["mpd"]) == {"": flat["mpd"]}
