"""R1 in a hand-written loop: its gradient is added to D's before D's optimizer steps."""

import torch
from torch import Tensor, nn

from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.measure import answering_in_logits
from counterpoise.anyloop.objective import LoopObjective
from counterpoise.anyloop.processes import average_over_processes
from counterpoise.anyloop.tap import REAL, Phase
from counterpoise.anyloop.turn import Turn
from counterpoise.losses.penalties import r1_penalty
from counterpoise.sensors.probes import Aside

UNMET = "the policy adds R1 to D's loss, and cannot in this loop: {why}; it does without"
NO_IMAGES = "D is not called with real images alone in its part"
ONCE = "D cannot be differentiated twice ({error})"


class R1:
    """Adds the gradient of gamma / 2 * E|grad D|^2 at real images to D's.

    D is asked once more, aside, so its buffers and the random state stay; of its logits, where it
    ends in a sigmoid. Under AMP the gradients may still be scaled: then this one is scaled alike.
    """

    def __init__(self, discriminator: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._d, self._optimizer = discriminator, optimizer
        # Why D has no second derivative; empty while it is not known to have none.
        self._failure = ""

    def add(self, phase: Phase, turn: Turn, objective: LoopObjective | None, gamma: float) -> str:
        """Add it, and note the term in the turn; says why where that cannot be done."""
        real = phase.call(REAL)
        if real is None or real.images is None or not real.images_alone or objective is None:
            return UNMET.format(why=NO_IMAGES)
        if self._failure:
            return self._failure
        try:
            term = self._add(turn.change.real(real.images), objective, gamma)
        except RuntimeError as error:
            first_line = str(error).strip().partition("\n")[0]
            self._failure = UNMET.format(why=ONCE.format(error=first_line))
            return self._failure
        turn.d_penalty = term if turn.d_penalty is None else turn.d_penalty
        return ""

    def _add(self, images: Tensor, objective: LoopObjective, gamma: float) -> Tensor:
        d = answering_in_logits(self._d, objective)
        aside = Aside(d)
        with torch.enable_grad(), BACKWARD.unheard():
            term = gamma / 2 * r1_penalty(aside, images)
            # All of it: what is not differentiable twice may show itself off the way to weights.
            term.backward()  # type: ignore[no-untyped-call]
        scale = getattr(self._optimizer, "grad_scale", None)
        for name, parameter in d.named_parameters():
            gradient = aside.weights[name].grad
            if gradient is None:
                continue
            gradient = average_over_processes(gradient)
            if scale is not None:
                gradient = gradient * scale.to(gradient.device)
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad.add_(gradient)
        return term.detach()
