"""The games' networks, but for those that are the package's own."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

MEL_BANDS = 40

Features = list[Tensor]


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three layers, for points and for vectors."""
    activation = nn.LeakyReLU(0.2)
    layers = [nn.Linear(inputs, width), activation, nn.Linear(width, width), activation]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def dcgan_generator(latents: int, width: int, px: int) -> nn.Sequential:
    """Each layer doubles the side, from 4 pixels on, with half of the channels."""
    doublings = px.bit_length() - 3
    channels = width * 2 ** (doublings - 1)
    layers: list[nn.Module] = [nn.Linear(latents, channels * 16), nn.Unflatten(1, (channels, 4, 4))]
    for _ in range(doublings - 1):
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1))
        channels //= 2
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.ConvTranspose2d(channels, 3, 4, 2, 1)]
    return nn.Sequential(*layers, nn.Tanh())


def dcgan_discriminator(width: int, px: int, *, batch_norm: bool) -> nn.Sequential:
    """Each layer halves the side, down to 4 pixels, with twice the channels."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    channels, side_px = width, px // 2
    while side_px > 4:
        layers.append(nn.Conv2d(channels, 2 * channels, 4, 2, 1))
        channels, side_px = 2 * channels, side_px // 2
        layers += [nn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(nn.LeakyReLU(0.2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 16, 1))


class VocoderGenerator(nn.Module):
    """Three times four times as many positions, from 32 frames to 2048 samples."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Conv1d(MEL_BANDS, width, 7, padding=3)
        widths = [width, width // 2, width // 4, width // 8]
        self.up = nn.ModuleList(nn.ConvTranspose1d(a, b, 8, 4, 2) for a, b in pairwise(widths))
        self.refine = nn.ModuleList(nn.Conv1d(b, b, 7, padding=9, dilation=3) for b in widths[1:])
        self.tail = nn.Conv1d(widths[-1], 1, 7, padding=3)

    def forward(self, spectra: Tensor) -> Tensor:
        """Waveforms (N, 1, 64 T) of log-mel spectra (N, MEL_BANDS, T)."""
        x = self.head(spectra)
        for up, refine in zip(self.up, self.refine, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            x = x + refine(F.leaky_relu(x, 0.1))
        waveforms: Tensor = self.tail(F.leaky_relu(x, 0.1)).tanh()
        return waveforms


class _WithFeatures(nn.Module):
    """A D that returns its scores (N, K) and its features, as vocoders' Ds do."""

    layers: nn.ModuleList

    def _run(self, x: Tensor) -> tuple[Tensor, Features]:
        features = []
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.layers[-1](x).flatten(1), features


class PeriodD(_WithFeatures):
    """Compares samples that are a period apart."""

    def __init__(self, period: int) -> None:
        super().__init__()
        self.period = period
        widths = (1, 8, 16, 32)
        self.layers = nn.ModuleList(
            nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0)) for a, b in pairwise(widths)
        )
        self.layers.append(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Features]:
        whole = waveforms[..., : waveforms.shape[-1] // self.period * self.period]
        return self._run(whole.unflatten(-1, (-1, self.period)))


class ScaleD(_WithFeatures):
    """Sees the waveform as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                nn.Conv1d(1, 8, 15, padding=7),
                nn.Conv1d(8, 16, 21, 4, 10, groups=4),
                nn.Conv1d(16, 32, 21, 4, 10, groups=4),
                nn.Conv1d(32, 1, 3, padding=1),
            ]
        )

    def forward(self, waveforms: Tensor) -> tuple[Tensor, Features]:
        return self._run(waveforms)
