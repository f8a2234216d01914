"""What a discriminator's outputs mean in a game: its objective, and where the sigmoid is.

The numbers that are recorded are always the objective's own, computed from D's outputs: factors,
smoothed labels and penalties of the loop's loss are left out, so that they compare with the
objective's equilibrium.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.losses.adversarial import ADVERSARIAL_FORMS, AdversarialForm
from counterpoise.objectives import objective_name
from counterpoise.sensors.discriminator import SATURATED_LOGIT, auc_of, image_means

# Between these a sigmoid's float32 output has a logit, and two finite derivatives of it.
_LEAST, _MOST = 1e-18, 1 - 2**-24


def logits_of(probabilities: Tensor) -> Tensor:
    """The logits of a sigmoid's float32 outputs, exact to float32's rounding of p itself.

    They are bounded at -41.4 and 16.6, behind which float32 rounds p, or its derivatives, to 0 or
    1; there the derivatives are 0.
    """
    return probabilities.float().clamp(_LEAST, _MOST).logit()


@dataclass(frozen=True)
class GameObjective:
    """An objective by its name in `counterpoise.objectives`, and whether D ends in a sigmoid."""

    name: str
    # Whether D's outputs have been through the sigmoid already.
    probabilities: bool = False

    @classmethod
    def named(cls, name: str, *, probabilities: bool) -> "GameObjective":
        """An objective by any name it is known by; `UserError` for an unknown one."""
        own_name = objective_name(name)
        if own_name == "lsgan" and probabilities:
            own_name = "lsgan-on-sigmoid"
        return cls(own_name, probabilities)

    @property
    def form(self) -> AdversarialForm:
        return ADVERSARIAL_FORMS[self.name]

    @property
    def has_sigmoid(self) -> bool:
        """Whether a sigmoid in D or in the loss can saturate."""
        return self.probabilities or self.form.objective.has_sigmoid

    def logits(self, outputs: Tensor) -> Tensor:
        """D's outputs (N,) or (N, ...) as float32 logits (N, ...), graph attached."""
        outputs = outputs.float()
        if outputs.ndim < 2:
            outputs = outputs.reshape(-1, 1)
        return logits_of(outputs) if self.probabilities else outputs

    def probability(self, logits: Tensor) -> Tensor:
        """D(x) as this objective's users print it, from `logits`."""
        return logits.sigmoid() if self.probabilities else self.form.probability(logits)

    def threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The logit above which D counts an image as real: a scalar without a graph."""
        threshold = 0.0 if self.probabilities else self.form.threshold
        if threshold is None:
            return (real_logits.detach().mean() + fake_logits.detach().mean()) / 2
        return real_logits.new_full((), threshold)

    def statistics(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """D's statistics on this process's share of a batch, from logits (N, ...) on the host, as a
        float32 vector to be averaged over shares.

        The mean of equal shares' vectors is the vector of the whole batch, but for the AUC, which
        then is that over pairs within a share. A map counts as its mean, except in the saturation,
        which is over all of what the sigmoid in D's loss sees; without one it says nothing.
        """
        logits = real_logits, fake_logits
        real, fake = (image_means(each) for each in logits)
        # With as few operations of PyTorch's as can be: this is done in every turn.
        reals, fakes = real.float().numpy(), fake.float().numpy()
        limit = float(self.threshold(*logits))
        in_sigmoid = None if self.probabilities else self.form.sigmoid_inputs(*logits)
        numbers = [
            *(half.item() for half in self.form.d_loss(*logits)),
            _mean(self.probability(real).float().numpy()),
            _mean(self.probability(fake).float().numpy()),
            _mean(reals > limit),
            _mean(fakes <= limit),
            auc_of(reals, fakes),
            *(_mean(np.abs(x.float().numpy()) > SATURATED_LOGIT) for x in in_sigmoid or logits),
            _mean(reals),
            _mean(np.square(reals)),
            _mean(fakes),
            _mean(np.square(fakes)),
        ]
        return torch.from_numpy(np.array(numbers, np.float32))


def _mean(values: np.ndarray) -> float:
    """`values.mean()`, to float32's bit, in a quarter of its time."""
    return np.add.reduce(values, axis=None) / values.size


# How a D is asked about images (N, ...): its outputs on them, before the loss.
Ask = Callable[[nn.Module, Tensor], Tensor]


def ask_alone(d: nn.Module, images: Tensor) -> Tensor:
    """A D that needs nothing else and answers with a tensor."""
    return d(images)


class _InLogits(nn.Module):
    """A D that ends in a sigmoid, answering in logits."""

    def __init__(self, d: nn.Module, objective: GameObjective, ask: Ask) -> None:
        super().__init__()
        self.d, self._objective, self._ask = d, objective, ask
        self.training = d.training

    def forward(self, images: Tensor) -> Tensor:
        return self._objective.logits(self._ask(self.d, images))


def answering_in_logits(d: nn.Module, objective: GameObjective, ask: Ask) -> nn.Module:
    """D without what several processes need around it, and uncompiled, its answers (N, ...) as
    logits."""
    if isinstance(d, nn.parallel.DistributedDataParallel | nn.DataParallel):
        d = d.module
    for name in ("lightning_fabric", "lightning.fabric"):  # one is a copy of the other
        fabric = sys.modules.get(name)
        if fabric is not None and fabric.is_wrapped(d):
            d = d.module  # type: ignore[assignment]
    return _InLogits(getattr(d, "_orig_mod", d), objective, ask)
