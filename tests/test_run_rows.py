"""The one reader of a run's files: whole or as they grow, whatever stands in them."""

import json
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.diagnosis.remedies import REMEDIES
from counterpoise.diagnosis.wording import remedy_how
from counterpoise.errors import UserError
from counterpoise.json_lines import drop_rows_after
from counterpoise.run_rows import RunReader, SignalRows
from watching_helpers import append, begin_run, event, row


@pytest.fixture
def run(tmp_path):
    return begin_run(tmp_path / "run", steps=20)


def steps(signals):
    return signals.traces()[0].steps.tolist()


def test_steps_that_come_again_take_the_place_of_the_first():
    signals = SignalRows()
    for step in range(1, 21):
        signals.add(row(step, d_loss=1.0))
    for step in (15, 16):
        signals.add(row(step, d_loss=9.0))
    assert (signals.step, steps(signals)) == (16, list(range(1, 17)))
    assert signals.traces()[0].columns["d_loss"][13:].tolist() == [1.0, 9.0, 9.0]


def test_each_d_has_the_steps_it_is_in_from_its_first_on():
    signals = SignalRows()
    alone = {"step": 1, "stage": "train", "g_loss": 1.0}
    signals.add(alone)
    for step, names in ((2, "a"), (3, "ab"), (4, ""), (5, "b")):
        each = {name: {"d_loss": 1.0} for name in names}
        signals.add(alone | {"step": step} | ({"discriminators": each} if names else {}))
    found = {trace.title: trace.steps.tolist() for trace in signals.traces()}
    assert found == {"a": [2, 3], "b": [3, 5]}
    signals.add(alone | {"step": 6, "stage": "pretrain"})
    assert (signals.has_d, steps(signals)) == (False, [6])


def test_lines_that_are_no_rows_are_counted():
    taken = []
    signals = SignalRows(on_row=lambda step, row: taken.append(step))
    signals.feed(['{"step": 2, "sta\n', "\n", "[1]\n", '{"g_loss": 1}\n', '{"step": true}\n'])
    signals.feed([f'{{"step": {1 << 60}}}\n', '{"step": "7"}\n', '{"step": 3, "d_loss": 1}\n'])
    assert (taken, signals.rows, signals.left_out) == ([3], 1, 6)
    assert len(signals.notes()) == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5)
    # Larger than any float, and than any step.
    | st.sampled_from([0, -1, 7, 10**400, -(10**18), 1 << 60, sys.float_info.max]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)  # fmt: skip
FIELDS = st.sampled_from(
    [*row(1), "kind", "message", "time", "psnr_y", "non_finite", "auc", "discriminators"]
)


@given(st.lists(st.dictionaries(FIELDS, ANYTHING, max_size=8), max_size=4))
@settings(max_examples=40)
def test_whatever_stands_in_the_files_is_taken_or_left_out(rows):
    from counterpoise.pages.page import page_body
    from counterpoise.pages.run import read_run
    from counterpoise.watching.sources import WatchOptions, open_source

    with tempfile.TemporaryDirectory() as folder:
        run = begin_run(Path(folder), steps=3)
        for path in (run.signals, run.events, run.metrics):
            append(path, *rows, *({"step": 5, "stage": "train"} | item for item in rows))
        state = open_source(run.path, WatchOptions()).look()
        assert state.progress
        assert page_body([read_run(run.path, 0)])


def test_a_whole_run_is_read(run):
    append(run.metrics, {"step": 20, "stage": "train", "psnr_y": 29.1})
    append(run.signals, json.dumps(row(21, seconds=0.25)))  # without a line end
    run.config.write_text(
        "balance: {policy: auto}\nloss: {adversarial: {form: hinge}}\n"
        "train: {pretrain_steps: 10, steps: 20}\n"
    )
    reader = RunReader(run).read_whole()
    assert steps(reader.signals) == list(range(1, 22))
    assert (reader.policy, reader.objective, reader.planned_steps) == ("auto", "hinge", 30)
    assert [e.message for e in reader.events] == ["the training begins"]
    assert reader.metrics[0]["psnr_y"] == 29.1
    assert reader.step_seconds() == [0.5] * 20 + [0.25]
    assert reader.notes() == []


def test_each_discriminator_has_its_objective(run):
    run.config.write_text(
        "loss: {adversarial: {discriminators: {patch: {form: hinge}, image: {form: [1]}, x: 3}}}"
    )
    assert RunReader(run).objective == {"patch": "hinge"}


@pytest.mark.parametrize("name", ["signals", "metrics", "events"])
def test_a_torn_last_line_waits_for_its_end_and_is_told_of_a_whole_file(run, name):
    path = getattr(run, name)
    append(path, '{"step": 21, "stage": "train", "kind": "no')
    reader = RunReader(run)
    assert reader.look()
    assert reader.notes() == [] or name != "signals"
    assert "torn or not a JSON object" in RunReader(run).read_whole().notes()[0]
    append(path, 'te", "message": "m", "d_loss": 1.0}\n')
    assert reader.look()
    assert not reader.look()
    assert reader.notes() == []
    assert 21 in (reader.signals.step, len(reader.metrics) and 21, reader.events[-1].step)


def test_a_resumed_run_is_read_anew(run):
    begun = []

    def begin():
        begun.append([])
        return lambda step, row: begun[-1].append(step)

    reader = RunReader(run, begin)
    reader.look()
    drop_rows_after(run.signals, 12)  # as `resume` does
    append(run.events, event(12, "resumed"))
    reader.look()
    assert steps(reader.signals) == list(range(1, 13))
    assert begun == [list(range(1, 21)), list(range(1, 13))]
    append(run.signals, row(13, d_loss=9.0))
    reader.look()
    assert reader.signals.traces()[0].columns["d_loss"][12] == 9.0
    assert [e.kind for e in reader.events] == ["began", "resumed"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("train: {steps: 20}", 20),
        ("train: {pretrain_steps: many, steps: 20}", None),
        ("train: []", None),
    ],
)
def test_the_steps_of_a_plan(run, text, count):
    run.config.write_text(text)
    assert RunReader(run).planned_steps == count


@pytest.mark.parametrize("text", ["- a\n- list\n", "a: [\n", "\x00"])
def test_a_damaged_configuration_is_a_note(run, text):
    run.config.write_text(text)
    reader = RunReader(run).read_whole()
    assert (reader.config, reader.signals.step) == ({}, 20)
    assert reader.notes()[0].startswith("config.yaml: ")


@pytest.mark.parametrize("name", ["signals", "metrics", "events"])
def test_a_file_that_cannot_be_read_is_said(run, name):
    path = getattr(run, name)
    path.unlink(missing_ok=True)
    path.mkdir()
    if name == "signals":
        with pytest.raises(UserError, match=r"signals.jsonl: cannot be read \(Is a directory\)"):
            RunReader(run).read_whole()
    else:
        (note,) = RunReader(run).read_whole().notes()
        assert f"{name}.jsonl: cannot be read (Is a directory)" in note


@pytest.mark.parametrize(("section", "is_own"), [("", False), ("generator: {}\n", True)])
def test_settings_are_advised_to_our_own_training_alone(run, section, is_own):
    run.save_config("balance: {policy: none}\n" + section)
    (trace,) = RunReader(run).read_whole().traces()
    assert remedy_how(REMEDIES["r1"], trace.is_own_training).startswith("--set") == is_own
