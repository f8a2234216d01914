"""Questions that are put to D beside its training, and that leave no trace in it.

D answers through `torch.func.functional_call` on copies of its buffers: BatchNorm's running
statistics and spectral normalisation's vectors stay as they are, also while a backward pass through
D is still to come, and dropout draws from a copy of the random state.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from counterpoise.sensors.discriminator import auc, image_means

BORDER_PX = 4

ImageChange = Callable[[Tensor], Tensor]


class Aside(nn.Module):
    """D, asked aside: its logits on images (N, ...), float32, in the mode that D is in.

    It has weights of its own, leaves that share D's memory: a backward pass fills their gradients,
    not D's.
    """

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self._discriminator = discriminator
        self._places = dict(_places(discriminator, "_parameters"))
        # By the weight that they stand for: D may have one in several places.
        self.own = {w: w.detach().requires_grad_(w.requires_grad) for w in self._places.values()}
        self._copies = {k: buffer.clone() for k, buffer in _places(discriminator, "_buffers")}

    def forward(self, images: Tensor) -> Tensor:
        weights = {place: self.own[weight] for place, weight in self._places.items()}
        tensors = weights | self._copies
        return functional_call(self._discriminator, tensors, (images,), tie_weights=False).float()


def _places(module: nn.Module, kind: str) -> Iterator[tuple[str, Tensor]]:
    """All places of parameters or buffers, with the full name, each place once: a module may have
    several names, and `functional_call` would put its tensors back in the wrong order."""
    for path, part in module.named_modules():
        for name, value in getattr(part, kind).items():
            if value is not None:
                yield f"{path}.{name}" if path else name, value


def logits_aside(discriminator: nn.Module, images: Tensor) -> Tensor:
    """D's logits on images (N, ...), float32 without graph, in the mode that D is in."""
    with torch.no_grad(), random_state_kept(images.device):
        return Aside(discriminator)(images)


def held_out_readings(
    discriminator: nn.Module, held_out_real: Tensor, threshold: float | Tensor
) -> dict[str, Tensor]:
    """D's mean logit and accuracy on real images that it is not trained on, (N, ...): scalars by
    the names of `records.Readings`.

    `threshold` is the logit above which D counts an image as real. Far below what D shows on
    training images: it has learned them by heart.
    """
    logits = image_means(logits_aside(discriminator, held_out_real))
    return {
        "held_out_logit_mean": logits.mean(),
        "d_accuracy_held_out": (logits > threshold).float().mean(),
    }


def leak_readings(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    value_range: tuple[float, float] = (0.0, 1.0),
    change_real: ImageChange = lambda images: images,
    change_fake: ImageChange = lambda images: images,
) -> dict[str, Tensor]:
    """D's AUC where it cannot use what no generator could mend; beside `Signals.auc`. Scalars by
    the names of `records.Readings`.

    `real` and `fake` are images (N, C, H, W), their values within `value_range` where they are
    valid. Quantised: fakes are clamped to that range and rounded to 256 levels, as real images that
    came from files are. Border hidden: the outermost pixels of both are overwritten by what lies
    inside, so that padding on one side alone shows no more (not for images of under 12 pixels).
    `change_real` and `change_fake` are what is done to D's inputs in this step.
    """
    real, fake = real.detach(), fake.detach()
    pairs = {"auc_quantised": (real, quantised(fake, value_range))}
    if min(real.shape[-2:]) >= 3 * BORDER_PX:
        pairs["auc_border_hidden"] = hide_border(real), hide_border(fake)
    readings = {}
    for name, (of_real, of_fake) in pairs.items():
        on_real = logits_aside(discriminator, change_real(of_real))
        on_fake = logits_aside(discriminator, change_fake(of_fake))
        readings[name] = torch.tensor(auc(on_real, on_fake), device=real.device)
    return readings


def quantised(images: Tensor, value_range: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Images clamped to the range and rounded to its 256 levels, as if stored with 8 bits."""
    low, high = value_range
    levels = (images.clamp(low, high) - low).mul(255 / (high - low)).round()
    return levels / 255 * (high - low) + low


def hide_border(images: Tensor) -> Tensor:
    """Images (N, C, H, W) whose outermost 4 pixels mirror what is inside of them."""
    inside = images[..., BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX]
    return nn.functional.pad(inside, (BORDER_PX,) * 4, mode="reflect")


def random_state_kept(device: torch.device) -> AbstractContextManager[None]:
    """Draws in here are from copies of the host's and the device's random state."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
