"""What a study consists of: tasks, stressors, strategies and seeds, and the cells they make."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from counterpoise.config import PositiveFloat, Section
from counterpoise.config_file import BadYamlError, parse_yaml, plain_message, read_yaml
from counterpoise.errors import UserError
from counterpoise.registry import Registry
from counterpoise.study.strategies import STRATEGIES
from counterpoise.study.stressors import STRESSORS
from counterpoise.study.tasks import TASKS


@dataclass(frozen=True)
class Cell:
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
    seeds: tuple[int, ...]
    # A factor on every task's number of steps.
    steps_scale: PositiveFloat = 1.0
    device: str = "cpu"
    # Photographs for the super-resolution tasks; empty: those inside scikit-image's package.
    data_folders: tuple[Path, ...] = ()

    def to_yaml(self) -> str:
        """The plan as text, the same for the same plan."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def of_kind(*kinds: str) -> tuple[str, ...]:
    """The names of the strategies of these kinds, in the table's order."""
    return tuple(name for name, strategy in STRATEGIES.items() if strategy.kind in kinds)


COMPARED = of_kind("policy", "form", "baseline")
GAUNTLET_TASKS = ("ring", "grid", "digits", "sr")

PLANS: Registry[StudyPlan] = Registry(
    "plan",
    (
        "quick",
        StudyPlan(
            name="quick",
            tasks=("ring", "digits"),
            stressors=("none", "d-lr-x10", "late-shock", "lsgan-sigmoid", "batchnorm-split"),
            strategies=("none", "threshold", "loss-gate", "r1", "r3gan", "auto"),
            seeds=(0, 1, 2),
        ),
    ),
    (
        "full",
        StudyPlan(
            name="full",
            tasks=GAUNTLET_TASKS,
            stressors=tuple(STRESSORS),
            strategies=COMPARED,
            seeds=(0, 1, 2),
        ),
    ),
    (
        "ablation",
        StudyPlan(
            name="ablation",
            tasks=("ring", "digits", "seed"),
            stressors=("none", "d-lr-x10", "g-lr-x10", "d-tiny", "lsgan-sigmoid", "late-shock"),
            strategies=("none", "auto", *of_kind("ablation")),
            seeds=(0, 1, 2),
        ),
    ),
    (
        "seed",
        StudyPlan(
            name="seed",
            tasks=("seed",),
            stressors=("none",),
            strategies=of_kind("change"),
            seeds=(0, 1, 2),
        ),
    ),
    (
        "gpu",
        StudyPlan(
            name="gpu",
            tasks=("sr-full",),
            stressors=("none", "d-lr-x10"),
            strategies=COMPARED,
            seeds=(0, 1, 2),
            device="cuda",
        ),
    ),
)


def load_plan(source: str | Path, overrides: Sequence[str] = ()) -> StudyPlan:
    """A plan by its name in `PLANS`, or from a YAML file, with `key=value` overrides.

    Raises `UserError` in one line for an unknown name, key, task, stressor or strategy.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        try:
            tree = read_yaml(path)
        except (OSError, BadYamlError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"plan {source}: cannot be read ({reason})") from None
        if not isinstance(tree, dict):
            raise UserError(f"plan {source}: expected a mapping at the top level")
    else:
        tree = PLANS[str(source)].model_dump(mode="json")
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise UserError(f"plan {source}: an override is written key=value (given: {item})")
        try:
            tree[key] = parse_yaml(text)
        except BadYamlError:
            raise UserError(f"plan {source}: {key}: '{text}' is not a YAML value") from None
    try:
        plan = StudyPlan.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {plain_message(e)}" for e in error.errors()
        )
        raise UserError(f"plan {source}: {problems}") from None
    _check(plan, source)
    return plan


def _check(plan: StudyPlan, source: str | Path) -> None:
    """Raise `UserError` for a name that is not known, and for a plan without cells."""
    known = {"task": tuple(TASKS), "stressor": tuple(STRESSORS), "strategy": tuple(STRATEGIES)}
    given = {"task": plan.tasks, "stressor": plan.stressors, "strategy": plan.strategies}
    for kind, names in given.items():
        for name in names:
            if name not in known[kind]:
                listed = ", ".join(known[kind])
                raise UserError(f"plan {source}: unknown {kind} '{name}'; known: {listed}")
    if any(seed < 0 for seed in plan.seeds):
        raise UserError(f"plan {source}: seeds must not be negative")
    if plan.device not in ("cpu", "cuda"):
        raise UserError(f"plan {source}: device must be cpu or cuda (given: {plan.device})")
    if not cells_of(plan):
        raise UserError(f"plan {source}: has no cell (no combination of its lists applies)")


def cells_of(plan: StudyPlan) -> list[Cell]:
    """The cells of a plan, seed by seed, so that an interrupted study has whole comparisons."""
    return [
        Cell(task, stressor, strategy, seed)
        for seed in dict.fromkeys(plan.seeds)
        for task in dict.fromkeys(plan.tasks)
        for stressor in dict.fromkeys(plan.stressors)
        if task in STRESSORS[stressor].tasks
        for strategy in dict.fromkeys(plan.strategies)
        if task in STRATEGIES[strategy].tasks
    ]


# The pairs of task and stressor that `auto` was tuned on; it is judged by the others too.
AUTO_TUNED_ON: frozenset[tuple[str, str]] = frozenset(
    {
        ("ring", "none"),
        ("ring", "d-lr-x10"),
        ("ring", "late-shock"),
        ("ring", "g-lr-x10"),
        ("ring", "d-tiny"),
        ("ring", "batch-4"),
        ("ring", "lsgan-sigmoid"),
        ("grid", "none"),
        ("grid", "d-tiny"),
        ("grid", "g-lr-x10"),
        ("digits", "none"),
        ("digits", "d-lr-x10"),
        ("digits", "g-lr-x10"),
        ("digits", "d-tiny"),
        ("digits", "lsgan-sigmoid"),
        ("digits", "few-samples"),
        ("digits", "batch-4"),
        ("digits", "batchnorm-split"),
        ("sr", "none"),
        ("sr", "d-lr-x10"),
        ("sr", "no-content"),
        ("sr", "batchnorm-split"),
    }
)
