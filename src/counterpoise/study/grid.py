"""A study as arrays of task and stressor, strategy, seed."""

from collections.abc import Callable, Collection
from typing import get_args

import numpy as np

from counterpoise.study.plan import StudyPlan, cells_of
from counterpoise.study.results import DoneRow, ErrorRow, Failure, Results
from counterpoise.study.statistics import standardised

FAILURES: tuple[str, ...] = get_args(Failure)

Pair = tuple[str, str]


class Grid:
    """Arrays of (pairs, strategies, seeds) of the plan's cells; a pair is a task with a stressor.

    `expected` are the cells of the plan; `rows` holds a `DoneRow` for each that is `done`, else
    None; `error` are those that the program did not finish, `missing` those with no row at all.
    `quality` is the score in units of its task's spread, higher is better, NaN where not done (see
    `statistics.standardised`). Rows of other cells are left out.
    """

    def __init__(self, plan: StudyPlan, results: Results) -> None:
        cells = cells_of(plan)
        self.pairs: tuple[Pair, ...] = tuple(dict.fromkeys((c.task, c.stressor) for c in cells))
        self.strategies = tuple(dict.fromkeys(cell.strategy for cell in cells))
        self.seeds = tuple(dict.fromkeys(cell.seed for cell in cells))
        self.tasks = tuple(dict.fromkeys(task for task, _ in self.pairs))
        self.stressors = tuple(dict.fromkeys(stressor for _, stressor in self.pairs))
        shape = (len(self.pairs), len(self.strategies), len(self.seeds))
        self.expected, self.done, self.error = (np.zeros(shape, dtype=bool) for _ in range(3))
        self.rows = np.full(shape, None, dtype=object)
        for cell in cells:
            place = (
                self.pairs.index((cell.task, cell.stressor)),
                self.strategies.index(cell.strategy),
                self.seeds.index(cell.seed),
            )
            row = results.rows.get(cell)
            self.expected[place] = True
            self.error[place] = isinstance(row, ErrorRow)
            if isinstance(row, DoneRow):
                self.rows[place], self.done[place] = row, True
        self.missing = self.expected & ~self.done & ~self.error
        scores = self.scores()
        self.quality = np.full(shape, np.nan)
        for task in self.tasks:
            of_task = np.array([pair[0] == task for pair in self.pairs])
            done = self.done[of_task]
            higher = all(row.higher_is_better for row in self.rows[of_task][done])
            self.quality[of_task] = standardised(scores[of_task], higher, done)

    def failed(self, kinds: Collection[str] = FAILURES) -> np.ndarray:
        """Which done cells failed in one of `kinds`."""
        failed = self.values(lambda row: float(bool(set(kinds) & set(row.failures))))
        return np.asarray(failed == 1)

    def values(self, value: Callable[[DoneRow], float | None]) -> np.ndarray:
        """A number of every done cell; NaN where there is none."""
        result = np.full(self.rows.shape, np.nan)
        # None is NaN as a float.
        result[self.done] = np.array([value(row) for row in self.rows[self.done]], dtype=float)
        return result

    def scores(self) -> np.ndarray:
        return self.values(lambda row: row.score)

    def place(self, strategy: str) -> int | None:
        """Where a strategy is on the second axis; None where it has no cell."""
        return self.strategies.index(strategy) if strategy in self.strategies else None
