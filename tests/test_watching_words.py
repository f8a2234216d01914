"""What a watched training is said in."""

import dataclasses

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.records import Action
from counterpoise.watching.words import (
    ACTIONS,
    action_words,
    ago,
    game_verdict,
    held_out_words,
    pace,
    progress_words,
    remedy_how,
    shown_findings,
    since,
)
from trace_helpers import bce_columns, trace

SATURATED = diagnose(trace(**bce_columns(0.9999, 0.0001)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3599, "60 min"),
        (5400, "2 h"),
        (100_000, "28 h"),
        (172_800, "2 days"),
    ],
)
def test_a_span_of_time_in_its_largest_unit(seconds, words):
    assert ago(seconds) == words


def test_a_pace_is_never_below_one():
    assert pace(9.234) == "9.23 steps/s"
    assert pace(0.25) == "4 s/step"


def test_progress_says_what_is_known():
    assert progress_words(None, 100, 2.0, 3.0) == "no step yet"
    assert progress_words(1200, None, None, None) == "step 1,200"
    assert progress_words(1200, 3000, 10, 180) == "step 1,200 of 3,000, 10 steps/s, 3 min left"


def test_every_field_of_an_action_has_words():
    # LeCam's anchors come with its weight.
    aside = {"reason", "lecam_real_anchor", "lecam_fake_anchor"}
    assert set(ACTIONS) == {field.name for field in dataclasses.fields(Action)} - aside


def test_what_a_policy_does():
    assert action_words("none", None) == "trains both as configured"
    assert action_words("threshold", None) == "not asked in this stage"
    assert action_words("threshold", {}) == "changes nothing"
    done = action_words("auto", {"d_steps": 0, "noise_std": 0.05, "reason": "D wins"})
    assert done == "D is not trained, noise 0.05 on D's inputs (D wins)"
    assert action_words("auto", {"g_steps": 2}) == "2 steps of G"


def test_an_action_of_a_strange_run_is_told_as_far_as_it_is_one():
    assert action_words("x", {"d_steps": "many", "reason": 7, "other": 1}) == "changes nothing"


def test_metrics_stand_beside_those_of_bicubic():
    rows = {"train": {"psnr_y": 29.1134, "ssim_y": 0.8391}, "bicubic": {"psnr_y": 29.39}}
    assert held_out_words(rows, "train") == "PSNR (Y) 29.11 (bicubic 29.39), SSIM (Y) 0.8391"
    assert held_out_words(rows, "pretrain") == ""
    assert held_out_words({"train": {"psnr_y": "good"}}, "train") == ""


def test_since_when_a_finding_stands():
    finding = SATURATED.findings[0]
    first, last = SATURATED.first_step, SATURATED.last_step
    assert (finding.first_step, finding.last_step) == (first, last)
    assert since(finding, SATURATED, goes_back=False) == f"since step {first}"
    # The rows before were not judged: it may be older.
    assert since(finding, SATURATED, goes_back=True) == f"since step {first} or before"
    over = dataclasses.replace(finding, first_step=1000, last_step=1200)
    assert since(over, SATURATED, goes_back=True) == "steps 1,000 to 1,200"


def test_how_a_remedy_is_done_in_a_run_of_ours_and_elsewhere():
    finding = next(f for f in SATURATED.findings if f.remedies[0].config)
    remedy = finding.remedies[0]
    assert remedy_how(finding, "threshold") == f"--set {remedy.config}"
    assert remedy_how(finding, None) == remedy.code
    assert remedy_how(dataclasses.replace(finding, remedies=()), None) == ""


def test_the_verdict_of_a_game():
    assert game_verdict("", None).startswith("G is trained alone")
    assert game_verdict("A", diagnose(trace(0))) == "A: Nothing to judge yet."
    assert game_verdict("", SATURATED).startswith("Not healthy")


def test_findings_that_are_shown():
    assert shown_findings(None) == ()
    assert shown_findings(diagnose(trace(0))) == ()
    assert [f.id for f in shown_findings(SATURATED)] == [
        f.id for f in SATURATED.findings if f.severity != "healthy"
    ]
    healthy = diagnose(trace(**bce_columns(0.6, 0.4)))
    assert [f.id for f in healthy.findings] == ["healthy"]
    assert list(shown_findings(healthy)) == []


def test_numbers_beyond_a_float_are_told():
    assert action_words("auto", {"d_steps": 10**400}) == "inf steps of D"
    rows = {"train": {"psnr_y": 10**400}, "bicubic": {"psnr_y": -(10**400)}}
    assert held_out_words(rows, "train") == "PSNR (Y) inf (bicubic -inf)"
