"""What a report reads from a run folder, whatever state it is in."""

import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from counterpoise.errors import UserError
from counterpoise.pages.run_report import run_report
from counterpoise.pages.run_report_folder import read_run
from counterpoise.pages.run_report_samples import MOST_STEPS, read_samples, spread
from counterpoise.run_folder import RunFolder
from report_helpers import STEPS, event, metrics, rows, write_lines, write_run, write_samples

SAMPLE_BYTES = 1_000_000


def read(folder, **options):
    return read_run(folder.path, "mine", SAMPLE_BYTES, **options)


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def test_a_whole_run(folder):
    run = read(folder)
    assert run.notes == []
    assert run.state.text == "Finished: step 60 of 60."
    assert run.policy == "auto"
    assert (run.band.low, run.band.high, run.band.target) == (0.6, 0.9, 0.75)
    assert run.policy_options["low"] == 0.6
    assert run.curves.curves["accuracy_smoothed"].count == 40
    assert run.bicubic == {"psnr_y": 26.0, "rmse": 12.0, "lpips": 0.4}
    assert run.metric_curves.curves["metric.psnr_y"].values[-1] == 27.0
    assert 26.0 not in run.metric_curves.curves["metric.psnr_y"].values  # bicubic is no step of it
    assert run.samples.steps == [20, 40, 60]
    assert run.decided_steps == 40
    assert len(run.diagnoses) == 1


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"not a run folder \(it has no config.yaml\)"):
        read_run(tmp_path, "mine", SAMPLE_BYTES)


def test_a_run_of_balance_has_neither_metrics_nor_a_plan(folder):
    for path in (folder.metrics, *folder.sample_files()):
        path.unlink()
    folder.config.write_text("balance:\n  policy: none\n", encoding="utf-8")
    write_lines(folder.events, [event(0, "began"), event(STEPS, "closed")])
    run = read(folder)
    assert (run.config, run.band, run.notes) == (None, None, [])
    assert run.policy == "none"
    assert run.future.more_training_pays is None
    assert run.state.text == "Closed after step 60: the loop ended, or let go of it."


def test_with_config_alone_nothing_is_judged_and_that_is_said(folder):
    for path in (folder.signals, folder.metrics, folder.events, *folder.sample_files()):
        path.unlink()
    run = read(folder)
    assert run.notes == ["signals.jsonl is not there: nothing to draw, nothing to judge"]
    assert run.diagnoses == []
    assert run.not_diagnosed
    assert run.state.text == "No step is recorded yet."


def test_torn_lines_are_left_out_and_told(folder):
    write_lines(folder.signals, [*rows(), '{"step": 61, "g_lo'])
    write_lines(folder.metrics, [*metrics(), "[1, 2]"])
    write_lines(folder.events, ["\x00\x00", event(STEPS, "ended")])
    run = read(folder)
    assert run.curves.last_step == STEPS
    assert run.notes == [
        "signals.jsonl: 1 line is torn or not a JSON object: left out",
        f"metrics.jsonl line {len(metrics()) + 1} is torn or not a JSON object: left out",
        "events.jsonl line 1 is torn or not a JSON object: left out",
    ]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("- a\n- list\n", "config.yaml is damaged: it is no mapping of sections"),
        ("a: [\n", "config.yaml is damaged: while parsing a flow node"),
        ("\x00", "config.yaml is damaged: unacceptable character"),
        (
            "generator: {depth: 3}\ndata: {}\ntrain: {}\n",
            "config.yaml is of another version of counterpoise, or was changed: generator.depth",
        ),
        ("balance: {policy: auto, options: {low: high}}\n", ""),
        ("balance: 3\n", ""),
    ],
)
def test_a_configuration_of_another_version_or_none_at_all(folder, text, note):
    folder.config.write_text(text, encoding="utf-8")
    run = read(folder)
    assert [n[: len(note)] for n in run.notes] == ([note] if note else [])
    assert run.band is None
    assert run.curves.rows == STEPS


