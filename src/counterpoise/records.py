"""What a training step measures, what a policy answers, and how both are written down."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from counterpoise.json_lines import without_non_finite

# In a row of a game with several discriminators: what belongs to each, by its name.
DISCRIMINATORS = "discriminators"


@dataclass(frozen=True, slots=True)
class Readings:
    """What the sensors read; None where a sensor was not read (it is off, or has nothing to read).

    Gradients of G's loss terms are taken at G's output, so that they compare: what reaches G.
    """

    g_gradient_adversarial: float | None = None  # norm, with `g_adversarial_scale` in it
    g_gradient_content: float | None = None  # of all other terms together
    g_adversarial_scale: float | None = None  # the policy's factor on the adversarial term
    # Of the last update: norm of the parameters' gradients, and of the update over the weights'.
    g_gradient_norm: float | None = None
    d_gradient_norm: float | None = None
    g_update_ratio: float | None = None
    d_update_ratio: float | None = None
    g_gradient_cosine: float | None = None  # between this step's gradient and the one before
    d_gradient_cosine: float | None = None
    # Share of what the sigmoid in D's loss sees (D's logits, or their differences in a relativistic
    # one) where its slope is under 1 % of 1: beyond 4.585 on either side.
    d_saturation_real: float | None = None
    d_saturation_fake: float | None = None
    held_out_logit_mean: float | None = None  # of D, on held-out real images
    d_accuracy_held_out: float | None = None
    # Outputs against real images, as ratios (1: alike).
    diversity_ratio: float | None = None  # mean pairwise distance within a batch
    high_frequency_ratio: float | None = None  # energy of the high frequencies
    patch_variance_ratio: float | None = None  # variance within patches
    auc_quantised: float | None = None  # D's, where fakes are rounded to 8 bits
    auc_border_hidden: float | None = None  # where the borders of all images are overwritten alike
    fake_out_of_range: float | None = None  # share of fake values outside the real images' range

    @property
    def g_gradient_unscaled(self) -> float | None:
        """`g_gradient_adversarial` as it would be without a policy's factor: what a policy that
        chooses this factor has to go by."""
        gradient, scale = self.g_gradient_adversarial, self.g_adversarial_scale
        return gradient / scale if gradient is not None and scale else gradient

    def read(self) -> dict[str, float]:
        """The readings that there are, by name."""
        if self is NO_READINGS:  # as in most turns
            return {}
        return {name: own for name in READINGS if (own := getattr(self, name)) is not None}

    def updated(self, newer: "Readings") -> "Readings":
        """These readings with newer ones in their place where there are any."""
        read = newer.read()
        return Readings(**(self.read() | read)) if read else self


NO_READINGS = Readings()
READINGS = tuple(f.name for f in fields(Readings))


@dataclass(frozen=True, slots=True)
class Signals:
    """What D showed on this step's batch, before D is updated. Means over the global batch.

    `d_real` and `d_fake` are D(x) and D(G(z)) as the adversarial form defines them (a probability
    for forms with a sigmoid, the raw score for the others). Accuracies are shares in [0, 1] of
    images on the right side of the form's decision threshold. `auc` is the probability that D
    scores a real image above a fake one (ties count half). `readings` are the latest of the steps
    before.
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
    # Whether `Action.r1_weight` can be had: not where D never sees real images alone, say.
    d_takes_r1: bool = True
    discriminators: int = 1  # that the game has
    readings: Readings = NO_READINGS

    @property
    def d_loss(self) -> float:
        """Of real and fake images together."""
        return self.d_loss_real + self.d_loss_fake

    def numbers(self) -> dict[str, float]:
        """What was measured and is known, by name, but for the readings."""
        return {name: own for name in _NUMBERS if (own := getattr(self, name)) is not None}


def unknown_signals(step: int) -> Signals:
    """What a policy sees that reads no numbers, in a training that has not fetched them yet."""
    nan = math.nan
    return Signals(step, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan)


_NO_NUMBERS = "readings", "d_takes_r1", "discriminators"
_NUMBERS = tuple(f.name for f in fields(Signals) if f.name not in _NO_NUMBERS)


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy asks of the loop for one step. The default leaves everything as configured.

    What is done to D's inputs (noise, augmentation) begins with the next batch that D judges, since
    it has judged this one already; everything else is of this step.
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
    # Keep both networks and optimizers as they are before this step as the state to come back to.
    keep_snapshot: bool = False
    # The state is not one to come back to: none is kept, whichever discriminator's policy asks.
    is_unsafe: bool = False
    # Put the kept state back instead of training this step.
    roll_back: bool = False
    reason: str = ""

    def changes(self) -> dict[str, Any]:
        """The fields that differ from "leave everything as configured"."""
        if self is NO_ACTION:  # as in every turn of most policies
            return {}
        return {
            name: own for name, default in _ASKED.items() if (own := getattr(self, name)) != default
        }


