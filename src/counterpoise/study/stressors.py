"""The troubles that every strategy of the gauntlet is put through."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from counterpoise.registry import Registry, read_table
from counterpoise.study.strategies import GAUNTLET
from counterpoise.study.task import Setting


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
