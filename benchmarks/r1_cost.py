"""What R1 adds to D's part: the exact one, and the estimate without a second derivative.

python benchmarks/r1_cost.py                   # the paper's D on crops of 64 pixels
python benchmarks/r1_cost.py --device cuda --batch 8
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from counterpoise.config import DiscriminatorConfig
from counterpoise.losses.penalties import estimated_r1_penalty, r1_penalty
from counterpoise.models.discriminator import enhancenet_discriminator
from measuring import interleave, report, summary

CROP_PX = 64


def measure(rounds: int, batch: int, device: str) -> dict[str, object]:
    """Seconds of D's forward and backward pass, and ratios to those without R1."""
    torch.manual_seed(0)
    d = enhancenet_discriminator(DiscriminatorConfig(), CROP_PX).to(device)
    real, fake = (torch.rand(batch, 3, CROP_PX, CROP_PX, device=device) for _ in range(2))

    def part(penalty: Callable[..., Tensor] | None) -> None:
        d.zero_grad()
        loss = F.softplus(-d(real)).mean() + F.softplus(d(fake)).mean()
        (loss if penalty is None else loss + penalty(d, real)).backward()

    runs = {
        "without": lambda: part(None),
        "exact": lambda: part(r1_penalty),
        "estimate": lambda: part(estimated_r1_penalty),
    }
    for run in runs.values():
        run()
    return summary(interleave(runs, rounds, device, 1), "without", 1)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    torch.set_num_threads(1)
    report("r1_cost", vars(given), measure(**vars(given)))


if __name__ == "__main__":
    main()
