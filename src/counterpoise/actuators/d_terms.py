"""What an action adds to D's loss, from D's logits."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from counterpoise.records import Action


def d_terms(action: Action, real_logits: Tensor, fake_logits: Tensor) -> Iterator[Tensor]:
    """The terms that the action asks for, weighted scalars with their graph."""
    if action.lecam_weight:
        anchors = action.lecam_real_anchor, action.lecam_fake_anchor
        yield action.lecam_weight * lecam_penalty(real_logits, fake_logits, *anchors)


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
