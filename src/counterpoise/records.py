"""What a training step measures, what a policy answers, and how both are written down."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Signals:
    """What D showed on this step's batch, before D is updated. Means over the global batch.

    `d_real` and `d_fake` are D(x) and D(G(z)) as the adversarial form defines them (a probability
    for forms with a sigmoid, the raw score for the others). Accuracies are shares in [0, 1] of
    images on the right side of the form's decision threshold.
    """

    step: int
    d_loss_real: float
    d_loss_fake: float
    d_real: float
    d_fake: float
    d_accuracy_real: float
    d_accuracy_fake: float
    real_logit_mean: float
    real_logit_std: float
    fake_logit_mean: float
    fake_logit_std: float


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy asks of the loop for one step. The default leaves everything as configured."""

    d_steps: int = 1  # 0 leaves D as it is; above 1 trains on fresh batches
    g_steps: int = 1
    d_trains_on_real: bool = True  # which halves of D's loss are back-propagated
    d_trains_on_fake: bool = True
    d_learning_rate_scale: float = 1.0
    g_learning_rate_scale: float = 1.0
    adversarial_weight_scale: float = 1.0
    reason: str = ""

    def changes(self) -> dict[str, Any]:
        """The fields that differ from "leave everything as configured"."""
        return {
            f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default
        }


NO_ACTION = Action()


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One line of `signals.jsonl`."""

    step: int
    stage: str
    g_loss: float
    g_terms: dict[str, float]
    g_updated: bool
    g_learning_rate: float
    seconds: float
    # None in a stage without a discriminator.
    signals: Signals | None = None
    d_fake_after: float | None = None
    d_penalty: float | None = None
    d_updated: bool = False
    d_learning_rate: float | None = None
    action: Action = field(default=NO_ACTION)

    @property
    def d_loss(self) -> float | None:
        if self.signals is None:
            return None
        return self.signals.d_loss_real + self.signals.d_loss_fake

    def to_json(self) -> dict[str, Any]:
        """A flat JSON object; non-finite numbers become null and are named in `non_finite`."""
        row: dict[str, Any] = {
            "step": self.step,
            "stage": self.stage,
            "g_loss": self.g_loss,
            "g_terms": dict(self.g_terms),
            "g_updated": self.g_updated,
            "g_learning_rate": self.g_learning_rate,
        }
        if self.signals is not None:
            row["d_loss"] = self.d_loss
            row |= {k: v for k, v in asdict(self.signals).items() if k not in ("step", "d_fake")}
            row["d_fake_before"] = self.signals.d_fake
            row["d_fake_after"] = self.d_fake_after
            row["d_penalty"] = self.d_penalty
            row["d_updated"] = self.d_updated
            row["d_learning_rate"] = self.d_learning_rate
            row["action"] = self.action.changes()
        row["seconds"] = round(self.seconds, 6)
        if non_finite := self.non_finite():
            row["non_finite"] = non_finite
            row = _without_non_finite(row)
        return row

    def non_finite(self) -> list[str]:
        """The names of the recorded losses and statistics that are NaN or infinite."""
        values = {"g_loss": self.g_loss, **{f"g_terms.{k}": v for k, v in self.g_terms.items()}}
        if self.signals is not None:
            values |= asdict(self.signals)
        values |= {"d_fake_after": self.d_fake_after or 0.0, "d_penalty": self.d_penalty or 0.0}
        return [name for name, value in values.items() if not math.isfinite(value)]


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
