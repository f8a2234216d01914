"""The games: small trainings in the shape of those that people run, each with a held-out measure.

All measures are distances to held-out data, lower is better. None is anything that a balance
policy reads or controls: no loss, no score of D.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from networks import (
    MEL_BANDS,
    Features,
    PeriodD,
    ScaleD,
    VocoderGenerator,
    dcgan_discriminator,
    dcgan_generator,
    perceptron,
)
from torch import Tensor, nn

from counterpoise.config import DiscriminatorConfig, GeneratorConfig
from counterpoise.metrics.frechet import frechet_distance
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein, sliced_wasserstein_points
from counterpoise.models.discriminator import enhancenet_discriminator
from counterpoise.models.features import load_vgg19
from counterpoise.models.generator import EnhanceNet
from counterpoise.models.weights import load_generator
from data import (
    crop_pairs,
    crops,
    detail,
    digits,
    photographs,
    shrunk,
    voices,
)


@dataclass(frozen=True)
class Setting:
    """What a game is made from. `narrower` divides the channels of G; `steps` None is its own."""

    seed: int
    data: Path
    narrower: int = 1
    steps: int | None = None


@dataclass
class Batch:
    """What G makes its samples from, and real samples."""

    inputs: Tensor
    real: Tensor


class Game:
    """Networks, batches, losses and a measure. A subclass makes `g` and `ds`, and what is below."""

    name: str
    measure: str
    steps: int
    batch_size = 32
    form = "non-saturating"
    g_learning_rate = d_learning_rate = 2e-4
    betas = (0.5, 0.999)
    # D takes no part until so many steps are done.
    d_begins = 0
    # Weight of the distance of Ds' features, where `judge` returns any.
    FEATURE_WEIGHT = 0.0
    # Stressors that make no sense here.
    without: frozenset[str] = frozenset()
    g: nn.Module
    ds: dict[str, nn.Module]

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        own_steps = self.steps
        self.steps = setting.steps or own_steps
        # A shorter game has the same course.
        self.d_begins = self.d_begins * self.steps // own_steps
        # Batches have a source of their own: a policy that draws noise does not change them.
        self.random = torch.Generator().manual_seed(setting.seed)
        self.data_changed = False
        torch.manual_seed(setting.seed)
        self.build(max(1, setting.narrower))

    def build(self, narrower: int) -> None:
        """Make the networks and get the data."""
        raise NotImplementedError

    def batch(self, size: int) -> Batch:
        """A fresh batch."""
        raise NotImplementedError

    def judge(self, d: str, samples: Tensor) -> tuple[Tensor, Features]:
        """A D's scores, and its features where the game compares them."""
        return self.ds[d](samples), []

    def noise_like(self, real: Tensor) -> Tensor:
        """Samples that are no data, of the data's range."""
        return 2 * torch.rand(real.shape, generator=self.random) - 1

    def g_loss(self, adversarial: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        """All that G minimises (but for features that are compared)."""
        return adversarial

    def measures(self) -> dict[str, float]:
        """The measure that judges, by the name `quality`, and what is told beside it."""
        raise NotImplementedError

    def held_out_measures(self) -> dict[str, float]:
        """`measures`, which leave the training as it was."""
        self.g.eval()
        with torch.no_grad():
            found = self.measures()
        self.g.train()
        return found

    def _choose(self, data: Tensor, size: int) -> Tensor:
        return data[torch.randint(len(data), (size,), generator=self.random)]


# Data that a game changes to at half time are as hard as those before (turned, moved, mirrored, or
# with red and blue exchanged), so that the measure keeps its scale.


class Points(Game):
    """A mixture of Gaussians in the plane, G and D three layers each."""

    measure = "sliced Wasserstein distance of points"
    steps = 2000
    batch_size = 128
    g_learning_rate = d_learning_rate = 1e-3

    def centres(self) -> Tensor:
        """The modes (M, 2), before or after the data have changed."""
        raise NotImplementedError

    def build(self, narrower: int) -> None:
        self.g = perceptron(8, max(2, 64 // narrower), 2)
        self.ds = {"": perceptron(2, 64, 1)}

    def _draw(self, size: int, random: torch.Generator) -> Tensor:
        centres = self.centres()
        modes = torch.randint(len(centres), (size,), generator=random)
        return centres[modes] + 0.05 * torch.randn(size, 2, generator=random)

    def batch(self, size: int) -> Batch:
        inputs = torch.randn(size, 8, generator=self.random)
        return Batch(inputs, self._draw(size, self.random))

    def noise_like(self, real: Tensor) -> Tensor:
        return 3 * super().noise_like(real)

    def measures(self) -> dict[str, float]:
        held_out = torch.Generator().manual_seed(12345)
        fake = self.g(torch.randn(4096, 8, generator=held_out))
        return {"quality": sliced_wasserstein_points(fake, self._draw(4096, held_out), 64)}


class Ring(Points):
    """Eight modes on a circle; then turned by half of a gap."""

    name = "ring"

    def centres(self) -> Tensor:
        angles = (torch.arange(8) + 0.5 * self.data_changed) * torch.pi / 4
        return 2 * torch.stack([angles.cos(), angles.sin()], 1)


class Grid(Points):
    """Twenty-five modes on a grid; then moved by half of a gap."""

    name = "grid"

    def centres(self) -> Tensor:
        line = torch.arange(-2.0, 3.0)
        return torch.cartesian_prod(line, line) + 0.5 * self.data_changed


class Digits(Game):
    """Digits of 8x8 pixels; then transposed."""

    name = "digits"
    measure = "Frechet distance of principal components"
    steps = 2000
    batch_size = 64
    g_learning_rate = d_learning_rate = 5e-4

    def build(self, narrower: int) -> None:
        self.g = nn.Sequential(perceptron(16, max(2, 128 // narrower), 64), nn.Tanh())
        self.ds = {"": perceptron(64, 128, 1)}
        data = digits()
        self._data, self._held_out = data[:1300], data[1300:]

    def _now(self, images: Tensor) -> Tensor:
        if not self.data_changed:
            return images
        return images.reshape(-1, 8, 8).transpose(1, 2).reshape(-1, 64)

    def batch(self, size: int) -> Batch:
        inputs = torch.randn(size, 16, generator=self.random)
        return Batch(inputs, self._now(self._choose(self._data, size)))

    def measures(self) -> dict[str, float]:
        latents = torch.randn(1024, 16, generator=torch.Generator().manual_seed(12345))
        data = self._now(self._data)
        _, _, components = torch.linalg.svd(data - data.mean(0), full_matrices=False)
        fake, real = (x @ components[:20].T for x in (self.g(latents), self._now(self._held_out)))
        return {"quality": frechet_distance(fake, real)}


class Pictures(Game):
    """What the games with crops of photographs, in [-1, 1], have in common."""

    _data: Tensor
    _held_out: Tensor

    def _now(self, images: Tensor) -> Tensor:
        """Floats of bytes, in the colours that the data have now."""
        values = images.float() / 127.5 - 1
        return values.flip(1) if self.data_changed else values


class PhotoGan(Pictures):
    """An unconditional DCGAN, with batch normalisation in both networks."""

    name = "photo-gan"
    measure = "sliced Wasserstein distance of patches"
    steps = 1000
    crop_px = 32
    g_learning_rate = d_learning_rate = 5e-4
    d_batch_norm = True
    latents = 64

    def build(self, narrower: int) -> None:
        self.g = dcgan_generator(self.latents, max(2, 16 // narrower), self.crop_px)
        self.ds = {"": dcgan_discriminator(16, self.crop_px, batch_norm=self.d_batch_norm)}
        self._data, self._held_out = _half_size_crops(self.setting.data, self.crop_px, "all")

    def batch(self, size: int) -> Batch:
        inputs = torch.randn(size, self.latents, generator=self.random)
        return Batch(inputs, self._now(self._choose(self._data, size)))

    def measures(self) -> dict[str, float]:
        held_out = torch.Generator().manual_seed(12345)
        fake = self.g(torch.randn(len(self._held_out), self.latents, generator=held_out))
        return {"quality": _texture_distance(fake, self._now(self._held_out))}


class FineTune(PhotoGan):
    """A pair that knows crops with little detail, trained on with crops that have much."""

    name = "fine-tune"
    steps = 1500
    crop_px = 16
    d_batch_norm = False
    # Lower than the pair's own beginning, as people do.
    g_learning_rate = d_learning_rate = 2e-4
    PRETRAINING_STEPS = 1000

    def build(self, narrower: int) -> None:
        super().build(narrower)
        # Without `steps`: the shortest trial begins from the same pair.
        g_weights, d_weights = _pretrained_pair(replace(self.setting, steps=None))
        self.g.load_state_dict(g_weights)
        self.ds[""].load_state_dict(d_weights)
        self._data, self._held_out = _half_size_crops(self.setting.data, self.crop_px, "detailed")


class _Beginning(PhotoGan):
    """What `FineTune`'s pair learns first."""

    name = "fine-tune's beginning"
    crop_px, d_batch_norm = FineTune.crop_px, FineTune.d_batch_norm

    def build(self, narrower: int) -> None:
        super().build(narrower)
        self._data, self._held_out = _half_size_crops(self.setting.data, self.crop_px, "smooth")


@cache
def _pretrained_pair(setting: Setting) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The pair after a plain training without any balance: the same for all strategies."""
    game = _Beginning(setting)
    d = game.ds[""]
    g_optimizer = torch.optim.Adam(game.g.parameters(), game.g_learning_rate, game.betas)
    d_optimizer = torch.optim.Adam(d.parameters(), game.d_learning_rate, game.betas)
    for _ in range(FineTune.PRETRAINING_STEPS):
        batch = game.batch(game.batch_size)
        fake = game.g(batch.inputs)
        d_optimizer.zero_grad()
        (F.softplus(-d(batch.real)).mean() + F.softplus(d(fake.detach())).mean()).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        F.softplus(-d(fake)).mean().backward()
        g_optimizer.step()
    return game.g.state_dict(), d.state_dict()


class LateD(Pictures):
    """An autoencoder that reconstructs already when its D joins, as VQGAN does.

    Source: Esser et al. 2021, section 3.1 and equation 7 (the weight of the adversarial term).
    """

    name = "late-d"
    measure = "mean absolute error of reconstructions"
    steps = 1000
    batch_size = 16
    form = "hinge"
    g_learning_rate = d_learning_rate = 5e-4
    d_begins = 300
    # VQGAN's own factor on top of the ratio of gradients.
    D_WEIGHT = 0.8

    def build(self, narrower: int) -> None:
        width = max(2, 16 // narrower)
        self._last = nn.Conv2d(width, 3, 3, padding=1)
        self.g = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.ReLU(),
            # So few channels that texture has to be made up.
            nn.Conv2d(2 * width, 4, 1),
            nn.Conv2d(4, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2.0),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Upsample(scale_factor=2.0),
            self._last,
        )
        self.ds = {
            "": nn.Sequential(
                nn.Conv2d(3, 16, 4, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(16, 32, 4, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(32, 32, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(32, 1, 3, padding=1),
            )
        }
        self._data, self._held_out = _half_size_crops(self.setting.data, 32, "all")

    def batch(self, size: int) -> Batch:
        images = self._now(self._choose(self._data, size))
        return Batch(images, images)

    def g_loss(self, adversarial: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        reconstruction = (fake - batch.real).abs().mean()
        if not adversarial.requires_grad:  # D has not begun
            return reconstruction
        weight = self._last.weight
        (of_reconstruction,) = torch.autograd.grad(reconstruction, weight, retain_graph=True)
        (of_d,) = torch.autograd.grad(adversarial, weight, retain_graph=True)
        ratio = of_reconstruction.norm() / (of_d.norm() + 1e-4)
        return reconstruction + self.D_WEIGHT * ratio.clamp(0, 1e4).detach() * adversarial

    def measures(self) -> dict[str, float]:
        real = self._now(self._held_out)
        fake = self.g(real)
        return {
            "quality": float((fake - real).abs().mean()),
            "texture": _texture_distance(fake, real),
        }


class Vocoder(Game):
    """Waveforms from log-spectra, against Ds of two periods and of the raw scale.

    Source: Kong et al. 2020 (HiFi-GAN), sections 2.2 and 2.3; small.
    """

    name = "vocoder"
    measure = "log-spectral distance, in decibels"
    steps = 500
    batch_size = 8
    form = "lsgan"
    g_learning_rate = d_learning_rate = 1e-3
    betas = (0.8, 0.99)
    SAMPLES, HOP = 2048, 64
    MEL_WEIGHT, FEATURE_WEIGHT = 45.0, 2.0

    def build(self, narrower: int) -> None:
        self.g = VocoderGenerator(max(8, 48 // narrower))
        self.ds = {"period 3": PeriodD(3), "period 5": PeriodD(5), "scale": ScaleD()}
        self._data, self._held_out = voices(512, self.SAMPLES, 0), voices(64, self.SAMPLES, 1)
        # An octave would leave no harmonics in the upper bands; a third is a man's to a woman's.
        self._other = voices(512, self.SAMPLES, 2, 1.3), voices(64, self.SAMPLES, 3, 1.3)

    def batch(self, size: int) -> Batch:
        sounds = self._choose(self._other[0] if self.data_changed else self._data, size)
        return Batch(_log_mel(sounds)[..., :-1], sounds[:, None])

    def judge(self, d: str, samples: Tensor) -> tuple[Tensor, Features]:
        scores, features = self.ds[d](samples)
        return scores, features

    def g_loss(self, adversarial: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        mel = (_log_mel(fake[:, 0]) - _log_mel(batch.real[:, 0])).abs().mean()
        return adversarial + self.MEL_WEIGHT * mel

    def measures(self) -> dict[str, float]:
        sounds = self._other[1] if self.data_changed else self._held_out
        fake = self.g(_log_mel(sounds)[..., :-1])[:, 0]
        # Fine spectra, from frames that are not those of the loss.
        decibels = [20 * (_spectra(x, 512) + 1e-3).log10() for x in (fake, sounds)]
        squares = (decibels[0] - decibels[1]).square().mean(1)
        return {"quality": float(squares.sqrt().mean())}


class SuperResolution(Pictures):
    """The package's own task at full size: ENet-PA from a pre-trained ENet-E."""

    name = "sr-real"
    measure = "sliced Wasserstein distance of textures"
    steps = 600
    batch_size = 8
    g_learning_rate = d_learning_rate = 1e-4
    betas = (0.9, 0.999)
    # Beta1 is 0.9 already, and there are no narrow pre-trained weights.
    without = frozenset({"beta1", "narrow-g"})
    WEIGHTS: ClassVar = {"pool2": 0.2, "relu3_4": 0.02}

    def build(self, narrower: int) -> None:
        folder = self.setting.data / "weights"
        loaded = load_generator(folder / "enet_e_bsds400_2000.safetensors").generator
        self.g = EnhanceNet(GeneratorConfig.model_validate(loaded.config))
        self.g.load_state_dict(loaded.state_dict())
        self.ds = {"": enhancenet_discriminator(DiscriminatorConfig(), 64)}
        training, held_out = photographs(self.setting.data)
        self._lr, self._hr = crop_pairs(training, 16, 6 * len(training), 0)
        self._held_out_pairs = crop_pairs(held_out, 32, 24, 1)
        weights, layers = folder / "vgg19_to_relu3_4_fp16.safetensors", list(self.WEIGHTS)
        self._features = load_vgg19(weights, "caffe", layers)
        self._features.calibrate([self._now(self._hr[:64])], layers)

    def _now(self, images: Tensor) -> Tensor:
        return (super()._now(images) + 1) / 2

    def batch(self, size: int) -> Batch:
        places = torch.randint(len(self._lr), (size,), generator=self.random)
        return Batch(self._now(self._lr[places]), self._now(self._hr[places]))

    def noise_like(self, real: Tensor) -> Tensor:
        return torch.rand(real.shape, generator=self.random)

    def g_loss(self, adversarial: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        layers = list(self.WEIGHTS)
        with torch.no_grad():
            targets = self._features(batch.real, layers)
        features = self._features(fake, layers)
        perceptual = [w * F.mse_loss(features[k], targets[k]) for k, w in self.WEIGHTS.items()]
        return adversarial + torch.stack(perceptual).sum()

    def measures(self) -> dict[str, float]:
        lr, real = (self._now(images) for images in self._held_out_pairs)
        fake = torch.cat([self.g(part) for part in lr.split(8)]).clamp(0, 1)
        errors = (fake - real).square().mean((1, 2, 3))
        return {
            "quality": _texture_distance(fake, real),
            "psnr": float(-10 * errors.log10().mean()),
        }


GAMES: dict[str, type[Game]] = {
    game.name: game
    for game in (SuperResolution, LateD, Vocoder, PhotoGan, FineTune, Ring, Grid, Digits)
}


# Data and measures.


@cache
def _half_size_crops(folder: Path, crop_px: int, kind: str) -> tuple[Tensor, Tensor]:
    """Crops to train on and 512 held-out ones, of the photographs at half of their size.

    `kind` is all of them, or the third with the least ("smooth") or most ("detailed") detail.
    """
    found = []
    for pictures, count in zip(photographs(folder), (8000, 512), strict=True):
        small = sorted((shrunk(picture, 2) for picture in pictures), key=detail)
        third = max(1, len(small) // 3)
        chosen = {"all": small, "smooth": small[:third], "detailed": small[-third:]}[kind]
        found.append(crops(chosen, crop_px, count, seed=0))
    return found[0], found[1]


def _texture_distance(fake: Tensor, real: Tensor) -> float:
    """Mean over the levels down to 16 pixels; NaN where an image is not finite."""
    if not fake.isfinite().all():
        return float("nan")
    distances = sliced_wasserstein(fake, real, patches_per_image=16, projections=128)
    return sum(distances.values()) / len(distances)


def _spectra(sounds: Tensor, window: int) -> Tensor:
    """Magnitudes (N, F, T) of waveforms (N, samples)."""
    hann = torch.hann_window(window)
    parts = torch.stft(sounds, window, Vocoder.HOP, window=hann, return_complex=True)
    # The root has no gradient at 0.
    return (parts.real.square() + parts.imag.square() + 1e-9).sqrt()


def _log_mel(sounds: Tensor) -> Tensor:
    """Logarithms of magnitudes in bands that widen with the frequency, (N, MEL_BANDS, T)."""
    return (_mel_bands() @ _spectra(sounds, 256) + 1e-3).log()


@cache
def _mel_bands() -> Tensor:
    """Overlapping triangles (MEL_BANDS, 129) at even distances on the mel scale."""
    highest = 2595 * torch.tensor(1 + 4000 / 700).log10()
    mels = torch.linspace(0, float(highest), MEL_BANDS + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    low, centre, high = (edges[k : k + MEL_BANDS, None] for k in range(3))
    frequencies = torch.linspace(0, 4000, 129)
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0)
