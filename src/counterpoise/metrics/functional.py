"""Image metrics, per image. Higher is better for all of them but `rmse`.

Inputs are batches (N, C, H, W) in [0, 1], C being 3 (RGB) or 1 (luma). What the field's tables
mean by a number depends on rounding, colour space and border, so each is a step of its own:
`quantise`, `to_luma`, `crop_border`.
"""

import torch
from torch import Tensor

# Wang et al. 2004: a Gaussian window of 11 pixels with a deviation of 1.5.
SSIM_WINDOW_PX = 11
SSIM_STD_PX = 1.5


def quantise(images: Tensor) -> Tensor:
    """Values as an 8-bit file would hold them: clamped to [0, 1], rounded to 1/255."""
    return images.clamp(0, 1).mul(255).round().div(255)


def to_luma(rgb: Tensor) -> Tensor:
    """BT.601 luma (N, 1, H, W) in [16/255, 235/255] of RGB, as MATLAB's rgb2ycbcr gives it.

    It is not rounded to 8 bit again, as for MATLAB's floating-point images.
    """
    weights = torch.tensor((65.481, 128.553, 24.966), device=rgb.device, dtype=rgb.dtype) / 255
    return (rgb * weights.reshape(1, 3, 1, 1)).sum(1, keepdim=True) + 16 / 255


def crop_border(images: Tensor, border_px: int) -> Tensor:
    """The images without `border_px` pixels on each side."""
    if min(images.shape[-2:]) <= 2 * border_px:
        raise ValueError(f"nothing of {tuple(images.shape)} is left without {border_px} px borders")
    return images[
        ..., border_px : images.shape[-2] - border_px, border_px : images.shape[-1] - border_px
    ]


def psnr(fake: Tensor, real: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, (N,), for a peak of 1; infinite for equal images."""
    return -10 * torch.log10((fake - real).square().flatten(1).mean(1))


def ssim(fake: Tensor, real: Tensor) -> Tensor:
    """Structural similarity, (N,), at most 1; over positions where the window fits whole.

    Source: Wang et al. 2004. Images smaller than the window raise ValueError.
    """
    if min(fake.shape[-2:]) < SSIM_WINDOW_PX:
        raise ValueError(f"SSIM needs sides of at least {SSIM_WINDOW_PX} pixels")
    from skimage.metrics import structural_similarity  # takes a second to import

    pairs = zip(*(images.cpu().double().numpy() for images in (fake, real)), strict=True)
    values = [
        structural_similarity(  # type: ignore[no-untyped-call]
            *pair,
            data_range=1,
            channel_axis=0,
            gaussian_weights=True,
            sigma=SSIM_STD_PX,
            use_sample_covariance=False,
        )
        for pair in pairs
    ]
    return torch.tensor(values, dtype=fake.dtype, device=fake.device)


def rmse(fake: Tensor, real: Tensor) -> Tensor:
    """Root of the mean squared error in grey levels, in [0, 255], (N,); lower is better."""
    return 255 * (fake - real).square().flatten(1).mean(1).sqrt()
