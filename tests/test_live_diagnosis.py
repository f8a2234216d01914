"""A training says what is wrong with it, once."""

import dataclasses
import json

import pytest

from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.diagnosis.finding import Finding
from counterpoise.diagnosis.news import GONE_AFTER
from counterpoise.game import live_diagnosis
from counterpoise.game.live_diagnosis import LiveDiagnosis
from counterpoise.run_rows import SignalRows
from counterpoise.trace import LATEST_ROWS, TraceBuilder
from helpers import SIGNALS, step_record
from training_helpers import events, run, signals, tiny, without_showing


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
A, B = "warning", "severe"
GONE = [[]] * (GONE_AFTER - 1)


def told(diagnosis):
    return [news.text for news in diagnosis.news()]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Once, and worse, and not better.
        ([{"a": A}, {"a": A}, {"a": A, "b": B}], [["a (warning)"], [], ["b (severe)"]]),
        ([{"a": A}, {"a": B}, {"a": A}], [["a (warning)"], ["a (severe)"], []]),
        ([{"a": "note", "b": "healthy"}], [[]]),
        # That it is gone when it is sure, and that it is back.
        (
            [{"a": A}, *[{}] * (GONE_AFTER - 1), {"a": A}, *[{}] * GONE_AFTER, {"a": A}],
            [["a (warning)"], *GONE, [], *GONE, ["a: no longer found"], ["a (warning)"]],
        ),
    ],
)
@pytest.mark.parametrize("resumed", [False, True])
def test_what_is_new_is_told_once(monkeypatch, found, expected, resumed):
    diagnoses = iter(found)
    healthy = live_diagnosis.diagnose(TraceBuilder().build())

    def diagnose(trace):
        findings = tuple(
            Finding(name, severity, 7, 7, 1.0, f"title of {name}", "", ())
            for name, severity in next(diagnoses).items()
        )
        return dataclasses.replace(healthy, findings=findings)

    monkeypatch.setattr(live_diagnosis, "diagnose", diagnose)
    live = LiveDiagnosis("none")
    if resumed:  # What was said before is not said again.
        live.load_rows([row(1)])
        expected = expected[1:]
    else:
        live.add(row(1))
    for lines in expected:
        assert [text.split(" since")[0] for text in told(live)] == lines


def test_rows_without_a_step_or_a_d_are_left_out():
    diagnosis = LiveDiagnosis("none")
    broken = row(1)
    del broken["step"]
    bare = {"step": 1, "stage": "pretrain", "g_loss": 1.0, "g_terms": {"pixel": 1.0}}
    diagnosis.load_rows([bare] * 20)
    assert diagnosis.news() == []
    diagnosis.load_rows([broken, row(2) | {"step": [2]}, row(3)])
    assert diagnosis.diagnosis().rows == 1


def test_a_d_of_every_second_turn_is_judged_alike_live_and_from_a_file():
    every = [step_record(step) for step in range(1, 41)]
    alone = [dataclasses.replace(each, discriminators={}) for each in every]
    rows = [each.to_json() for pair in zip(alone[::2], every[1::2], strict=True) for each in pair]
    live, read = LiveDiagnosis("none"), SignalRows()
    live.load_rows(rows)
    read.feed(map(json.dumps, [*rows, alone[-1].to_json() | {"step": 41}]))
    (from_file,) = read.traces({}, "none")
    assert read.has_d
    assert from_file.steps.tolist() == list(range(2, 41, 2))
    assert diagnose(from_file).findings == live.diagnosis().findings


def test_a_real_diagnosis_of_the_latest_rows():
    live = LiveDiagnosis("none")
    for step in range(1, 200):
        live.add(row(step, **SATURATED))
    assert any(line.startswith("d-saturated (severe) since step") for line in told(live))
    # What is long past is past.
    for step in range(200, 200 + LATEST_ROWS):
        live.add(row(step))
    assert "d-saturated: no longer found" in [
        line for _ in range(GONE_AFTER) for line in told(live)
    ]


def test_a_gate_freezes_d_and_that_becomes_an_event(tmp_path, monkeypatch):
    without_showing(monkeypatch)
    config = tiny(
        "balance={policy: loss-gate, options: {threshold: 100}}",
        "train={pretrain_steps: 0, steps: 24, log_every: 4, checkpoint_every: 12, batch_size: 4}",
    )
    path = tmp_path / "run"
    run(config, path)
    assert len(set(events(path, "finding"))) == len(events(path, "finding"))
    assert [each.split(" ")[0] for each in events(path, "finding")].count("d-frozen") == 1
    for each in signals(path):
        assert each["d_updated"] is False
        # D stood still, so the same images get the same answer: measured, and equal.
        assert each["d_fake_after"] == pytest.approx(each["d_fake_before"], abs=1e-6)
        assert "not above 100" in each["action"]["reason"]
