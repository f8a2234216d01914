"""The parts of `auto`: a G that is too fast, a D that leads or stays near chance, a D at chance.

Source: this project (docs/experiments.md). Every state is saved with the controller's.
"""

import math
from dataclasses import dataclass, field
from functools import partial

from counterpoise.balance.saved import Memory
from counterpoise.balance.smoothing import Average, clamp, is_finite
from counterpoise.records import Action, Signals

SLOW_DECAY = 0.98
_slow_average = partial(Average, SLOW_DECAY)


@dataclass
class FastGenerator(Memory):
    """Tells a D at chance that has nothing left to see from one that G runs away from.

    Both rank little more than half of the pairs rightly. Where G has become good, it stays there:
    D's gradient is noise, and G's outputs are as different from each other as real ones. Where G
    is too fast, it leaves each place as soon as D has learnt it: D is right in turns, chases G with
    gradients that point the same way step after step, or G's outputs are alike. Then G's learning
    rate is lowered until D follows, and comes back slowly, more slowly each time; sooner where D
    leads.
    """

    # Memory of D's ranking in steps about 5, and of its mean and swing about 50; steps before they
    # say anything.
    SHORT_DECAY, LEAST_STEPS = 0.8, 20
    # Mean share of pairs that D ranks rightly below which it may be fooled, and what says that it
    # is: a swing (standard deviation over steps) of that share, a gradient that points the same way
    # step after step (cosine), or outputs of G that are alike (diversity in ratio to real ones).
    CHANCE, SWINGS, CHASES = 0.65, 0.1, 0.7
    FOOLED, ALIKE = 0.55, 0.5
    # All is well below (swing, cosine) and above (diversity) these.
    CALM_SWING, CALM_COSINE, DIVERSE = 0.06, 0.5, 0.7
    # Steps of a lead before G is slowed; log units per step down, and up.
    PATIENCE_STEPS = 8
    SLOWING_RATE, RECOVERY_RATE = 0.05, 0.002
    # Where D leads instead, G gets its learning rate back, before D loses any of its own. From the
    # last of these means on D follows a slowed G, which is tried at a larger rate.
    RETURN_RATE, FAST_RETURN_RATE, FOLLOWED = 0.005, 0.02, 0.8
    # Each time that G runs ahead again, it comes back so many times slower.
    RELAPSE = 4.0

    least_scale: float
    _log_least: float = field(init=False)
    _short: Average = field(default_factory=partial(Average, SHORT_DECAY), init=False)
    _mean: Average = field(default_factory=_slow_average, init=False)
    _square: Average = field(default_factory=_slow_average, init=False)
    _diversity: Average = field(default_factory=_slow_average, init=False)
    _cosine: Average = field(default_factory=_slow_average, init=False)
    _log_scale: float = field(default=0.0, init=False)
    _steps_of_lead: int = field(default=0, init=False)
    _recovery_rate: float = field(default=RECOVERY_RATE, init=False)
    _slowing: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._log_least = math.log(self.least_scale)

    @property
    def ranking(self) -> float | None:
        """The mean share of pairs that D ranks rightly; None in its first steps."""
        return self._mean.value if self._mean.count >= self.LEAST_STEPS else None

    @property
    def scale(self) -> float:
        """The factor on G's learning rate."""
        return math.exp(self._log_scale)

    def observe(self, signals: Signals, accuracy: float, high: float) -> str:
        """Move `scale`, by D's smoothed accuracy where D leads; the reason where it is below 1."""
        nan, readings = math.nan, signals.readings
        auc = signals.auc
        ranking = accuracy if auc is None or not is_finite(auc) else clamp(auc, 0, 1)
        short = self._short.update(ranking) or 0.0
        mean, square = self._mean.update(short) or 0.0, self._square.update(short * short) or 0.0
        # What is not known is no sign of anything.
        diversity = self._diversity.update(_or(readings.diversity_ratio, nan))
        cosine = self._cosine.update(_or(readings.d_gradient_cosine, nan))
        if self._mean.count < self.LEAST_STEPS:
            return ""
        swing = math.sqrt(max(0.0, square - mean * mean))
        chases = _or(cosine, nan) > self.CHASES
        alike = _or(diversity, nan) < self.ALIKE and mean < self.FOOLED
        if mean < self.CHANCE and (swing > self.SWINGS or chases or alike):
            self._steps_of_lead += 1
            if self._steps_of_lead >= self.PATIENCE_STEPS:
                if not self._slowing and self._log_scale < 0:
                    self._recovery_rate /= self.RELAPSE
                self._slowing = True
                self._log_scale = max(self._log_scale - self.SLOWING_RATE, self._log_least)
        else:
            self._steps_of_lead = max(0, self._steps_of_lead - 1)
            self._slowing = False
            if accuracy > high:
                rate = self.FAST_RETURN_RATE
            elif mean > high:
                rate = self.RETURN_RATE
            elif mean > self.FOLLOWED:
                rate = self.RETURN_RATE * self._recovery_rate / self.RECOVERY_RATE
            elif (
                swing < self.CALM_SWING
                and _or(cosine, -1.0) < self.CALM_COSINE
                and _or(diversity, 1.0) > self.DIVERSE
            ):
                rate = self._recovery_rate
            else:
                rate = 0.0
            self._log_scale = min(0.0, self._log_scale + rate)
        if self._log_scale >= 0:
            return ""
        return (
            f"G ran ahead of D, which ranks {mean:.2f} of the pairs rightly (swing {swing:.2f}): "
            f"G's learning rate is {self.scale:.3g} times the configured one"
        )


