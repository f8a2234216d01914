"""Does `auto` harm loops that are well without it? Three that the policy before it harmed.

    python studies/harm.py --seeds 10 11 12 --out studies/results/harm.json

An autoencoder whose D never starts, a table with conditions (CTGAN's way), and an audio codec with
three Ds (DAC's way), each as people write it, with three lines of Balance. Measures are of held-out
data, and no number of D is in them.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp
from counterpoise.metrics.sliced_wasserstein import sliced_wasserstein_points

sys.path.insert(0, str(Path(__file__).parent / "untuned"))
from games import _half_size_crops, _log_mel
from networks import PeriodD, ScaleD

from data import voices

Measures = dict[str, float]


def autoencoder(policy: str, seed: int, data: Path) -> Measures:
    """L1 alone trains it: D's loss has the weight 0 until step 10^9."""
    training, held_out = (each / 127.5 - 1 for each in _half_size_crops(data, 32, "all"))
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    g = nn.Sequential(
        nn.Conv2d(3, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 8, 4, 2, 1),
        nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1),
    )  # fmt: skip
    d = nn.Sequential(nn.Conv2d(3, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 4, 2, 1))
    g_optimizer, d_optimizer = (torch.optim.Adam(n.parameters(), 5e-4) for n in (g, d))
    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=policy, objective="hinge")
    for step in range(400):
        real = training[torch.randint(len(training), (16,), generator=draw)]
        disc_factor = float(step >= 10**9)
        balance.g_step()
        fake = g(real)
        g_optimizer.zero_grad()
        ((fake - real).abs().mean() - disc_factor * d(fake).mean()).backward()
        g_optimizer.step()
        balance.d_step()
        d_optimizer.zero_grad()
        halves = F.relu(1 - d(real)).mean() + F.relu(1 + d(fake.detach())).mean()
        (disc_factor * 0.5 * halves).backward()
        d_optimizer.step()
    balance.close()
    with torch.no_grad():
        return {"l1": float((g(held_out) - held_out).abs().mean())}


