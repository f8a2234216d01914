"""What a training step measures, what a policy answers, and how both are written down."""

import math
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any


@dataclass(frozen=True, slots=True)
class Readings:
    """What the sensors read; None where a sensor was not read (it is off, or has nothing to read).

    Gradients of G's loss terms are taken at G's output, so that they compare: what reaches G.
    """

    # Norms of the gradient of the adversarial term, and of all other terms together, at G's output,
    # and the policy's factor on the adversarial term that is in the former.
    g_gradient_adversarial: float | None = None
    g_gradient_content: float | None = None
    g_adversarial_scale: float | None = None
    # Norms of the parameters' gradients, of the last update.
    g_gradient_norm: float | None = None
    d_gradient_norm: float | None = None
    # Norm of the last update over the norm of the weights.
    g_update_ratio: float | None = None
    d_update_ratio: float | None = None
    # Cosine between the gradients of this reading's step and of the step before it.
    g_gradient_cosine: float | None = None
    d_gradient_cosine: float | None = None
    # Share of D's logits where the sigmoid's slope is under 1 % of 1 (|logit| > 4.585).
    d_saturation_real: float | None = None
    d_saturation_fake: float | None = None
    # Mean logit and accuracy of D on held-out real images, beside those it is trained on.
    held_out_logit_mean: float | None = None
    d_accuracy_held_out: float | None = None
    # Outputs against real images, as ratios (1: alike): mean pairwise distance within a batch,
    # energy of the high frequencies, variance within patches.
    diversity_ratio: float | None = None
    high_frequency_ratio: float | None = None
    patch_variance_ratio: float | None = None
    # Area under the ROC curve of D where fakes are clamped to [0, 1] and rounded to 8 bits, and
    # where the borders of real and fake images are overwritten alike; beside `Signals.auc`.
    auc_quantised: float | None = None
    auc_border_hidden: float | None = None
    # Share of fake values outside the real images' range.
    fake_out_of_range: float | None = None
    # Accuracy that a copy of D reaches on one held batch in a few steps at its configured
    # learning rate (`Action.probe_discriminator` asks for it).
    d_probe_accuracy: float | None = None

    @property
    def g_gradient_unscaled(self) -> float | None:
        """`g_gradient_adversarial` as it would be without a policy's factor: what a policy that
        chooses this factor has to go by."""
        gradient, scale = self.g_gradient_adversarial, self.g_adversarial_scale
        return gradient / scale if gradient is not None and scale else gradient

    def taken(self) -> dict[str, float]:
        """The readings that were taken, by name."""
        if self is NO_READINGS:
            return {}
        values = zip(_READINGS, _read_all(self), strict=True)
        return {name: value for name, value in values if value is not None}

    def updated(self, newer: "Readings") -> "Readings":
        """These readings with newer ones in their place where there are any."""
        taken = newer.taken()
        return Readings(**(self.taken() | taken)) if taken else self


NO_READINGS = Readings()
# All of this is done in every step of a training.
_READINGS = tuple(f.name for f in fields(Readings))
_read_all = attrgetter(*_READINGS)