@dataclass
class SteepDiscriminator(Memory):
    """Decides on R1 in D's loss, and on how often D is trained.

    A D that leads after few steps is steep: it parts the training images from the fake ones by
    gradients that say little of where to go. R1 makes it smooth, and a smooth D is the better for
    being trained more (Arjovsky et al. 2017 train theirs to the end for that reason). A D that
    stays near chance is trained more too, without R1: there its advice is noise. More only where G
    has no other loss to learn from: super-resolution with a content loss came out worse for it.
    R1: Mescheder et al. 2018, section 4.1; several steps of D: Goodfellow et al. 2014, algorithm 1.
    """

    NEWER = frozenset({"d_steps"})
    # Mean share of pairs that D ranks rightly from which on it is smoothed, and under which no
    # longer.
    LEADS, FOLLOWED = 0.9, 0.8
    # From here on a further step of D would only let it lead more; what is beyond is its lead.
    CERTAIN = 0.95
    # Under this D is near chance; where it is there for so many more steps than it is not, it is
    # not only young, and a further step of it shows G more.
    CHANCE, PATIENCE_STEPS = 0.75, 100

    r1: float
    most_d_steps: int
    d_steps: int = field(default=1, init=False)
    _smooths: bool = field(default=False, init=False)
    _steps_near_chance: int = field(default=0, init=False)

    @property
    def r1_weight(self) -> float:
        """Gamma of R1 in D's loss."""
        return self.r1 if self._smooths else 0.0

    def observe(self, ranking: float | None, *, may_smooth: bool, may_repeat: bool) -> str:
        """Decide, by the mean share of pairs that D ranks rightly (None: not known yet), and by
        what may be asked for: R1, further steps. The reason where anything is."""
        self.d_steps = 1
        if ranking is None or not may_smooth or not self.r1:
            self._smooths = False
        elif ranking > self.LEADS or ranking < self.FOLLOWED:
            self._smooths = ranking > self.LEADS
        if ranking is None:
            return ""
        near_chance = ranking < self.CHANCE
        self._steps_near_chance += 1 if near_chance else -1
        self._steps_near_chance = min(max(self._steps_near_chance, 0), 2 * self.PATIENCE_STEPS)
        weak = near_chance and self._steps_near_chance > self.PATIENCE_STEPS
        if may_repeat and (weak or (self._smooths and ranking < self.CERTAIN)):
            self.d_steps = self.most_d_steps
        asked = [f"R1 with a gamma of {self.r1:g}"] if self._smooths else []
        if self.d_steps > 1:
            asked.append(f"{self.d_steps} steps of D")
        return f"D ranks {ranking:.2f} of the pairs rightly: {', '.join(asked)}" if asked else ""


