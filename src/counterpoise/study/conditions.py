"""What a task is played under: what people do for balance, and the troubles it is put through."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from counterpoise.registry import Registry, read_table
from counterpoise.study.task import Setting

GAUNTLET = ("ring", "grid", "digits", "sr")


@dataclass(frozen=True)
class Strategy:
    """Values put in place of the task's own, and the tasks where that changes anything. Learning
    rates stay the task's: methods are compared at an equal budget."""

    kind: str  # policy, form, baseline or change
    description: str
    values: Mapping[str, Any]
    tasks: frozenset[str]


def _strategies() -> Iterator[tuple[str, Strategy]]:
    table = read_table("counterpoise.study", "strategies.toml")
    for name, row in table.items():
        kind, values, tasks = row["kind"], row.get("values", {}), row.get("tasks", GAUNTLET)
        if kind == "policy":
            values = {"policy": name, "policy_options": row.get("options", {})}
        elif kind == "change":
            values, tasks = table["seed-recipe"]["values"] | values, ("seed",)
        yield name, Strategy(kind, row["description"], values, frozenset(tasks))


STRATEGIES: Registry[Strategy] = Registry("strategy", *_strategies())


@dataclass(frozen=True)
class Stressor:
    """A change of a setting after the strategy's own, and the tasks where it changes anything."""

    description: str
    values: Mapping[str, Any] = field(default_factory=dict)  # put in place of the setting's
    factors: Mapping[str, float] = field(default_factory=dict)  # that multiply the setting's
    tasks: frozenset[str] = frozenset(GAUNTLET)

    def apply(self, setting: Setting) -> Setting:
        changed = dict(self.values)
        if setting.form != "non-saturating":  # A strategy keeps the objective that it has chosen.
            changed.pop("form", None)
        for name, factor in self.factors.items():
            product = factor * getattr(setting, name)
            changed[name] = max(2, int(product)) if name == "d_width" else product
        return replace(setting, **changed)


STRESSORS: Registry[Stressor] = Registry(
    "stressor",
    *(
        (name, Stressor(**row | {"tasks": frozenset(row.get("tasks", GAUNTLET))}))
        for name, row in read_table("counterpoise.study", "stressors.toml").items()
    ),
)
