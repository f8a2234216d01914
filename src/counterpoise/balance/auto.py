"""`auto`: this project's own policy."""

import math
from collections.abc import Iterator
from dataclasses import field, replace
from statistics import fmean, stdev
from typing import Any

from pydantic.dataclasses import dataclass

from counterpoise.balance.policy import CHECKED, MostScale, Policy, joined
from counterpoise.balance.smoothing import is_finite
from counterpoise.config import NonNegativeFloat, NonNegativeInt, PositiveInt
from counterpoise.records import Action, Readings, Signals

# Turns whose mean is one reading, readings that a decision rests on, and standard errors by which
# their mean must be beyond a bound before it counts as beyond it.
BLOCK_TURNS, READINGS, STANDARD_ERRORS = 10, 5, 2.0
# Share of the adversarial term in the gradient at G's output from which on G learns from D alone.
ALONE_SHARE = 0.99
# A D above this AUC leads; its term drowns below this share, and its weight then rises (log units
# per decision) until it has that share.
LEADS, DROWNED_SHARE, HEARD_SHARE, WEIGHT_RATE = 0.9, 0.01, 0.1, 0.5
# AUC above which D has followed a slower G, and under which it needs no more weight.
FOLLOWS = 0.75
# A D below this AUC is fooled where G's outputs are alike as well (diversity in ratio to real
# ones), but for the first turns, in which both are young. Then G's learning rate is this factor
# for so many turns; a trial that brought nothing is not repeated before so many times as long.
FOOLED, ALIKE, YOUNG_TURNS = 0.6, 0.6, 100
G_TRIAL_SCALE, TRIAL_TURNS, WAIT_FACTOR = 0.25, 100, 4
# What R1's gamma is divided by, and below which share of the one asked for it is none.
R1_FACTOR, R1_LEAST = 4.0, 1e-3
# Turns without an alarm before a state is worth coming back to, and between two kept ones.
CALM_TURNS, SNAPSHOT_EVERY_TURNS = 50, 200
# A loss of D this many times its median, above this size, for so many turns, is an explosion.
EXPLOSION, EXPLOSION_LEAST, EXPLOSION_TURNS = 10.0, 20.0, 3


