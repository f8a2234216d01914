"""The situation that the project's question describes, built for real, and `auto` from its start.

The question's port of ENet-PA had batch normalisation in D, fed real and fake images apart, a
perceptual term of another scale than the adversarial one, and a gate that trains D only on a half
whose loss is above 0.3. This script trains such a port, small enough for a CPU, and prints the
question's log; then the same networks from the same weights under another policy.

    python studies/seed_situation.py                        # the gate, then auto
    python studies/seed_situation.py --ablate               # which ingredient it takes
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import counterpoise as cp
from counterpoise.config import DataConfig, DegradationConfig, DiscriminatorConfig
from counterpoise.data.catalog import scan
from counterpoise.data.dataset import CropPairs
from counterpoise.data.sampler import batches, shares
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.losses.adversarial import ADVERSARIAL_FORMS
from counterpoise.models.discriminator import enhancenet_discriminator
from counterpoise.models.features import embedded_extractor
from counterpoise.records import Readings
from counterpoise.sensors.gradients import output_gradients
from counterpoise.study.super_resolution import PortGenerator
from counterpoise.trace import TraceBuilder

FORM = ADVERSARIAL_FORMS["non-saturating"]
# D's smoothed accuracy is its moving average over about 20 steps.
SMOOTHING = 0.95


@dataclass(frozen=True)
class Setting:
    """One training. The defaults are the question's, as far as they are known, made small."""

    policy: str = "loss-gate"
    steps: int = 800
    seed: int = 0
    batch_size: int = 16
    crop_px: int = 32
    g_width: int = 8
    d_width: int = 16
    g_learning_rate: float = 5e-4
    d_learning_rate: float = 1e-3
    d_batch_norm: bool = True
    real_and_fake_in_one_batch: bool = False
    # Factor on the perceptual term; the paper's normalised features would be about 1.
    perceptual_scale: float = 1e6
    # The port doubles all adversarial losses (its texture mode), and gates the doubled halves.
    loss_multiplier: float = 2.0


def port_discriminator(setting: Setting) -> nn.Module:
    """The paper's D, with batch normalisation as in the port; it returns logits."""
    norm = "batch" if setting.d_batch_norm else "none"
    config = DiscriminatorConfig(width=setting.d_width, norm=norm)
    return enhancenet_discriminator(config, setting.crop_px)


class Perceptual:
    """P on raw features: the port neither normalises them nor its inputs."""

    def __init__(self, scale: float) -> None:
        self._extractor = embedded_extractor()
        self._scale = scale
        self._weights = {"pool1": 0.2, "pool2": 0.02}

    def __call__(self, fake: Tensor, real: Tensor) -> Tensor:
        layers = list(self._weights)
        with torch.no_grad():
            targets = self._extractor(real, layers)
        features = self._extractor(fake, layers)
        terms = [w * F.mse_loss(features[k], targets[k]) for k, w in self._weights.items()]
        return self._scale * torch.stack(terms).sum()


def crops(folders: list[Path], setting: Setting) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of LR and HR crops in [0, 1], the same for the same seed."""
    config = DataConfig(folders=tuple(folders), crop_px=setting.crop_px)
    images, _ = scan(config, 4)
    dataset = CropPairs(images, 4, DegradationConfig(), setting.crop_px, setting.seed, True, True)
    for lr, hr in batches(dataset, shares(setting.batch_size, 0, 1, 0), 0):
        yield lr.float() / 255, hr.float() / 255


def train(setting: Setting, data: Iterator[tuple[Tensor, Tensor]], log_every: int) -> list[dict]:
    """The question's loop, its gate in the hands of a policy; one row for each step."""
    torch.manual_seed(setting.seed)
    g, d = PortGenerator(setting.g_width), port_discriminator(setting)
    g_optimizer = torch.optim.Adam(g.parameters(), setting.g_learning_rate)
    d_optimizer = torch.optim.Adam(d.parameters(), setting.d_learning_rate)
    perceptual, times = Perceptual(setting.perceptual_scale), setting.loss_multiplier
    balance = cp.Balance(
        g,
        d,
        g_optimizer,
        d_optimizer,
        policy=setting.policy,
        policy_options={"loss_multiplier": times} if setting.policy == "loss-gate" else {},
        objective="bce",
        sensors_every=1,
        paired=True,
        log_every=setting.steps + 1,
        seed=setting.seed,
    )
    smoothed, rows = None, []
    for step in range(1, setting.steps + 1):
        lr, real = next(data)
        fake = g(lr)
        turn = balance.turn()

        # Discriminator.
        change = turn.change
        real_seen, fake_seen = change.real(real), change.fake(fake.detach())
        if setting.real_and_fake_in_one_batch:
            real_logits, fake_logits = d(torch.cat([real_seen, fake_seen])).chunk(2)
        else:
            real_logits, fake_logits = d(real_seen), d(fake_seen)
        action = turn.judge(real_logits, fake_logits, real=real, fake=fake)
        d_optimizer.zero_grad(set_to_none=True)
        loss_d = times * turn.d_loss(*FORM.d_loss(real_logits, fake_logits))
        loss_d.backward()
        turn.d_step(d_optimizer.step)

        # Generator, against the D just updated.
        logits = d(change.fake(fake))
        adversarial = turn.weigh(times * FORM.g_loss(None, logits))
        content = perceptual(fake, real)
        # Both terms' gradients meet at G's output, where they compare; the rest of the way is one.
        gradients = output_gradients({"adversarial": adversarial, "content": content}, fake)
        turn.g_gradients(*gradients)
        g_optimizer.zero_grad(set_to_none=True)
        fake.backward(torch.stack([each for each in gradients if each is not None]).sum(0))
        turn.g_step(g_optimizer.step)
        turn.d_again(logits)
        turn.end(adversarial + content)

        signals = turn.of(None).signals
        assert signals is not None, "D has judged"
        accuracy = (signals.d_accuracy_real + signals.d_accuracy_fake) / 2
        smoothed = accuracy if smoothed is None else SMOOTHING * smoothed + 0.05 * accuracy
        row = {
            "step": step,
            "g_loss": float(adversarial.detach() + content.detach()),
            "d_loss": signals.d_loss_real + signals.d_loss_fake,
            "d_real": signals.d_real,
            "d_fake_before": signals.d_fake,
            "d_fake_after": float(logits.detach().sigmoid().mean()),
            "accuracy": accuracy,
            "smoothed_accuracy": smoothed,
            "d_updated": turn.of(None).updated,
            "share": share(balance.readings),
            "action": action.changes(),
        }
        rows.append(row)
        if log_every and step % log_every == 0:
            print(
                f"Epoch 1/1 - Step: {step}/{setting.steps}  Loss G: {row['g_loss']:.6f}  "
                f"Loss D: {row['d_loss']:.6f}  D(x): {row['d_real']:.6f}  "
                f"D(G(z)): {row['d_fake_before']:.6f} / {row['d_fake_after']:.6f}",
                flush=True,
            )
            if action.reason:
                print(f"    {setting.policy}: {action.reason}", flush=True)
    balance.close()
    return rows


