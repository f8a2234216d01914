"""Small pieces that several test modules share."""

from pathlib import Path

import numpy as np
from PIL import Image

from counterpoise.records import Signals

SIGNALS = Signals(
    step=1,
    d_loss_real=0.7,
    d_loss_fake=0.7,
    d_real=0.5,
    d_fake=0.5,
    d_accuracy_real=0.5,
    d_accuracy_fake=0.5,
    real_logit_mean=0.0,
    real_logit_std=1.0,
    fake_logit_mean=0.0,
    fake_logit_std=1.0,
)


def random_pixels(seed, height, width, channels=3, dtype=np.uint8):
    most = np.iinfo(dtype).max
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, most, shape, dtype=dtype, endpoint=True)


def smooth_pixels(seed, height, width):
    """A photograph-like image: random low frequencies."""
    small = Image.fromarray(random_pixels(seed, height // 8 + 2, width // 8 + 2))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def write_images(folder: Path, count, height=48, width=64, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"image{number}{suffix}"
        Image.fromarray(smooth_pixels(number, height, width)).save(path)
        paths.append(path)
    return paths
