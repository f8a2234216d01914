"""What D's outputs in a turn say, under the loop's objective, and what the policy answers."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from counterpoise.actuators.lecam import lecam_penalty
from counterpoise.anyloop.direction import Direction
from counterpoise.anyloop.graph import comes_out_of_sigmoid
from counterpoise.anyloop.objective import LoopObjective
from counterpoise.anyloop.processes import mean_over_processes
from counterpoise.anyloop.read_objective import infer_objective
from counterpoise.anyloop.tap import FAKE, REAL, Call, Phase
from counterpoise.anyloop.turn import Turn
from counterpoise.balance.policies import objective_problems
from counterpoise.balance.policy import Policy
from counterpoise.errors import UserError
from counterpoise.records import NO_ACTION, Action, Readings
from counterpoise.sensors.discriminator import (
    image_means,
    saturation_readings,
    signals_from_statistics,
)

NO_OUTPUTS = (
    "Balance: D's part showed no output of D on {missing} images; call the discriminator that was "
    "given to Balance there, on real and on fake images apart, or say step.logits(real=..., "
    "fake=...) in both parts"
)
NO_OBJECTIVE = (
    "Balance: the objective cannot be read from what is back-propagated in D's part; name it: "
    'objective="bce" (or lsgan, hinge, wgan, relativistic-average, relativistic-paired)'
)
UNKNOWN_YET = (
    "the objective is not known before D's loss is back-propagated; where D's gradients come in "
    'another way, name it: objective="bce"'
)
GIVEN_UP = (
    "D's part ended before D had judged real and fake images; such turns are neither recorded nor "
    "shown to the policy"
)


class Judge:
    """Knows the objective, from the start or as soon as D's loss has shown it, and the policy."""

    def __init__(
        self, policy: Policy, objective: str | None, announce: Callable[[str], None]
    ) -> None:
        self.policy = policy
        self.objective: LoopObjective | None = None
        self.direction = Direction()
        self._given, self._announce = objective, announce
        if objective is not None:
            LoopObjective.named(objective, probabilities=False)  # refuses an unknown name now

    def read_objective(self, phase: Phase, losses: list[Tensor]) -> None:
        """Read the objective from losses that D's part is about to back-propagate."""
        self.direction.watch(phase)
        if self.objective is not None:
            return
        objective = infer_objective(losses, _outputs(phase))
        if objective is not None and self._given is not None:
            # What remains to be read is whether D's outputs are probabilities.
            objective = LoopObjective.named(self._given, probabilities=objective.probabilities)
        if objective is not None:
            self._set_objective(objective)

    def is_ready(self, phase: Phase) -> bool:
        """Whether D has judged both kinds of images in this part, and the objective is known, or
        cannot be from what was back-propagated."""
        known = self.objective is not None or self._given is not None or phase.backwards > 0
        return known and len(_outputs(phase)) == 2

    @property
    def smoothing_helps(self) -> bool:
        """Whether smoothed labels would change the objective, as far as it is known."""
        return self.objective is not None and self.objective.form.smoothing_slope != 0

    def decide(self, turn: Turn, phase: Phase, readings: Readings) -> Action:
        """The policy's action for this turn, asked for once D has judged both kinds of images.

        Raises `UserError` where it has not, or the objective is not known.
        """
        if turn.action is not None:
            return turn.action
        real, fake = phase.call(REAL), phase.call(FAKE)
        if real is None or fake is None or real.outputs is None or fake.outputs is None:
            missing = " or ".join(kind for kind in (REAL, FAKE) if phase.call(kind) is None)
            raise UserError(NO_OUTPUTS.format(missing=missing))
        if self.objective is None:
            if self._given is None:
                raise UserError(NO_OBJECTIVE)
            sigmoid = comes_out_of_sigmoid(real.outputs) or comes_out_of_sigmoid(fake.outputs)
            self._set_objective(LoopObjective.named(self._given, probabilities=sigmoid))
        objective = self.objective
        assert objective is not None, "set above"
        statistics = objective.statistics(real.outputs, fake.outputs)
        values = mean_over_processes(statistics, real.outputs.device)
        turn.signals = signals_from_statistics(
            turn.step,
            values,
            objective.form.equilibrium_d_loss,
            readings,
            d_takes_r1=turn.d_takes_r1,
        )
        if objective.has_sigmoid:
            turn.saturation = saturation_readings(values)
        turn.real, turn.fake = real, fake
        # On reversed numbers a policy would do the opposite of what helps.
        reversed_ = self.direction.is_reversed
        turn.action = NO_ACTION if reversed_ else self.policy.observe(turn.signals)
        return turn.action

    def d_loss(
        self, turn: Turn, phase: Phase, real: Tensor, fake: Tensor, readings: Readings
    ) -> Tensor:
        """The halves of D's loss that the action trains on, with smoothed labels and LeCam's
        regulariser where it wants them."""
        self.read_objective(phase, [real, fake])
        action = self.decide(turn, phase, readings)
        halves = [(real, action.d_trains_on_real), (fake, action.d_trains_on_fake)]
        wanted = [half for half, on in halves if on]
        # Where neither is wanted the step is left out, and any gradient will do.
        loss = sum(wanted[1:], start=wanted[0]) if wanted else real + fake
        assert self.objective is not None, "it was decided under one"
        on_real, on_fake = (self.objective.logits(output) for output in _outputs(phase))
        if action.label_smoothing and action.d_trains_on_real:
            loss = loss + self.objective.smoothing_term(on_real, action.label_smoothing)
        if action.lecam_weight:
            loss = loss + action.lecam_weight * lecam_penalty(
                on_real, on_fake, action.lecam_real_anchor, action.lecam_fake_anchor
            )
        return loss

    def g_loss(self, real_call: Call | None, fake_call: Call | None) -> Tensor | None:
        """G's adversarial loss as the objective has it, from D's calls in a part of the turn."""
        real, fake = self._logits(real_call), self._logits(fake_call)
        objective = self.objective
        if objective is None or fake is None or (real is None and objective.form.g_needs_real):
            return None
        return objective.g_loss(real, fake)

    def d_fake(self, phase: Phase) -> Tensor | None:
        """D(G(z)) in a part of the turn: a mean over images, also where D's output is a map."""
        fake = self._logits(phase.call(FAKE))
        if self.objective is None or fake is None:
            return None
        return self.objective.probability(image_means(fake)).mean()

    def restore(self, objective: dict[str, Any] | None) -> None:
        """Take up an objective that was saved."""
        if objective is not None:
            self._set_objective(LoopObjective(**objective))

    def _logits(self, call: Call | None) -> Tensor | None:
        if self.objective is None or call is None or call.outputs is None:
            return None
        return self.objective.logits(call.outputs.detach())

    def _set_objective(self, objective: LoopObjective) -> None:
        for problem in objective_problems(
            self.policy,
            objective.name,
            halves_are_independent=objective.form.halves_are_independent,
            has_probability=objective.form.has_probability or objective.behind_sigmoid,
        ):
            raise UserError(f"Balance: {problem.message}")
        self.objective = objective
        self._announce(objective.name)


def _outputs(phase: Phase) -> list[Tensor]:
    """D's outputs on real and fake images, those that there are."""
    calls = [phase.call(REAL), phase.call(FAKE)]
    return [call.outputs for call in calls if call is not None and call.outputs is not None]