def share(readings: Readings) -> float | None:
    """The adversarial term's share of the gradient at G's output."""
    adversarial, content = readings.g_gradient_adversarial, readings.g_gradient_content
    if adversarial is None or content is None or not adversarial + content:
        return None
    return adversarial / (adversarial + content)


def summary(setting: Setting, rows: list[dict], warm_up: int) -> dict:
    """What a training came to, after its warm-up."""
    late = rows[warm_up:]
    held = [0.6 <= row["smoothed_accuracy"] <= 0.9 for row in late]

    def median(name: str) -> float:
        return float(torch.tensor([row[name] for row in late[-200:]]).median())

    builder = TraceBuilder()
    columns = ("g_loss", "d_loss", "d_real", "d_fake_before", "d_fake_after")
    for row in rows[::10]:
        builder.add(row["step"], {name: row[name] for name in columns})
    return {
        "setting": asdict(setting),
        "d_real": median("d_real"),
        "d_fake": median("d_fake_before"),
        "smoothed_accuracy": median("smoothed_accuracy"),
        "share_frozen": sum(not row["d_updated"] for row in late) / len(late),
        "share_in_band": sum(held) / len(late),
        "adversarial_share": late[-1]["share"],
        "findings": sorted(diagnose(builder.build(), "non-saturating").ids()),
    }


def say(name: str, result: dict) -> None:
    """One line on a training."""
    share_text = (
        ""
        if result["adversarial_share"] is None
        else (f"  adversarial share {result['adversarial_share']:.3f}")
    )
    print(
        f"{name:32} D(x) {result['d_real']:.3f}  D(G(z)) {result['d_fake']:.3f}  accuracy "
        f"{result['smoothed_accuracy']:.3f}  frozen {result['share_frozen']:.0%}  in band "
        f"{result['share_in_band']:.0%}{share_text}  [{', '.join(result['findings'])}]",
        flush=True,
    )


ABLATIONS = {
    "as in the question": {},
    "no gate": {"policy": "none"},
    "one batch for real and fake": {"real_and_fake_in_one_batch": True},
    "no batch norm in D": {"d_batch_norm": False},
    "perceptual term of A's size": {"perceptual_scale": 1e3},
    "no gate, no batch norm in D": {"policy": "none", "d_batch_norm": False},
}


def main() -> None:
    """Run the gate and `auto`, or the ablations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", default=[], help="image folder")
    parser.add_argument("--steps", type=int, default=Setting.steps)
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--policies", nargs="+", default=["loss-gate", "auto"])
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    changes = {k: json.loads(v) for k, v in (item.split("=", 1) for item in arguments.set)}
    base = Setting(steps=arguments.steps, seed=arguments.seed, **changes)
    cases = (
        {name: replace(base, **change) for name, change in ABLATIONS.items()}
        if arguments.ablate
        else {name: replace(base, policy=name) for name in arguments.policies}
    )
    results = {}
    for name, setting in cases.items():
        started = time.perf_counter()
        quiet = arguments.ablate
        if not quiet:
            print(f"\n== {name}")
        rows = train(setting, crops(arguments.data, setting), 0 if quiet else arguments.log_every)
        results[name] = summary(setting, rows, arguments.warm_up)
        results[name]["seconds"] = round(time.perf_counter() - started, 1)
        say(name, results[name])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
