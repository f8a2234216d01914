"""What a study consists of: tasks, stressors, strategies and seeds, and the cells they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from counterpoise.config import AnyPath, NonNegativeInt, PositiveFloat, Section
from counterpoise.config_file import read_mapping, validated
from counterpoise.errors import UserError
from counterpoise.registry import Registry, read_table
from counterpoise.study.conditions import STRATEGIES, STRESSORS
from counterpoise.study.tasks import TASKS


class Cell(Section):
    """One training of a study."""

    task: str
    stressor: str
    strategy: str
    seed: int

    @property
    def key(self) -> str:
        return f"{self.task}/{self.stressor}/{self.strategy}/{self.seed}"


class StudyPlan(Section):
    """Which trainings a study consists of: all combinations that change anything."""

    name: str
    tasks: tuple[str, ...]
    stressors: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    steps_scale: PositiveFloat = 1.0  # a factor on every task's number of steps
    device: Literal["cpu"] = "cpu"  # what plans of old may say
    # Photographs for the super-resolution tasks; empty: those inside scikit-image's package.
    data_folders: tuple[AnyPath, ...] = ()


_TABLES = read_table("counterpoise.study", "plans.toml")
PLANS: Registry[StudyPlan] = Registry(
    "plan", *((name, StudyPlan(name=name, **row)) for name, row in _TABLES["plans"].items())
)
# The pairs of task and stressor that `auto` was tuned on; it is judged by the others too.
AUTO_TUNED_ON: frozenset[tuple[str, str]] = frozenset(
    (task, stressor)
    for task, stressors in _TABLES["auto_tuned_on"].items()
    for stressor in stressors
)


def load_plan(source: str | Path, overrides: Sequence[str] = ()) -> StudyPlan:
    """A plan by its name in `PLANS`, or from a YAML file, with `key=value` overrides; `UserError`
    in one line for an unknown name, key, task, stressor or strategy."""
    path, where = Path(source), f"plan {source}"
    if path.suffix in (".yaml", ".yml"):
        tree = read_mapping(path, where)
    else:
        tree = PLANS[str(source)].model_dump(mode="json")
    plan = validated(StudyPlan, tree, where, overrides)
    given = ((TASKS, plan.tasks), (STRESSORS, plan.stressors), (STRATEGIES, plan.strategies))
    for table, names in given:
        for name in names:
            table[name]
    if not cells_of(plan):
        raise UserError(f"plan {source}: has no cell (no combination of its lists applies)")
    return plan


def cells_of(plan: StudyPlan) -> list[Cell]:
    """The cells of a plan, seed by seed, so that an interrupted study has whole comparisons."""
    return [
        Cell(task=task, stressor=stressor, strategy=strategy, seed=seed)
        for seed in dict.fromkeys(plan.seeds)
        for task in dict.fromkeys(plan.tasks)
        for stressor in dict.fromkeys(plan.stressors)
        if task in STRESSORS[stressor].tasks
        for strategy in dict.fromkeys(plan.strategies)
        if task in STRATEGIES[strategy].tasks
    ]
