"""What `cp.Balance` adds to a turn of a hand-written loop, that of examples/dcgan_digits.py.

    python benchmarks/balance_cost.py [--rounds 12] [--round-steps 100]

The aim: under 3 %.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import counterpoise as cp
from measuring import interleave, report, summary

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import dcgan_digits


class Loop:
    """The example's loop, with a `Balance` of a policy or without one."""

    def __init__(
        self, images: torch.Tensor, policy: str | None, run_dir: str | None, **policy_options: float
    ) -> None:
        torch.manual_seed(0)
        self.images = images
        self.g, self.d = dcgan_digits.make_generator(), dcgan_digits.make_discriminator()
        self.optimizers = [
            torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (self.g, self.d)
        ]
        self.balance = None
        if policy is not None:
            g_optimizer, d_optimizer = self.optimizers
            self.balance = cp.Balance(
                self.g,
                self.d,
                g_optimizer,
                d_optimizer,
                policy=policy,
                policy_options=policy_options,
                run_dir=run_dir,
            )

    def steps(self, count: int) -> None:
        """Train for so many turns."""
        (g_optimizer, d_optimizer), balance = self.optimizers, self.balance
        for _ in range(count):
            real = self.images[torch.randint(len(self.images), (dcgan_digits.BATCH_SIZE,))]
            fake = self.g(torch.randn(dcgan_digits.BATCH_SIZE, dcgan_digits.NOISE_VALUES))
            if balance is not None:
                balance.d_step()
            d_optimizer.zero_grad()
            on_real, on_fake = self.d(real), self.d(fake.detach())
            (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).backward()
            d_optimizer.step()
            if balance is not None:
                balance.g_step()
            g_optimizer.zero_grad()
            F.softplus(-self.d(fake)).mean().backward()
            g_optimizer.step()
        if balance is not None:
            balance.end_step()


def measure(rounds: int, round_steps: int, turn_steps: int = 10) -> dict[str, Any]:
    """Seconds per turn, and ratios to the loop without."""
    images, _ = dcgan_digits.load_images()
    with tempfile.TemporaryDirectory() as folder:
        loops = {
            "without": Loop(images, None, None),
            "policy none": Loop(images, "none", f"{folder}/none"),
            # R1 is training, not an instrument.
            "policy auto, without R1": Loop(images, "auto", f"{folder}/auto", r1=0.0),
            "policy auto": Loop(images, "auto", f"{folder}/auto-r1"),
        }
        for loop in loops.values():
            loop.steps(turn_steps)
        runs = {name: lambda loop=loop: loop.steps(turn_steps) for name, loop in loops.items()}  # type: ignore[misc]
        turns = max(1, round_steps // turn_steps)
        times = interleave(runs, rounds, "cpu", turns)
        for loop in loops.values():
            if loop.balance is not None:
                loop.balance.close()
    return summary(times, "without", turns * turn_steps)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--round-steps", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    report("balance_cost", vars(given), measure(given.rounds, given.round_steps))


if __name__ == "__main__":
    main()
