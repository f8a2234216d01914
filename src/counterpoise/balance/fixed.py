"""Policies that never look: `none` and `ratio`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoise.records import NO_ACTION, Action, Signals


@dataclass
class NonePolicy:
    """Both networks are trained in every step, as configured."""

    reads_signals: ClassVar[bool] = False

    def observe(self, signals: Signals) -> Action:
        return NO_ACTION

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass
class RatioPolicy:
    """`d_steps` updates of D for `g_steps` updates of G, each further one on a fresh batch.

    Source: Goodfellow et al. 2014, algorithm 1 (k steps of D); Arjovsky et al. 2017 use 5 : 1.
    """

    reads_signals: ClassVar[bool] = False

    d_steps: int = 1
    g_steps: int = 1

    def __post_init__(self) -> None:
        if self.d_steps < 1 or self.g_steps < 1:
            raise ValueError("d_steps and g_steps must be at least 1")

    def observe(self, signals: Signals) -> Action:
        reason = f"{self.d_steps} updates of D for {self.g_steps} of G"
        if self.d_steps == self.g_steps == 1:
            return NO_ACTION
        return Action(d_steps=self.d_steps, g_steps=self.g_steps, reason=reason)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
