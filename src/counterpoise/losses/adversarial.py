"""Adversarial forms by name: what D and G each minimise, always on logits.

A form never sees a probability: a sigmoid inside the loss would make LSGAN's gradient vanish where
D is sure, which is one way to lose a training. Logits are (N, 1) or maps (N, 1, h, w); the losses
are means over all of their values.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.registry import Registry


class AdversarialForm(Protocol):
    """The two sides of an adversarial game."""

    # Whether G's loss looks at D's logits on real images too.
    g_needs_real: bool
    # Whether each half of D's loss depends on its own logits alone.
    halves_are_independent: bool
    # Whether `probability` is one: D's belief that an image is real.
    has_probability: bool
    # D's loss (both halves together) where it cannot tell real from fake and answers as it should.
    equilibrium_d_loss: float
    # With the target 1 - s for real images, D's loss grows by s times this times the mean of what
    # it sees of them (and by what no weight depends on); 0 where D has no target for them.
    smoothing_slope: float

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The real and the fake half of D's loss: scalars whose sum is D's loss."""
        ...

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        """G's adversarial loss, a scalar."""
        ...

    def probability(self, logits: Tensor) -> Tensor:
        """What a log prints as D(x): a probability where the form has one, else the score."""
        ...

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The logit above which D counts an image as real."""
        ...


class NonSaturating:
    """Binary cross-entropy; G minimises -log D(G(z)), which does not saturate where D is sure.

    Source: Goodfellow et al. 2014, sections 3 and 4; EnhanceNet, section 4.2.4.
    """

    g_needs_real = False
    halves_are_independent = True
    has_probability = True
    equilibrium_d_loss = math.log(4)
    smoothing_slope = 1.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(-real_logits).mean(), F.softplus(fake_logits).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return F.softplus(-fake_logits).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits.new_zeros(())


class LeastSquares:
    """Least squares to the targets 1 (real) and 0 (fake), on raw scores.

    Source: Mao et al. 2017 (LSGAN), equation 9, without its factors of 1/2.
    """

    g_needs_real = False
    halves_are_independent = True
    has_probability = False
    equilibrium_d_loss = 0.5
    smoothing_slope = 2.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return (real_logits - 1).square().mean(), fake_logits.square().mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return (fake_logits - 1).square().mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits.new_full((), 0.5)


class Hinge:
    """Hinge loss for D; G raises D's score. D's score is no probability.

    Source: Lim and Ye 2017 (Geometric GAN); Miyato et al. 2018, equations 16 and 17.
    """

    g_needs_real = False
    halves_are_independent = True
    has_probability = False
    equilibrium_d_loss = 2.0
    smoothing_slope = 0.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return real_logits.new_zeros(())


class Wasserstein:
    """The critic's mean difference; needs a Lipschitz D (`loss.adversarial.gradient_penalty`).

    Scores have no zero of their own, so "real" means above the mean of all scores.
    Source: Arjovsky et al. 2017 (WGAN); Gulrajani et al. 2017 (WGAN-GP).
    """

    g_needs_real = False
    halves_are_independent = True
    has_probability = False
    equilibrium_d_loss = 0.0
    smoothing_slope = 0.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return -real_logits.mean(), fake_logits.mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return _midpoint(real_logits, fake_logits)


class RelativisticAverage:
    """Real images should score above the average fake one, and fakes below the average real one.

    The average is over the batch and, for maps, over all positions, as in ESRGAN's code.
    Under several processes the averages are those of each process's share of the batch.
    Source: Jolicoeur-Martineau 2018, section 4 (RaSGAN); both terms in G's loss as in ESRGAN.
    """

    g_needs_real = True
    halves_are_independent = False
    has_probability = False
    equilibrium_d_loss = math.log(4)
    smoothing_slope = 0.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        real, fake = _relative_to_average(real_logits, fake_logits)
        return F.softplus(-real).mean(), F.softplus(fake).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        assert real_logits is not None, "g_needs_real"
        real, fake = _relative_to_average(real_logits, fake_logits)
        return F.softplus(real).mean() + F.softplus(-fake).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return _midpoint(real_logits, fake_logits)


class RelativisticPaired:
    """Each real image should score above the fake it is paired with (here: its own upscaling).

    The loss belongs to the pair; its two halves are each half of it. Converges locally with R1 and
    R2 on (`loss.adversarial.r1` and `r2`).
    Source: Jolicoeur-Martineau 2018, section 3 (RSGAN); Huang et al. 2024 (R3GAN).
    """

    g_needs_real = True
    halves_are_independent = False
    has_probability = False
    equilibrium_d_loss = math.log(2)
    smoothing_slope = 0.0

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        half = F.softplus(fake_logits - real_logits).mean() / 2
        return half, half

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        assert real_logits is not None, "g_needs_real"
        return F.softplus(real_logits - fake_logits).mean()

    def probability(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def decision_threshold(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return _midpoint(real_logits, fake_logits)


def _relative_to_average(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    return real_logits - fake_logits.mean(), fake_logits - real_logits.mean()


def _midpoint(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    with torch.no_grad():
        return (real_logits.mean() + fake_logits.mean()) / 2


ADVERSARIAL_FORMS: Registry[AdversarialForm] = Registry(
    "adversarial form",
    ("non-saturating", NonSaturating()),
    ("lsgan", LeastSquares()),
    ("hinge", Hinge()),
    ("wgan", Wasserstein()),
    ("relativistic-average", RelativisticAverage()),
    ("relativistic-paired", RelativisticPaired()),
)
