"""A plain PyTorch DCGAN on scikit-learn's handwritten digits, with `counterpoise.Balance`.

    pip install './counterpoise[examples]'
    python examples/dcgan_digits.py

Takes about a minute on two CPU cores. Prints how many of the ten digits G draws, as a classifier
trained on the real ones sees them, and what the diagnosis says.
"""

import argparse
import logging

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import counterpoise as cp

NOISE_VALUES = 32
BATCH_SIZE = 64


def make_generator() -> nn.Module:
    """From noise (N, 32) to digits (N, 1, 8, 8) in [-1, 1]."""
    return nn.Sequential(
        nn.Unflatten(1, (NOISE_VALUES, 1, 1)),
        nn.ConvTranspose2d(NOISE_VALUES, 64, 2),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def make_discriminator() -> nn.Module:
    """From digits (N, 1, 8, 8) to logits (N, 1)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(64 * 2 * 2, 1),
    )


def load_images() -> tuple[Tensor, np.ndarray]:
    """The 1797 digits (N, 1, 8, 8) in [-1, 1], and which digit each is."""
    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) / 8 - 1
    return images, digits.target


def train(
    images: Tensor,
    generator: nn.Module,
    discriminator: nn.Module,
    steps: int,
    policy: str,
    run_dir: str | None,
    check: bool,
) -> cp.Balance:
    """An ordinary loop; the lines with `balance` and `step` are what counterpoise adds."""
    g_optimizer = torch.optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    balance = cp.Balance(
        generator, discriminator, g_optimizer, d_optimizer,
        policy=policy, run_dir=run_dir, check=check, log_every=500,
    )  # fmt: skip
    for _ in range(steps):
        real = images[torch.randint(len(images), (BATCH_SIZE,))]
        fake = generator(torch.randn(BATCH_SIZE, NOISE_VALUES))

        with balance.d_step():
            d_optimizer.zero_grad()
            on_real, on_fake = discriminator(real), discriminator(fake.detach())
            loss_real = criterion(on_real, torch.ones_like(on_real))
            loss_fake = criterion(on_fake, torch.zeros_like(on_fake))
            (loss_real + loss_fake).backward()
            d_optimizer.step()

        with balance.g_step():
            g_optimizer.zero_grad()
            on_fake = discriminator(fake)
            criterion(on_fake, torch.ones_like(on_fake)).backward()
            g_optimizer.step()
    balance.end_step()
    return balance


@torch.no_grad()
def coverage(images: Tensor, labels: np.ndarray, generator: nn.Module) -> np.ndarray:
    """The share of each digit among 2000 generated images, by a classifier of the real ones."""
    classifier = LogisticRegression(max_iter=1000).fit(images.flatten(1).numpy(), labels)
    generator.eval()
    generated = generator(torch.randn(2000, NOISE_VALUES)).flatten(1).numpy()
    return np.bincount(classifier.predict(generated), minlength=10) / len(generated)


def main() -> None:
    """Train, then say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--run-dir", help="a new folder for `counterpoise diagnose`")
    parser.add_argument("--check", action="store_true", help="look for bugs in the loop")
    options = parser.parse_args()

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    torch.manual_seed(options.seed)
    images, labels = load_images()
    generator, discriminator = make_generator(), make_discriminator()
    balance = train(
        images, generator, discriminator,
        options.steps, options.policy, options.run_dir, options.check,
    )  # fmt: skip

    shares = coverage(images, labels, generator)
    print("digit:            " + "".join(f"{digit:>6}" for digit in range(10)))
    print("share of G's:     " + "".join(f"{share:>6.2f}" for share in shares))
    print(f"digits that G draws (share over 0.02): {(shares > 0.02).sum()} of 10")
    for finding in balance.diagnosis().findings:
        print(f"{finding.severity}: {finding.id}: {finding.title}")
    balance.close()


if __name__ == "__main__":
    main()
