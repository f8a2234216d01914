"""What a study consists of: tasks, stressors, strategies and seeds, and the cells they make."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from counterpoise.config import NonNegativeInt, PositiveFloat, Section
from counterpoise.config_file import BadYamlError, parse_yaml, plain_message, read_yaml
from counterpoise.errors import UserError
from counterpoise.registry import Registry
from counterpoise.study.strategies import STRATEGIES
from counterpoise.study.stressors import STRESSORS
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
    data_folders: tuple[Path, ...] = ()

    def to_yaml(self) -> str:
        """The plan as text, the same for the same plan."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def of_kind(*kinds: str) -> tuple[str, ...]:
    """The names of the strategies of these kinds, in the table's order."""
    return tuple(name for name, strategy in STRATEGIES.items() if strategy.kind in kinds)


_PLANS = (
    StudyPlan(
        name="quick",
        tasks=("ring", "digits"),
        stressors=("none", "d-lr-x10", "late-shock", "lsgan-sigmoid", "batchnorm-split"),
        strategies=("none", "threshold", "loss-gate", "r1", "r3gan", "auto"),
    ),
    StudyPlan(
        name="full",
        tasks=("ring", "grid", "digits", "sr"),
        stressors=tuple(STRESSORS),
        strategies=of_kind("policy", "form", "baseline"),
    ),
    StudyPlan(name="seed", tasks=("seed",), stressors=("none",), strategies=of_kind("change")),
)
PLANS: Registry[StudyPlan] = Registry("plan", *((plan.name, plan) for plan in _PLANS))


def load_plan(source: str | Path, overrides: Sequence[str] = ()) -> StudyPlan:
    """A plan by its name in `PLANS`, or from a YAML file, with `key=value` overrides; `UserError`
    in one line for an unknown name, key, task, stressor or strategy."""
    path = Path(source)
    try:
        if path.suffix in (".yaml", ".yml"):
            tree = read_yaml(path)
            if not isinstance(tree, dict):
                raise UserError(f"plan {source}: expected a mapping at the top level")
        else:
            tree = PLANS[str(source)].model_dump(mode="json")
        for item in overrides:
            key, equals, text = item.partition("=")
            if not equals:
                raise UserError(f"plan {source}: an override is written key=value (given: {item})")
            tree[key] = parse_yaml(text)
        plan = StudyPlan.model_validate(tree)
    except (OSError, BadYamlError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"plan {source}: cannot be read ({reason})") from None
    except ValidationError as error:
        raise UserError(f"plan {source}: {problems(error)}") from None
    given = ((TASKS, plan.tasks), (STRESSORS, plan.stressors), (STRATEGIES, plan.strategies))
    for table, names in given:
        for name in names:
            table[name]
    if not cells_of(plan):
        raise UserError(f"plan {source}: has no cell (no combination of its lists applies)")
    return plan


def problems(error: ValidationError) -> str:
    """What pydantic found wrong, in one line."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {plain_message(e)}" for e in error.errors())


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


# The pairs of task and stressor that `auto` was tuned on; it is judged by the others too.
AUTO_TUNED_ON: frozenset[tuple[str, str]] = frozenset(
    (task, stressor)
    for task, stressors in {
        "ring": "none d-lr-x10 g-lr-x10 d-wide d-tiny batch-4 lsgan-sigmoid few-samples "
        "label-noise late-shock batchnorm-split",
        "grid": "none d-lr-x10 d-tiny g-lr-x10",
        "digits": "none d-lr-x10 g-lr-x10 d-tiny lsgan-sigmoid few-samples batch-4 batchnorm-split "
        "label-noise",
        "sr": "none d-lr-x10 no-content batchnorm-split",
    }.items()
    for stressor in stressors.split()
)
