"""What G minimises: E, P, T and A, weighted and by name.

The paper leaves some readings open; those with an option are told of at it (`loss.pixel.reduction`,
`features.normalisation`, `loss.texture.patches_of`). T's squared error is its mean over the entries
of the Gram matrices and over patches, as the ports have it, with the published weights of about
1e-6. That E's weight is 1 beside A is not confirmed.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from counterpoise.config import LossConfig
from counterpoise.losses.adversarial import AdversarialForm
from counterpoise.losses.content import cut_patches, perceptual_loss, pixel_loss, texture_loss

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
