"""What G minimises: E, P, T and A, weighted and by name.

The paper leaves some readings open; those with an option are told of at it (`loss.pixel.reduction`,
`features.normalisation`, `loss.texture.patches_of`). T's squared error is its mean over the entries
of the Gram matrices and over patches, as the ports have it, with the published weights of about
1e-6. That E's weight is 1 beside A is not confirmed.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.config import LossConfig
from counterpoise.losses.adversarial import AdversarialForm

FeatureFunction = Callable[[Tensor, Sequence[str]], dict[str, Tensor]]


class GeneratorLoss:
    """G's loss by term. `features` may be None where no term needs them."""

    def __init__(
        self, config: LossConfig, form: AdversarialForm, features: FeatureFunction | None
    ) -> None:
        if config.needs_features and features is None:
            raise ValueError("perceptual and texture terms need features")
        self._config, self._form, self._features = config, form, features

    def terms(
        self, fake: Tensor, real: Tensor, real_logits: Tensor | None, fake_logits: Tensor | None
    ) -> dict[str, Tensor]:
        """The weighted terms that are on, as scalars; their sum is G's loss.

        `fake` and `real` are (N, 3, H, W) in [0, 1]; gradients flow to `fake` and `fake_logits`.
        Names: `pixel`, `perceptual/LAYER`, `texture/LAYER`, `adversarial`.
        """
        config = self._config
        terms: dict[str, Tensor] = {}
        if config.pixel.weight:
            loss = pixel_loss(fake, real, config.pixel.reduction)
            terms["pixel"] = config.pixel.weight * loss
        if self._features is not None:
            terms |= self._feature_terms(fake, real, self._features)
        if config.adversarial.weight and fake_logits is not None:
            loss = self._form.g_loss(real_logits, fake_logits)
            terms["adversarial"] = config.adversarial.weight * loss
        return terms

    def _feature_terms(
        self, fake: Tensor, real: Tensor, features: FeatureFunction
    ) -> dict[str, Tensor]:
        perceptual, texture = self._config.perceptual, self._config.texture
        whole = dict.fromkeys(perceptual.layers)
        if texture.patches_of == "features":
            whole |= dict.fromkeys(texture.layers)
        fakes, reals = _both(features, fake, real, list(whole))
        terms = {
            f"perceptual/{layer}": weight * perceptual_loss(fakes[layer], reals[layer])
            for layer, weight in perceptual.layers.items()
        }
        if texture.layers and texture.patches_of == "image":
            fake_patches = cut_patches(fake, texture.patch_px)
            real_patches = cut_patches(real, texture.patch_px)
            fakes, reals = _both(features, fake_patches, real_patches, list(texture.layers))
        for layer, weight in texture.layers.items():
            loss = texture_loss(fakes[layer], reals[layer], texture.patch_px)
            terms[f"texture/{layer}"] = weight * loss
        return terms


def _both(
    features: FeatureFunction, fake: Tensor, real: Tensor, layers: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Features of fake and real images; the target's need no gradient."""
    if not layers:
        return {}, {}
    with torch.no_grad():
        targets = features(real, layers)
    return features(fake, layers), targets


def pixel_loss(fake: Tensor, real: Tensor, reduction: Literal["mean", "sum"]) -> Tensor:
    """E: squared error of images (N, C, H, W) in [0, 1].

    `mean` is over all values; `sum` is the squared norm of an image's error, mean over the batch.
    Source: EnhanceNet, section 4.2.1.
    """
    loss = F.mse_loss(fake, real)
    return loss * real[0].numel() if reduction == "sum" else loss


def perceptual_loss(fake: Tensor, real: Tensor) -> Tensor:
    """P: mean squared error of one layer's features (N, C, h, w).

    Source: EnhanceNet, section 4.2.2.
    """
    return F.mse_loss(fake, real)


def texture_loss(fake: Tensor, real: Tensor, patch_px: int) -> Tensor:
    """T: squared error of Gram matrices of co-located patches of one layer's features (N, C, h, w).

    Patches are `patch_px` square and do not overlap; a rim that does not fill a patch is left out,
    and a map smaller than a patch is one patch. The Gram matrices F F^T are not normalised; the
    mean is over matrix entries, patches and images.
    Source: EnhanceNet, section 4.2.3.
    """
    return F.mse_loss(gram_matrices(fake, patch_px), gram_matrices(real, patch_px))


def gram_matrices(features: Tensor, patch_px: int) -> Tensor:
    """F F^T of each patch: (N, C, h, w) -> (N * patches, C, C), un-normalised, in float32."""
    # Autocast would take the product in bf16, whatever the features are.
    with torch.autocast(features.device.type, enabled=False):
        patches = cut_patches(features.float(), patch_px).flatten(2)
        return patches @ patches.transpose(1, 2)


def cut_patches(images: Tensor, patch_px: int) -> Tensor:
    """Non-overlapping square patches in reading order: (N, C, H, W) -> (N * patches, C, p, p).

    A rim that does not fill a patch is left out; an image smaller than a patch on a side is taken
    whole on that side.
    """
    count, channels, height, width = images.shape
    patch_height, patch_width = min(patch_px, height), min(patch_px, width)
    rows, columns = height // patch_height, width // patch_width
    images = images[..., : rows * patch_height, : columns * patch_width]
    grid = images.reshape(count, channels, rows, patch_height, columns, patch_width)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, patch_height, patch_width)
