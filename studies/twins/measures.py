"""Distances to held-out data, lower is better; no number of a D is in them."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from trial import Measures

from counterpoise.metrics.frechet import frechet_distance
from counterpoise.models.features import FeatureExtractor, load_vgg19
from data import digits, held_out_crops, held_out_sounds, held_out_truths, log_mel, spectrum, tables

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
# Of the looks of pictures so many directions are compared, the widest.
DIRECTIONS = 32
# So many pictures at once: all of them take much memory.
PART = 50


@cache
def _vgg(folder: Path) -> FeatureExtractor:
    """VGG-19 with mean activations of about 1 (Gatys et al. 2015)."""
    file = folder / "weights" / "vgg19_normalised_to_relu3_1_fp32.safetensors"
    return load_vgg19(file, "caffe", list(LAYERS))


def activations(folder: Path, images: Tensor, layers: tuple[str, ...] = LAYERS) -> list[Tensor]:
    """VGG's for images in [-1, 1]."""
    found = _vgg(folder)((images + 1) / 2, layers)
    return [found[layer] for layer in layers]


@torch.no_grad()
def looks(folder: Path, images: Tensor) -> Tensor:
    """Means and deviations (N, 896) of VGG's channels over each image."""
    found = []
    for part in images.clamp(-1, 1).split(PART):
        maps = activations(folder, part)
        statistics = [(each.mean((2, 3)), each.flatten(2).std(2)) for each in maps]
        found.append(torch.cat([each for pair in statistics for each in pair], 1))
    return torch.cat(found)


def frechet(fake: Tensor, real: Tensor) -> float:
    """The Frechet distance, not squared."""
    return math.sqrt(frechet_distance(fake, real))


class Judge:
    """The Frechet distance of pictures' looks to those of held-out ones."""

    def __init__(self, folder: Path, held_out: Tensor) -> None:
        found = looks(folder, held_out)
        self._folder, self._mean, self._deviation = folder, found.mean(0), found.std(0) + 1e-6
        standardised = (found - self._mean) / self._deviation
        directions = torch.linalg.svd(standardised.double(), full_matrices=False)[2]
        self._axes = directions[:DIRECTIONS].T.float()
        self._held_out = standardised @ self._axes

    def __call__(self, images: Tensor) -> float:
        standardised = (looks(self._folder, images) - self._mean) / self._deviation
        return frechet(standardised @ self._axes, self._held_out)


@cache
def photograph_judge(folder: Path) -> Judge:
    """The judge of pictures of 32 pixels."""
    return Judge(folder, held_out_crops(folder))


@cache
def small_photograph_judge(folder: Path) -> Judge:
    """The judge of pictures of 16 pixels, which are doubled first."""
    return Judge(folder, doubled(F.avg_pool2d(held_out_crops(folder), 2)))


@cache
def _truths_judge(folder: Path) -> Judge:
    return Judge(folder, held_out_truths(folder))


def doubled(images: Tensor) -> Tensor:
    """Of twice the side, each pixel four times."""
    return F.interpolate(images, scale_factor=2, mode="nearest")


def paired_measures(folder: Path, make: Callable[[Tensor], Tensor], inputs: Tensor) -> Measures:
    """Of what is made from the inputs that belong to the held-out truths."""
    fake = torch.cat([make(part) for part in inputs.split(PART)])
    return compared(folder, fake, held_out_truths(folder), _truths_judge(folder))


def compared(folder: Path, fake: Tensor, real: Tensor, judge: Judge) -> Measures:
    """Of pictures that have a truth: against all truths, and each against its own."""
    return {
        "frechet": judge(fake),
        "perceptual": _perceptual(folder, fake[:100], real[:100]),
        "l1": float((fake - real).abs().mean()),
    }


@torch.no_grad()
def _perceptual(folder: Path, fake: Tensor, real: Tensor) -> float:
    """Squared differences of VGG's maps, each pixel's channels of norm 1."""
    total = 0.0
    for fakes, reals in zip(fake.clamp(-1, 1).split(PART), real.split(PART), strict=True):
        pairs = zip(activations(folder, fakes), activations(folder, reals), strict=True)
        for a, b in pairs:
            apart = (F.normalize(a) - F.normalize(b)).square().sum(1)
            total += float(apart.mean((1, 2)).sum())
    return total / len(fake)


def digit_measures(fake: Tensor, classes: Tensor) -> Measures:
    """The mean Frechet distance within a class, in 20 principal components, and the share of
    images that a support vector machine reads as another class than theirs."""
    from sklearn.svm import SVC

    training, training_classes, held_out, held_out_classes = digits()
    reader = SVC(gamma=0.01).fit(training.flatten(1).numpy(), training_classes.numpy())
    mean = held_out.flatten(1).mean(0)
    axes = torch.linalg.svd(held_out.flatten(1) - mean, full_matrices=False)[2][:20].T
    a, b = ((images.flatten(1) - mean) @ axes for images in (fake, held_out))
    of_classes = [frechet(a[classes == k], b[held_out_classes == k]) for k in range(10)]
    read = reader.predict(fake.flatten(1).numpy())
    return {
        "class_frechet": sum(of_classes) / 10,
        "misread": float((read != classes.numpy()).mean()),
    }


@torch.no_grad()
def sound_measures(make: Callable[[Tensor], Tensor]) -> Measures:
    """Of sounds made from the held-out ones' log mel spectra: errors of log spectra in decibels, at
    two resolutions that no loss has, and of log mel spectra."""
    real = held_out_sounds()
    fake = torch.cat([make(log_mel(part)) for part in real.split(25)])
    errors = []
    for window, hop in ((512, 96), (128, 24)):
        a, b = (20 * torch.log10(spectrum(each, window, hop) + 3e-2) for each in (fake, real))
        errors.append(float((a - b).square().mean(1).sqrt().mean()))
    return {
        "lsd": sum(errors) / 2,
        "lsd_fine": errors[0],
        "mel_l1": float((log_mel(fake) - log_mel(real)).abs().mean()),
    }


@torch.no_grad()
def table_measures(rows: Tensor) -> Measures:
    """Of rows against as many held-out ones, columns of deviation 1: the sliced Wasserstein
    distance, the worst column's distance, and the mean error of correlations."""
    held_out = tables()[1]
    deviation = held_out.std(0)
    a, b = rows / deviation, held_out / deviation
    draw = torch.Generator().manual_seed(0)
    directions = F.normalize(torch.randn(held_out.shape[1], 400, generator=draw), dim=0)
    sliced = (a @ directions).sort(0)[0] - (b @ directions).sort(0)[0]
    columns = (a.sort(0)[0] - b.sort(0)[0]).abs().mean(0)
    # A column that does not vary has no correlations: an error of 1.
    correlations = (torch.corrcoef(a.T) - torch.corrcoef(b.T)).nan_to_num(1)
    return {
        "sliced": float(sliced.abs().mean()),
        "worst_column": float(columns.max()),
        "correlations": float(correlations.abs().mean()),
    }
