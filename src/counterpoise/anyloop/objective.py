"""What D's outputs mean: the adversarial objective of a hand-written loop.

The numbers that are recorded are always the objective's own, computed from D's outputs: factors,
smoothed labels and penalties of the user's loss are left out, so that they compare with the
objective's equilibrium.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoise.diagnosis.objectives import objective_name
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS, AdversarialForm
from counterpoise.sensors.discriminator import discriminator_statistics, on_host_if_few

# Where float32 rounds a probability to 1, its logit is at least that of half a step below 1.
_LARGEST_LOGIT = 25 * math.log(2)

# Below it the square of a float32 is too small to divide by.
_DIFFERENTIABLE = 1e-18

LSGAN_ON_SIGMOID = "lsgan-on-sigmoid"

_WITH_SIGMOID = {"non-saturating", "relativistic-average", "relativistic-paired"}


def logits_of(probabilities: Tensor) -> Tensor:
    """The logits of a sigmoid's float32 outputs: log p - log(1 - p).

    Exact to float32's rounding of p itself. Where p was rounded to 1 or 0 the logit is not known
    and the bound is returned: 17.3 and -87.3. Its derivatives are those of a constant there, and
    the second one is finite everywhere.
    """
    p = probabilities.float()
    smallest = torch.finfo(torch.float32).tiny
    with torch.no_grad():
        bounded = p.clamp_min(smallest).log() - torch.log1p(-p).clamp_min(-_LARGEST_LOGIT)
    if not p.requires_grad:
        return bounded
    inside = (p > _DIFFERENTIABLE) & (p < 1)
    safe = torch.where(inside, p, 0.5)
    return torch.where(inside, safe.log() - torch.log1p(-safe), bounded)


@dataclass(frozen=True)
class LoopObjective:
    """An objective by its name in `diagnosis.objectives`, and whether D ends in a sigmoid."""

    name: str
    # Whether D's outputs have been through the sigmoid already.
    probabilities: bool

    @classmethod
    def named(cls, name: str, *, probabilities: bool) -> "LoopObjective":
        """An objective by any name it is known by; `UserError` for an unknown one."""
        own_name = objective_name(name)
        if own_name == "lsgan" and probabilities:
            own_name = LSGAN_ON_SIGMOID
        return cls(own_name, probabilities)

    @property
    def behind_sigmoid(self) -> bool:
        """Whether the loss sees probabilities, wherever the sigmoid is."""
        return self.probabilities or self.name == LSGAN_ON_SIGMOID

    @property
    def has_sigmoid(self) -> bool:
        """Whether a sigmoid in D or in the loss can saturate."""
        return self.behind_sigmoid or self.name in _WITH_SIGMOID

    @property
    def form(self) -> AdversarialForm:
        return ADVERSARIAL_FORMS["lsgan" if self.name == LSGAN_ON_SIGMOID else self.name]

    def logits(self, outputs: Tensor) -> Tensor:
        """D's outputs (N,) or (N, ...) as float32 logits (N, ...), graph attached."""
        outputs = outputs.float()
        if outputs.ndim < 2:
            outputs = outputs.reshape(-1, 1)
        return logits_of(outputs) if self.probabilities else outputs

    def probability(self, logits: Tensor) -> Tensor:
        """D(x) as this objective's users print it, from `logits`."""
        return logits.sigmoid() if self.behind_sigmoid else self.form.probability(logits)

    def threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The logit above which D counts an image as real."""
        if self.behind_sigmoid:
            return real_logits.new_zeros(())
        return self.form.decision_threshold(real_logits, fake_logits)

    def statistics(self, real_outputs: Tensor, fake_outputs: Tensor) -> Tensor:
        """`discriminator_statistics` from D's outputs as they are."""
        outputs = on_host_if_few(real_outputs, fake_outputs)
        real, fake = (self.logits(output) for output in outputs)
        losses = self.d_loss(real, fake)
        return discriminator_statistics(
            *losses, real, fake, self.probability, self.threshold(real, fake)
        )

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The halves of D's loss."""
        return self.form.d_loss(self._loss_input(real_logits), self._loss_input(fake_logits))

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        """G's adversarial loss; needs D's logits on real images in relativistic objectives."""
        real = None if real_logits is None else self._loss_input(real_logits)
        return self.form.g_loss(real, self._loss_input(fake_logits))

    def smoothing_term(self, real_logits: Tensor, amount: float) -> Tensor:
        """What D's loss grows by with the target 1 - `amount` for real images, with its graph."""
        return amount * self.form.smoothing_slope * self._loss_input(real_logits).mean()

    def _loss_input(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.name == LSGAN_ON_SIGMOID else logits
