"""R1 as a policy asks for it: its gradient is added to D's just before D's optimizer steps."""

import dataclasses
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import R1_NOISE
from counterpoise.game.objective import Ask, answering_in_logits
from counterpoise.game.processes import average_over_processes
from counterpoise.losses.penalties import estimated_r1_penalty, r1_penalty
from counterpoise.records import Action
from counterpoise.sensors.probes import Aside, random_state_kept

if TYPE_CHECKING:
    from counterpoise.game.players import DiscriminatorTurn

ESTIMATED = "R1 is estimated, by D's answers on real images and on the same with noise: {why}"
MIXES_IMAGES = "D has batch normalisation, so gradients of single images do not exist"
NO_IMAGES = "it cannot be seen which images D is given are the real ones"
FAILED = "it could not be computed ({error})"
NOT_FINITE = "R1's gradient was not finite; D was trained without it in this turn"


def mixes_images(discriminator: nn.Module) -> bool:
    """Whether D's answer on an image depends on the others of its batch."""
    kinds = nn.modules.batchnorm._BatchNorm
    return any(isinstance(module, kinds) and module.training for module in discriminator.modules())


def without_r1(action: Action) -> Action:
    """The action without R1, and without the further steps of D, which are only good with it."""
    return dataclasses.replace(action, r1_weight=0.0, d_steps=min(action.d_steps, 1))


class R1:
    """Adds the gradient of gamma / 2 * E|grad D|^2 at real images to D's.

    D is asked once more, aside, so its buffers and the random state stay; of its logits, where it
    ends in a sigmoid. Where the exact one does not exist (batch normalisation) or cannot be
    computed (an operation that is not differentiable twice), it is estimated. Under AMP the
    gradients may still be scaled: then this one is scaled alike.
    """

    def __init__(self, discriminator: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._d, self._optimizer = discriminator, optimizer
        # Why this game cannot have it; empty while nothing is known to stand in the way.
        self.problem = ""
        # That it is estimated, and why, once that is known: what a person is to be told.
        self.estimated = ""

    def estimate(self, why: str) -> None:
        """Estimate it from now on."""
        self.estimated = ESTIMATED.format(why=why)

    def leave_out(self, why: str) -> str:
        """It cannot be had; what a person is told."""
        self.problem = f"the policy wants R1 in D's loss, which cannot be: {why}; none is added"
        return self.problem

    def add(self, part: "DiscriminatorTurn") -> Tensor | str:
        """Add it at the real images of D's latest batch, as D sees them, with the action's gamma.

        The term, or why it was not added: because of `problem`, or since it was not finite. All
        processes come here alike.
        """
        if part.real is None or part.ask is None:
            return self.leave_out(NO_IMAGES)
        if not self.estimated and mixes_images(self._d):
            self.estimate(MIXES_IMAGES)
        trained, term, flat, error = self._gradient(part, part.real, part.ask)
        if flat[0] > 0 and not self.estimated:
            self.estimate(FAILED.format(error=error))
            trained, term, flat, error = self._gradient(part, part.real, part.ask)
        if flat[0] > 0:
            return self.leave_out(FAILED.format(error=error))
        if not flat.isfinite().all():
            return NOT_FINITE
        scale = getattr(self._optimizer, "grad_scale", None)
        if scale is not None:
            flat = flat * scale.to(flat.device)
        parts = torch.split(flat[1:], [weight.numel() for weight in trained])
        for weight, own in zip(trained, parts, strict=True):
            gradient = own.reshape(weight.shape).to(weight.dtype)
            weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        return term.detach()

    def _gradient(
        self, part: "DiscriminatorTurn", images: Tensor, ask: Ask
    ) -> tuple[list[Tensor], Tensor, Tensor, str]:
        """D's weights that are trained; the term; its gradient over them, behind a number above 0
        where it failed in any process; and how it failed."""
        aside = Aside(answering_in_logits(self._d, part.player.known_objective(), ask))
        term, error = torch.zeros((), device=images.device), ""
        seen = part.change_now.real(images)
        try:
            with torch.enable_grad(), random_state_kept(images.device):
                if self.estimated:
                    noise = part.change_now.draws(seen, R1_NOISE)
                    term = estimated_r1_penalty(aside, seen, noise)
                else:
                    term = r1_penalty(aside, seen)
                term = part.asked.r1_weight / 2 * term
                # All of it: what is not differentiable twice may lie off the way to the weights.
                term.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as failure:
            error = str(failure).strip().partition("\n")[0]
        trained = [(weight, own) for weight, own in aside.own.items() if weight.requires_grad]
        gradients = [torch.zeros_like(own) if own.grad is None else own.grad for _, own in trained]
        # One message: whether it failed anywhere, and the gradient.
        failed = torch.full((1,), float(bool(error)), device=images.device)
        flat = torch.cat([failed, *(g.float().flatten() for g in gradients)])
        weights = [weight for weight, _ in trained]
        return weights, term, average_over_processes(flat), error or "in another process"
