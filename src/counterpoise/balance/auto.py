"""`auto`: this project's own controller."""

import math
from collections.abc import Iterator
from dataclasses import field, replace

from pydantic.dataclasses import dataclass

from counterpoise.balance.auto_parts import FastGenerator, SteepDiscriminator, WeakDiscriminator
from counterpoise.balance.policy import CHECKED, MostScale, PositiveShare, Share, Stateful, joined
from counterpoise.balance.smoothing import Average, clamp, is_finite
from counterpoise.config import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from counterpoise.records import Action, Signals

# Rates of the outer actuators per step: noise in image units, the adversarial weight in log units.
# The weight comes back slowly: each change of it is another game for both networks.
NOISE_RATE = 0.004
WEIGHT_RATE, WEIGHT_RETURN_RATE = 0.1, 0.02
# Log units per step by which D's learning rate comes back while all is well.
RECOVERY_RATE = 0.005
# Steps at the end of the inner actuator before the outer ones move.
PATIENCE_STEPS = 10
# Share of the adversarial term in the gradient at G's output below which D's opinion is drowned,
# and up to which it is raised where nothing else helps.
DROWNED_SHARE, MOST_SHARE = 0.1, 0.5
# Share from which on G learns from D alone. A G that was slowed below this factor ran ahead of a
# young or weak D, which neither R1 nor further steps make a better one.
ALONE_SHARE, MOST_SLOWED = 0.99, 0.25
# Steps of balance before a state is worth coming back to, and between two kept ones.
CALM_STEPS = 50
SNAPSHOT_EVERY_STEPS = 200
# A loss of D this many times its own long average, and above this size, is an explosion.
EXPLOSION = 10.0
EXPLOSION_LEAST = 20.0
LONG_DECAY = 0.99


