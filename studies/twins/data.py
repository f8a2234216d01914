"""What the games are trained on, and what is held out: photographs, digits, sounds, tables."""

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

SAMPLE_RATE = 8000
TRAINING_SAMPLES, HELD_OUT_SAMPLES = 8192, 4096
MEL_BANDS = 24
# Columns of a table: so many numbers, then categories of so many values, one-hot.
NUMBERS, CATEGORIES = 4, (6, 3, 2)


def _half_size_crops(folder: Path, per_picture: int, seed: int) -> Tensor:
    """Crops of 64 pixels at half of their size, (N, 3, 32, 32) in [-1, 1]."""
    draw, found = np.random.default_rng(seed), []
    for path in sorted(folder.iterdir()):
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
        picture = pixels.permute(2, 0, 1).float()
        for _ in range(per_picture):
            top, left = (int(draw.integers(0, side - 63)) for side in picture.shape[1:])
            found.append(F.avg_pool2d(picture[:, top : top + 64, left : left + 64], 2))
    crops = torch.stack(found) / 127.5 - 1
    # In an order in which any part is a sample of all.
    return crops[torch.randperm(len(crops), generator=torch.Generator().manual_seed(seed))]


@cache
def training_crops(folder: Path) -> Tensor:
    """9600 crops of photographs."""
    return _half_size_crops(folder / "train" / "BSDS400", 24, 0)


@cache
def held_out_crops(folder: Path) -> Tensor:
    """1000 crops of other photographs."""
    return _half_size_crops(folder / "benchmark" / "BSD100" / "HR", 10, 1)


def held_out_truths(folder: Path) -> Tensor:
    """250 of them, for games in which a generator's picture has a truth."""
    return held_out_crops(folder)[:250]


def crops(folder: Path, count: int) -> Tensor:
    """A batch to train on, half of the batches mirrored."""
    found = training_crops(folder)
    batch = found[torch.randint(len(found), (count,))]
    return batch.flip(3) if torch.rand(()) < 0.5 else batch


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (N, 1, 8, 8) in [-1, 1] and classes of scikit-learn's digits: 900, and held out."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = torch.from_numpy(found.images).float().unsqueeze(1)[order] / 8 - 1
    classes = torch.from_numpy(found.target).long()[order]
    return images[:900], classes[:900], images[900:], classes[900:]


