"""Adversarial forms by name: what D and G each minimise, always on logits.

A form never sees a probability: a sigmoid inside the loss would make LSGAN's gradient vanish where
D is sure, which is one way to lose a training (`lsgan-on-sigmoid` is that way, to study it). Logits
are (N, 1) or maps (N, 1, h, w); the losses are means over all of their values. What is known of
each form beside its code is its row in `counterpoise.objectives`.
"""

import abc

import torch.nn.functional as F
from torch import Tensor

from counterpoise.objectives import OBJECTIVES, Objective
from counterpoise.registry import Registry


class AdversarialForm(abc.ABC):
    """The two sides of an adversarial game, with the facts of its objective."""

    # The logit above which D counts an image as real; None where scores have no zero of their own:
    # then it is the middle between real and fake ones.
    threshold: float | None = 0.0

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        # Whether G's loss looks at D's logits on real images too.
        self.g_needs_real = objective.compares_scores

    @abc.abstractmethod
    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        """The real and the fake half of D's loss: scalars whose sum is D's loss."""

    @abc.abstractmethod
    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        """G's adversarial loss, a scalar; `real_logits` may be None unless `g_needs_real`."""

    def probability(self, logits: Tensor) -> Tensor:
        """What a log prints as D(x): behind the loss's sigmoid where it has one, else the score."""
        return logits.sigmoid() if self.objective.has_sigmoid else logits

    def sigmoid_inputs(
        self, real_logits: Tensor, fake_logits: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """What the loss's sigmoid sees for real and for fake images, shaped as the logits are;
        None where the loss has none. Far from 0 its slope is gone."""
        return (real_logits, fake_logits) if self.objective.has_sigmoid else None


class NonSaturating(AdversarialForm):
    """Binary cross-entropy; G minimises -log D(G(z)), which does not saturate where D is sure.

    Source: Goodfellow et al. 2014, sections 3 and 4; EnhanceNet, section 4.2.4.
    """

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(-real_logits).mean(), F.softplus(fake_logits).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return F.softplus(-fake_logits).mean()


class LeastSquares(AdversarialForm):
    """Least squares to the targets 1 (real) and 0 (fake), on raw scores.

    Source: Mao et al. 2017 (LSGAN), equation 9, without its factors of 1/2.
    """

    threshold = 0.5

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return (real_logits - 1).square().mean(), fake_logits.square().mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return (fake_logits - 1).square().mean()


class LeastSquaresOnSigmoid(AdversarialForm):
    """Least squares of D's probabilities: no gradient where D is sure, be it right or wrong.

    Here because people train with it unawares (a sigmoid left in D, under a squared error); the
    finding `lsgan-on-sigmoid` says what to do instead.
    """

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return (real_logits.sigmoid() - 1).square().mean(), fake_logits.sigmoid().square().mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return (fake_logits.sigmoid() - 1).square().mean()


class Hinge(AdversarialForm):
    """Hinge loss for D; G raises D's score. D's score is no probability.

    Source: Lim and Ye 2017 (Geometric GAN); Miyato et al. 2018, equations 16 and 17.
    """

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return F.relu(1 - real_logits).mean(), F.relu(1 + fake_logits).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


class Wasserstein(AdversarialForm):
    """The critic's mean difference; needs a Lipschitz D (`loss.adversarial.gradient_penalty`).

    Scores have no zero of their own, so "real" means above the mean of all scores.
    Source: Arjovsky et al. 2017 (WGAN); Gulrajani et al. 2017 (WGAN-GP).
    """

    threshold = None

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return -real_logits.mean(), fake_logits.mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        return -fake_logits.mean()


class RelativisticAverage(AdversarialForm):
    """Real images should score above the average fake one, and fakes below the average real one.

    The average is over the batch and, for maps, over all positions, as in ESRGAN's code.
    Under several processes the averages are those of each process's share of the batch.
    Source: Jolicoeur-Martineau 2018, section 4 (RaSGAN); both terms in G's loss as in ESRGAN.
    """

    threshold = None

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        real, fake = self.sigmoid_inputs(real_logits, fake_logits)
        return F.softplus(-real).mean(), F.softplus(fake).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        assert real_logits is not None, "g_needs_real"
        on_fake, on_real = self.d_loss(fake_logits, real_logits)  # with the roles exchanged
        return on_fake + on_real

    def sigmoid_inputs(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        return real_logits - fake_logits.mean(), fake_logits - real_logits.mean()


class RelativisticPaired(AdversarialForm):
    """Each real image should score above the fake it is paired with (here: its own upscaling).

    The loss belongs to the pair; its two halves are each half of it. Converges locally with R1 and
    R2 on (`loss.adversarial.r1` and `r2`).
    Source: Jolicoeur-Martineau 2018, section 3 (RSGAN); Huang et al. 2024 (R3GAN).
    """

    threshold = None

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        half = F.softplus(fake_logits - real_logits).mean() / 2
        return half, half

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        assert real_logits is not None, "g_needs_real"
        return F.softplus(real_logits - fake_logits).mean()

    def sigmoid_inputs(self, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
        difference = real_logits - fake_logits
        return difference, difference


ADVERSARIAL_FORMS: Registry[AdversarialForm] = Registry(
    "adversarial form",
    *(
        (name, form(OBJECTIVES[name]))
        for name, form in (
            ("non-saturating", NonSaturating),
            ("lsgan", LeastSquares),
            ("lsgan-on-sigmoid", LeastSquaresOnSigmoid),
            ("hinge", Hinge),
            ("wgan", Wasserstein),
            ("relativistic-average", RelativisticAverage),
            ("relativistic-paired", RelativisticPaired),
        )
    ),
)
