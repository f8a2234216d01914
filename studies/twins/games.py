"""The games and their sick twins: the same training with something that people get wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from paired_pictures import denoiser, inpainting, pix2pix, srgan, vq
from pictures_from_noise import conditional_digits, dcgan, hinge
from sounds import vocoder
from trial import Measures, Trial
from vectors import wgan_gp_tables

SICK = "-sick"


@dataclass(frozen=True)
class Game:
    """A training, the one measure that it is judged by, and what its sick twin has otherwise."""

    train: Callable[..., Measures]
    measure: str
    sickness: dict[str, Any]


GAMES = {
    "pix2pix": Game(pix2pix, "frechet", {"g_learning_rate": 1e-5}),
    "srgan": Game(
        srgan,
        "frechet",
        {"feature_weight": 0, "l1_weight": 1, "adversarial_weight": 0.005, "d_learning_rate": 1e-3},
    ),
    "vq": Game(
        vq,
        "frechet",
        {"d_begins": 0, "adaptive": False, "d_weight": 2.0, "d_learning_rate": 2e-3},
    ),
    "inpainting": Game(
        inpainting,
        "hole_frechet",
        {"d_head_start_steps": 300, "adversarial_weight": 2.0, "d_batch_norm": True},
    ),
    "vocoder": Game(
        vocoder, "lsd", {"d_learning_rate": 2e-3, "mel_weight": 1, "feature_weight": 0}
    ),
    "denoiser": Game(denoiser, "frechet", {"d_gate": 0.2, "l1_weight": 1.0}),
    "dcgan": Game(dcgan, "frechet", {"d_learning_rate": 2e-3, "d_head_start_steps": 300}),
    "digits": Game(conditional_digits, "class_frechet", {"batch_size": 4, "d_gate": 0.5}),
    "tables": Game(wgan_gp_tables, "sliced", {"learning_rate": 1e-3}),
    "hinge": Game(hinge, "frechet", {"batch_size": 4}),
}
# Each game, then its twin.
NAMES = [name + twin for name in GAMES for twin in ("", SICK)]


def play(name: str, trial: Trial) -> Measures:
    """Train a game, or its sick twin: the held-out measures."""
    game = GAMES[name.removesuffix(SICK)]
    torch.manual_seed(trial.seed)
    return game.train(trial, **(game.sickness if name.endswith(SICK) else {}))
