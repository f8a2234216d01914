"""R1 in a hand-written loop: its gradient is added to D's before D's optimizer steps."""

import torch
from torch import Tensor, nn

from counterpoise.actuators.r1 import MIXES_IMAGES, UNMET, mixes_images
from counterpoise.anyloop.hooks import BACKWARD
from counterpoise.anyloop.measure import answering_in_logits
from counterpoise.anyloop.objective import LoopObjective
from counterpoise.anyloop.processes import average_over_processes
from counterpoise.anyloop.tap import REAL, Phase
from counterpoise.anyloop.turn import Turn
from counterpoise.losses.penalties import r1_penalty
from counterpoise.sensors.probes import Aside, random_state_kept

NO_IMAGES = "D is not called with real images alone in its part"
FAILED = "it could not be computed ({error})"
IN_CLOSURE = UNMET.format(why="D's loss is back-propagated inside of optimizer.step(closure)")
STEPPED_EARLY = UNMET.format(
    why="D's optimizer steps before D has judged both real and fake images in its part"
)
NOT_FINITE = "R1's gradient was not finite; D was trained without it in this turn"


class R1:
    """Adds the gradient of gamma / 2 * E|grad D|^2 at real images to D's.

    D is asked once more, aside, so its buffers and the random state stay; of its logits, where it
    ends in a sigmoid. Under AMP the gradients may still be scaled: then this one is scaled alike.
    """

    def __init__(self, discriminator: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._d, self._optimizer = discriminator, optimizer
        # Why this loop cannot have it; empty while nothing is known to stand in the way.
        self.problem = ""
        self._mixes_images: bool | None = None

    @property
    def is_possible(self) -> bool:
        """Whether nothing is known to stand in its way; D is looked at once."""
        if self._mixes_images is None:
            self._mixes_images = mixes_images(self._d)
        return not (self._mixes_images or self.problem)

    def add(self, phase: Phase, turn: Turn, objective: LoopObjective) -> str:
        """Add it in D's part, with the gamma of the turn's action, and note the term in the turn.

        Says why where it was not added: because of `problem`, or since it was not finite. All
        processes come here alike.
        """
        real = phase.call(REAL) if phase.network == "d" else turn.real
        if real is None or real.images is None or not real.images_alone:
            self.problem = UNMET.format(why=NO_IMAGES)
            return self.problem
        if mixes_images(self._d):
            self.problem = UNMET.format(why=MIXES_IMAGES)
            return self.problem
        images, gamma = turn.change.real(real.images), turn.decided.r1_weight
        d = answering_in_logits(self._d, objective)
        aside = Aside(d)
        term, error = self._differentiate(aside, images, gamma)
        # One message: whether it failed anywhere, and the gradient.
        trained = [(weight, own) for weight, own in aside.weights() if weight.requires_grad]
        if not trained:
            return ""
        gradients = [torch.zeros_like(own) if own.grad is None else own.grad for _, own in trained]
        failed = torch.full((1,), float(bool(error)), device=gradients[0].device)
        flat = average_over_processes(
            torch.cat([failed, *(g.float().flatten() for g in gradients)])
        )
        if flat[0] > 0:
            self.problem = UNMET.format(why=FAILED.format(error=error or "in another process"))
            return self.problem
        if not flat.isfinite().all():
            return NOT_FINITE
        scale = getattr(self._optimizer, "grad_scale", None)
        if scale is not None:
            flat = flat * scale.to(flat.device)
        parts = torch.split(flat[1:], [weight.numel() for weight, _ in trained])
        for (weight, _), part in zip(trained, parts, strict=True):
            gradient = part.reshape(weight.shape).to(weight.dtype)
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        turn.d_penalty = term if turn.d_penalty is None else turn.d_penalty
        return ""

    def _differentiate(self, aside: Aside, images: Tensor, gamma: float) -> tuple[Tensor, str]:
        """The term, with its gradient in the weights of `aside`; or why there is none."""
        try:
            with torch.enable_grad(), BACKWARD.unheard(), random_state_kept(images.device):
                term = gamma / 2 * r1_penalty(aside, images)
                # All of it: what is not differentiable twice may lie off the way to the weights.
                term.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            return images.new_zeros(()).float(), str(error).strip().partition("\n")[0]
        return term.detach(), ""