@dataclass(frozen=True, slots=True)
class Signals:
    """What D showed on this step's batch, before D is updated. Means over the global batch.

    `d_real` and `d_fake` are D(x) and D(G(z)) as the adversarial form defines them (a probability
    for forms with a sigmoid, the raw score for the others). Accuracies are shares in [0, 1] of
    images on the right side of the form's decision threshold. `auc` is the probability that D
    scores a real image above a fake one (ties count half). `readings` are the latest ones:
    gradients are of earlier steps.
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
    auc: float | None = None
    # D's loss where it cannot tell real from fake and answers as it should; None where unknown.
    d_equilibrium_loss: float | None = None
    # Whether `Action.r1_weight` can be had: not of a D that mixes the images of a batch, say.
    d_takes_r1: bool = True
    readings: Readings = NO_READINGS

    def numbers(self) -> dict[str, float]:
        """What was measured and is known, by name, but for the readings."""
        values = zip(_NUMBERS, _read_numbers(self), strict=True)
        return {name: value for name, value in values if value is not None}


def unknown_signals(step: int) -> Signals:
    """What a policy sees that reads no numbers, in a training that has not fetched them yet."""
    nan = math.nan
    return Signals(step, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan)


_NUMBERS = tuple(f.name for f in fields(Signals) if f.name not in ("readings", "d_takes_r1"))
_read_numbers = attrgetter(*_NUMBERS)


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy asks of the loop for one step. The default leaves everything as configured.

    What is done to D's inputs (noise, augmentation) begins with the next step, since D has judged
    this step's batch already; everything else is of this step.
    """

    d_steps: int = 1  # 0 leaves D as it is; above 1 trains on fresh batches
    g_steps: int = 1
    d_trains_on_real: bool = True  # which halves of D's loss are back-propagated
    d_trains_on_fake: bool = True
    d_learning_rate_scale: float = 1.0
    g_learning_rate_scale: float = 1.0
    adversarial_weight_scale: float = 1.0
    # Standard deviation of Gaussian noise on all of D's inputs, real and fake.
    noise_std: float = 0.0
    # Probability with which each augmentation is applied to D's inputs, real and fake alike.
    augment_probability: float = 0.0
    # Weight of LeCam's regulariser in D's loss, and the moving averages of D's logits it pulls to.
    lecam_weight: float = 0.0
    lecam_real_anchor: float = 0.0
    lecam_fake_anchor: float = 0.0
    # Gamma of R1 in D's loss, in this step, on top of what is configured.
    r1_weight: float = 0.0
    # D's target on real images is 1 minus this (one-sided), where its objective has such a target.
    label_smoothing: float = 0.0
    # Measure `Readings.d_probe_accuracy` in this step.
    probe_discriminator: bool = False
    # Keep both networks and optimizers as they are before this step as the state to come back to.
    keep_snapshot: bool = False
    # Put the kept state back instead of training this step.
    roll_back: bool = False
    reason: str = ""

    def changes(self) -> dict[str, Any]:
        """The fields that differ from "leave everything as configured"."""
        if self is NO_ACTION:
            return {}
        values = zip(_ASKED.items(), _read_asked(self), strict=True)
        return {name: value for (name, default), value in values if value != default}


NO_ACTION = Action()
_ASKED = {f.name: f.default for f in fields(Action)}
_read_asked = attrgetter(*_ASKED)


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
    # The readings that were taken in this step.
    readings: Readings = NO_READINGS

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
            row |= {
                name: value
                for name, value in self.signals.numbers().items()
                if name not in ("step", "d_fake")
            }
            row["d_fake_before"] = self.signals.d_fake
            row["d_fake_after"] = self.d_fake_after
            row["d_penalty"] = self.d_penalty
            row["d_updated"] = self.d_updated
            row["d_learning_rate"] = self.d_learning_rate
            row["action"] = self.action.changes()
        row |= self.readings.taken()
        row["seconds"] = round(self.seconds, 6)
        if non_finite := self.non_finite():
            row["non_finite"] = non_finite
            row = _without_non_finite(row)
        return row

    def non_finite(self) -> list[str]:
        """The names of the recorded losses and statistics that are NaN or infinite."""
        values = {"g_loss": self.g_loss, **{f"g_terms.{k}": v for k, v in self.g_terms.items()}}
        if self.signals is not None:
            values |= self.signals.numbers()
        values |= {"d_fake_after": self.d_fake_after or 0.0, "d_penalty": self.d_penalty or 0.0}
        values |= self.readings.taken()
        if math.isfinite(sum(values.values())):  # then each is, and mostly so
            return []
        return [name for name, value in values.items() if not math.isfinite(value)]


# So many steps have a row each; of twice as many every second one has, and so on.
FULL_STEPS = 250_000


def rows_every(step: int) -> int:
    """Of every how many steps one is written around this one: 1, 2 from `FULL_STEPS` on, 4 from
    twice as many on. So a file grows by the same amount with each doubling of a training."""
    return 1 << max(0, (max(step, 1) - 1) // FULL_STEPS).bit_length()


def is_written(record: StepRecord) -> bool:
    """Whether a step gets its row in `signals.jsonl`: those of a long training that are due, and
    all that have something that is not finite or went back."""
    due = record.step % rows_every(record.step) == 0
    return due or record.action.roll_back or bool(record.non_finite())


def compact(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is written: floats with 7 significant digits, as many as a float32 has."""
    return {name: _seven_digits(value) for name, value in row.items()}


def _seven_digits(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}")
    return compact(value) if isinstance(value, dict) else value


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
