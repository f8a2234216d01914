"""Penalties on D's gradient, unweighted. The exact ones need float32, also where D runs in bf16.

D's output on an image is a logit, or the mean of its map of logits. The gradient of one image must
not depend on the others in the batch, so batch normalisation in D breaks the meaning of the exact
ones.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

# Keeps the norm's derivative finite where the gradient is zero.
NORM_EPSILON = 1e-12
# Of the noise that R1 is estimated with: its standard deviation over that of the images' values.
NOISE_SHARE = 0.1


def r1_penalty(discriminator: nn.Module, images: Tensor) -> Tensor:
    """Mean over images (N, ...) of |grad D|^2: R1 of real ones, R2 of fake ones.

    Weigh it with gamma / 2. Source: Mescheder et al. 2018, section 4.1.
    """
    return _image_gradients(discriminator, images).square().sum(1).mean()


def estimated_r1_penalty(
    discriminator: Callable[[Tensor], Tensor], images: Tensor, noise: torch.Generator | None = None
) -> Tensor:
    """`r1_penalty` by one difference: the mean of (D(x + s e) - D(x))^2 / s^2, e standard normal.

    It has no second derivative, so it can be had of any D, in bf16, compiled and in CUDA graphs. D
    sees both kinds in one batch: batch normalisation then treats them alike. To first order in s
    (`NOISE_SHARE` of the images' standard deviation) its expectation is R1; a batch's value is off
    by sqrt(2 / N) of it. Source: Lin et al. 2025 (APT), section 3.2, there with a fixed s and
    weight.
    """
    images = images.detach()
    # Images that are all alike have no scale of their own.
    scale = (NOISE_SHARE * images.float().std()).clamp_min(NORM_EPSILON)
    drawn = torch.randn(images.shape, generator=noise, device=images.device)
    noisy = images + (scale * drawn).to(images.dtype)
    logits, of_noisy = discriminator(torch.cat([images, noisy])).flatten(1).mean(1).float().chunk(2)
    return ((of_noisy - logits) / scale).square().mean()


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
    # A D that judges several samples at once, packed, has one logit for them.
    return gradients.reshape(len(logits) if len(images) % len(logits) == 0 else len(images), -1)
