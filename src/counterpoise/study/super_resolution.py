"""Super-resolution x4 of real photographs: small networks, and the situation of the question."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.config import DataConfig, DegradationConfig, DiscriminatorConfig
from counterpoise.data.catalog import scan
from counterpoise.data.resize import downscale
from counterpoise.metrics.functional import crop_border, psnr, quantise, ssim, to_luma
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.models.discriminator import build_discriminator
from counterpoise.models.features import embedded_extractor
from counterpoise.study.task import Batch, Setting, Task, drawn, training_set

SCALE = 4
# Crops that trainings draw from, and those that they are measured on.
TRAINING_CROPS, CROP_PX, HELD_OUT_CROPS, HELD_OUT_PX = 3000, 32, 48, 64
BORDER_PX = 4
# A crop whose PSNR is this far below the bicubic image's has lost its picture: the sharpest
# network of the paper, ENet-PAT, is level with bicubic (EnhanceNet, table 2).
LOST_DB = 3.0
CONTENT_LAYERS = {"pool1": 0.2, "pool2": 0.02}
_embedded = cache(embedded_extractor)


class PortGenerator(nn.Module):
    """ENet as the question's port has it: batch normalisation after every convolution."""

    def __init__(self, width: int, blocks: int = 3) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs))

        self.first = convolution(3, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, width))
            for _ in range(blocks)
        )
        self.upsampled = nn.ModuleList(convolution(width, width) for _ in range(2))
        self.last = nn.Sequential(convolution(width, width), nn.ReLU(), convolution(width, 3))

    def forward(self, lr: Tensor) -> Tensor:
        """RGB (N, 3, h, w) in [0, 1] to (N, 3, 4h, 4w), clamped to [0, 1]."""
        features = F.relu(self.first(lr))
        for block in self.blocks:
            features = features + block(features)
        for convolution in self.upsampled:
            features = F.relu(convolution(F.interpolate(features, scale_factor=2.0)))
        base = F.interpolate(lr, scale_factor=4.0, mode="bilinear")
        return (base + self.last(features)).clamp(0, 1)


@cache
def crop_pool(folders: tuple[Path, ...], crop_px: int, count: int, held_out: bool) -> Batch:
    """LR and HR crops in [0, 1], the same in every process."""
    config = DataConfig(folders=folders, crop_px=crop_px, held_out_images=4)
    catalog = scan(config, SCALE)[1 if held_out else 0]
    images = [catalog.load(index).hr for index in range(len(catalog))]
    random = np.random.default_rng(20_161_223)
    pairs = []
    for index in range(count):
        image = images[index % len(images)]
        top, left = (int(random.integers(side - crop_px + 1)) for side in image.shape[:2])
        hr = image[top : top + crop_px, left : left + crop_px]
        if not held_out and random.random() < 0.5:
            hr = hr[:, ::-1]
        hr = np.ascontiguousarray(hr)
        pairs.append((downscale(hr, SCALE, DegradationConfig()), hr))
    lr, hr_crops = (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        for images in zip(*pairs, strict=True)
    )
    return lr, hr_crops


@dataclass
class SuperResolution(Task):
    """A generator that begins from a short training on squared errors, as is usual."""

    generator: Callable[[], nn.Module]
    discriminator: str
    pretrain_steps: int
    folders: tuple[Path, ...] = ()
    score_name = "sliced_wasserstein"

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        norm = "instance" if setting.d_norm == "layer" else setting.d_norm
        config = {"name": self.discriminator, "width": setting.d_width, "norm": norm}
        d = build_discriminator(DiscriminatorConfig.model_validate(config), CROP_PX)
        g = self.generator()
        g.load_state_dict(_pretrained(self.folders, self.generator, self.pretrain_steps, seed))
        return g, d

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        lr, hr = crop_pool(self.folders, CROP_PX, TRAINING_CROPS, False)
        rows = training_set(hr, setting.train_samples)
        return drawn((lr[rows], hr[rows]), setting.batch_size, seed + 1)

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor:
        extractor, layers = _embedded(), tuple(CONTENT_LAYERS)
        with torch.no_grad():
            targets = extractor(real, layers)
        features = extractor(fake, layers)
        terms = [w * F.mse_loss(features[k], targets[k]) for k, w in CONTENT_LAYERS.items()]
        return torch.stack(terms).sum()

    def measure(self, generator: nn.Module) -> dict[str, float]:
        lr, real = crop_pool(self.folders, HELD_OUT_PX, HELD_OUT_CROPS, True)
        fake = generator(lr)
        luma = [crop_border(to_luma(quantise(x)), BORDER_PX) for x in (fake, real)]
        plain = crop_border(to_luma(quantise(bicubic_upsample(lr, SCALE, "half-pixel"))), BORDER_PX)
        values, reference = psnr(*luma), psnr(plain, luma[1])
        distances = sliced_wasserstein(quantise(fake), real, patches_per_image=64, projections=128)
        return {
            "psnr_y": float(values.mean()),
            "ssim_y": float(ssim(*luma).mean()),
            "sliced_wasserstein": sum(distances.values()) / len(distances),
            "coverage": float((values > reference - LOST_DB).float().mean()),
        }


@cache
def _pretrained(
    folders: tuple[Path, ...], generator: Callable[[], nn.Module], steps: int, seed: int
) -> dict[str, Tensor]:
    """G after its training on squared errors alone; once for each process and seed."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        g = generator()
        optimizer = torch.optim.Adam(g.parameters(), 1e-3)
        pairs = drawn(crop_pool(folders, CROP_PX, TRAINING_CROPS, False), 16, seed)
        for _, (lr, hr) in zip(range(steps), pairs, strict=False):
            optimizer.zero_grad()
            F.mse_loss(g(lr), hr).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return g.state_dict()
