"""Reading a study's folder: every row checked, every cell accounted for."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, ValidationError

from counterpoise.config import NonNegativeInt, PositiveInt, Section
from counterpoise.errors import UserError
from counterpoise.json_lines import numbered_lines, parse_row
from counterpoise.study.statistics import standardised

RESULTS_FILE = "results.jsonl"
FAILURES = ("diverged", "collapsed", "d-saturated")
# Names in a note before it says how many more there are.
MOST_NAMES = 5

CellKey = tuple[str, str, str, int]
Pair = tuple[str, str]


class _Row(Section):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    task: str
    stressor: str
    strategy: str
    seed: int

    @property
    def key(self) -> CellKey:
        return (self.task, self.stressor, self.strategy, self.seed)


class DoneRow(_Row):
    """A finished cell: a training that ran to its end or diverged, and what was measured."""

    status: Literal["done"]
    failures: tuple[Literal["diverged", "collapsed", "d-saturated"], ...]
    score: float | None
    score_name: str
    higher_is_better: bool
    metrics: dict[str, float | None]
    d_last_quarter: dict[str, float | None]
    curve: dict[str, tuple[float | None, ...]]
    steps: PositiveInt
    findings: tuple[str, ...]
    d_updates: NonNegativeInt
    roll_backs: NonNegativeInt
    seconds: float
    versions: dict[str, str]


class ErrorRow(_Row):
    """A cell that the program did not finish: nothing is known of the training."""

    status: Literal["error"]
    message: str
    seconds: float | None = None
    versions: dict[str, str] | None = None


@dataclass(frozen=True)
class Results:
    """The rows of one study, one for each cell, and what is to be said on reading them."""

    source: Path
    done: tuple[DoneRow, ...]
    errors: tuple[ErrorRow, ...]
    notes: tuple[str, ...]


def read_results(folder: Path) -> Results:
    """The rows of `folder`/results.jsonl; of a cell that is there twice, the last row counts.

    Torn lines (a crash) and repeated cells are noted. Raises `UserError` where there is no row,
    and, naming file and line, for a row with an unknown, missing or wrong column or a task whose
    score changes its name or direction.
    """
    path = folder / RESULTS_FILE
    rows: dict[CellKey, DoneRow | ErrorRow] = {}
    repeated: dict[CellKey, None] = {}
    scores: dict[str, tuple[str, bool]] = {}
    notes = []
    if not path.exists():
        raise UserError(
            f"{path}: not there; give the folder of a study that has run (`counterpoise study run`)"
        )
    for number, line in numbered_lines(path):
        data = parse_row(line)
        if data is None:
            notes.append(f"{path.name} line {number} is torn or not a JSON object: left out")
            continue
        row = _checked_row(line, data, f"{path} line {number}")
        if isinstance(row, DoneRow):
            _check_score(row, scores, f"{path} line {number}")
        if row.key in rows:
            repeated[row.key] = None
        rows[row.key] = row
    if not rows:
        raise UserError(f"{path}: no results yet; run the study first (`counterpoise study run`)")
    done = tuple(r for r in rows.values() if isinstance(r, DoneRow))
    errors = tuple(r for r in rows.values() if isinstance(r, ErrorRow))
    if repeated:
        names = some_names([cell_name(key) for key in repeated])
        notes.append(f"in {path.name} more than once, the last row counts: {names}")
    return Results(path, done, errors, (*notes, *_notes_on(done)))


def _checked_row(line: str, data: dict[str, Any], where: str) -> DoneRow | ErrorRow:
    kind = ErrorRow if data.get("status") == "error" else DoneRow
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
    raise UserError(f"{where}: {'; '.join(problems)}; remove the row and run its cell again")


def _problem(item: Any) -> str:
    column = ".".join(map(str, item["loc"])) or "row"
    kinds = {"extra_forbidden": "unknown column", "missing": "missing column"}
    return f"{column}: {kinds.get(item['type'], item['msg'][0].lower() + item['msg'][1:])}"


def _check_score(row: DoneRow, scores: dict[str, tuple[str, bool]], where: str) -> None:
    named = (row.score_name, row.higher_is_better)
    known = scores.setdefault(row.task, named)
    if known != named:
        direction = {True: "higher is better", False: "lower is better"}
        raise UserError(
            f"{where}: the score of task {row.task} is {named[0]} ({direction[named[1]]}), but "
            f"{known[0]} ({direction[known[1]]}) in rows above; keep one study to one folder"
        )


def _notes_on(done: Sequence[DoneRow]) -> list[str]:
    notes = []
    unscored = [cell_name(r.key) for r in done if r.score is None and "diverged" not in r.failures]
    if unscored:
        notes.append(
            "without a score though not diverged, so counted as the worst of their task: "
            + some_names(unscored)
        )
    for package in dict.fromkeys(name for row in done for name in row.versions):
        versions = sorted({row.versions[package] for row in done if package in row.versions})
        if len(versions) > 1:
            notes.append(f"rows are from several versions of {package}: {', '.join(versions)}")
    return notes


def cell_name(key: CellKey) -> str:
    """A cell as one writes it: task/stressor/strategy/seed."""
    return "/".join(map(str, key))


def some_names(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class Grid:
    """A study as arrays of (pairs, strategies, seeds); a pair is a task with a stressor.

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

    def of_pairs(self, kept: Callable[[Pair], bool]) -> "Grid":
        """The part of some pairs; qualities stay those of the whole."""
        mask = np.array([kept(pair) for pair in self.pairs], dtype=bool)
        pairs = tuple(p for p, keep in zip(self.pairs, mask, strict=True) if keep)
        parts = (a[mask] for a in (self.expected, self.rows, self.error, self.quality))
        return Grid(pairs, self.strategies, self.seeds, *parts)


def grid_of(results: Results, cells: Sequence[CellKey]) -> Grid:
    """The arrays of `cells` (the plan's), in their order; rows of other cells are left out."""
    pairs = tuple(dict.fromkeys((task, stressor) for task, stressor, _, _ in cells))
    strategies = tuple(dict.fromkeys(strategy for _, _, strategy, _ in cells))
    seeds = tuple(dict.fromkeys(seed for *_, seed in cells))
    pair_places = {pair: place for place, pair in enumerate(pairs)}
    strategy_places = {name: place for place, name in enumerate(strategies)}
    seed_places = {seed: place for place, seed in enumerate(seeds)}
    places = {
        key: (pair_places[key[:2]], strategy_places[key[2]], seed_places[key[3]]) for key in cells
    }
    shape = (len(pairs), len(strategies), len(seeds))
    expected, error = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    rows = np.full(shape, None, dtype=object)
    for place in places.values():
        expected[place] = True
    for row in results.done:
        if row.key in places:
            rows[places[row.key]] = row
    for failed in results.errors:
        if failed.key in places:
            error[places[failed.key]] = True
    grid = Grid(pairs, strategies, seeds, expected, rows, error, np.full(shape, np.nan))
    higher = {row.task: row.higher_is_better for row in results.done}
    scores, done = grid.scores(), grid.done
    for task in grid.tasks:
        of_task = np.array([pair[0] == task for pair in pairs])
        grid.quality[of_task] = standardised(scores[of_task], higher.get(task, True), done[of_task])
    return grid
