"""Penalties on D's gradient, unweighted. They need float32, also where D runs in bf16.

D's output on an image is a logit, or the mean of its map of logits. The gradient of one image must
not depend on the others in the batch, so batch normalisation in D breaks their meaning.
"""

import torch
from torch import Tensor, nn

# Keeps the norm's derivative finite where the gradient is zero.
NORM_EPSILON = 1e-12


def r1_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Mean over images (N, ...) of |grad D|^2: R1 of real ones, R2 of fake ones.

    Weigh it with gamma / 2. Source: Mescheder et al. 2018, section 4.1.
    """
    return _image_gradients(discriminator, images).square().sum(1).mean()


def gradient_penalty(
    discriminator: nn.Module, real: Tensor, fake: Tensor, noise: torch.Generator
) -> Tensor:
    """Mean of (|grad D| - 1)^2 at random points between paired real and fake images (N, ...).

    `noise` draws the points. Source: Gulrajani et al. 2017, equation 3.
    """
    shape = (real.shape[0], *(1 for _ in real.shape[1:]))
    share = torch.rand(shape, generator=noise, device=real.device)
    between = share * real + (1 - share) * fake
    squares = _image_gradients(discriminator, between).square().sum(1)
    return ((squares + NORM_EPSILON).sqrt() - 1).square().mean()


def _image_gradients(discriminator: nn.Module, images: Tensor) -> Tensor:
    """D's gradient at each image, (N, values), differentiable with respect to D's weights."""
    images = images.detach().float().requires_grad_(True)
    with torch.autocast(images.device.type, enabled=False):
        logits = discriminator(images)
        # Images do not interact in the sum, so its gradient holds each image's own.
        total = logits.flatten(1).mean(1).sum()
    (gradients,) = torch.autograd.grad(total, images, create_graph=True)
    return gradients.flatten(1)