class Critic(nn.Module):
    """Judges packs of rows, as PacGAN does."""

    PACK = 4

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.width = columns * self.PACK
        self.layers = nn.Sequential(
            nn.Linear(self.width, 64), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(64, 64),
            nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, rows: Tensor) -> Tensor:
        """Scores (N / 4, 1) of rows (N, columns)."""
        scores: Tensor = self.layers(rows.reshape(-1, self.width))
        return scores

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """WGAN-GP's, over packs."""
        share = torch.rand(len(real) // self.PACK, 1, 1).expand(-1, self.PACK, 1).reshape(-1, 1)
        between = (share * real + (1 - share) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self(between).sum(), between, create_graph=True)
        norm = slope.reshape(-1, self.width).norm(2, dim=1)
        return 10 * (norm - 1).square().mean()


def table(policy: str, seed: int, _: Path) -> Measures:
    """Scikit-learn's wines: 13 numbers, and the class that is asked for. Batch 64, WGAN-GP."""
    from sklearn.datasets import load_wine

    numbers, classes = load_wine(return_X_y=True)
    rows = torch.from_numpy(numbers).float()
    rows = ((rows - rows.mean(0)) / rows.std(0)).clamp(-4, 4) / 4
    kinds = F.one_hot(torch.from_numpy(classes).long(), 3).float()
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    training, held_out = order[:120], order[120:]
    torch.manual_seed(seed)
    g = nn.Sequential(
        nn.Linear(16 + 3, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64),
        nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 13 + 3),
    )  # fmt: skip
    d = Critic(13 + 3 + 3)
    g_optimizer, d_optimizer = (
        torch.optim.Adam(n.parameters(), 2e-4, betas=(0.5, 0.9), weight_decay=1e-6) for n in (g, d)
    )

    def made(wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and logits of the class."""
        out = g(torch.cat([torch.randn(len(wanted), 16), wanted], 1))
        kind = F.gumbel_softmax(out[:, 13:], tau=0.2)
        return torch.cat([out[:, :13].tanh(), kind], 1), out[:, 13:]

    balance = cp.Balance(g, d, g_optimizer, d_optimizer, policy=policy)
    for _ in range(1500):
        picked = training[torch.randint(len(training), (64,), generator=draw)]
        wanted = kinds[picked]
        balance.d_step()
        fake, _ = made(wanted)
        real_cat = torch.cat([rows[picked], kinds[picked], wanted], 1)
        fake_cat = torch.cat([fake.detach(), wanted], 1)
        loss_d = -(d(real_cat).mean() - d(fake_cat).mean())
        pen = d.penalty(real_cat, fake_cat)
        d_optimizer.zero_grad()
        (loss_d + pen).backward()
        d_optimizer.step()
        balance.g_step()
        fake, logits = made(wanted)
        loss_g = -d(torch.cat([fake, wanted], 1)).mean()
        loss_g = loss_g + F.cross_entropy(logits, wanted.argmax(1))
        g_optimizer.zero_grad()
        loss_g.backward()
        g_optimizer.step()
    balance.close()
    g.eval()
    with torch.no_grad():
        wanted = kinds[held_out].repeat(20, 1)
        fake, logits = made(wanted)
        met = (logits.argmax(1) == wanted.argmax(1)).float().mean()
        apart = sliced_wasserstein_points(fake[:, :13], rows[held_out].repeat(20, 1), 64)
        return {"conditions missed": 1 - float(met), "distance": apart}


def codec(policy: str, seed: int, _: Path) -> Measures:
    """An autoencoder of voices, with Ds of two periods and a scale, features, mel L1."""
    training, held_out = voices(512, 2048, 0), voices(64, 2048, 1)
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    g = nn.Sequential(
        nn.Conv1d(1, 16, 8, 4, 2), nn.ELU(), nn.Conv1d(16, 32, 8, 4, 2), nn.ELU(),
        nn.Conv1d(32, 8, 1), nn.ConvTranspose1d(8, 32, 8, 4, 2), nn.ELU(),
        nn.ConvTranspose1d(32, 16, 8, 4, 2), nn.ELU(), nn.Conv1d(16, 1, 7, padding=3), nn.Tanh(),
    )  # fmt: skip
    ds = nn.ModuleDict({"period 2": PeriodD(2), "period 5": PeriodD(5), "scale": ScaleD()})
    g_optimizer, d_optimizer = (
        torch.optim.AdamW(n.parameters(), 3e-4, betas=(0.8, 0.99)) for n in (g, ds)
    )
    balance = cp.Balance(g, dict(ds.items()), g_optimizer, d_optimizer, policy=policy)
    for _ in range(400):
        real = training[torch.randint(len(training), (8,), generator=draw)][:, None]
        fake = g(real)
        balance.d_step()
        loss_d = sum(
            ((1 - d(real)[0]) ** 2).mean() + (d(fake.detach())[0] ** 2).mean() for d in ds.values()
        )
        d_optimizer.zero_grad()
        loss_d.backward()
        torch.nn.utils.clip_grad_norm_(ds.parameters(), 10.0)
        d_optimizer.step()
        balance.g_step()
        loss_g = 15 * (_log_mel(fake[:, 0]) - _log_mel(real[:, 0])).abs().mean()
        for d in ds.values():
            scores, features = d(fake)
            targets = d(real)[1]
            loss_g = loss_g + ((1 - scores) ** 2).mean()
            for own, target in zip(features, targets, strict=True):
                loss_g = loss_g + 2 * F.l1_loss(own, target.detach())
        g_optimizer.zero_grad()
        loss_g.backward()
        torch.nn.utils.clip_grad_norm_(g.parameters(), 1e3)
        g_optimizer.step()
    balance.close()
    with torch.no_grad():
        fake = g(held_out[:, None])[:, 0]
        mel = (_log_mel(fake) - _log_mel(held_out)).abs().mean()
        return {"l1": float((fake - held_out).abs().mean()), "mel l1": float(mel)}


LOOPS: dict[str, Callable[[str, int, Path], Measures]] = {
    "autoencoder": autoencoder,
    "table": table,
    "codec": codec,
}


def main() -> None:
    """Print each measure by loop, policy and seed; all of them lower is better."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[10, 11, 12])
    parser.add_argument("--loops", nargs="+", choices=LOOPS, default=list(LOOPS))
    parser.add_argument("--policies", nargs="+", default=["none", "auto"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for loop in arguments.loops:
        for policy in arguments.policies:
            for seed in arguments.seeds:
                measures = LOOPS[loop](policy, seed, arguments.data)
                found.append({"loop": loop, "policy": policy, "seed": seed, **measures})
                print(loop, policy, seed, {k: round(v, 4) for k, v in measures.items()}, flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
