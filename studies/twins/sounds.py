"""The game with sounds: a vocoder."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from measures import sound_measures
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from trial import Course, Measures, Trial, adam

import counterpoise as cp
from data import MEL_BANDS, TRAINING_SAMPLES, log_mel, training_sounds

# Of a sound so many samples are trained on at once.
SAMPLES = 2048


class Generator(nn.Module):
    """HiFi-GAN's in small: log mel spectra to 64 samples a frame."""

    def __init__(self, widths: Sequence[int] = (64, 48, 32, 16)) -> None:
        super().__init__()
        self.first = nn.Conv1d(MEL_BANDS, widths[0], 7, padding=3)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(a, b, 8, 4, 2) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv1d(w, w, 3, padding=r, dilation=r) for r in (1, 3))
            for w in widths[1:]
        )
        self.last = nn.Conv1d(widths[-1], 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for up, block in zip(self.ups, self.blocks, strict=True):
            x = up(F.leaky_relu(x, 0.1))
            for convolution in block:
                x = x + convolution(F.leaky_relu(x, 0.1))
        return self.last(F.leaky_relu(x, 0.01)).tanh()


class Discriminator(nn.Module):
    """Of a scale, or of a period: then samples of the same phase are side by side."""

    def __init__(self, period: int, widths: Sequence[int] = (1, 16, 32, 64, 64)) -> None:
        super().__init__()
        self.period = period
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv1d(a, b, 9, 4 if b < 64 else 2, 4)) for a, b in pairwise(widths)
        )
        self.last = weight_norm(nn.Conv1d(widths[-1], 1, 3, padding=1))

    def judge(self, sounds: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (N, any) and features."""
        frames = sounds.shape[-1] // self.period
        x = sounds[..., : frames * self.period].view(len(sounds), frames, self.period)
        x = x.transpose(1, 2).reshape(-1, 1, frames)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.last(x).view(len(sounds), -1), features

    def forward(
        self, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        (on_real, of_real), (on_fake, of_fake) = self.judge(real), self.judge(fake)
        return on_real, on_fake, of_real, of_fake


def vocoder(
    trial: Trial,
    d_learning_rate: float = 2e-4,
    mel_weight: float = 45.0,
    feature_weight: float = 2.0,
) -> Measures:
    """Waveforms from mel spectra, least squares, two Ds with one optimizer (Kong et al. 2020)."""
    generator, mpd, msd = Generator(), Discriminator(3), Discriminator(1)
    optim_g = adam(generator, 1e-3, (0.8, 0.99))
    optim_d = adam([mpd, msd], d_learning_rate, (0.8, 0.99))
    ds = {"mpd": mpd, "msd": msd}
    balance = cp.Balance(generator, ds, optim_g, optim_d, policy=trial.policy)
    course = Course(trial.turns or 200, balance, generator, partial(sound_measures, generator))
    for _ in course.turns():
        sounds = training_sounds()[torch.randint(len(training_sounds()), (8,))]
        start = int(torch.randint(0, TRAINING_SAMPLES - SAMPLES, ()))
        y = sounds[:, :, start : start + SAMPLES]
        x = log_mel(y)
        y_hat = generator(x)
        balance.d_step()
        optim_d.zero_grad()
        loss_d = torch.zeros(())
        for d in (mpd, msd):
            on_real, on_fake, _, _ = d(y, y_hat.detach())
            loss_d = loss_d + (1 - on_real).square().mean() + on_fake.square().mean()
        loss_d.backward()
        optim_d.step()
        balance.g_step()
        optim_g.zero_grad()
        loss_g = mel_weight * F.l1_loss(log_mel(y_hat), x)
        for d in (mpd, msd):
            _, on_fake, of_real, of_fake = d(y, y_hat)
            pairs = zip(of_real, of_fake, strict=True)
            matching = sum(F.l1_loss(fake, real.detach()) for real, fake in pairs)
            loss_g = loss_g + (1 - on_fake).square().mean() + feature_weight * matching
        loss_g.backward()
        optim_g.step()
    return course.measures()
