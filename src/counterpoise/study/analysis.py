"""What a study says: failures, quality, comparisons; `report` words and shows the numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoise.statistics import (
    NO_ESTIMATE,
    Estimate,
    hierarchical_mean,
    standardised,
    wilson,
)
from counterpoise.study.plan import AUTO_TUNED_ON, StudyPlan, cells_of
from counterpoise.study.results import DoneRow, Results

# A training whose score is worse than the bare loop's, where nothing is wrong, by this factor has
# failed. That D is saturated is no failure by itself: strategies steer by what shows it.
FAILED_BY = 2.0


class Grid:
    """Arrays of (pairs, strategies, seeds) of the plan's cells; a pair is a task with a stressor.

    `expected` are the cells of the plan; `rows` holds a `DoneRow` for each that is `done`, else
    None; the others are `missing`, those that ended in an error of the program among them.
    `quality` is the score in units of its task's spread, higher is better, NaN where not done (see
    `statistics.standardised`). Rows of other cells are left out.
    """

    def __init__(self, plan: StudyPlan, results: Results) -> None:
        cells = cells_of(plan)
        self.pairs = tuple(dict.fromkeys((cell.task, cell.stressor) for cell in cells))
        self.strategies = tuple(dict.fromkeys(cell.strategy for cell in cells))
        self.seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
        self.tasks = tuple(dict.fromkeys(task for task, _ in self.pairs))
        self.stressors = tuple(dict.fromkeys(stressor for _, stressor in self.pairs))
        shape = (len(self.pairs), len(self.strategies), len(self.seeds))
        self.expected, self.done = (np.zeros(shape, dtype=bool) for _ in range(2))
        self.rows = np.full(shape, None, dtype=object)
        for cell in cells:
            place = (
                self.pairs.index((cell.task, cell.stressor)),
                self.strategies.index(cell.strategy),
                self.seeds.index(cell.seed),
            )
            row = results.rows.get(cell.key)
            self.expected[place] = True
            if row is not None:
                self.rows[place], self.done[place] = row, True
        self.missing = self.expected & ~self.done
        scores = self.values(lambda row: row.score)
        self.quality = np.full(shape, np.nan)
        for of_task, higher in self._tasks():
            self.quality[of_task] = standardised(scores[of_task], higher, self.done[of_task])

    def _tasks(self) -> Iterator[tuple[np.ndarray, bool]]:
        """Which pairs are of a task, and whether its score is better the higher it is."""
        for task in self.tasks:
            of_task = np.array([pair[0] == task for pair in self.pairs])
            done = self.rows[of_task][self.done[of_task]]
            yield of_task, all(row.higher_is_better for row in done)

    @cached_property
    def failed(self) -> np.ndarray:
        """Which done cells failed: they diverged or collapsed, or their score is under half as good
        as the bare loop's in the mean over seeds, without a stressor (where the plan has that)."""
        failed, scores = self.shows("diverged", "collapsed"), self.values(lambda row: row.score)
        if {"none"} <= {*self.stressors} & {*self.strategies}:
            unstressed = np.array([pair[1] == "none" for pair in self.pairs])
            for of_task, higher in self._tasks():
                bare = np.nanmean(scores[of_task & unstressed, self.strategies.index("none")])
                own = scores[of_task]
                failed[of_task] |= own < bare / FAILED_BY if higher else own > bare * FAILED_BY
        return failed

    def shows(self, *kinds: str) -> np.ndarray:
        """Which done cells have one of these among their failures: diverged, collapsed (coverage
        under a half), d-saturated (its AUC on clean samples 0.99 or more over the last quarter)."""
        return np.asarray(self.values(lambda row: not set(kinds).isdisjoint(row.failures)) == 1)

    def values(self, value: Callable[[DoneRow], float | None]) -> np.ndarray:
        """A number of every done cell; NaN where there is none."""
        result = np.full(self.rows.shape, np.nan)
        # None is NaN as a float.
        result[self.done] = np.array([value(row) for row in self.rows[self.done]], dtype=float)
        return result

    def failed_percent(self) -> np.ndarray:
        """100 for each done cell that failed, 0 for each that did not, else NaN."""
        return np.where(self.done, 100.0 * self.failed, np.nan)


@dataclass(frozen=True)
class StrategyResult:
    """One strategy over a part of the gauntlet."""

    name: str
    failures: Estimate  # the share of finished trainings that failed
    failed_to_auto: Estimate  # paired difference of it, in percentage points; above 0: more often
    untuned: Estimate  # the share where `auto` was never tuned
    saturated: Estimate  # trainings in which D was saturated, failed or not
    d_trained: Estimate  # updates of D for each step of G
    to_none: Estimate  # paired difference of quality, in spreads of the task; above 0: better
    missing: int  # cells of the plan without a result
    everywhere: bool  # whether the plan has it in all tasks


def failed_share(failed: np.ndarray, done: np.ndarray) -> Estimate:
    """The share of one strategy's finished trainings that failed, from arrays of (situations,
    seeds).

    The seeds of a situation mostly fail together, so that the interval counts each situation as one
    trial; of a single situation the seeds are the trials.
    """
    count, of, situations = int(failed.sum()), int(done.sum()), int(done.any(1).sum())
    trials = situations if situations > 1 else of
    if not of:
        return NO_ESTIMATE
    return Estimate(count / of, wilson(count * trials / of, trials), of)


def strategy_results(grid: Grid) -> list[StrategyResult]:
    """All strategies, those with fewest failures first; at the end those that are not in all tasks,
    since they meet fewer stressors."""
    failed, saturated, done = grid.failed, grid.shows("d-saturated"), grid.done
    d_trained = grid.values(lambda row: row.d_updates / row.steps)
    untuned = np.array([pair not in AUTO_TUNED_ON for pair in grid.pairs])
    results = [
        StrategyResult(
            name,
            failures=failed_share(failed[:, place], done[:, place]),
            failed_to_auto=paired(grid, name, "auto", grid.failed_percent()),
            untuned=failed_share(failed[untuned, place], done[untuned, place]),
            saturated=failed_share(saturated[:, place], done[:, place]),
            d_trained=hierarchical_mean(d_trained[:, place]),
            to_none=paired(grid, name, "none", grid.quality),
            missing=int(grid.missing[:, place].sum()),
            everywhere=bool(grid.expected[:, place].all()),
        )
        for place, name in enumerate(grid.strategies)
    ]

    def order(row: StrategyResult) -> tuple[bool, float, str]:
        return (
            not row.everywhere,
            np.inf if row.failures.mean is None else row.failures.mean,
            row.name,
        )

    return sorted(results, key=order)


def paired(grid: Grid, name: str, reference: str, values: np.ndarray) -> Estimate:
    """The mean difference of `values` (NaN where not done) to a reference, over the cells that both
    have."""
    if reference not in grid.strategies or name == reference:
        return NO_ESTIMATE
    place, other = map(grid.strategies.index, (name, reference))
    return hierarchical_mean(values[:, place] - values[:, other])
