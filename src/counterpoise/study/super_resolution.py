"""Super-resolution x4 of real photographs: small networks, and the situation of the question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.config import DataConfig, DiscriminatorConfig, GeneratorConfig
from counterpoise.data.catalog import Catalog, scan
from counterpoise.data.resize import downscale
from counterpoise.metrics.functional import crop_border, psnr, quantise, ssim, to_luma
from counterpoise.metrics.perceptual import ALEXNET, lpips
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.models.discriminator import build_discriminator
from counterpoise.models.features import EmbeddedExtractor
from counterpoise.models.generator import build_generator
from counterpoise.study.port import PortGenerator
from counterpoise.study.setting import Setting
from counterpoise.study.task import TRAINING_SET_SEED, Batch, drawn

SCALE = 4
# Crops that trainings draw from, and those that they are measured on.
TRAINING_CROPS, HELD_OUT_CROPS, HELD_OUT_PX = 3000, 48, 64
BORDER_PX = 4
# A crop whose PSNR is this far below the bicubic image's has lost its picture: the sharpest
# network of the paper, ENet-PAT, is level with bicubic (EnhanceNet, table 2).
LOST_DB = 3.0


@cache
def crop_pool(folders: tuple[Path, ...], crop_px: int, count: int, held_out: bool) -> Batch:
    """LR and HR crops in [0, 1], the same in every process."""
    config = DataConfig(folders=folders, crop_px=crop_px, held_out_images=4)
    catalogs = scan(config, SCALE)
    images = _decoded(catalogs[1 if held_out else 0])
    random = np.random.default_rng(20_161_223)
    pairs = []
    for index in range(count):
        image = images[index % len(images)]
        top, left = (int(random.integers(side - crop_px + 1)) for side in image.shape[:2])
        hr = image[top : top + crop_px, left : left + crop_px]
        if not held_out and random.random() < 0.5:
            hr = hr[:, ::-1]
        hr = np.ascontiguousarray(hr)
        pairs.append((downscale(hr, SCALE, "bicubic"), hr))
    lr, hr_crops = (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        for images in zip(*pairs, strict=True)
    )
    return lr, hr_crops


def _decoded(catalog: Catalog) -> list[np.ndarray]:
    return [catalog.load(index).hr for index in range(len(catalog))]


@dataclass
class SuperResolution:
    """A generator that begins from a short training on squared errors, as is usual."""

    description: str
    setting: Setting
    width: int
    blocks: int
    crop_px: int = 32
    pretrain_steps: int = 0
    discriminator: str = "patchgan"
    folders: tuple[Path, ...] = ()
    # The question's generator, and its features as they come.
    is_port: bool = False
    layers: tuple[tuple[str, float], ...] = (("pool1", 0.2), ("pool2", 0.02))
    score_name: str = "sliced_wasserstein"
    higher_is_better: bool = False

    def networks(self, setting: Setting, seed: int) -> tuple[nn.Module, nn.Module]:
        norm = {"layer": "instance"}.get(setting.d_norm, setting.d_norm)
        d = build_discriminator(
            DiscriminatorConfig.model_validate(
                {"name": self.discriminator, "width": setting.d_width, "norm": norm}
            ),
            self.crop_px,
        )
        generator = self._generator()
        generator.load_state_dict(self._pretrained(seed))
        return generator, d

    def batches(self, setting: Setting, seed: int) -> Iterator[Batch]:
        lr, hr = crop_pool(self.folders, self.crop_px, TRAINING_CROPS, False)
        if setting.train_samples:
            draw = torch.Generator().manual_seed(TRAINING_SET_SEED)
            rows = torch.randperm(len(hr), generator=draw)[: setting.train_samples]
            lr, hr = lr[rows], hr[rows]
        return drawn((lr, hr), setting.batch_size, seed + 1)

    def content_loss(self, fake: Tensor, real: Tensor) -> Tensor | None:
        extractor, layers = _extractor(), dict(self.layers)
        with torch.no_grad():
            targets = extractor(real, tuple(layers))
        features = extractor(fake, tuple(layers))
        terms = [w * F.mse_loss(features[k], targets[k]) for k, w in layers.items()]
        return torch.stack(terms).sum()

    def measure(self, generator: nn.Module) -> dict[str, float]:
        lr, real = crop_pool(self.folders, HELD_OUT_PX, HELD_OUT_CROPS, True)
        fake = generator(lr)
        luma = [crop_border(to_luma(quantise(x)), BORDER_PX) for x in (fake, real)]
        plain = crop_border(to_luma(quantise(bicubic_upsample(lr, SCALE, "half-pixel"))), BORDER_PX)
        values, reference = psnr(*luma), psnr(plain, luma[1])
        distances = sliced_wasserstein(quantise(fake), real, patches_per_image=64, projections=128)
        perceptual = {}
        if not ALEXNET.why_missing():
            perceptual["lpips"] = float(lpips()(quantise(fake), real).mean())
        return perceptual | {
            "psnr_y": float(values.mean()),
            "ssim_y": float(ssim(*luma).mean()),
            "rmse": float((255 * (luma[0] - luma[1]).square().flatten(1).mean(1).sqrt()).mean()),
            "sliced_wasserstein": sum(distances.values()) / len(distances),
            "coverage": float((values > reference - LOST_DB).float().mean()),
        }

    def _generator(self) -> nn.Module:
        if self.is_port:
            return PortGenerator(self.width, self.blocks)
        return build_generator(GeneratorConfig(width=self.width, blocks=self.blocks))

    def _pretrained(self, seed: int) -> dict[str, Tensor]:
        """G after its training on squared errors alone; once for each process and seed."""
        key = (
            self.folders,
            self.is_port,
            self.width,
            self.blocks,
            self.crop_px,
            self.pretrain_steps,
            seed,
        )
        if key not in _PRETRAINED:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(seed)
                generator = self._generator()
                optimizer = torch.optim.Adam(generator.parameters(), 1e-3)
                pool = crop_pool(self.folders, self.crop_px, TRAINING_CROPS, False)
                pairs = drawn(pool, 16, seed)
                for _, (lr, hr) in zip(range(self.pretrain_steps), pairs, strict=False):
                    optimizer.zero_grad()
                    F.mse_loss(generator(lr), hr).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
            _PRETRAINED[key] = {k: v.detach().clone() for k, v in generator.state_dict().items()}
        return _PRETRAINED[key]


_PRETRAINED: dict[Sequence[object], dict[str, Tensor]] = {}


@cache
def _extractor() -> EmbeddedExtractor:
    return EmbeddedExtractor()
