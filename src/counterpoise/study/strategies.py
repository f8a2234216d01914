"""What people do for balance: policies, objectives with penalties, recipes, single changes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.registry import Registry, read_table

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