def test_non_finite_signals_and_metrics_are_kept_apart(folder):
    broken = rows(g_loss=lambda step: None if step == 30 else 1.0)
    broken[29]["non_finite"] = ["g_loss"]
    write_lines(folder.signals, broken)
    with folder.metrics.open("a") as file:
        file.write('{"step": 61, "stage": "train", "psnr_y": NaN}\n')
    run = read(folder)
    assert run.curves.non_finite == {"g_loss": [30]}
    assert run.metric_curves.non_finite == {"metric.psnr_y": [61]}


@pytest.mark.parametrize(
    ("events", "last_step", "kind", "text"),
    [
        ([], 60, "finished", "Finished: step 60 of 60."),
        (
            [event(40, "interrupted")],
            40,
            "stopped",
            "Interrupted after step 40 of 60, and saved. Go on with: counterpoise resume ",
        ),
        (
            [event(0, "began"), event(9, "diverged", "step 9: g_loss")],
            9,
            "lost",
            "Diverged: step 9",
        ),
        (
            [event(0, "began"), event(9, "failed", "broke off: OSError: full")],
            9,
            "broken",
            "Broke off at step 9 of 60: OSError: full. Go on with",
        ),
        (
            [event(40, "stopped-early", "stopped early at step 40 because x"), event(40, "ended")],
            40,
            "finished",
            "Stopped early at step 40 because x. Go on all the same with: counterpoise resume",
        ),
        ([event(40, "interrupted"), event(40, "resumed")], 50, "broken", "Broken off at step 50"),
        ([event(40, "ended"), event(40, "note")], 40, "finished", "Ended after step 40 of 60."),
    ],
)
def test_the_state_is_said_in_words(folder, events, last_step, kind, text):
    write_lines(folder.signals, rows(last_step))
    write_lines(folder.events, events)
    long_ago = time.time() - 1e6
    os.utime(folder.signals, (long_ago, long_ago))
    state = read(folder).state
    assert (state.kind, state.text[: len(text)]) == (kind, text)


def test_a_run_that_was_written_just_now_is_going_on(folder):
    write_lines(folder.signals, rows(50))
    write_lines(folder.events, [event(0, "began")])
    assert read(folder).state.kind == "going on"
    # Slow steps take their time.
    write_lines(folder.signals, rows(50, seconds=100.0))
    ago = time.time() - 1000
    os.utime(folder.signals, (ago, ago))
    assert read(folder).state.kind == "going on"


def best_json(step=60, **changes):
    candidate = {
        "step": step,
        "weights": "average",
        "checkpoint": "checkpoints/x",
        "on_front": True,
        "distance": 0.25,
        "metrics": {"rmse": 11.0, "lpips": None},
    }
    return {
        "version": 1,
        "stage": "train",
        "images": "held out",
        "image_count": 4,
        "distortion": "rmse",
        "perception": "lpips",
        "recommended": candidate | {"why": "it is the only one"},
        "candidates": [candidate],
    } | changes


def test_the_outlook_and_what_to_do_for_a_recommendation(folder):
    future = read(folder).future
    assert future.more_training_pays == "yes"
    assert "RMSE" in future.reason
    assert (future.best, future.advice) == (None, "")  # There is no checkpoint to rank.
    folder.checkpoints.mkdir()
    folder.checkpoint(60).touch()
    assert (
        read(folder).future.advice == f"Which checkpoint to take: counterpoise best {folder.path}"
    )


def test_a_recommendation_of_steps_that_were_dropped_is_not_shown(folder):
    folder.checkpoints.mkdir()
    folder.checkpoint(20).touch()
    folder.best.write_text(json.dumps(best_json()))
    run = read(folder)
    assert run.future.best is None
    assert any("best.json recommends step 60, past the newest" in n for n in run.notes)


def test_the_recommendation_and_that_it_is_old(folder):
    folder.checkpoints.mkdir()
    folder.checkpoint(60).touch()
    folder.best.write_text(json.dumps(best_json()))
    run = read(folder)
    assert run.notes == []
    assert run.future.best.recommended.name == "step 60, average"
    assert run.future.advice == ""
    folder.checkpoint(80).touch()
    assert "newer checkpoints than those that were ranked" in read(folder).future.advice


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Invalid JSON"),
        (json.dumps(best_json(version=2)), "version: Input should be 1"),
        (json.dumps(best_json(candidates=3)), "candidates: Input should be a valid array"),
        (json.dumps(best_json(step="<b>")), "recommended.step: Input should be a valid integer"),
    ],
)
def test_a_damaged_recommendation_is_a_note(folder, text, reason):
    folder.best.write_text(text)
    run = read(folder)
    assert run.future.best is None
    (note,) = run.notes
    assert note.startswith(f"best.json cannot be read ({reason}")
    assert note.endswith(f"make it anew with `counterpoise best {folder.path}`")


