"""What an action adds to D's loss, from D's logits: one function for each, and their table."""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from counterpoise.records import Action


class SmoothsLabels(Protocol):
    """A form of the adversarial loss that says what a smoothed label adds to it."""

    def smoothing_term(self, real_logits: Tensor, amount: float) -> Tensor: ...


def label_smoothing(
    action: Action, form: SmoothsLabels, real_logits: Tensor, fake_logits: Tensor
) -> Tensor | None:
    """One-sided label smoothing (Salimans et al. 2016, section 3.4), where D is trained on real
    images."""
    if not (action.label_smoothing and action.d_trains_on_real):
        return None
    return form.smoothing_term(real_logits, action.label_smoothing)


def lecam(
    action: Action, form: SmoothsLabels, real_logits: Tensor, fake_logits: Tensor
) -> Tensor | None:
    """LeCam's regulariser, weighted."""
    if not action.lecam_weight:
        return None
    anchors = action.lecam_real_anchor, action.lecam_fake_anchor
    return action.lecam_weight * lecam_penalty(real_logits, fake_logits, *anchors)


def lecam_penalty(
    real_logits: Tensor, fake_logits: Tensor, real_anchor: float, fake_anchor: float
) -> Tensor:
    """The regulariser, unweighted: a scalar with graph, in units of squared logits.

    E[relu(D(x) - fake_anchor)^2] + E[relu(real_anchor - D(G(z)))^2], with the anchors the moving
    averages of D's logits on real and fake images. D is pulled back where it parts the two kinds
    by more than it used to. Logits are (N, ...).
    Source: Tseng et al. 2021 (arXiv 2104.03310), section 3, in the one-sided form of its code.
    """
    over_fake = F.relu(real_logits - fake_anchor).square().mean()
    return over_fake + F.relu(real_anchor - fake_logits).square().mean()


# Each gives a scalar with its graph, or None where the action does not ask for it.
D_TERMS = (label_smoothing, lecam)
