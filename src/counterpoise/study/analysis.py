"""What a study says: failures, quality, comparisons; `report` words and shows the numbers."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from counterpoise.statistics import NO_ESTIMATE, Estimate, Interval, student_mean
from counterpoise.study.grid import FAILURES, Grid, Pair
from counterpoise.study.statistics import hierarchical_mean, ranks, wilson

# Failures that no strategy steers by: `auto` holds what the third kind measures.
BY_QUALITY = ("diverged", "collapsed")


@dataclass(frozen=True)
class FailureCount:
    """Failed trainings of a strategy among its finished ones."""

    failed: int
    of: int
    interval: Interval | None

    @property
    def share(self) -> float:
        return self.failed / self.of if self.of else float("nan")


@dataclass(frozen=True)
class StrategyResult:
    """One strategy over a part of the gauntlet."""

    name: str
    failures: FailureCount
    by_quality: FailureCount  # diverged or collapsed
    untuned: FailureCount  # where `auto` was never tuned
    rank: Estimate  # among the strategies that have every cell; none for the others
    missing: int  # cells of the plan without a result
    everywhere: bool  # whether the plan has it in all tasks
    to_auto: Estimate  # paired difference of quality, in spreads of the task; above 0: better
    to_none: Estimate
    failed_to_auto: Estimate  # of failures, in percentage points; above 0: fails more often


def count_failures(
    grid: Grid, place: int, kinds: Collection[str] = FAILURES, besides: Collection[Pair] = ()
) -> FailureCount:
    """The failures of one strategy, in any of `kinds`, `besides` those in some pairs.

    The seeds of a situation mostly fail together, so that the interval counts each situation as one
    trial; of a single situation the seeds are the trials.
    """
    kept = np.array([pair not in besides for pair in grid.pairs])
    done = grid.done[:, place] & kept[:, None]
    of = int(done.sum())
    failed = int((grid.failed(kinds)[:, place] & done).sum())
    situations = int(done.any(1).sum())
    trials = situations if situations > 1 else of
    return FailureCount(failed, of, wilson(failed * trials / of if of else 0, trials))


def strategy_results(grid: Grid, tuned_on: Collection[Pair]) -> list[StrategyResult]:
    """All strategies, those with fewest failures first, then by rank; at the end those that are not
    in all tasks, since they meet fewer stressors."""
    ranked = complete_ranks(grid)
    failed = np.where(grid.done, 100.0 * grid.failed(), np.nan)
    results = [
        StrategyResult(
            name,
            count_failures(grid, place),
            count_failures(grid, place, BY_QUALITY),
            count_failures(grid, place, besides=tuned_on),
            ranked.get(name, NO_ESTIMATE),
            int((grid.expected & ~grid.done)[:, place].sum()),
            bool(grid.expected[:, place].all()),
            paired(grid, name, "auto"),
            paired(grid, name, "none"),
            paired(grid, name, "auto", failed),
        )
        for place, name in enumerate(grid.strategies)
    ]
    return sorted(
        results,
        key=lambda r: (
            not r.everywhere,
            np.nan_to_num(r.failures.share, nan=np.inf),
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
        np.moveaxis(array[:, complete], 1, 2) for array in (grid.quality, grid.failed())
    )
    ranked = ranks(quality, failed)
    return {grid.strategies[p]: hierarchical_mean(ranked[..., k]) for k, p in enumerate(complete)}


def paired(grid: Grid, name: str, reference: str, values: np.ndarray | None = None) -> Estimate:
    """The mean difference to a reference, over the cells that both have: of quality, or `values`
    (NaN where not done)."""
    values = grid.quality if values is None else values
    place, other = grid.place(name), grid.place(reference)
    if place is None or other is None or name == reference:
        return NO_ESTIMATE
    return hierarchical_mean(values[:, place] - values[:, other])


def where_beaten(grid: Grid) -> dict[str, tuple[str, str]]:
    """Every task/stressor where a strategy is better than `auto` beyond chance, or survives in
    more seeds, with that strategy (of several, the best one) and why."""
    auto = grid.place("auto")
    if auto is None:
        return {}
    found = {}
    all_scores, all_failed = grid.scores(), grid.failed()
    all_updates = grid.values(lambda row: row.d_updates / row.steps)
    for place, pair in enumerate(grid.pairs):
        quality, scores, failed = grid.quality[place], all_scores[place], all_failed[place]
        both = grid.done[place] & grid.done[place, auto]
        others = [int(p) for p in np.flatnonzero(both.any(1)) if p != auto]
        # Seeds that a strategy survives and `auto` does not, less those the other way round.
        survived = {
            p: int((both[p] & failed[auto]).sum() - (both[p] & failed[p]).sum()) for p in others
        }
        differences = {p: student_mean(quality[p] - quality[auto]) for p in others}
        better = {
            p: difference.mean or 0.0
            for p, difference in differences.items()
            if difference.interval is not None and difference.interval.low > 0
        }
        if survived and max(survived.values()) > 0:
            best = max(others, key=lambda p: (survived[p], np.nanmean(quality[p])))
            why = (
                f"auto fails in {int(failed[auto].sum())} of {len(grid.seeds)} seeds, it in "
                f"{int(failed[best].sum())}"
            )
        elif better:
            best = max(better, key=lambda p: better[p])
            why = (
                f"mean score {np.nanmean(scores[best]):.4g} against "
                f"{np.nanmean(scores[auto]):.4g}, paired interval over seeds above zero"
            )
        else:
            continue
        # What it costs, where a strategy trains D more often than `auto` does.
        theirs, ours = (np.nanmean(all_updates[place, p]) for p in (best, auto))
        if theirs >= ours + 0.1:
            why += f"; it updates D {theirs:.2g} times for each step of G, auto {ours:.2g} times"
        found["/".join(pair)] = (grid.strategies[best], why)
    return found


def means(grid: Grid, task: str, stressor: str, values: np.ndarray) -> dict[str, Estimate]:
    """The mean over seeds of each strategy's `values` in one task under one stressor."""
    if (task, stressor) not in grid.pairs:
        return {}
    place = grid.pairs.index((task, stressor))
    return {name: student_mean(values[place, p]) for p, name in enumerate(grid.strategies)}