@dataclass(config=CHECKED)
class AutoPolicy(Policy):
    """R1 and, where G learns from D alone, two steps of D: the fixed recipe that was best in games
    that nobody tuned on. What needs evidence beyond it is a trial, or is undone.

    It decides every 10 turns, by means over the last 50 and only where a mean is two standard
    errors beyond a bound: never on one reading. A D at chance is let alone for its first 100 turns.

    1. D has R1 in its loss where it takes it (Mescheder et al. 2018, section 4.1): in every
       `r1_every_turns`-th turn, with that many times the gamma (Karras et al. 2020, appendix B).
       Which gamma a D bears depends on its normalisation and the size of its images: where D has
       not begun to tell real from fake, the gamma is a quarter with each decision, until it does;
       where it leads later, the gamma comes back. One that grows with D's lead was tried and is
       wrong: a smooth D teaches G slowly, so its lead lasts.
    2. Where G learns from D alone, by the gradient at its output, D gets `most_d_steps` steps for
       one of G (Goodfellow et al. 2014, algorithm 1; Arjovsky et al. 2017). Beside other terms, D
       is trained as the loop does.
    3. Where the only D leads (AUC above 0.9) and G does not hear it, its term being less than a
       hundredth of the gradient at G's output, the adversarial weight rises until it is a tenth,
       and comes back as D falls. Of several Ds G hears others, and mostly their features too: a
       codec with three became worse.
    4. Where D does not tell real from fake (AUC under 0.6) and G's outputs are alike, G's learning
       rate is a quarter for a trial of 100 turns. It stays so while trials bring D or the diversity
       of G's outputs back, until D follows; else it is undone, and the next comes four times later.
    5. Where D's loss explodes, or is not finite, both networks go back to the last calm state, at
       most `most_roll_backs` times, each time with half of D's learning rate.

    What it holds, and since when, is in its reason. Source: this project (docs/experiments.md).
    """

    needs = "last turn"

    r1: NonNegativeFloat = 0.1
    r1_every_turns: PositiveInt = 2
    most_d_steps: PositiveInt = 2
    max_weight_scale: MostScale = 1e4
    most_roll_backs: NonNegativeInt = 3
    _turns: int = field(default=0, init=False)
    # Of the block under way, and of the blocks before, the newest last.
    _block: list[float] = field(default_factory=list, init=False)
    _auc: list[float] = field(default_factory=list, init=False)
    _diversity: list[float] = field(default_factory=list, init=False)
    _losses: list[float] = field(default_factory=list, init=False)
    _shares: list[float] = field(default_factory=list, init=False)
    # The latest readings that were taken in: they stand until the sensors read again.
    _read: list[float | None] = field(default_factory=list, init=False)
    _has_r1: bool = field(default=False, init=False)
    # Times that R1's gamma was divided; whether D has told real from fake with the present one.
    _r1_divided: int = field(default=0, init=False)
    _d_tells: bool = field(default=False, init=False)
    _log_weight: float = field(default=0.0, init=False)
    _d_steps: int = field(default=1, init=False)
    # Turns that are left of a trial (below 0: until the next one may begin), what it began with.
    _trial_turns: int = field(default=0, init=False)
    _wait_turns: int = field(default=TRIAL_TURNS, init=False)
    _before_trial: list[float] = field(default_factory=list, init=False)
    # The turn in which it last changed anything.
    _same_since: int = field(default=0, init=False)
    _calm_turns: int = field(default=0, init=False)
    _exploded_turns: int = field(default=0, init=False)
    _has_snapshot: bool = field(default=False, init=False)
    _roll_backs: int = field(default=0, init=False)

    def observe(self, signals: Signals) -> Action:
        self._turns += 1
        # Of logits of a known scale.
        self._has_r1 = bool(self.r1 and signals.d_takes_r1 and signals.d_equilibrium_loss)
        broken = self._what_broke(signals)
        if broken and self._exploded_turns >= EXPLOSION_TURNS:
            return self._roll_back(broken)
        before = self._held()
        self._count_trial()
        if not broken:
            self._take_in(signals)
        if self._held() != before:
            self._same_since = self._turns
        reason = joined(broken, *self._why())
        due = self._snapshot_due(calm=not broken)
        return replace(self._hold(reason), keep_snapshot=due, is_unsafe=bool(broken))

    def _held(self) -> tuple[float, ...]:
        """What may change in a training."""
        slowed = self._trial_turns > 0
        return self._d_steps, self._log_weight, slowed, self._roll_backs, self._r1_divided

    def _take_in(self, signals: Signals) -> None:
        """Add a turn to the block; decide where that is whole."""
        if signals.auc is None or not 0 <= signals.auc <= 1:
            return  # not a number
        self._block.append(signals.auc)
        if len(self._block) < BLOCK_TURNS:
            return
        _remember(self._auc, fmean(self._block))
        self._block = []
        _remember(self._losses, abs(signals.d_loss))
        self._take_in_readings(signals.readings)
        if len(self._auc) == READINGS:
            enough = len(self._shares) > READINGS // 2
            alone = enough and min(self._shares) > ALONE_SHARE
            self._d_steps = self.most_d_steps if alone else 1
            self._fit_r1()
            if signals.discriminators == 1:
                self._raise_weight()
            self._begin_trial()

    def _take_in_readings(self, readings: Readings) -> None:
        """Remember what the sensors read, once."""
        read = [readings.g_gradient_norm, readings.g_gradient_adversarial, readings.diversity_ratio]
        if read == self._read:
            return
        self._read = read
        if is_finite(diversity := readings.diversity_ratio):
            _remember(self._diversity, diversity)  # type: ignore[arg-type]
        if (share := self._adversarial_share(readings)) is not None:
            _remember(self._shares, share)

    def _fit_r1(self) -> None:
        """A quarter of R1's gamma while D learns nothing; more again once D leads."""
        self._d_tells |= _above(self._auc, FOOLED)
        if self._has_r1 and not self._d_tells and _below(self._auc, FOOLED) and self._gamma():
            self._r1_divided += 1
        elif self._r1_divided and _above(self._auc, LEADS):
            self._r1_divided -= 1
            self._d_tells = False

    def _gamma(self) -> float:
        share = R1_FACTOR**-self._r1_divided
        return self.r1 * share if share >= R1_LEAST else 0.0

    def _raise_weight(self) -> None:
        """The adversarial weight, by D's lead and what G hears of it."""
        least = HEARD_SHARE if self._log_weight else DROWNED_SHARE
        if _above(self._auc, LEADS) and _below(self._shares, least):
            self._log_weight = min(self._log_weight + WEIGHT_RATE, math.log(self.max_weight_scale))
        elif _below(self._auc, FOLLOWS):
            self._log_weight = max(self._log_weight - WEIGHT_RATE, 0.0)

    def _adversarial_share(self, readings: Readings) -> float | None:
        """Share of the adversarial term in the gradient at G's output, with its present weight."""
        adversarial, content = readings.g_gradient_unscaled, readings.g_gradient_content
        if adversarial is None or content is None or not is_finite(adversarial, content):
            return None
        adversarial *= math.exp(self._log_weight)
        whole = adversarial + content
        return adversarial / whole if whole > 0 and is_finite(whole) else None

    def _begin_trial(self) -> None:
        """Slow G where D does not tell real from fake, and not because G's outputs are as good."""
        fooled = _below(self._auc, FOOLED) and _below(self._diversity, ALIKE)
        if fooled and self._trial_turns == 0 and self._turns > YOUNG_TURNS:
            self._before_trial = list(self._diversity)
            self._trial_turns = TRIAL_TURNS

    def _count_trial(self) -> None:
        """A turn of a trial, or of the wait for the next; judge one that is over."""
        if self._trial_turns < 0:
            self._trial_turns += 1
        elif self._trial_turns > 0:
            self._trial_turns -= 1
            if self._trial_turns == 0 and not self._trial_helped():
                self._wait_turns *= WAIT_FACTOR
                self._trial_turns = -self._wait_turns
            elif self._trial_turns == 0 and not _above(self._auc, FOLLOWS):
                self._wait_turns = self._trial_turns = TRIAL_TURNS

    def _trial_helped(self) -> bool:
        """Whether D or the diversity of G's outputs came back."""
        gained = fmean(self._diversity) - fmean(self._before_trial)
        chance = STANDARD_ERRORS * math.hypot(_error(self._diversity), _error(self._before_trial))
        return gained > chance or _above(self._auc, FOOLED)

    def _what_broke(self, signals: Signals) -> str:
        """What is wrong with D's numbers in this turn; empty where nothing is."""
        loss, logits = signals.d_loss, signals.real_logit_mean
        broken = ""
        if signals.auc is None:
            return ""  # the numbers of the turn before are not known yet
        if not is_finite(loss, logits, signals.fake_logit_mean):
            broken = "D's losses or outputs are not finite"
        elif len(self._losses) == READINGS:
            usual = sorted(self._losses)[READINGS // 2]
            least = EXPLOSION_LEAST * abs(signals.d_equilibrium_loss or 1.0)
            if abs(loss) > max(least, EXPLOSION * usual):
                broken = f"D's loss is {loss:.3g} after {usual:.3g}"
        self._exploded_turns = self._exploded_turns + 1 if broken else 0
        return broken

    def _snapshot_due(self, *, calm: bool) -> bool:
        """Whether this state is one to come back to."""
        self._calm_turns = self._calm_turns + 1 if calm else 0
        due = self._calm_turns >= CALM_TURNS and (
            not self._has_snapshot or self._calm_turns % SNAPSHOT_EVERY_TURNS == 0
        )
        self._has_snapshot = self._has_snapshot or due
        return due

    def _roll_back(self, why: str) -> Action:
        """Go back to the kept state if that is possible, and say so in any case."""
        if not self._has_snapshot:
            return self._hold(f"{why}; there is no state to go back to")
        if self._roll_backs >= self.most_roll_backs:
            return self._hold(f"{why}; went back {self._roll_backs} times, and does not again")
        self._roll_backs += 1
        self._block, self._auc, self._diversity, self._losses, self._shares = [], [], [], [], []
        self._d_steps, self._log_weight = 1, 0.0
        self._trial_turns = self._calm_turns = self._exploded_turns = 0
        return replace(self._hold(why), roll_back=True)

    def _why(self) -> Iterator[str]:
        """What it holds, and the numbers behind it."""
        if self._has_r1:
            more = ", as D did not learn with more" if self._r1_divided else ""
            gamma = self._gamma()
            yield (
                f"R1 with a gamma of {gamma:.3g}{more}"
                if gamma
                else "no R1, with which D did not learn"
            )
        if self._d_steps > 1:
            yield f"G learns from D alone: {self._d_steps} steps of D"
        if self._log_weight > 0:
            yield (
                f"G hears nothing of D at its output: {math.exp(self._log_weight):.3g} times the "
                "adversarial weight"
            )
        if self._trial_turns > 0:
            yield (
                f"G's outputs were alike ({fmean(self._before_trial):.2f} of the real ones' "
                f"diversity) and D at chance: a trial of {G_TRIAL_SCALE:g} times G's learning "
                f"rate, {self._trial_turns} turns left"
            )
        if self._turns - self._same_since >= SNAPSHOT_EVERY_TURNS:
            yield f"nothing was changed since turn {self._same_since}"
        if self._roll_backs:
            yield f"went back {self._roll_backs} times: D's learning rate is halved as often"

    def _hold(self, reason: str) -> Action:
        """The actuators as they stand."""
        due = self._has_r1 and self._turns % self.r1_every_turns == 0
        return Action(
            d_steps=self._d_steps,
            r1_weight=self._gamma() * self.r1_every_turns if due else 0.0,
            d_learning_rate_scale=0.5**self._roll_backs,
            adversarial_weight_scale=math.exp(self._log_weight),
            g_learning_rate_scale=G_TRIAL_SCALE if self._trial_turns > 0 else 1.0,
            reason=reason,
        )

    def load_state_dict(self, state: Any) -> None:
        """Undo `state_dict`. The state of the `auto` that steered learning rates says nothing to
        it: it begins anew. One without R1's fitting is of a version that had none."""
        if not (isinstance(state, dict) and "integral" in state):
            super().load_state_dict({"r1_divided": 0, "d_tells": True, "read": [], **state})


def _remember(readings: list[float], value: float) -> None:
    """Add a reading; the oldest goes."""
    readings.append(value)
    del readings[:-READINGS]


def _error(readings: list[float]) -> float:
    """The standard error of the readings' mean."""
    return stdev(readings) / math.sqrt(len(readings)) if len(readings) > 1 else math.inf


def _above(readings: list[float], bound: float) -> bool:
    """Whether the readings are enough, and their mean beyond chance above a bound."""
    enough = len(readings) == READINGS
    return enough and fmean(readings) - STANDARD_ERRORS * _error(readings) > bound


def _below(readings: list[float], bound: float) -> bool:
    enough = len(readings) == READINGS
    return enough and fmean(readings) + STANDARD_ERRORS * _error(readings) < bound
