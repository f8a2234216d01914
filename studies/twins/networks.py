"""The networks of the games with pictures, in the families that people train, made small."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from measures import doubled
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

Norm = Callable[[int], nn.Module]


def convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Of 3 by 3 pixels, which keeps the side."""
    return nn.Conv2d(channels_in, channels_out, 3, padding=1)


def down(channels_in: int, channels_out: int, norm: Norm | None = None) -> nn.Sequential:
    """Half of the side."""
    layer = nn.Conv2d(channels_in, channels_out, 4, 2, 1, bias=norm is None)
    norms = [norm(channels_out)] if norm else []
    return nn.Sequential(layer, *norms, nn.LeakyReLU(0.2))


def downs(*channels: int, norm: Norm | None = None) -> list[nn.Module]:
    """Half of the side with each; the first never has a norm, as in DCGAN."""
    pairs = enumerate(pairwise(channels))
    return [down(before, after, norm if place else None) for place, (before, after) in pairs]


def up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice the side."""
    layer = nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(channels_out), nn.ReLU())


def shuffled_up(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice the side, by sub-pixels."""
    layer = convolution(channels_in, 4 * channels_out)
    return nn.Sequential(layer, nn.PixelShuffle(2), nn.LeakyReLU(0.2))


def dcgan_initialised(network: nn.Module) -> nn.Module:
    """The network, with weights as DCGAN begins."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
    return network


class Residual(nn.Module):
    """Two convolutions beside their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = convolution(width, width), convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(x), 0.2))


class UNet(nn.Module):
    """pix2pix's generator, for 32 pixels."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.down1, self.down2, self.down3 = downs(channels_in, 32, 64, 128, norm=nn.BatchNorm2d)
        self.up3, self.up2 = up(128, 64), up(128, 32)
        self.up1 = nn.ConvTranspose2d(64, 32, 4, 2, 1)
        self.last = convolution(32 + channels_in, 3)

    def forward(self, x: Tensor) -> Tensor:
        half = self.down1(x)
        quarter = self.down2(half)
        y = self.up3(self.down3(quarter))
        y = self.up2(torch.cat([y, quarter], 1))
        y = F.relu(self.up1(torch.cat([y, half], 1)))
        return self.last(torch.cat([y, x], 1)).tanh()


def patch_discriminator(channels_in: int) -> nn.Module:
    """pix2pix's PatchGAN with two strides: a map of logits."""
    body = downs(channels_in, 32, 64, norm=nn.BatchNorm2d)
    head = convolution(64, 128), nn.BatchNorm2d(128), nn.LeakyReLU(0.2), convolution(128, 1)
    return dcgan_initialised(nn.Sequential(*body, *head))


