"""The EnhanceNet paper's own rule."""

from dataclasses import dataclass, field
from typing import Any

from counterpoise.balance.saved import (
    NotThisStateError,
    entry,
    is_kind,
    refuse_others,
    short,
)
from counterpoise.balance.smoothing import is_finite
from counterpoise.records import NO_ACTION, Action, Signals

MEASURES = ("accuracy", "mean-output")


@dataclass
class ThresholdPolicy:
    """Train D only if it did badly enough on the previous batch.

    D is updated in a step if its performance on the real or on the generated images of the
    previous batch was below `threshold`; G is updated in every step. D is measured in every step,
    also when it is not trained, so that it can come back. The first step trains D. A batch whose
    performance is not finite is passed over.

    `measure` is what "performance" means, which the paper leaves open: `accuracy` (works with every
    adversarial form) or `mean-output` (mean D(x), and 1 - mean D(G(z)); needs a form whose D(x) is
    a probability). A public port uses accuracy and 0.8.

    Source: Sajjadi et al. 2017 (EnhanceNet), section 4.2.4.
    """

    threshold: float = 0.8
    measure: str = "accuracy"
    _previous: tuple[float, float] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError("threshold must be above 0 and at most 1")
        if self.measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}")

    def observe(self, signals: Signals) -> Action:
        previous = self._previous
        if self.measure == "accuracy":
            measured = (signals.d_accuracy_real, signals.d_accuracy_fake)
        else:
            measured = (signals.d_real, 1 - signals.d_fake)
        if is_finite(*measured):
            self._previous = measured
        if previous is None or min(previous) < self.threshold:
            return NO_ACTION
        return Action(
            d_steps=0,
            reason=f"D's {self.measure} on the previous batch was {previous[0]:.2f} (real) and "
            f"{previous[1]:.2f} (fake), both at least {self.threshold:g}",
        )

    def state_dict(self) -> dict[str, Any]:
        return {"previous": self._previous and list(self._previous)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`; `NotThisStateError` for the state of something else."""
        refuse_others(state, {"previous"})
        previous = entry(state, "previous")
        if previous is None:
            self._previous = None
            return
        is_pair = isinstance(previous, list | tuple) and len(previous) == 2
        if not (is_pair and all(is_kind(value, float) for value in previous)):
            raise NotThisStateError(f"'previous' cannot be {short(previous)}")
        self._previous = (previous[0], previous[1])
