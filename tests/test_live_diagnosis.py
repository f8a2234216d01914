"""A training says what is wrong with it, once."""

import dataclasses

import pytest

from counterpoise.diagnosis.finding import Finding
from counterpoise.diagnosis.news import GONE_AFTER
from counterpoise.game import live_diagnosis
from counterpoise.game.live_diagnosis import LiveDiagnosis
from counterpoise.json_lines import read_json_lines
from counterpoise.run_folder import RunFolder
from counterpoise.trace import LATEST_ROWS
from helpers import SIGNALS, step_record
from training_helpers import run, tiny, without_showing


def row(step, **signals):
    return step_record(step, dataclasses.replace(SIGNALS, **signals)).to_json()


SATURATED = {
    "d_loss_real": 1e-4,
    "d_loss_fake": 1e-4,
    "d_real": 1.0,
    "d_fake": 0.0,
    "d_accuracy_real": 1.0,
    "d_accuracy_fake": 1.0,
    "real_logit_mean": 20.0,
    "fake_logit_mean": -20.0,
}


def finding(name, severity, step=7):
    return Finding(name, severity, step, step, 1.0, f"title of {name}", "", ())


@pytest.fixture
def found(monkeypatch):
    """What the next diagnoses find: a list to be filled."""
    findings = []
    healthy = live_diagnosis.diagnose(live_diagnosis.TraceBuilder().build())
    monkeypatch.setattr(
        live_diagnosis,
        "diagnose",
        lambda trace: dataclasses.replace(healthy, findings=tuple(findings)),
    )
    return findings


def texts(diagnosis):
    return [news.text for news in diagnosis.news()]


@pytest.fixture
def live():
    diagnosis = LiveDiagnosis("none")
    diagnosis.add(row(1))
    return diagnosis


def test_a_finding_is_told_once(live, found):
    found.append(finding("a", "warning"))
    assert texts(live) == ["a (warning) since step 7: title of a"]
    assert texts(live) == []
    found += [finding("b", "severe"), finding("c", "note"), finding("d", "healthy")]
    assert texts(live) == ["b (severe) since step 7: title of b"]
    found[0] = finding("a", "severe")
    assert texts(live) == ["a (severe) since step 7: title of a"]
    found[0] = finding("a", "warning")  # better
    assert texts(live) == []


def test_gone_is_told_when_it_is_sure(live, found):
    found.append(finding("a", "warning"))
    live.news()
    found.clear()
    for _ in range(GONE_AFTER - 1):
        assert texts(live) == []
    found.append(finding("a", "warning"))
    assert texts(live) == []
    found.clear()
    assert [texts(live) for _ in range(GONE_AFTER)][-1] == ["a: no longer found"]
    found.append(finding("a", "warning"))
    assert texts(live) == ["a (warning) since step 7: title of a"]


def test_rows_without_a_step_are_left_out():
    broken = row(1)
    del broken["step"]
    diagnosis = LiveDiagnosis("none")
    diagnosis.take_up([broken, row(2) | {"step": [2]}, row(3)])
    assert diagnosis.diagnoses()[""].rows == 1


def test_what_a_resumed_training_has_said_is_not_said_again(found):
    found.append(finding("a", "warning"))
    resumed = LiveDiagnosis("none")
    resumed.take_up([row(step) for step in range(1, 9)])
    assert texts(resumed) == []


def test_a_real_diagnosis_of_the_latest_rows():
    live = LiveDiagnosis("none")
    for step in range(1, 200):
        live.add(row(step, **SATURATED))
    assert any(line.startswith("d-saturated (severe) since step") for line in texts(live))
    # What is long past is past.
    for step in range(200, 200 + LATEST_ROWS):
        live.add(row(step))
    assert "d-saturated: no longer found" in [
        line for _ in range(GONE_AFTER) for line in texts(live)
    ]


def test_a_stage_without_d_is_not_judged():
    live = LiveDiagnosis("none")
    bare = {"step": 1, "stage": "pretrain", "g_loss": 1.0, "g_terms": {"pixel": 1.0}}
    live.take_up([bare] * 20)
    assert texts(live) == []


def test_findings_become_events(tmp_path, monkeypatch):
    without_showing(monkeypatch)
    config = tiny(
        "balance={policy: loss-gate, options: {threshold: 100}}",
        "train={pretrain_steps: 0, steps: 24, log_every: 4, checkpoint_every: 24, batch_size: 4}",
    )
    run(config, tmp_path / "run")
    rows, _ = read_json_lines(RunFolder(tmp_path / "run").events)
    told = [event for event in rows if event["kind"] == "finding"]
    assert len({event["message"] for event in told}) == len(told)
    (frozen,) = [event for event in told if event["message"].startswith("d-frozen")]
    assert frozen["step"] in (8, 12, 16)
