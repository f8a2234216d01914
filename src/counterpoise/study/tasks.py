"""The table of tasks, each with the setting that its trainings begin from."""

from counterpoise.registry import Registry
from counterpoise.study.samples import Digits, Points, grid_centres, ring_centres
from counterpoise.study.super_resolution import SuperResolution
from counterpoise.study.task import Setting, Task

TASKS: Registry[Task] = Registry(
    "task",
    (
        "ring",
        Points("8 Gaussians on a circle", Setting(1000, batch_size=128), ring_centres(), std=0.1),
    ),
    (
        "grid",
        Points("25 Gaussians on a grid", Setting(1200, batch_size=128), grid_centres(), std=0.1),
    ),
    (
        "digits",
        Digits(
            "scikit-learn's handwritten digits, 8x8",
            Setting(800, batch_size=64, d_width=64, d_norm="layer"),
        ),
    ),
    (
        "sr",
        SuperResolution(
            "x4 super-resolution of photographs, a small ENet with perceptual and adversarial loss",
            Setting(
                160,
                batch_size=8,
                g_learning_rate=5e-4,
                d_learning_rate=5e-4,
                d_width=8,
                d_norm="layer",
                betas=(0.9, 0.999),
                adversarial_weight=0.001,
            ),
            width=16,
            blocks=2,
            pretrain_steps=200,
        ),
    ),
    (
        "seed",
        SuperResolution(
            "the question's situation: its port of ENet-PA, small, perceptual term of its scale",
            Setting(
                600,
                batch_size=16,
                g_learning_rate=5e-4,
                d_width=16,
                d_norm="batch",
                betas=(0.9, 0.999),
                content_weight=1e6,
            ),
            width=8,
            blocks=3,
            # The question's logs are of the third epoch.
            pretrain_steps=400,
            discriminator="enhancenet",
            is_port=True,
        ),
    ),
    (
        "sr-full",
        SuperResolution(
            "x4 super-resolution, the whole ENet on 128-pixel crops (for a GPU)",
            Setting(
                20_000,
                batch_size=16,
                g_learning_rate=1e-4,
                d_learning_rate=1e-4,
                d_width=32,
                d_norm="layer",
                betas=(0.9, 0.999),
                adversarial_weight=0.001,
            ),
            width=64,
            blocks=10,
            crop_px=128,
            pretrain_steps=20_000,
            discriminator="enhancenet",
        ),
    ),
)
