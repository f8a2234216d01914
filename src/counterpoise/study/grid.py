"""A study as arrays of task and stressor, strategy, seed."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import get_args

import numpy as np

from counterpoise.study.plan import StudyPlan, cells_of
from counterpoise.study.results import DoneRow, ErrorRow, Failure, Results
from counterpoise.study.statistics import standardised

FAILURES: tuple[str, ...] = get_args(Failure)

Pair = tuple[str, str]


@dataclass(frozen=True)
class Grid:
    """Arrays of (pairs, strategies, seeds); a pair is a task with a stressor.

    `expected` are the cells of the plan; `rows` holds a `DoneRow` for each that is done, else
    None; `error` are those that the program did not finish. `quality` is the score in units of its
    task's spread, higher is better, NaN where not done (see `statistics.standardised`).
    """

    pairs: tuple[Pair, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    expected: np.ndarray
    rows: np.ndarray
    error: np.ndarray
    quality: np.ndarray

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task for task, _ in self.pairs))

    @property
    def stressors(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stressor for _, stressor in self.pairs))

    @property
    def done(self) -> np.ndarray:
        return np.asarray(self.rows != None, dtype=bool)  # noqa: E711 (of every element)

    @property
    def missing(self) -> np.ndarray:
        """Cells of the plan with no row at all."""
        return np.asarray(self.expected & ~self.done & ~self.error, dtype=bool)

    def failed(self, kinds: Collection[str] = FAILURES) -> np.ndarray:
        """Which done cells failed in one of `kinds`."""
        failed = self.values(lambda row: float(bool(set(kinds) & set(row.failures))))
        return np.asarray(failed == 1)

    def values(self, value: Callable[[DoneRow], float | None]) -> np.ndarray:
        """A number of every done cell; NaN where there is none."""
        result = np.full(self.rows.shape, np.nan)
        for place in zip(*np.nonzero(self.done), strict=True):
            number = value(self.rows[place])
            result[place] = np.nan if number is None else number
        return result

    def scores(self) -> np.ndarray:
        return self.values(lambda row: row.score)

    def place(self, strategy: str) -> int | None:
        """Where a strategy is on the second axis; None where it has no cell."""
        return self.strategies.index(strategy) if strategy in self.strategies else None


def grid_of(plan: StudyPlan, results: Results) -> Grid:
    """The arrays of the plan's cells, in their order; rows of other cells are left out."""
    cells = cells_of(plan)
    pairs = tuple(dict.fromkeys((cell.task, cell.stressor) for cell in cells))
    strategies = tuple(dict.fromkeys(cell.strategy for cell in cells))
    seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
    shape = (len(pairs), len(strategies), len(seeds))
    expected, error = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    rows = np.full(shape, None, dtype=object)
    higher: dict[str, bool] = {}
    for cell in cells:
        place = (
            pairs.index((cell.task, cell.stressor)),
            strategies.index(cell.strategy),
            seeds.index(cell.seed),
        )
        row = results.rows.get(cell)
        expected[place] = True
        error[place] = isinstance(row, ErrorRow)
        if isinstance(row, DoneRow):
            rows[place] = row
            higher[cell.task] = row.higher_is_better
    grid = Grid(pairs, strategies, seeds, expected, rows, error, np.full(shape, np.nan))
    scores, done = grid.scores(), grid.done
    for task in grid.tasks:
        of_task = np.array([pair[0] == task for pair in pairs])
        grid.quality[of_task] = standardised(scores[of_task], higher.get(task, True), done[of_task])
    return grid