@dataclass
class WeakDiscriminator(Memory):
    """Tells a young D from a weak one and from one that too large steps have broken.

    Young: not at chance for long, or its accuracy rises, or its loss is below chance: wait.
    Broken: its logits are constant, or no gradient reaches its weights: halve its learning rate,
    then go back.
    Weak: a copy of it can fit one held batch, and it stays at chance: a trial of 1.5 times its
    learning rate, which is undone unless accuracy rises within 100 steps; never more than twice
    what it would have without. Where the copy cannot either, wait: a good G looks the same.
    """

    # Steps over which a D counts as young, and between two judgements of it.
    PATIENCE_STEPS = 100
    # Accuracy that counts as progress between two judgements, and as a loss of it.
    PROGRESS = 0.02
    # D's loss below this share of its value at chance: it is learning, its accuracy will follow.
    LEARNING = 0.97
    # Logits whose spread is below this share of their size, or of 1: a constant D. D's gradient
    # below this share of the largest one seen: nothing reaches its weights.
    CONSTANT_SPREAD = GONE_GRADIENT = 1e-3
    # What a copy of D reaches on one held batch where it can learn.
    CAN_FIT = 0.85
    # Factors of a trial, and their limits.
    RAISE, LOWER = 1.5, 0.5
    HIGHEST, LOWEST = 2.0, 0.125

    _steps_below: int = field(default=0, init=False)
    _accuracy_then: float = field(default=0.0, init=False)
    _scale: float = field(default=1.0, init=False)
    _previous_scale: float = field(default=1.0, init=False)
    _patience: int = field(default=PATIENCE_STEPS, init=False)
    _probing: bool = field(default=False, init=False)
    _lowered: int = field(default=0, init=False)
    _largest_gradient: float = field(default=0.0, init=False)
    _reason: str = field(default="", init=False)

    def observe(self, signals: Signals, accuracy: float, low: float, untouched: bool) -> Action:
        """What to try on D now, its learning rate on top of what the controller does with it.
        `untouched`: nothing else holds D back."""
        gradient = signals.readings.d_gradient_norm
        if is_finite(gradient):
            self._largest_gradient = max(self._largest_gradient, gradient or 0.0)
        if accuracy >= low or not untouched:
            if self._steps_below and accuracy >= low:
                # What brought D back stays; a new weakness is judged anew.
                self._steps_below, self._patience = 0, self.PATIENCE_STEPS
            return self._trial(f"a trial's {self._scale:.3g} times D's learning rate is kept")
        self._steps_below += 1
        if self._steps_below % self._patience:
            if self._steps_below == 1:
                self._accuracy_then = accuracy
            return self._trial(self._reason)
        return self._judge(signals, accuracy)

    def _judge(self, signals: Signals, accuracy: float) -> Action:
        gained = accuracy - self._accuracy_then
        self._accuracy_then = accuracy
        chance = signals.d_equilibrium_loss
        loss = signals.d_loss_real + signals.d_loss_fake
        if self._scale > self._previous_scale and gained < self.PROGRESS:
            self._scale = self._previous_scale
            return self._wait(f"a larger learning rate did not help D ({gained:+.2f}): undone")
        self._previous_scale = self._scale
        if gained >= self.PROGRESS or (chance and loss < self.LEARNING * chance):
            return self._say("D is weak and learning: left to it")
        if broken := self._how_broken(signals):
            if self._lowered >= 2:
                self._patience *= 2
                reason = f"D is at chance: {broken}"
                return Action(d_learning_rate_scale=self._scale, roll_back=True, reason=reason)
            self._lowered += 1
            self._scale = max(self._scale * self.LOWER, self.LOWEST)
            return self._say(f"D is at chance and broken ({broken}): smaller steps")
        fit = signals.readings.d_probe_accuracy
        if not self._probing:
            # Judge again soon, with the probe's answer.
            self._probing = True
            self._steps_below -= 5
            reason = "D is at chance: can it fit one batch?"
            return Action(
                d_learning_rate_scale=self._scale, probe_discriminator=True, reason=reason
            )
        if fit is None:
            return self._wait("D is at chance, and whether it can learn is not known: waiting")
        self._probing = False
        if fit >= self.CAN_FIT and self._scale * self.RAISE <= self.HIGHEST + 1e-9:
            self._scale *= self.RAISE
            return self._say(f"D is weak but fits a batch ({fit:.2f}): a trial of larger steps")
        return self._wait(f"D is at chance (fits a batch to {fit:.2f}): waiting")

    def _how_broken(self, signals: Signals) -> str:
        """The sign that D cannot learn as it is; empty where there is none."""
        spread = max(signals.real_logit_std, signals.fake_logit_std)
        size = max(1.0, abs(signals.real_logit_mean), abs(signals.fake_logit_mean))
        apart = abs(signals.real_logit_mean - signals.fake_logit_mean)
        if max(spread, apart) < self.CONSTANT_SPREAD * size:
            return f"its logits are constant, spread {spread:.2g}"
        gradient = signals.readings.d_gradient_norm
        if gradient is not None and gradient < self.GONE_GRADIENT * self._largest_gradient:
            return f"its gradient is {gradient:.2g} after {self._largest_gradient:.2g}"
        return ""

    def _trial(self, reason: str) -> Action:
        """The trial as it stands; the reason where it is one."""
        reason = reason if self._scale != 1 else ""
        return Action(d_learning_rate_scale=self._scale, reason=reason)

    def _say(self, reason: str) -> Action:
        self._reason = reason
        return Action(d_learning_rate_scale=self._scale, reason=reason)

    def _wait(self, reason: str) -> Action:
        """Judge D more rarely."""
        self._patience *= 2
        return self._say(reason)


def _or(value: float | None, instead: float) -> float:
    return instead if value is None else value
