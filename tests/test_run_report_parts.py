"""Timeline, reasons, charts, the paper's rows and the lists of a report."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.config_file import load_config
from counterpoise.pages.run_report_charts import charts_of, curve_data, metric_text, metric_title
from counterpoise.pages.run_report_folder import read_run
from counterpoise.pages.run_report_paper import PSNR_Y, SETS, paper_rows
from counterpoise.pages.run_report_plans import COMPARED, PLANS
from counterpoise.pages.run_report_reasons import MOST_REASONS, MOST_SPELLS, OTHER, ReasonBuilder
from counterpoise.pages.run_report_section import (
    MOST_CHARACTERS,
    MOST_EVENTS,
    config_differences,
    metric_table,
    papers,
    section_of,
    shortened,
)
from counterpoise.pages.run_report_timeline import MOST_MARKS, ticks, timeline
from report_helpers import STEPS, event, rows, write_lines, write_run


def read(folder, name="mine"):
    return read_run(folder.path, name, 100_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("parts") / "run")


@pytest.fixture(scope="module")
def run(folder):
    return read(folder)


def lines_of(run):
    return {line.label: line for line in timeline(run, 1, "finding")}


# ------------------------------------------------------------------------------ reasons


def reasons_of(*actions):
    builder = ReasonBuilder()
    for step, action in enumerate(actions, 1):
        builder.add(step, action)
    return builder.build()


def test_reasons_are_told_apart_without_their_numbers():
    rest = {"d_steps": 0, "reason": "D's accuracy is 0.93"}
    first, second = reasons_of(
        rest,
        rest | {"reason": "D's accuracy is 0.95"},
        {},
        {"reason": "nothing is done"},
        rest | {"reason": "D's accuracy is 1"},
        {"d_steps": 2, "d_learning_rate_scale": 0.5},
    )
    assert (first.text, first.count) == ("D's accuracy is 1", 3)
    assert (first.first_step, first.last_step, first.spells) == (1, 5, [(1, 2), (5, 5)])
    assert second.text == "sets d learning rate scale to 0.5, d steps to 2"


@given(st.lists(st.booleans(), max_size=700))
def test_spells_cover_every_step_and_stay_few(pattern):
    steps = [step for step, acts in enumerate(pattern, 1) if acts]
    found = reasons_of(*({"d_steps": 0, "reason": "rest"} if acts else {} for acts in pattern))
    assert len(found) == bool(steps)
    if not found:
        return
    (reason,) = found
    assert reason.count == len(steps)
    assert len(reason.spells) <= MOST_SPELLS
    assert all(any(first <= s <= last for first, last in reason.spells) for s in steps)
    ends = [end for spell in reason.spells for end in spell]
    assert ends == sorted(ends)
    assert set(ends) <= set(steps)


def test_ever_new_reasons_become_other_reasons():
    words = [chr(ord("a") + k // 26) + chr(ord("a") + k % 26) for k in range(60)]
    found = reasons_of(*({"d_steps": 0, "reason": word} for word in words))
    assert len(found) == MOST_REASONS + 1
    assert found[-1].count == 60 - MOST_REASONS
    assert OTHER not in words


# ------------------------------------------------------------------------------ timeline


def test_a_timeline_from_the_stages_to_what_happened(tmp_path):
    signals = rows(
        d_loss=lambda step: None if step == 50 else 1.2,
        action=lambda step: {"d_steps": 0, "reason": "D rests"} if step > 40 else {},
    )
    for row in signals[:20]:
        del row["action"]
    signals[49]["non_finite"] = ["d_loss"]
    events = [event(0, "began"), event(50, "roll-back", "went back"), event(60, "ended")]
    lines = lines_of(read(write_run(tmp_path / "run", signals, events=events, samples=())))
    stages = lines["stages"]
    assert stages.text == "pretrain: steps 1 to 20; train: steps 21 to 60"
    assert [bar.left for bar in stages.bars] == pytest.approx([0, 100 * 20 / 59], abs=0.01)
    assert lines["D rests"].text == "20 steps (50.0%), steps 41 to 60"
    assert lines["NaN or infinity"].text == "step 50, in d_loss"
    assert lines["roll-backs"].text == "step 50"
    finding = next(line for line in lines.values() if line.number == 1)
    assert (finding.kind, finding.anchor) == ("severe", "finding-1")
    for line in lines.values():
        for bar in line.bars:
            assert bar.left >= 0
            assert bar.left + bar.width <= 100 + 1e-6


def test_of_many_events_some_are_marked_and_all_are_counted(run):
    run = dataclasses.replace(run, events=[event(s, "roll-back") for s in range(1, 61)] * 3)
    assert lines_of(run)["roll-backs"].text == "60 steps, steps 1 to 60"
    many = [event(step, "roll-back") for step in range(10_000)]
    line = lines_of(dataclasses.replace(run, events=many))["roll-backs"]
    assert len(line.bars) == MOST_MARKS
    assert line.text == "10000 steps, steps 0 to 9,999; 100 of them are marked"
    odd = [{"kind": "roll-back", "step": "7"}, {"kind": ["roll-back"], "step": 7}, {}]
    assert "roll-backs" not in lines_of(dataclasses.replace(run, events=odd))


@given(st.integers(-(10**6), 10**12), st.integers(0, 10**12))
def test_ticks_are_round_few_and_in_their_place(first, length):
    found = ticks(first, first + length)
    assert len(found) <= 7
    for place, text in found:
        step = int(text.replace(",", ""))
        assert first <= step <= first + length
        assert place == pytest.approx(100 * (step - first) / max(1, length), abs=1e-3)
        digits = text.replace(",", "").lstrip("-").rstrip("0")
        assert len(digits) <= len(str(abs(first) + length))
    if length >= 10:
        assert len(found) >= 2
    assert ticks(None, None) == []


# ------------------------------------------------------------------------------ charts


def test_the_charts_that_the_issue_asks_for(run):
    charts = {chart.key: chart for chart in charts_of([run])}
    assert [s["label"] for s in charts["g-loss"].series] == [
        "G, all terms",
        "pixel",
        "perceptual",
        "adversarial",
    ]
    assert [s["label"] for s in charts["d-outputs"].series] == [
        "D(x)",
        "D(G(z)) before",
        "D(G(z)) after",
    ]
    accuracy = charts["d-accuracy"]
    assert (accuracy.band["low"], accuracy.band["high"]) == (0.6, 0.9)
    assert "between 0.6 and 0.9" in accuracy.what
    shown = [s["curve"] for s in accuracy.series if not s.get("hidden")]
    assert shown == ["accuracy_smoothed", "d_accuracy_real", "d_accuracy_fake", "auc"]
    assert charts["share"].summary == (
        "adversarial share: 0.25 at step 21, 0.25 at step 60, between 0.25 and 0.25"
    )
    assert "learning-rates" in charts
    assert "actions" not in charts  # It never acted.
    psnr = charts["metric-0"]
    assert psnr.title == "Held-out images: PSNR (Y), dB"
    assert psnr.lines == [{"value": 26.0, "label": "bicubic"}]
    assert psnr.what == "Higher is better. Dashed: plain bicubic, 26.00."
    assert charts["metric-1"].what.startswith("Lower is better.")


def test_every_curve_of_a_chart_exists_and_is_drawn_to_five_digits(run):
    for chart in charts_of([run]):
        for series in chart.series:
            curves = run.curves.curves | run.metric_curves.curves
            data = curve_data(curves[series["curve"]])
            assert len(data["x"]) == len(data["y"]) == len(data.get("m", data["y"]))
    curve = run.curves.curves["g_loss"]
    assert curve_data(curve)["y"][2] == 0.33333


def test_a_compared_curve_has_a_plan_or_stands_for_itself():
    keys = [plan.key for plan in PLANS]
    assert len(set(keys)) == len(keys)
    assert len(dict(COMPARED)) == len(COMPARED)


def test_several_runs_share_a_chart_for_each_curve(run, tmp_path):
    other = read(write_run(tmp_path / "b", rows(auc=None), samples=()), "other")
    charts = {chart.title: chart for chart in charts_of([run, other])}
    loss = charts["Loss of G"]
    assert [(s["run"], s["label"]) for s in loss.series] == [(0, "mine"), (1, "other")]
    assert charts["AUC"].what == "Not recorded in other."
    assert [s["run"] for s in charts["AUC"].series] == [0]
    psnr = charts["Held-out images: PSNR (Y), dB"]
    assert psnr.legend
    assert len(psnr.lines) == 1  # The two runs have the same bicubic.


# ------------------------------------------------------------------------------ tables


def test_the_digits_of_a_metric():
    assert metric_text("psnr_y", 26.123) == "26.12"
    assert metric_text("psnr_y", 0.3, signed=True) == "+0.30"
    assert metric_text("psnr_y", -0.001, signed=True) == "+0.00"
    assert metric_text("of another tool", 1 / 3) == "0.3333"
    assert metric_text("rmse", float("nan")) == "nan"
    assert metric_title("of another tool") == "of another tool"


def test_metrics_stand_beside_bicubic(run):
    table = metric_table([run])
    assert table["names"] == ["PSNR (Y), dB", "RMSE (Y)", "LPIPS"]
    assert [(method, step) for _, method, step, _ in table["rows"]] == [
        ("bicubic", "0"),
        ("E (pretrained)", "20"),
        ("PA", "60"),
    ]
    assert table["rows"][0][3][0] == ("26.00", "")
    assert table["rows"][2][3] == [("27.00", "+1.00"), ("11.00", "-1.00"), ("0.3000", "-0.1000")]
    assert metric_table([dataclasses.replace(run, metrics=[])]) is None
    lacking = dataclasses.replace(run, metrics=[{"stage": "train", "psnr_y": "no number"}])
    assert metric_table([run, lacking])["rows"][-1][3][0] == ("not measured", "")


@pytest.mark.parametrize("variant", [name for name in PSNR_Y if name.startswith("ENet-")])
def test_a_preset_of_the_paper_is_its_own_variant(variant):
    config = load_config(variant.lower(), ["data.folders=[.]"])
    paper = paper_rows(config)
    assert paper.variant == variant
    assert paper.differences == []
    assert all(len(values) == len(SETS) for _, values in paper.rows)


def test_how_a_run_differs_from_the_paper_is_said(run):
    (paper,) = papers([run, run])
    assert paper["variant"] == "ENet-PA"
    (name, differences), _ = paper["differences"]
    assert name == "mine"
    assert "generator.width: 32 instead of 64" in differences
    assert "trained on the photographs inside scikit-image instead of MSCOCO" in differences
    config = load_config("enet-pat", ["data.folders=[.]"])
    assert paper_rows(config, "embedded (not VGG)").differences == [
        "embedded (not VGG) instead of VGG-19"
    ]
    twice = load_config("enet-pat", ["generator.scale=2"])
    assert paper_rows(twice) is None


def test_differences_of_the_configurations(folder, run, tmp_path):
    other = read(write_run(tmp_path / "b", samples=(), overrides=["train.seed=5"]), "other")
    assert config_differences([run]) == []
    assert config_differences([run, run]) == []
    assert config_differences([run, other]) == [("train.seed", ["0", "5"])]
    bare = dataclasses.replace(other, config_tree={"train": {"seed": 0}})
    assert ("generator.width", ["32", "not set"]) in config_differences([run, bare])


def test_long_lists_and_texts_are_cut_and_that_is_said(folder, run):
    assert shortened("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS
    assert shortened("x" * (MOST_CHARACTERS + 5000)).endswith("... (5,000 characters more)")
    events = [event(step, "note", "y" * 10_000) for step in range(3 * MOST_EVENTS)]
    tree = {"big": list(range(5000)), "long": "z" * 100_000}
    section = section_of(dataclasses.replace(run, events=events, config_tree=tree), 0, 1)
    assert len(section["events"]) == MOST_EVENTS
    assert section["events_left_out"] == 2 * MOST_EVENTS
    assert section["events"][-1][1] == f"{3 * MOST_EVENTS - 1:,}"
    assert all(len(message) < MOST_CHARACTERS + 50 for *_, message in section["events"])
    assert len(section["config"]) < 20_000
    assert f"lines more in {folder.config}" in section["config"]


def test_findings_are_numbered_over_all_runs(run):
    section = section_of(run, 3, first_number=7)
    assert [number for number, *_ in section["findings"]][:1] == [7]
    assert section["findings"][0][4] == "run-3-finding-7"
    assert section["begun"] == ["the training begins, with torch 2"]
    assert ("steps on record", f"{STEPS}") in section["facts"]
    assert ("seconds per step", "0.5 (mean)") in section["facts"]


def test_non_finite_values_are_counted_in_words(tmp_path):
    folder = write_run(tmp_path / "run", samples=())
    signals = rows()
    for place, names in ((30, ["auc", "g_loss"]), (31, ["auc"])):
        signals[place]["non_finite"] = names
    write_lines(folder.signals, signals)
    section = section_of(read(folder), 0, 1)
    assert section["non_finite"] == {"auc": "2 times", "g_loss": "once"}
    assert section["worst"] == "severe"