@dataclass(config=CHECKED)
class AutoPolicy(Stateful):
    """Hold D's accuracy in a band, by continuous actuators before anything else.

    With a the smoothed mean of D's accuracies on real and fake images and e its distance from
    `target` beyond a dead zone, the logarithm of the factor on D's learning rate is

        u = -proportional_gain * e + I,    I <- I - integral_gain * e

    with u and I both clipped to [log min_scale, 0] (so there is no wind-up) and u limited in rate.
    A D that is too good is slowed, never stopped; inside the dead zone I leaks back towards 0, so
    that D learns as fast as the band allows. Under R1, a D that ranks over 95 % of the pairs
    rightly leads too, unless its accuracy is below the dead zone.

    Where that is at its end and D still leads, outer actuators move, each slowly and in turn: the
    adversarial weight, while its term is drowned at G's output; then noise on D's inputs. Where D
    falls below the dead zone they come off in reverse order, before D's learning rate rises for it.

    A D below the band is never answered by a larger learning rate at once: accuracy against
    learning rate is not monotonic, and a D at chance may be young, weak, or broken by too large a
    step. `WeakDiscriminator` tells these apart and makes trials that it undoes.

    Where G runs ahead of D, G's learning rate is lowered until D follows
    (`FastGenerator`), and D is not slowed before G has its own back. A D that leads gets
    R1 in its loss; then, and where it stays near chance, it gets `most_d_steps` steps for one of G
    if G learns from D alone, by the gradient at its output (`SteepDiscriminator`). Both
    cost time, and only then. D's target on real images is smoothed throughout (one-sided; Salimans
    et al. 2016, section 3.4).

    A watchdog keeps a snapshot of calm states and goes back to the last one when losses explode or
    stop being finite, at most `most_roll_backs` times, each time with half of D's learning rate.

    `low` and `high` are the band; the rest are the controller's. Every action has its reason.
    Source: this project (docs/experiments.md); integrator clamping against wind-up: Astrom and
    Hagglund 2006, Advanced PID Control, section 3.5.
    """

    NEWER = frozenset({"steep"})

    low: Share = 0.6
    high: Share = 0.9
    target: Share = 0.75
    dead_zone: NonNegativeFloat = 0.1
    proportional_gain: NonNegativeFloat = 4.0
    integral_gain: PositiveFloat = 0.2
    max_change: PositiveFloat = 0.1
    min_scale: Share = 0.01
    max_noise_std: NonNegativeFloat = 0.2
    max_weight_scale: MostScale = 1e4
    most_roll_backs: NonNegativeInt = 3
    min_g_scale: PositiveShare = 0.02
    label_smoothing: Fraction = 0.1
    r1: NonNegativeFloat = 0.03
    most_d_steps: PositiveInt = 2
    decay: Fraction = 0.9
    _accuracy: Average = field(init=False)
    _loss: Average = field(init=False)
    _weak: WeakDiscriminator = field(init=False)
    _fast: FastGenerator = field(init=False)
    _steep: SteepDiscriminator = field(init=False)
    _integral: float = field(default=0.0, init=False)
    _log_scale: float = field(default=0.0, init=False)
    # Log of the largest scale: halved by each roll-back.
    _log_ceiling: float = field(default=0.0, init=False)
    _noise_std: float = field(default=0.0, init=False)
    _log_weight: float = field(default=0.0, init=False)
    _steps_at_end: int = field(default=0, init=False)
    _calm_steps: int = field(default=0, init=False)
    _steps_since_snapshot: int = field(default=0, init=False)
    _has_snapshot: bool = field(default=False, init=False)
    _roll_backs: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not self.low < self.target < self.high:
            raise ValueError("low, target and high must rise")
        if self.dead_zone > min(self.target - self.low, self.high - self.target):
            raise ValueError("dead_zone must lie inside the band")
        self._forget()

    def _forget(self) -> None:
        """Begin anew to look at D and G."""
        self._accuracy, self._loss = Average(self.decay), Average(LONG_DECAY)
        self._weak = WeakDiscriminator()
        self._fast = FastGenerator(self.min_g_scale)
        self._steep = SteepDiscriminator(self.r1, self.most_d_steps)

    def observe(self, signals: Signals) -> Action:
        if broken := self._what_exploded(signals):
            return self._roll_back(broken)
        measured = clamp((signals.d_accuracy_real + signals.d_accuracy_fake) / 2, 0, 1)
        accuracy = self._accuracy.update(measured)
        self._loss.update(abs(signals.d_loss_real + signals.d_loss_fake))
        assert accuracy is not None, "finite, or it would have been rolled back"
        fast = self._fast.observe(signals, accuracy, self.high)
        share = self._adversarial_share(signals)
        ran_ahead = self._fast.scale < MOST_SLOWED
        steep = self._steep.observe(
            self._fast.ranking,
            # Of logits of a known scale.
            may_smooth=signals.d_takes_r1 and bool(signals.d_equilibrium_loss) and not ran_ahead,
            may_repeat=share is not None and share > ALONE_SHARE and not ran_ahead,
        )
        self._steer_learning_rate(accuracy)
        self._steer_outer(accuracy, share)
        trial = self._weak.observe(signals, accuracy, self.low, self._is_untouched())
        if trial.roll_back and self._has_snapshot and self._roll_backs < self.most_roll_backs:
            return self._roll_back(trial.reason)
        action = self._hold(joined(trial.reason, fast, steep, *self._why(accuracy)))
        return replace(
            action,
            d_learning_rate_scale=action.d_learning_rate_scale * trial.d_learning_rate_scale,
            probe_discriminator=trial.probe_discriminator,
            keep_snapshot=self._snapshot_due(accuracy),
        )

    def _why(self, accuracy: float) -> Iterator[str]:
        """What the controller's own actuators are at, and why."""
        if self._log_scale < 0:
            yield (
                f"D's smoothed accuracy {accuracy:.2f} for a target of {self.target:g}: its "
                f"learning rate is {math.exp(self._log_scale):.3g} times the configured one"
            )
        if self._log_weight > 0:
            yield (
                f"G hears too little of D at its output: {math.exp(self._log_weight):.3g} times "
                "the adversarial weight"
            )
        if self._noise_std > 0:
            yield f"D leads with its smallest learning rate: noise of {self._noise_std:.3g}"

    def _steer_learning_rate(self, accuracy: float) -> None:
        """One step of the inner loop: PI in log space, limited in rate, without wind-up."""
        error = accuracy - self.target
        error = math.copysign(max(0.0, abs(error) - self.dead_zone), error)
        if error >= 0 and self._steep.r1_weight and self._fast.ranking is not None:
            error = max(error, self._fast.ranking - self._steep.CERTAIN)
        if error < 0 and accuracy >= self.low and (self._noise_std or self._log_weight):
            # What was put on last comes off first; below the band all of it at once.
            return
        if error > 0 and self._fast.scale < 1:
            # G was slowed: it comes back before D is.
            return
        limits = (math.log(self.min_scale), self._log_ceiling)
        # The integral never leaves the actuator's range, so it has nothing to unwind. Where all is
        # well it leaks back: D learns as fast as the band allows, and not at a rate of long ago.
        change = RECOVERY_RATE if error == 0 else -self.integral_gain * error
        self._integral = clamp(self._integral + change, *limits)
        wanted = clamp(self._integral - self.proportional_gain * error, *limits)
        self._log_scale += clamp(wanted - self._log_scale, -self.max_change, self.max_change)

    def _steer_outer(self, accuracy: float, share: float | None) -> None:
        """The slow loop: adversarial weight, then noise, and back."""
        at_end = self._log_scale <= math.log(self.min_scale) + 0.01
        self._steps_at_end = self._steps_at_end + 1 if at_end else 0
        leads = accuracy > self.high
        held_back = leads or (accuracy > self.target and self._log_scale < -math.log(2))
        waited = leads and self._steps_at_end > PATIENCE_STEPS
        heard = DROWNED_SHARE if not waited else MOST_SHARE
        most = math.log(self.max_weight_scale)
        if held_back and share is not None and share < heard and self._log_weight < most:
            # No learning rate of D mends a G that does not hear it.
            self._log_weight = min(self._log_weight + WEIGHT_RATE, most)
        elif waited:
            self._noise_std = min(self._noise_std + NOISE_RATE, self.max_noise_std)
        elif accuracy < self.target - self.dead_zone:
            if self._noise_std:
                self._noise_std = max(0.0, self._noise_std - NOISE_RATE)
            else:
                self._log_weight = max(0.0, self._log_weight - WEIGHT_RETURN_RATE)

    def _adversarial_share(self, signals: Signals) -> float | None:
        """Share of the adversarial term in the gradient at G's output, with its present weight."""
        readings = signals.readings
        adversarial, content = readings.g_gradient_unscaled, readings.g_gradient_content
        if adversarial is None or content is None or not is_finite(adversarial, content):
            return None
        adversarial *= math.exp(self._log_weight)
        whole = adversarial + content
        return adversarial / whole if whole > 0 else None

    def _is_untouched(self) -> bool:
        """Whether D is trained as configured, so that a weak D is not of our making."""
        slowed = self._log_scale <= -0.1 + self._log_ceiling
        return not slowed and self._noise_std == 0 and self._fast.scale == 1

    def _snapshot_due(self, accuracy: float) -> bool:
        calm = self.low <= accuracy <= self.high
        self._calm_steps = self._calm_steps + 1 if calm else 0
        self._steps_since_snapshot += 1
        due = self._calm_steps >= CALM_STEPS and (
            not self._has_snapshot or self._steps_since_snapshot >= SNAPSHOT_EVERY_STEPS
        )
        if due:
            self._has_snapshot, self._steps_since_snapshot = True, 0
        return due

    def _what_exploded(self, signals: Signals) -> str:
        """Why the training must go back; empty where it need not."""
        real = (signals.d_loss_real, signals.real_logit_mean, signals.d_accuracy_real)
        fake = (signals.d_loss_fake, signals.fake_logit_mean, signals.d_accuracy_fake)
        if not is_finite(*real, *fake):
            return "D's losses or outputs are not finite"
        loss, usual = abs(signals.d_loss_real + signals.d_loss_fake), self._loss.value
        if usual is None or self._loss.count < CALM_STEPS:
            return ""
        least = EXPLOSION_LEAST * abs(signals.d_equilibrium_loss or 1.0)
        if loss > least and loss > EXPLOSION * usual:
            return f"D's loss is {loss:.3g} after {usual:.3g} on average"
        return ""

    def _roll_back(self, why: str) -> Action:
        """Go back to the kept state if that is possible, and say so in any case."""
        times = self._roll_backs
        if not self._has_snapshot:
            return self._hold(f"{why}; there is no state to go back to")
        if times >= self.most_roll_backs:
            return self._hold(f"{why}; went back {times} times already, and does not again")
        self._roll_backs += 1
        self._log_ceiling -= math.log(2)
        self._log_scale = min(self._log_scale, self._log_ceiling)
        self._integral = min(self._integral, self._log_ceiling)
        self._forget()
        self._calm_steps = self._steps_since_snapshot = 0
        message = (
            f"{why}: back to the last calm state (time {self._roll_backs} of "
            f"{self.most_roll_backs}), with D's learning rate at {math.exp(self._log_scale):.3g} "
            "times the configured one"
        )
        return replace(self._hold(message), roll_back=True)

    def _hold(self, reason: str) -> Action:
        """The actuators as they stand."""
        return Action(
            d_steps=self._steep.d_steps,
            r1_weight=self._steep.r1_weight,
            d_learning_rate_scale=math.exp(self._log_scale),
            g_learning_rate_scale=self._fast.scale,
            adversarial_weight_scale=math.exp(self._log_weight),
            noise_std=self._noise_std,
            label_smoothing=self.label_smoothing,
            reason=reason,
        )
