"""What `auto` does about a D at chance: find out why before it acts."""

from dataclasses import dataclass, field

from counterpoise.balance.saved import Memory
from counterpoise.balance.smoothing import is_finite
from counterpoise.records import Signals

# Steps over which a D counts as young, and between two judgements of it.
PATIENCE_STEPS = 100
# Accuracy that counts as progress between two judgements, and as a loss of it.
PROGRESS = 0.02
# D's loss below this share of its value at chance: it is learning, its accuracy will follow.
LEARNING = 0.97
# Logits whose spread is below this share of their size, or of 1: a constant D.
CONSTANT_SPREAD = 1e-3
# D's gradient below this share of the largest one seen: nothing reaches its weights.
GONE_GRADIENT = 1e-3
# What a copy of D reaches on one held batch where it can learn.
CAN_FIT = 0.85
# Factors of a trial, and their limits.
RAISE, LOWER = 1.5, 0.5
HIGHEST, LOWEST = 2.0, 0.125


@dataclass(frozen=True)
class Trial:
    """What to try on D's learning rate now, on top of what the controller does."""

    scale: float = 1.0
    probe: bool = False
    roll_back: bool = False
    reason: str = ""


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

    _steps_below: int = field(default=0, init=False)
    _accuracy_then: float = field(default=0.0, init=False)
    _scale: float = field(default=1.0, init=False)
    _previous_scale: float = field(default=1.0, init=False)
    _patience: int = field(default=PATIENCE_STEPS, init=False)
    _probing: bool = field(default=False, init=False)
    _lowered: int = field(default=0, init=False)
    _largest_gradient: float = field(default=0.0, init=False)
    _reason: str = field(default="", init=False)

    def observe(self, signals: Signals, accuracy: float, low: float, untouched: bool) -> Trial:
        """The trial for this step. `untouched`: nothing else holds D back."""
        gradient = signals.readings.d_gradient_norm
        if is_finite(gradient):
            self._largest_gradient = max(self._largest_gradient, gradient or 0.0)
        if accuracy >= low or not untouched:
            if self._steps_below and accuracy >= low:
                # What brought D back stays; a new weakness is judged anew.
                self._steps_below, self._patience = 0, PATIENCE_STEPS
            kept = f"a trial's {self._scale:.3g} times D's learning rate is kept"
            return Trial(self._scale, reason=kept if self._scale != 1 else "")
        self._steps_below += 1
        if self._steps_below % self._patience:
            if self._steps_below == 1:
                self._accuracy_then = accuracy
            return Trial(self._scale, reason=self._reason if self._scale != 1 else "")
        return self._judge(signals, accuracy)

    def _judge(self, signals: Signals, accuracy: float) -> Trial:
        gained = accuracy - self._accuracy_then
        self._accuracy_then = accuracy
        chance = signals.d_equilibrium_loss
        loss = signals.d_loss_real + signals.d_loss_fake
        if self._scale > self._previous_scale and gained < PROGRESS:
            self._scale = self._previous_scale
            self._patience *= 2
            return self._say(f"a larger learning rate did not help D ({gained:+.2f}): undone")
        self._previous_scale = self._scale
        if gained >= PROGRESS or (chance and loss < LEARNING * chance):
            return self._say("D is weak and learning: left to it")
        broken = self._how_broken(signals)
        if broken:
            if self._lowered >= 2:
                self._patience *= 2
                return Trial(self._scale, roll_back=True, reason=f"D is at chance: {broken}")
            self._lowered += 1
            self._scale = max(self._scale * LOWER, LOWEST)
            return self._say(f"D is at chance and broken ({broken}): smaller steps")
        fit = signals.readings.d_probe_accuracy
        if not self._probing or fit is None:
            if self._probing:
                self._patience *= 2
                return self._say("D is at chance, and whether it can learn is not known: waiting")
            # Judge again soon, with the probe's answer.
            self._probing = True
            self._steps_below -= 5
            return Trial(self._scale, probe=True, reason="D is at chance: can it fit one batch?")
        self._probing = False
        if fit >= CAN_FIT and self._scale * RAISE <= HIGHEST + 1e-9:
            self._scale *= RAISE
            return self._say(f"D is weak but fits a batch ({fit:.2f}): a trial of larger steps")
        self._patience *= 2
        return self._say(f"D is at chance (fits a batch to {fit:.2f}): waiting")

    def _how_broken(self, signals: Signals) -> str:
        """The sign that D cannot learn as it is; empty where there is none."""
        spread = max(signals.real_logit_std, signals.fake_logit_std)
        size = max(1.0, abs(signals.real_logit_mean), abs(signals.fake_logit_mean))
        apart = abs(signals.real_logit_mean - signals.fake_logit_mean)
        if spread < CONSTANT_SPREAD * size and apart < CONSTANT_SPREAD * size:
            return f"its logits are constant, spread {spread:.2g}"
        gradient = signals.readings.d_gradient_norm
        if gradient is not None and gradient < GONE_GRADIENT * self._largest_gradient:
            return f"its gradient is {gradient:.2g} after {self._largest_gradient:.2g}"
        return ""

    def _say(self, reason: str) -> Trial:
        self._reason = reason
        return Trial(self._scale, reason=reason)
