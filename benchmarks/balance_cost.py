"""What `cp.Balance` adds to a turn of a hand-written loop.

    python benchmarks/balance_cost.py                                  # the example's loop, digits
    python benchmarks/balance_cost.py --loop tutorial --batch 16       # DCGAN's tutorial, 64x64
    python benchmarks/balance_cost.py --loop tutorial --device cuda    # batch 128

`--no-items` leaves out the six numbers that the tutorial brings to the host in each turn. The aims:
5 % on a CPU, 3 % on a GPU.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp
from measuring import interleave, report, summary

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import dcgan_digits


class Loop:
    """A loop with a `Balance` of a policy, or without one."""

    def __init__(self, g: nn.Module, d: nn.Module, policy: str | None, **options: Any) -> None:
        self.g, self.d = g, d
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (g, d)
        )
        self.balance = None
        if policy is not None:
            optimizers = self.g_optimizer, self.d_optimizer
            self.balance = cp.Balance(g, d, *optimizers, policy=policy, **options)

    def steps(self, count: int) -> None:
        """Train for so many turns."""
        for _ in range(count):
            self.turn()
        if self.balance is not None:
            self.balance.end_step()

    def d_begins(self) -> None:
        """D's part begins."""
        if self.balance is not None:
            self.balance.d_step()

    def g_begins(self) -> None:
        """G's part begins."""
        if self.balance is not None:
            self.balance.g_step()

    def turn(self) -> None:
        """One turn."""
        raise NotImplementedError


class Digits(Loop):
    """The loop of examples/dcgan_digits.py."""

    def __init__(self, images: Tensor, policy: str | None, **options: Any) -> None:
        torch.manual_seed(0)
        self.images = images
        g, d = dcgan_digits.make_generator(), dcgan_digits.make_discriminator()
        super().__init__(g, d, policy, **options)

    def turn(self) -> None:
        """One turn."""
        real = self.images[torch.randint(len(self.images), (dcgan_digits.BATCH_SIZE,))]
        fake = self.g(torch.randn(dcgan_digits.BATCH_SIZE, dcgan_digits.NOISE_VALUES))
        self.d_begins()
        self.d_optimizer.zero_grad()
        on_real, on_fake = self.d(real), self.d(fake.detach())
        (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()).backward()
        self.d_optimizer.step()
        self.g_begins()
        self.g_optimizer.zero_grad()
        F.softplus(-self.d(fake)).mean().backward()
        self.g_optimizer.step()


class Tutorial(Loop):
    """The loop of PyTorch's DCGAN tutorial, from its description: 64x64, a D that ends in a
    sigmoid, BCELoss, a backward pass for each half of D's loss, six numbers read in each turn."""

    def __init__(
        self, batch: int, device: str, items: bool, policy: str | None, **options: Any
    ) -> None:
        torch.manual_seed(0)
        self.device, self.items = device, items
        self.real = torch.rand(batch, 3, 64, 64, device=device) * 2 - 1
        super().__init__(tutorial_g().to(device), tutorial_d().to(device), policy, **options)
        self.criterion = nn.BCELoss()

    def turn(self) -> None:
        """One turn."""
        batch = len(self.real)
        self.d_begins()
        self.d.zero_grad()
        label = torch.full((batch,), 1.0, device=self.device)
        on_real = self.d(self.real).view(-1)
        loss_real = self.criterion(on_real, label)
        loss_real.backward()
        fake = self.g(torch.randn(batch, 100, 1, 1, device=self.device))
        label.fill_(0.0)
        on_fake = self.d(fake.detach()).view(-1)
        loss_fake = self.criterion(on_fake, label)
        loss_fake.backward()
        self.d_optimizer.step()
        self.g_begins()
        self.g.zero_grad()
        label.fill_(1.0)
        again = self.d(fake).view(-1)
        loss_g = self.criterion(again, label)
        loss_g.backward()
        self.g_optimizer.step()
        if self.items:
            numbers = (loss_real + loss_fake, loss_g, on_real.mean(), on_fake.mean(), again.mean())
            _ = [number.item() for number in (*numbers, loss_fake)]


def tutorial_g() -> nn.Module:
    """From noise (N, 100, 1, 1) to images (N, 3, 64, 64)."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride, padding in (
        (100, 512, 1, 0), (512, 256, 2, 1), (256, 128, 2, 1), (128, 64, 2, 1),
    ):  # fmt: skip
        convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())


def tutorial_d() -> nn.Module:
    """From images (N, 3, 64, 64) to probabilities (N, 1, 1, 1)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
        convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 1, 0, bias=False), nn.Sigmoid())


# R1 is training, not an instrument.
POLICIES: dict[str, dict[str, Any] | None] = {
    "without": None,
    "policy none": {"policy": "none"},
    "policy auto, without R1": {"policy": "auto", "policy_options": {"r1": 0.0}},
    "policy auto": {"policy": "auto"},
}


def measure(
    rounds: int,
    round_steps: int,
    turn_steps: int = 10,
    *,
    loop: str = "digits",
    device: str = "cpu",
    batch: int = 128,
    no_items: bool = False,
) -> dict[str, Any]:
    """Seconds per turn, and ratios to the loop without."""
    images, _ = dcgan_digits.load_images()
    with tempfile.TemporaryDirectory() as folder:
        loops: dict[str, Loop] = {}
        for name, options in POLICIES.items():
            arguments = {"policy": None} if options is None else options
            if options is not None:
                arguments = arguments | {"run_dir": f"{folder}/{name}"}
            if loop == "digits":
                loops[name] = Digits(images, **arguments)
            else:
                loops[name] = Tutorial(batch, device, not no_items, **arguments)
        for each in loops.values():
            each.steps(turn_steps)
        runs = {name: lambda each=each: each.steps(turn_steps) for name, each in loops.items()}  # type: ignore[misc]
        turns = max(1, round_steps // turn_steps)
        times = interleave(runs, rounds, device, turns)
        for each in loops.values():
            if each.balance is not None:
                each.balance.close()
    return summary(times, "without", turns * turn_steps)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop", choices=["digits", "tutorial"], default="digits")
    parser.add_argument("--device", default="cpu", help="cuda: of the tutorial's loop")
    parser.add_argument("--batch", type=int, default=128, help="of the tutorial's loop")
    parser.add_argument("--no-items", action="store_true")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--round-steps", type=int, default=100)
    given = parser.parse_args()
    if given.device != "cpu":
        given.loop = "tutorial"
    torch.set_num_threads(1)
    report("balance_cost", vars(given), measure(**vars(given)))


if __name__ == "__main__":
    main()