def _voice(samples: int, draw: np.random.Generator) -> np.ndarray:
    """Harmonics of a gliding pitch under three moving formants, alternating with breath."""
    time = np.arange(samples) / SAMPLE_RATE
    start_hz, end_hz = draw.uniform(90, 240) * np.array([1, draw.uniform(0.75, 1.3)])
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5 * time + draw.uniform(0, 6))
    pitch_hz = np.linspace(start_hz, end_hz, samples) * vibrato
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE
    formants_hz = [
        np.linspace(*draw.uniform(low, high, 2), samples)
        for low, high in ((250, 850), (800, 2200), (2200, 3400))
    ]
    widths_hz = draw.uniform(50, 160, 3)
    gains = np.array([1, draw.uniform(0.3, 0.9), draw.uniform(0.1, 0.5)])
    voice = np.zeros(samples)
    for harmonic in range(1, 40):
        hz = harmonic * pitch_hz
        formants = zip(formants_hz, widths_hz, gains, strict=True)
        loudness = sum(gain / (1 + ((hz - f) / width) ** 2) for f, width, gain in formants) + 0.01
        voice += np.where(hz < 3800, loudness * np.sin(harmonic * phase) / harmonic**0.5, 0)

    noise = np.fft.rfft(draw.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    colour = 1 / (1 + ((hz - draw.uniform(1800, 3500)) / draw.uniform(300, 900)) ** 2)
    breath = np.fft.irfft(noise * colour, samples)

    corners = np.linspace(0, time[-1], 5)
    share = np.clip(np.interp(time, corners, draw.uniform(-0.4, 1.2, 5)), 0, 1)
    loudness = np.interp(time, np.linspace(0, time[-1], 6), draw.uniform(0.3, 1, 6))
    voice, breath = voice / (voice.std() + 1e-6), breath / (breath.std() + 1e-6)
    return 0.16 * loudness * (share * voice + (1 - share) * 0.6 * breath)


def _sounds(count: int, samples: int, seed: int) -> Tensor:
    draw = np.random.default_rng(seed)
    found = np.stack([_voice(samples, draw) for _ in range(count)])
    return torch.from_numpy(found).float().clamp(-1, 1).unsqueeze(1)


@cache
def training_sounds() -> Tensor:
    """Synthetic voices (500, 1, TRAINING_SAMPLES) in [-1, 1]."""
    return _sounds(500, TRAINING_SAMPLES, 0)


@cache
def held_out_sounds() -> Tensor:
    """Others (100, 1, HELD_OUT_SAMPLES)."""
    return _sounds(100, HELD_OUT_SAMPLES, 1)


def spectrum(sounds: Tensor, window: int, hop: int) -> Tensor:
    """Magnitudes (N, F, T) of sounds (N, 1, samples)."""
    hann = torch.hann_window(window)
    found = torch.stft(sounds.squeeze(1), window, hop, window=hann, return_complex=True)
    # The root has no gradient at 0.
    return torch.sqrt(found.real.square() + found.imag.square() + 1e-9)


def log_mel(sounds: Tensor) -> Tensor:
    """Log mel spectra (N, MEL_BANDS, samples / 64) of sounds (N, 1, samples)."""
    return torch.log(_mel_bands() @ spectrum(sounds, 256, 64)[:, :, :-1] + 1e-3)


@cache
def _mel_bands() -> Tensor:
    """Overlapping triangles (MEL_BANDS, 129) from 40 to 3900 Hz."""
    lowest, highest = (2595 * math.log10(1 + hz / 700) for hz in (40, 3900))
    edges_hz = 700 * (10 ** (np.linspace(lowest, highest, MEL_BANDS + 2) / 2595) - 1)
    hz = np.linspace(0, SAMPLE_RATE / 2, 129)
    low, centre, high = (edges_hz[k : k + MEL_BANDS, None] for k in range(3))
    rising, falling = (hz - low) / (centre - low), (high - hz) / (high - centre)
    return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None)).float()


# Shares of three kinds of homes for each of six jobs, in tenths.
_HOMES = np.array([[7, 2, 1], [5, 4, 1], [3, 5, 2], [2, 4, 4], [1, 3, 6], [0.5, 1.5, 8]]) / 10


def _table(count: int, seed: int) -> Tensor:
    """Made-up people: age, income, hours, debt in [-1, 1], then job, home, late payer one-hot."""
    draw = np.random.default_rng(seed)
    job = draw.choice(6, count, p=[0.34, 0.25, 0.18, 0.12, 0.08, 0.03])
    home = np.array([draw.choice(3, p=shares) for shares in _HOMES[job]])
    age = np.clip(18 + draw.gamma(4 + job, 5.0, count), 18, 90)
    spread = 0.35 * draw.standard_normal(count)
    income = np.exp(9.6 + 0.22 * job + 0.25 * home + 0.012 * np.minimum(age, 60) + spread)
    late = draw.random(count) < 1 / (1 + np.exp(-(10.9 - np.log(income)) * 2 + (age < 30)))
    part_time = draw.random(count) < 0.25 + 0.1 * home
    hours = np.where(part_time, draw.normal(20, 5, count), draw.normal(40, 2, count))
    debt = np.where(late, draw.exponential(0.6, count), draw.exponential(0.15, count))
    debt = np.minimum(debt * np.sqrt(income / 2e4), 3)
    numbers = [age / 36 - 1.5, (np.log(income) - 10.8) / 1.6, hours / 30 - 1.1, debt / 1.5 - 1]
    values = zip(CATEGORIES, (job, home, late.astype(int)), strict=True)
    one_hot = [np.eye(size)[value] for size, value in values]
    rows = np.concatenate([np.stack(numbers, 1).clip(-1, 1), *one_hot], 1)
    return torch.from_numpy(rows).float()


@cache
def tables() -> tuple[Tensor, Tensor]:
    """8000 rows to train on and 4000 held out."""
    return _table(8000, 0), _table(4000, 1)
