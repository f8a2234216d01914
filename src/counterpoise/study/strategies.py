"""What people do for balance: policies, objectives with penalties, recipes, single changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from counterpoise.registry import Registry

GAUNTLET = frozenset({"ring", "grid", "digits", "sr"})
WITH_CONTENT = frozenset({"sr"})
SEED = frozenset({"seed"})


@dataclass(frozen=True)
class Strategy:
    """Values put in place of the task's own, and the tasks where that changes anything. Learning
    rates stay the task's: methods are compared at an equal budget."""

    kind: str  # policy, form, baseline or change
    description: str
    values: Mapping[str, Any]
    tasks: frozenset[str]


def _strategy(
    kind: str, name: str, description: str, tasks: frozenset[str] = GAUNTLET, **values: Any
) -> tuple[str, Strategy]:
    return name, Strategy(kind, description, values, tasks)


_form, _baseline = partial(_strategy, "form"), partial(_strategy, "baseline")


def _policy(
    name: str, description: str, tasks: frozenset[str] = GAUNTLET, **options: Any
) -> tuple[str, Strategy]:
    return _strategy("policy", name, description, tasks, policy=name, policy_options=options)


# What the question did: its gate trains D on a half of its (doubled) loss where that is above 0.3.
GATE: dict[str, Any] = {
    "policy": "loss-gate",
    "policy_options": {"threshold": 0.3, "loss_multiplier": 2.0},
}
SEED_LOOP: dict[str, Any] = {
    **GATE,
    "d_norm": "batch",
    "d_joint_batch": False,
    "loss_multiplier": 2.0,
}
# What stands in the gate's way goes without it.
NO_GATE: dict[str, Any] = {"policy": "none", "policy_options": {}}


def _change(name: str, description: str, **values: Any) -> tuple[str, Strategy]:
    """One change to the question's loop."""
    return _strategy("change", name, description, SEED, **SEED_LOOP | values)


STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    # Policies, with their defaults; ramps meant for long trainings are cut to this budget.
    _policy("none", "the bare loop", GAUNTLET | SEED),
    _policy("ratio", "two steps of D for one of G", d_steps=2),
    _policy("threshold", "the paper's rule: D pauses while it is right on 80 % of both kinds"),
    _policy("loss-gate", "the question's gate: D learns from a half whose loss is above 0.3"),
    _policy("ttur", "D's learning rate four times G's (Heusel et al. 2017)"),
    _policy("accuracy-band", "D's learning rate by its accuracy"),
    _policy(
        "ada", "augmentation by D's certainty (Karras et al. 2020)", WITH_CONTENT, ramp_steps=200
    ),
    _policy("gap-lr", "D's learning rate by its loss's gap (Hazimeh and Ponomareva 2023)"),
    _policy("skip-band", "D's steps are skipped at random while its loss is low (nunif)"),
    _policy("win-rate", "the one that loses is trained (Sanakoyeu et al. 2018)"),
    _policy(
        "gradient-balance",
        "the adversarial weight by gradient norms at G's output (Esser et al. 2021)",
        WITH_CONTENT,
    ),
    _policy("instance-noise", "noise on D's inputs, fading away", anneal_steps=1000),
    _policy("lecam", "LeCam's regulariser (Tseng et al. 2021)", start_steps=100),
    _policy("auto", "this project's controller", GAUNTLET | SEED),
    # Objectives, each with its usual penalties.
    _form("lsgan", "least squares on raw scores", form="lsgan"),
    _form("hinge", "hinge loss", form="hinge"),
    _form("hinge-spectral", "hinge loss, D spectrally normalised", form="hinge", d_norm="spectral"),
    _form(
        "wgan-gp",
        "WGAN-GP: five steps of the critic, penalty 10 (Gulrajani et al. 2017)",
        form="wgan",
        gradient_penalty=10.0,
        betas=(0.0, 0.9),
        policy="ratio",
        policy_options={"d_steps": 5},
    ),
    _form("r1", "cross-entropy with R1 (Mescheder et al. 2018)", r1=1.0),
    _form("relativistic", "relativistic average", form="relativistic-average"),
    _form("spectral-norm", "D spectrally normalised", d_norm="spectral"),
    _form("label-smoothing", "one-sided label smoothing, 0.9", real_target=0.9),
    # What people copy.
    _baseline(
        "dcgan-tutorial",
        "DCGAN tutorial: batch norm in D, Adam's beta1 0.5, equal learning rates",
        d_norm="batch",
        betas=(0.5, 0.999),
    ),
    _baseline(
        "seed-recipe", "the question's loop: batch norm in D, doubled losses, gate", **SEED_LOOP
    ),
    _baseline(
        "esrgan-recipe",
        "as BasicSR trains ESRGAN: relativistic average, batch norm in D, betas 0.9 and 0.99",
        WITH_CONTENT,
        form="relativistic-average",
        betas=(0.9, 0.99),
        d_norm="batch",
    ),
    _baseline(
        "r3gan",
        "R3GAN's loss: relativistic pairs with R1 and R2 (Huang et al. 2024)",
        form="relativistic-paired",
        r1=1.0,
        r2=1.0,
        betas=(0.0, 0.99),
        d_norm="none",
    ),
    # Changes to the question's loop, for the task `seed`.
    _change("seed-loop", "the question's loop as it is"),
    _change("seed-no-gate", "no gate", **NO_GATE),
    _change("seed-low-d-lr", "D's learning rate a tenth", d_learning_rate=1e-4),
    _change("seed-mse", "the question's edit: MSELoss behind the sigmoid", form="lsgan-on-sigmoid"),
    _change("seed-lsgan", "least squares on logits, no gate", form="lsgan", **NO_GATE),
    _change("seed-smoothing", "one-sided label smoothing, 0.9", real_target=0.9),
    _change("seed-batch-4", "batch size 4", batch_size=4),
    _change("seed-batch-32", "batch size 32", batch_size=32),
    _change("seed-ttur", "TTUR, no gate", policy="ttur", policy_options={}),
    _change("seed-r1", "R1, no batch norm, no gate", r1=1.0, d_norm="none", **NO_GATE),
    _change("seed-spectral", "spectral norm in place of batch norm", d_norm="spectral"),
    _change("seed-joint", "real and fake in one batch", d_joint_batch=True),
    _change("seed-no-norm", "no batch norm in D", d_norm="none"),
    _change(
        "seed-content", "the perceptual term of the adversarial one's size", content_weight=1e3
    ),
    _change("seed-auto", "auto in place of the gate", policy="auto", policy_options={}),
)
