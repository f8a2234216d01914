"""What R1 needs of a discriminator, and what is left of an action where it cannot be had."""

import dataclasses

from torch import nn

from counterpoise.records import Action

UNMET = "the policy adds R1 to D's loss, and cannot: {why}; it does without"
MIXES_IMAGES = (
    "D has batch normalisation, so the gradients of single images that R1 needs do not exist"
)


def mixes_images(discriminator: nn.Module) -> bool:
    """Whether D's answer on an image depends on the others of its batch."""
    kinds = nn.modules.batchnorm._BatchNorm
    return any(isinstance(module, kinds) and module.training for module in discriminator.modules())


def without_r1(action: Action) -> Action:
    """The action without R1, and without the further steps of D, which are only good with it."""
    return dataclasses.replace(action, r1_weight=0.0, d_steps=min(action.d_steps, 1))
