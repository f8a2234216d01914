"""Adversarial forms by name: what D and G each minimise, always on logits.

A form never sees a probability: a sigmoid inside the loss would make LSGAN's gradient vanish where
D is sure, which is one way to lose a training (`lsgan-on-sigmoid` is that way, to study it). Logits
are (N, 1) or maps (N, 1, h, w); the losses are means over all of their values. What is known of
each form beside its code is its row in `counterpoise.objectives`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from counterpoise.objectives import OBJECTIVES, Objective
from counterpoise.registry import Registry

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class AdversarialForm:
    """The two sides of an adversarial game, with the facts of its objective."""

    name: str  # a row of `OBJECTIVES`
    what: str  # what it is, and its source
    # The halves of D's loss, of each value that the loss sees on real and on fake images.
    of_real: Callable[[Tensor], Tensor]
    of_fake: Callable[[Tensor], Tensor]
    # G's loss, of each value on fake images; None: what D's is on real ones.
    of_g: Callable[[Tensor], Tensor] | None = None
    # What the losses see of the logits on real and on fake images, shaped as these.
    seen: Callable[[Tensor, Tensor], Pair] = lambda real, fake: (real, fake)
    # The logit above which D counts an image as real; None where scores have no zero of their own:
    # then it is the middle between real and fake ones.
    threshold: float | None = 0.0

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.name]

    @property
    def g_needs_real(self) -> bool:
        """Whether G's loss looks at D's logits on real images too."""
        return self.objective.compares_scores

    def d_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Pair:
        """The real and the fake half of D's loss: scalars whose sum is D's loss."""
        real, fake = self.seen(real_logits, fake_logits)
        return self.of_real(real).mean(), self.of_fake(fake).mean()

    def g_loss(self, real_logits: Tensor | None, fake_logits: Tensor) -> Tensor:
        """G's adversarial loss, a scalar; `real_logits` may be None unless `g_needs_real`."""
        if not self.g_needs_real:
            return (self.of_g or self.of_real)(fake_logits).mean()
        assert real_logits is not None, "g_needs_real"
        on_fake, on_real = self.d_loss(fake_logits, real_logits)  # with the roles exchanged
        return on_fake + on_real

    def probability(self, logits: Tensor) -> Tensor:
        """What a log prints as D(x): behind the loss's sigmoid where it has one, else the score."""
        return logits.sigmoid() if self.objective.has_sigmoid else logits

    def sigmoid_inputs(self, real_logits: Tensor, fake_logits: Tensor) -> Pair | None:
        """What the loss's sigmoid sees for real and for fake images, shaped as the logits are;
        None where the loss has none. Far from 0 its slope is gone."""
        return self.seen(real_logits, fake_logits) if self.objective.has_sigmoid else None


_FORMS = (
    AdversarialForm(
        "non-saturating",
        """Binary cross-entropy; G minimises -log D(G(z)), which does not saturate where D is sure.

        Source: Goodfellow et al. 2014, sections 3 and 4; EnhanceNet, section 4.2.4.
        """,
        of_real=lambda logits: F.softplus(-logits),
        of_fake=lambda logits: F.softplus(logits),
    ),
    AdversarialForm(
        "lsgan",
        """Least squares to the targets 1 (real) and 0 (fake), on raw scores.

        Source: Mao et al. 2017 (LSGAN), equation 9, without its factors of 1/2.
        """,
        of_real=lambda scores: (scores - 1).square(),
        of_fake=lambda scores: scores.square(),
        threshold=0.5,
    ),
    AdversarialForm(
        "lsgan-on-sigmoid",
        """Least squares of D's probabilities: no gradient where D is sure, be it right or wrong.

        Here because people train with it unawares (a sigmoid left in D, under a squared error); the
        finding `lsgan-on-sigmoid` says what to do instead.
        """,
        of_real=lambda logits: (logits.sigmoid() - 1).square(),
        of_fake=lambda logits: logits.sigmoid().square(),
    ),
    AdversarialForm(
        "linear-on-sigmoid",
        """1 - D(x) and D(G(z)), D's probabilities themselves: no gradient where D is sure.

        Here because a public SRGAN (leftthomas/SRGAN), and many after it, train with it.
        """,
        of_real=lambda logits: 1 - logits.sigmoid(),
        of_fake=lambda logits: logits.sigmoid(),
    ),
    AdversarialForm(
        "hinge",
        """Hinge loss for D; G raises D's score. D's score is no probability.

        Source: Lim and Ye 2017 (Geometric GAN); Miyato et al. 2018, equations 16 and 17.
        """,
        of_real=lambda scores: F.relu(1 - scores),
        of_fake=lambda scores: F.relu(1 + scores),
        of_g=lambda scores: -scores,
    ),
    AdversarialForm(
        "wgan",
        """The critic's mean difference; needs a Lipschitz D (`loss.adversarial.gradient_penalty`).

        Scores have no zero of their own, so "real" means above the mean of all scores.
        Source: Arjovsky et al. 2017 (WGAN); Gulrajani et al. 2017 (WGAN-GP).
        """,
        of_real=lambda scores: -scores,
        of_fake=lambda scores: scores,
        threshold=None,
    ),
    AdversarialForm(
        "relativistic-average",
        """Real images should score above the average fake one, fakes below the average real one.

        The average is over the batch and, for maps, over all positions, as in ESRGAN's code.
        Under several processes the averages are those of each process's share of the batch.
        Source: Jolicoeur-Martineau 2018, section 4 (RaSGAN); both terms in G's loss as in ESRGAN.
        """,
        of_real=lambda logits: F.softplus(-logits),
        of_fake=lambda logits: F.softplus(logits),
        seen=lambda real, fake: (real - fake.mean(), fake - real.mean()),
        threshold=None,
    ),
    AdversarialForm(
        "relativistic-paired",
        """Each real image should score above the fake it is paired with (here: its own upscaling).

        The loss belongs to the pair; its two halves are each half of it. Converges locally with R1
        and R2 on (`loss.adversarial.r1` and `r2`).
        Source: Jolicoeur-Martineau 2018, section 3 (RSGAN); Huang et al. 2024 (R3GAN).
        """,
        of_real=lambda logits: F.softplus(-logits) / 2,
        of_fake=lambda logits: F.softplus(-logits) / 2,
        seen=lambda real, fake: (real - fake, real - fake),
        threshold=None,
    ),
    AdversarialForm(
        "relativistic-hinge",
        """The relativistic average with a hinge: real images should score 1 above the average fake.

        Scores have no zero of their own; D's and G's losses add up to 4, and to more where margins
        are exceeded.
        Source: Jolicoeur-Martineau 2018, section 4 (RaHingeGAN); BMSG-GAN (Karnewar and Wang 2020).
        """,
        of_real=lambda scores: F.relu(1 - scores),
        of_fake=lambda scores: F.relu(1 + scores),
        seen=lambda real, fake: (real - fake.mean(), fake - real.mean()),
        threshold=None,
    ),
)
ADVERSARIAL_FORMS: Registry[AdversarialForm] = Registry(
    "adversarial form", *((form.name, form) for form in _FORMS)
)