class Upscaler(nn.Module):
    """SRResNet, small, beside bilinear interpolation; four times the side."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.first = convolution(3, width)
        self.body = nn.Sequential(*(Residual(width) for _ in range(3)))
        self.up = nn.Sequential(shuffled_up(width, width), shuffled_up(width, width))
        self.high, self.last = convolution(width, width), convolution(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = self.up(y + self.body(y))
        smooth = F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)
        return self.last(F.leaky_relu(self.high(y), 0.2)) + smooth


def srgan_discriminator() -> nn.Sequential:
    """SRGAN's, for 32 pixels: one logit."""
    first = convolution(3, 32), nn.LeakyReLU(0.2)
    body = [down(before, after, nn.BatchNorm2d) for before, after in pairwise((32, 32, 64, 64))]
    head = nn.Flatten(), nn.Linear(64 * 16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    return nn.Sequential(*first, *body, *head)


class Tokenizer(nn.Module):
    """VQGAN's autoencoder: 32 pixels to 8 by 8 tokens of 64 codes, and back."""

    def __init__(self, codes: int = 64, code_width: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*downs(3, 32, 64), Residual(64), nn.Conv2d(64, code_width, 1))
        self.codebook = nn.Embedding(codes, code_width)
        nn.init.uniform_(self.codebook.weight, -1 / codes, 1 / codes)
        first = convolution(code_width, 64), Residual(64)
        ups = shuffled_up(64, 32), shuffled_up(32, 32)
        self.decoder = nn.Sequential(*first, *ups, convolution(32, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The reconstruction, and the codebook's loss with the commitment (van den Oord 2017)."""
        z = self.encoder(x)
        places = z.permute(0, 2, 3, 1)
        nearest = torch.cdist(places.flatten(0, 2), self.codebook.weight).argmin(1)
        code = self.codebook(nearest).view(places.shape).permute(0, 3, 1, 2)
        loss = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        return self.decoder(z + (code - z).detach()), loss


def one_logit(px: int, norm: Norm | None) -> nn.Sequential:
    """A discriminator of whole pictures of so many pixels."""
    body = downs(3, 24, 48, 96, norm=norm)
    return nn.Sequential(*body, nn.Flatten(), nn.Linear((px // 8) ** 2 * 96, 1))


def dcgan_generator(latents: int) -> nn.Module:
    """Pictures of 32 pixels from noise (N, latents)."""
    first = nn.ConvTranspose2d(latents, 128, 4, bias=False), nn.BatchNorm2d(128), nn.ReLU()
    body = nn.Unflatten(1, (latents, 1, 1)), *first, up(128, 64), up(64, 32)
    last = nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh()
    return dcgan_initialised(nn.Sequential(*body, *last))


def dcgan_discriminator() -> nn.Module:
    """Logits (N) of pictures of 32 pixels."""
    body = downs(3, 32, 64, 128, norm=nn.BatchNorm2d)
    return dcgan_initialised(nn.Sequential(*body, nn.Conv2d(128, 1, 4), nn.Flatten(0)))


class DigitGenerator(nn.Module):
    """Digits of 8 pixels from noise and a class."""

    def __init__(self, latents: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 16)
        first = nn.ConvTranspose2d(latents + 16, 64, 2), nn.BatchNorm2d(64), nn.ReLU()
        body = nn.Unflatten(1, (latents + 16, 1, 1)), *first, up(64, 32)
        self.net = nn.Sequential(*body, nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([z, self.embed(y)], 1))


class DigitDiscriminator(nn.Module):
    """The class is a plane beside the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 64)
        body = downs(2, 32, 64, norm=nn.BatchNorm2d)
        self.net = nn.Sequential(*body, nn.Flatten(), nn.Linear(64 * 4, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.net(torch.cat([x, self.embed(y).view(-1, 1, 8, 8)], 1))


class UpBlock(nn.Module):
    """SNGAN's: twice the side, beside the input made as large."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.convolution1 = nn.BatchNorm2d(width), convolution(width, width)
        self.norm2, self.convolution2 = nn.BatchNorm2d(width), convolution(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution1(doubled(F.relu(self.norm1(x))))
        return doubled(x) + self.convolution2(F.relu(self.norm2(y)))


def sngan_generator(latents: int, width: int = 48) -> nn.Sequential:
    """Pictures of 16 pixels from noise (N, latents)."""
    first = nn.Linear(latents, width * 16), nn.Unflatten(1, (width, 4, 4))
    body = UpBlock(width), UpBlock(width)
    last = nn.BatchNorm2d(width), nn.ReLU(), convolution(width, 3), nn.Tanh()
    return nn.Sequential(*first, *body, *last)


def sngan_discriminator() -> nn.Sequential:
    """One logit of pictures of 16 pixels, every layer with spectral normalisation."""
    layers: list[nn.Module] = []
    sizes = ((3, 32, 3, 1), (32, 64, 4, 2), (64, 64, 3, 1), (64, 128, 4, 2))
    for channels_in, channels_out, kernel, stride in sizes:
        layer = nn.Conv2d(channels_in, channels_out, kernel, stride, padding=1)
        layers += [spectral_norm(layer), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers, nn.Flatten(), spectral_norm(nn.Linear(128 * 16, 1)))
