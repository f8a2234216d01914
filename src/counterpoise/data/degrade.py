"""Low-resolution images like files of the real world: twice blurred, resized, noisy, compressed.

Source: Real-ESRGAN (Wang et al. 2021, arXiv 2107.10833), section 3, and its published options.
"""

import math
from typing import Any

import cv2
import numpy as np
from scipy.special import j1

from counterpoise.config import DegradationConfig, DegradationRound

KERNEL_SIDES = range(7, 22, 2)  # pixels
KERNELS = ("Gaussian", "generalised Gaussian", "plateau")
RESIZES = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
# Side of the Gaussian that HR images are sharpened by, how much, and from how many levels on.
MASK_PX, MASK_WEIGHT, MASK_LEVELS = 51, 0.5, 10


def degrade(
    hr: np.ndarray, scale: int, config: DegradationConfig, random: np.random.Generator
) -> tuple[np.ndarray, list[str]]:
    """What `random` makes of an image (H, W, 3): (H / scale, W / scale, 3), both uint8, and the
    steps to it in words."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    chain = _Chain(hr, random)
    chain.blur_resize_noise(config.first, *hr.shape[:2])
    chain.compress(config.first)
    chain.blur_resize_noise(config.second, height, width)
    compressed_first = random.random() < 0.5
    if compressed_first:
        chain.compress(config.second)
    chain.resize(height, width)
    if random.random() < config.final_sinc_probability:
        chain.sinc(math.pi / 3)
    if not compressed_first:
        chain.compress(config.second)
    return _rounded(chain.image), chain.steps


def sharpened(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3), uint8, after unsharp masking where it has detail."""
    values = image.astype(np.float32)
    detail = values - cv2.GaussianBlur(values, (MASK_PX, MASK_PX), 0)
    mask = (np.abs(detail) > MASK_LEVELS).astype(np.float32)
    mask = cv2.GaussianBlur(mask, (MASK_PX, MASK_PX), 0)
    return _rounded(values + mask * (np.clip(values + MASK_WEIGHT * detail, 0, 255) - values))


class _Chain:
    """An image on its way, float32 from 0 to 255, and what was done to it."""

    def __init__(self, image: np.ndarray, random: np.random.Generator) -> None:
        self.image: Any = image.astype(np.float32)
        self.random, self.steps = random, list[str]()

    def blur_resize_noise(self, config: DegradationRound, height: int, width: int) -> None:
        """A round up to its compression; its factors are of this size."""
        if self.random.random() < config.blur_probability:
            self.blur(config)
        smallest, largest = config.resize_range
        ends = [(1.0, largest), (smallest, 1.0), (1.0, 1.0)][self.choice(config.resize_weights)]
        factor = self.random.uniform(*ends)
        self.resize(max(1, int(height * factor)), max(1, int(width * factor)))
        self.add_noise(config)

    def blur(self, config: DegradationRound) -> None:
        if self.random.random() < config.sinc_probability:
            self.sinc(math.pi / 5)
            return
        kind, anisotropic = divmod(self.choice(config.kernel_weights), 2)
        sigmas = self.random.uniform(*config.blur_sigma, size=2 if anisotropic else 1)
        beta, angle = 1.0, self.random.uniform(-math.pi, math.pi)
        if kind:
            low, high = (config.generalised_beta, config.plateau_beta)[kind - 1]
            # On either side of a Gaussian's, as likely as on the other.
            middle = min(max(low, 1.0), high)
            beta = self.random.uniform(*((low, middle), (middle, high))[self.random.integers(2)])
        side = self.random.choice(KERNEL_SIDES)
        kernel = blur_kernel(side, sigmas, angle, beta, is_plateau=KERNELS[kind] == "plateau")
        self.image = cv2.filter2D(self.image, -1, kernel)
        self.steps.append(f"{KERNELS[kind]} {'x'.join(f'{sigma:.1f}' for sigma in sigmas)}")

    def sinc(self, lowest: float) -> None:
        """Ring: cut frequencies off, from `lowest` on, from pi / 3 on with small kernels."""
        side = self.random.choice(KERNEL_SIDES)
        cutoff = self.random.uniform(lowest if side > 12 else math.pi / 3, math.pi)
        self.image = cv2.filter2D(self.image, -1, sinc_kernel(side, cutoff))
        self.steps.append(f"sinc {cutoff:.1f}")

    def resize(self, height: int, width: int) -> None:
        name = self.random.choice(list(RESIZES))
        if self.image.shape[:2] != (height, width):
            self.image = cv2.resize(self.image, (width, height), interpolation=RESIZES[name])
            self.steps.append(f"{name} to {width}x{height}")

    def add_noise(self, config: DegradationRound) -> None:
        self.image = pixels = self.image.clip(0, 255)
        is_grey = self.random.random() < config.grey_noise_probability
        if is_grey:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None]
        if self.random.random() < config.gaussian_noise_probability:
            size = self.random.uniform(*config.noise_sigma)
            noise = size * self.random.standard_normal(pixels.shape, np.float32)
        else:
            size, pixels = self.random.uniform(*config.poisson_scale), np.round(pixels)
            # White is as many photons as the image has levels, to a power of two.
            photons = 2 ** math.ceil(math.log2(len(np.unique(pixels)))) / 255
            noise = size * (self.random.poisson(pixels * photons) / photons - pixels)
        kind = "Gaussian" if noise.dtype == np.float32 else "Poisson"
        self.image = (self.image + noise).clip(0, 255).astype(np.float32)
        self.steps.append(f"{kind} noise {size:.1f}" + ", grey" * is_grey)

    def compress(self, config: DegradationRound) -> None:
        quality = int(self.random.integers(*config.jpeg_quality, endpoint=True))
        bgr = _rounded(self.image[..., ::-1])
        _, file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        self.image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR_RGB), np.float32)
        self.steps.append(f"JPEG {quality}")

    def choice(self, weights: tuple[float, ...]) -> int:
        return int(self.random.choice(len(weights), p=np.array(weights) / sum(weights)))


def blur_kernel(
    side: int, sigmas: np.ndarray, angle: float, beta: float, *, is_plateau: bool = False
) -> np.ndarray:
    """A kernel (side, side) that sums to 1: exp(-q^beta / 2), of a plateau 1 / (1 + q^beta).

    q is the squared distance from the centre in units of `sigmas` (pixels; one, or two along axes
    turned by `angle`).
    """
    y, x = np.indices((side, side)) - side // 2
    along = (x * math.cos(angle) + y * math.sin(angle)) / max(sigmas[0], 0.01)
    across = (y * math.cos(angle) - x * math.sin(angle)) / max(sigmas[-1], 0.01)
    q = (along**2 + across**2) ** beta
    kernel = 1 / (1 + q) if is_plateau else np.exp(-q / 2)
    return np.asarray(kernel / kernel.sum())


def sinc_kernel(side: int, cutoff: float) -> np.ndarray:
    """The circular low-pass filter (side, side) of a cut-off in radians a pixel, that sums to 1."""
    radius = np.hypot(*(np.indices((side, side)) - side // 2)).clip(1e-6)
    kernel = cutoff * j1(cutoff * radius) / (2 * math.pi * radius)
    return np.asarray(kernel / kernel.sum())


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.round().clip(0, 255).astype(np.uint8))
