"""What a study says: failures, quality, comparisons; `report` words and shows the numbers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from counterpoise.statistics import (
    NO_ESTIMATE,
    Estimate,
    hierarchical_mean,
    ranks,
    standardised,
    student_mean,
    wilson,
)
from counterpoise.study.plan import AUTO_TUNED_ON, StudyPlan, cells_of
from counterpoise.study.results import DoneRow, Results

# A training whose score is worse than the bare loop's, where nothing is wrong, by this factor has
# failed. That D is saturated is no failure by itself: strategies steer by what shows it.
WORSE = 2.0


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
            if isinstance(row, DoneRow):
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
                failed[of_task] |= own < bare / WORSE if higher else own > bare * WORSE
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
    saturated: Estimate  # those in which D was saturated, failed or not
    auc: Estimate  # of D on clean samples over the last quarter
    d_trained: Estimate  # updates of D for each step of G
    untuned: Estimate  # where `auto` was never tuned
    rank: Estimate  # among the strategies that have every cell; none for the others
    missing: int  # cells of the plan without a result
    everywhere: bool  # whether the plan has it in all tasks
    to_auto: Estimate  # paired difference of quality, in spreads of the task; above 0: better
    to_none: Estimate
    failed_to_auto: Estimate  # of failures, in percentage points; above 0: fails more often


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
    """All strategies, those with fewest failures first, then by rank; at the end those that are not
    in all tasks, since they meet fewer stressors."""
    ranked = complete_ranks(grid)
    failed, saturated = grid.failed, grid.shows("d-saturated")
    auc = grid.values(lambda row: row.d_last_quarter.get("auc"))
    d_trained = grid.values(lambda row: row.d_updates / row.steps)
    untuned = np.array([pair not in AUTO_TUNED_ON for pair in grid.pairs])
    results = [
        StrategyResult(
            name,
            failed_share(failed[:, place], grid.done[:, place]),
            failed_share(saturated[:, place], grid.done[:, place]),
            hierarchical_mean(auc[:, place]),
            hierarchical_mean(d_trained[:, place]),
            failed_share(failed[untuned, place], grid.done[untuned, place]),
            ranked.get(name, NO_ESTIMATE),
            int(grid.missing[:, place].sum()),
            bool(grid.expected[:, place].all()),
            paired(grid, name, "auto", grid.quality),
            paired(grid, name, "none", grid.quality),
            paired(grid, name, "auto", grid.failed_percent()),
        )
        for place, name in enumerate(grid.strategies)
    ]
    return sorted(
        results,
        key=lambda r: (
            not r.everywhere,
            r.failures.mean if r.failures.count else np.inf,
            r.rank.mean or np.inf,
            r.name,
        ),
    )


def complete_ranks(grid: Grid) -> dict[str, Estimate]:
    """Mean ranks of the strategies that have a result in every task, stressor and seed."""
    complete = [p for p in range(len(grid.strategies)) if grid.done[:, p].all()]
    if len(complete) < 2:
        return {}
    quality, failed = (
        np.moveaxis(array[:, complete], 1, 2) for array in (grid.quality, grid.failed)
    )
    ranked = ranks(quality, failed)
    return {grid.strategies[p]: hierarchical_mean(ranked[..., k]) for k, p in enumerate(complete)}


def paired(grid: Grid, name: str, reference: str, values: np.ndarray) -> Estimate:
    """The mean difference of `values` (NaN where not done) to a reference, over the cells that both
    have."""
    if reference not in grid.strategies or name == reference:
        return NO_ESTIMATE
    place, other = map(grid.strategies.index, (name, reference))
    return hierarchical_mean(values[:, place] - values[:, other])


def where_beaten(grid: Grid) -> dict[str, tuple[str, str]]:
    """Every task/stressor where a strategy survives in more seeds than `auto`, or is better beyond
    chance, with that strategy (of several, the best one) and its numbers against `auto`'s."""
    auto = grid.strategies.index("auto")
    found = {}
    scores, failed = grid.values(lambda row: row.score), grid.failed
    updates = grid.values(lambda row: row.d_updates / row.steps)
    for place, pair in enumerate(grid.pairs):
        quality = grid.quality[place]
        both = grid.done[place] & grid.done[place, auto]
        # Seeds that a strategy survives and `auto` does not, less those the other way round.
        survived = (both & failed[place, auto]).sum(1) - (both & failed[place]).sum(1)
        better = []
        for other in (int(p) for p in np.flatnonzero(both.any(1)) if p != auto):
            interval = student_mean(quality[other] - quality[auto]).interval
            if survived[other] > 0 or (interval is not None and interval.low > 0):
                better.append(other)
        if better:
            best = max(better, key=lambda p: (survived[p], np.nanmean(quality[p])))
            numbers = [
                f"fails in {int(failed[place, p].sum())} of {len(grid.seeds)} seeds, mean score "
                f"{np.nanmean(scores[place, p]):.4g}, steps of D "
                f"{np.nanmean(updates[place, p]):.2g} to 1 of G"
                for p in (best, auto)
            ]
            found["/".join(pair)] = grid.strategies[best], "; auto: ".join(numbers)
    return found