def test_samples_are_cut_from_their_sheets(folder):
    run = read(folder)
    first, second = run.samples.crops
    assert first.side_px == 32
    assert len({first.hr, first.lr, first.bicubic, *first.outputs, second.hr}) == 7
    assert all(uri.startswith("data:image/webp;base64,") for uri in first.outputs)
    assert first.key != second.key


def test_damaged_and_foreign_sheets_are_left_out_and_told(folder):
    folder.sample(40).write_bytes(b"no picture")
    Image.fromarray(np.zeros((50, 50, 3), np.uint8)).save(folder.sample(60))
    samples = read(folder).samples
    assert samples.steps == [20]
    assert [note.split(":")[0].split(" (")[0] for note in samples.notes] == [
        "samples/step-00000060.png is not a sheet of samples of this version",
        "samples/step-00000040.png cannot be read",
    ]


def test_outputs_of_other_pictures_are_not_shown_as_these(folder):
    write_samples(folder, [20], seed=1)
    samples = read(folder).samples
    assert [crop.outputs[0] for crop in samples.crops] == [None, None]
    assert all(samples.crops[0].outputs[1:])
    assert samples.notes == [
        "2 outputs are not shown: the held-out pictures were others in these steps"
    ]


def bytes_of(samples):
    outputs = [uri for crop in samples.crops for uri in crop.outputs]
    fixed = [uri for crop in samples.crops for uri in (crop.lr, crop.bicubic, crop.hr)]
    return sum(map(len, outputs)) + sum(map(len, fixed)), sum(map(len, fixed))


def test_as_many_samples_as_fit_with_the_first_and_the_last(tmp_path):
    """Also where the last ones, of a G that has collapsed to white, are the smallest."""
    folder = RunFolder(tmp_path)
    write_samples(folder, range(10, 300, 10))
    everything = read_samples(folder.sample_files(), 10_000_000)
    assert everything.left_out == []
    size, fixed = bytes_of(everything)
    for share in (0.8, 0.5, 0.3):
        room = int(fixed + share * (size - fixed))
        some = read_samples(folder.sample_files(), max(room, 2 * fixed))
        assert (some.steps[0], some.steps[-1]) == (10, 290)
        assert bytes_of(some)[0] <= max(room, 2 * fixed)
        assert sorted([*some.steps, *some.left_out]) == everything.steps
    least = read_samples(folder.sample_files(), 0)
    assert (least.steps, len(least.crops)) == ([290], 1)
    assert least.notes == ["1 of 2 crops are shown, to keep this page small"]


@pytest.mark.parametrize("count", [1, 2, 5, 60, 99, 100])
def test_spread_is_even(count):
    chosen = spread(list(range(100)), count)
    assert len(chosen) == count
    assert chosen[-1] == 99
    if count > 1:
        assert chosen[0] == 0
        assert max(np.diff(chosen)) - min(np.diff(chosen)) <= 1
    assert MOST_STEPS >= 2


def test_bicubic_metrics_that_are_not_finite_are_not_drawn(folder):
    write_lines(folder.metrics, ['{"stage": "bicubic", "step": 0, "psnr_y": NaN}', *metrics()[1:]])
    assert run_report([folder.path]).html


@pytest.mark.parametrize("option", ["target", "low", "high"])
@pytest.mark.parametrize("value", [".nan", ".inf", str(10**399)])
def test_a_band_that_is_not_finite_is_none(folder, option, value):
    options = {"decay": 0.9, "target": 0.75, "low": 0.6, "high": 0.9, option: value}
    tree = "".join(f"    {name}: {number}\n" for name, number in options.items())
    folder.config.write_text(f"balance:\n  policy: auto\n  options:\n{tree}", encoding="utf-8")
    assert read(folder).band is None
    assert run_report([folder.path]).html
