"""A study's report on planted results: the known answer in words, tables and pictures."""

import json
import re

import numpy as np
import pytest

from counterpoise.errors import UserError
from counterpoise.statistics import wilson
from counterpoise.study.analysis import Grid, failed_share, strategy_results
from counterpoise.study.plan import StudyPlan, cells_of
from counterpoise.study.report import DETAILS, study_report
from counterpoise.study.results import ErrorRow, read_results
from study_helpers import row_of, write_study

PLAN = StudyPlan(
    name="planted",
    tasks=("ring", "digits", "sr"),
    stressors=("none", "d-lr-x10", "batch-4"),
    strategies=("none", "auto", "r1", "hinge"),
    seeds=(0, 1, 2),
)
# What the strategies are worth, higher is better, and where they fail.
WORTH = {"none": 0.5, "auto": 0.8, "r1": 0.7, "hinge": 0.2}


def planted(cell):
    worth = WORTH[cell.strategy] + 0.01 * cell.seed
    if (cell.task, cell.stressor, cell.strategy) == ("digits", "batch-4", "r1"):
        worth += 0.5 + 0.002 * cell.seed  # r1 beats auto here
    failures = []
    if cell.strategy == "hinge":
        failures = ["collapsed"]
    elif cell.strategy == "none" and cell.stressor == "d-lr-x10":
        failures = ["d-saturated"] if cell.seed else ["diverged", "d-saturated"]
    elif (cell.task, cell.stressor, cell.strategy) == ("sr", "batch-4", "auto"):
        failures = ["collapsed"]
    higher = cell.task == "ring"
    score = None if "diverged" in failures else (worth if higher else 2 - worth)
    row = row_of(cell, failures=failures, higher_is_better=higher)
    return row.model_copy(update={"score": score})


ROWS = [planted(cell) for cell in cells_of(PLAN)]


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "study", PLAN, ROWS)


def grid(folder, plan=PLAN):
    return Grid(plan, read_results(folder))


def by_name(folder):
    return {result.name: result for result in strategy_results(grid(folder))}


def test_failures_are_counted_by_kind_and_where_auto_was_not_tuned(study):
    results = by_name(study)
    assert list(results) == ["r1", "auto", "none", "hinge"]
    assert (results["hinge"].failures.mean, results["hinge"].failures.count) == (1, 27)
    assert (results["none"].failures.mean, results["none"].saturated.mean) == (3 / 27, 9 / 27)
    # Of the pairs here `auto` was tuned on all but the last.
    assert (results["auto"].failures.mean, results["auto"].failures.count) == (3 / 27, 27)
    assert (results["auto"].untuned.mean, results["auto"].untuned.count) == (1, 3)
    assert results["r1"].failures.mean == 0
    assert {r.missing for r in results.values()} == {0}


def test_quality_is_compared_in_pairs(study):
    results = by_name(study)
    assert results["auto"].to_none.mean > 0
    assert results["auto"].to_none.interval.low > 0
    assert results["hinge"].to_none.interval.high < 0
    assert results["none"].to_none.mean is None


def test_seeds_that_fail_together_are_one_trial():
    failed = np.array([[True] * 3] * 3 + [[False] * 3] * 6)
    assert failed_share(failed, np.ones((9, 3), dtype=bool)).interval == wilson(3, 9)
    assert failed_share(failed[:1], np.ones((1, 3), dtype=bool)).interval == wilson(3, 3)


def test_the_report_says_it(study):
    text = study_report(study)
    beginning, found, details = text.partition(DETAILS)
    assert found
    assert "108 of 108 trainings done" in beginning
    assert "Fewest failures: r1, 0 of 27 (0 %)." in beginning
    assert "auto fails in 3 of 27 (11 %); where it was never tuned, 3 of 3 (100 %)" in beginning
    assert "## sr: high quality coverage" in details
    assert "| 27 of 27 (100 %) |" in details
    assert "| none | · 0 | ▒ 33 | · 0 |" in beginning


def test_what_is_missing_is_said(study):
    failed = ErrorRow(**dict(cells_of(PLAN)[0]), message="boom")
    write_study(study, PLAN, [failed, *ROWS[2:], ROWS[-1], '{"torn'])
    text = study_report(study)
    assert "106 of 108 trainings done.\n2 are missing" in text
    assert "is torn" in text
    results = by_name(study)
    assert results["none"].missing == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"colour": "red"}, "results.jsonl line 1: colour: unknown key"),
        ({"score": None, "steps": None}, "results.jsonl line 1: steps"),
        ({"seconds": 10**400}, "results.jsonl line 1: seconds"),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path, row, message):
    line = json.dumps(ROWS[0].model_dump(mode="json") | row)
    folder = write_study(tmp_path / "s", PLAN, [line])
    with pytest.raises(UserError, match=re.escape(message)):
        study_report(folder)


def test_no_study_and_no_results_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"study\.yaml"):
        study_report(tmp_path)
    folder = write_study(tmp_path / "s", PLAN, [])
    with pytest.raises(UserError, match="no results yet"):
        study_report(folder)