NO_ACTION = Action()
_ASKED = {f.name: f.default for f in fields(Action)}


def without_gone_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """A saved action or readings without the fields that earlier versions had besides."""
    gone = ("probe_discriminator", "d_probe_accuracy", "label_smoothing")
    return {name: value for name, value in values.items() if name not in gone}


@dataclass(frozen=True, slots=True)
class DiscriminatorRecord:
    """What a row of `signals.jsonl` says of one discriminator."""

    signals: Signals
    learning_rate: float
    updated: bool = False
    # D(G(z)) after D's update; None where G's part did not ask D.
    fake_after: float | None = None
    # What D's loss had beside its halves: penalties, and what the action added.
    penalty: float = 0.0
    action: Action = NO_ACTION
    # The readings of this step that are D's own.
    readings: Readings = NO_READINGS

    def values(self) -> dict[str, Any]:
        """What it puts into a row, by name."""
        numbers = self.signals.numbers()
        del numbers["step"]
        return {
            "d_loss": self.signals.d_loss,
            "d_fake_before": numbers.pop("d_fake"),
            **numbers,
            "d_fake_after": self.fake_after,
            "d_penalty": self.penalty,
            "d_updated": self.updated,
            "d_learning_rate": self.learning_rate,
            "action": self.action.changes(),
            **self.readings.read(),
        }

    def judged(self) -> dict[str, float]:
        """D's losses and outputs, by name: none may be NaN or infinite."""
        after = {} if self.fake_after is None else {"d_fake_after": self.fake_after}
        return self.signals.numbers() | after | {"d_penalty": self.penalty}


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
    # The readings of this step that are G's.
    readings: Readings = NO_READINGS
    # By name, "" for the only one; none in a stage without a discriminator.
    discriminators: dict[str, DiscriminatorRecord] = field(default_factory=dict)

    @property
    def rolled_back(self) -> bool:
        """Whether the networks are as they were before an earlier step again."""
        return any(d.action.roll_back for d in self.discriminators.values())

    def to_json(self) -> dict[str, Any]:
        """A JSON object: flat with one discriminator; with several, what belongs to each under
        its name in `discriminators`. Non-finite numbers are null and named in `non_finite`."""
        row: dict[str, Any] = {
            "step": self.step,
            "stage": self.stage,
            "g_loss": self.g_loss,
            "g_terms": dict(self.g_terms),
            "g_updated": self.g_updated,
            "g_learning_rate": self.g_learning_rate,
            **self.readings.read(),
        }
        if bad := _non_finite(self._g_losses() | self.readings.read()):
            row = without_non_finite(row) | {"non_finite": bad}
        rows = {}
        for name, d in self.discriminators.items():
            rows[name] = d.values()
            if own := _non_finite(d.judged() | d.readings.read()):
                rows[name] = without_non_finite(rows[name]) | {"non_finite": bad + own}
        if rows.keys() == {""}:
            row |= rows[""]
        elif rows:
            row[DISCRIMINATORS] = rows
        row["seconds"] = round(self.seconds, 6)
        return row

    def non_finite(self) -> list[str]:
        """The names of losses and of D's outputs that are NaN or infinite, of several Ds each with
        its name before its own. A reading may have nothing to read: its row alone names it."""
        names = _non_finite(self._g_losses())
        for d_name, d in self.discriminators.items():
            before = f"{d_name}." if len(self.discriminators) > 1 else ""
            names += [before + name for name in _non_finite(d.judged())]
        return names

    def _g_losses(self) -> dict[str, float]:
        terms = {f"g_terms.{name}": value for name, value in self.g_terms.items()}
        return {"g_loss": self.g_loss} | terms


def _non_finite(values: dict[str, float]) -> list[str]:
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
    all that have a loss or an output that is not finite, or went back."""
    due = record.step % rows_every(record.step) == 0
    return due or record.rolled_back or bool(record.non_finite())


def compact(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is written: floats with 7 significant digits, as many as a float32 has."""
    return {
        name: float(f"{value:.7g}")
        if isinstance(value, float)
        else (compact(value) if isinstance(value, dict) else value)
        for name, value in row.items()
    }
