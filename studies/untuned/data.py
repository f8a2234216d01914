"""What the games are played with: photographs, handwritten digits and synthetic voices."""

import importlib.resources
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from counterpoise.config import DegradationConfig
from counterpoise.data.resize import downscale

# Scikit-image's photographs, for a machine without the data folder. No picture is in both halves.
BUILT_IN_TRAINING = ("astronaut.png", "coffee.png", "motorcycle_left.png", "ihc.png")
BUILT_IN_HELD_OUT = ("chelsea.png", "rocket.jpg", "hubble_deep_field.jpg")

SAMPLE_RATE = 8000


@cache
def photographs(folder: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Pictures (H, W, 3) in uint8 to train on, and others to judge with."""
    folders = folder / "train" / "BSDS400", folder / "benchmark" / "BSD100" / "HR"
    if all(each.is_dir() for each in folders):
        training, held_out = (sorted(each.iterdir()) for each in folders)
    else:
        built_in = Path(str(importlib.resources.files("skimage") / "data"))
        training = [built_in / name for name in BUILT_IN_TRAINING]
        held_out = [built_in / name for name in BUILT_IN_HELD_OUT]
    training_pictures, held_out_pictures = (
        [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        for paths in (training, held_out)
    )
    return training_pictures, held_out_pictures


def shrunk(picture: np.ndarray, times: int) -> np.ndarray:
    """A picture of a fraction of the size; that also softens the traces of JPEG."""
    height, width = (side // times for side in picture.shape[:2])
    return downscale(
        picture[: height * times, : width * times], times, DegradationConfig(name="lanczos")
    )


def crops(pictures: list[np.ndarray], crop_px: int, count: int, seed: int) -> Tensor:
    """`count` random square crops (N, 3, H, W) in uint8, evenly from all pictures."""
    random = np.random.default_rng(seed)
    chosen = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        top, left = (int(random.integers(side - crop_px + 1)) for side in picture.shape[:2])
        chosen.append(picture[top : top + crop_px, left : left + crop_px])
    return torch.from_numpy(np.stack(chosen)).permute(0, 3, 1, 2).contiguous()


def crop_pairs(
    pictures: list[np.ndarray], lr_px: int, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """`count` random crops in low and in high resolution (four times the side), in uint8."""
    random = np.random.default_rng(seed)
    lr_crops, hr_crops = [], []
    # The whole picture is shrunk once, so that a crop's edges know what lies beyond them.
    lr_pictures = [shrunk(picture, 4) for picture in pictures]
    for number in range(count):
        place = number % len(pictures)
        hr, lr = pictures[place], lr_pictures[place]
        top, left = (int(random.integers(side - lr_px + 1)) for side in lr.shape[:2])
        lr_crops.append(lr[top : top + lr_px, left : left + lr_px])
        hr_crops.append(hr[4 * top : 4 * (top + lr_px), 4 * left : 4 * (left + lr_px)])
    lr_batch, hr_batch = (
        torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2).contiguous()
        for each in (lr_crops, hr_crops)
    )
    return lr_batch, hr_batch


def detail(picture: np.ndarray) -> float:
    """How much neighbouring pixels differ: low for skies, high for foliage."""
    grey = picture.mean(axis=2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def digits() -> Tensor:
    """Scikit-learn's handwritten digits (N, 64) in [-1, 1], in a fixed random order."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().data).float() / 8 - 1
    return images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]


@cache
def voices(count: int, samples: int, seed: int, pitch: float = 1.0) -> Tensor:
    """Vowel-like sounds (N, samples) in [-1, 1]: harmonics of a gliding pitch under three formants.

    The formants glide between two vowels drawn at random, and there is some breath. `pitch` raises
    pitch and formants together, as from a man's voice to a child's.
    """
    random = np.random.default_rng(seed)
    time = np.linspace(0, 1, samples)
    sounds = np.empty((count, samples))
    for number in range(count):
        start_hz = pitch * random.uniform(90, 220)
        pitch_hz = start_hz * (1 + random.uniform(-0.2, 0.2) * time)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
        vowels = pitch * random.uniform((250, 800, 1900), (850, 1800, 3000), (2, 3))
        formants_hz = vowels[0] + (vowels[1] - vowels[0]) * time[:, None]
        sound = 0.01 * random.standard_normal(samples)
        for harmonic in range(1, int(0.95 * SAMPLE_RATE / 2 / pitch_hz.max())):
            distance = (harmonic * pitch_hz[:, None] - formants_hz) / (60, 90, 150)
            loudness = (np.array((1.0, 0.5, 0.25)) / (1 + distance**2)).sum(1)
            sound += loudness * np.sin(harmonic * phase + random.uniform(0, 0.3))
        sounds[number] = 0.7 * sound / np.abs(sound).max()
    return torch.from_numpy(sounds).float()
