"""What people do for balance: policies, objectives with penalties, recipes, single changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from counterpoise.registry import Registry

GAUNTLET = frozenset({"ring", "grid", "digits", "sr", "sr-full"})
WITH_CONTENT = frozenset({"sr", "sr-full"})
SEED = frozenset({"seed"})


@dataclass(frozen=True)
class Strategy:
    """Values put in place of the task's own, and the tasks where that changes anything.

    Learning rates are factors on the task's own: what is compared is the method at an equal
    budget, and the small learning rates of long trainings would not arrive anywhere within it.
    """

    kind: str  # policy, form, baseline, ablation or change
    description: str
    values: Mapping[str, Any] = field(default_factory=dict)
    g_learning_rate_factor: float = 1.0
    d_learning_rate_factor: float = 1.0
    tasks: frozenset[str] = GAUNTLET


def _policy(name: str, description: str, **options: Any) -> tuple[str, Strategy]:
    values = {"policy": name, "policy_options": options}
    return name, Strategy("policy", description, values)


def _auto_without(part: str, description: str, **options: Any) -> tuple[str, Strategy]:
    values = {"policy": "auto", "policy_options": options}
    return f"auto-without-{part}", Strategy("ablation", description, values, tasks=GAUNTLET | SEED)


# What the question did: its gate trains D on a half of its (doubled) loss where that is above 0.3.
GATE = {"policy": "loss-gate", "policy_options": {"threshold": 0.3, "loss_multiplier": 2.0}}
SEED_LOOP = {**GATE, "d_norm": "batch", "d_joint_batch": False, "loss_multiplier": 2.0}
NO_GATE = {**SEED_LOOP, "policy": "none", "policy_options": {}}


def _change(description: str, d_learning_rate_factor: float = 1.0, **values: Any) -> Strategy:
    """One change to the question's loop; its gate stays."""
    return Strategy(
        "change",
        description,
        {**SEED_LOOP, **values},
        d_learning_rate_factor=d_learning_rate_factor,
        tasks=SEED,
    )


def _change_without_gate(description: str, **values: Any) -> Strategy:
    """One change to the question's loop without its gate, which would stand in its way."""
    return Strategy("change", description, {**NO_GATE, **values}, tasks=SEED)


STRATEGIES: Registry[Strategy] = Registry(
    "strategy",
    # Policies, with their defaults; ramps meant for long trainings are cut to this budget.
    ("none", Strategy("policy", "the bare loop", {"policy": "none"}, tasks=GAUNTLET | SEED)),
    _policy("ratio", "two steps of D for one of G", d_steps=2),
    _policy("threshold", "the paper's rule: D pauses while it is right on 80 % of both kinds"),
    _policy("loss-gate", "the question's gate: D learns from a half whose loss is above 0.3"),
    _policy("ttur", "D's learning rate four times G's (Heusel et al. 2017)"),
    _policy("accuracy-band", "D's learning rate by its accuracy"),
    (
        "ada",
        Strategy(
            "policy",
            "augmentation by D's certainty (Karras et al. 2020)",
            {"policy": "ada", "policy_options": {"ramp_steps": 200}},
            tasks=WITH_CONTENT,
        ),
    ),
    _policy("gap-lr", "D's learning rate by its loss's gap (Hazimeh and Ponomareva 2023)"),
    _policy("skip-band", "D's steps are skipped at random while its loss is low (nunif)"),
    _policy("win-rate", "the one that loses is trained (Sanakoyeu et al. 2018)"),
    (
        "gradient-balance",
        Strategy(
            "policy",
            "the adversarial weight by gradient norms at G's output (Esser et al. 2021)",
            {"policy": "gradient-balance"},
            tasks=WITH_CONTENT,
        ),
    ),
    _policy("instance-noise", "noise on D's inputs, fading away", anneal_steps=1000),
    _policy("lecam", "LeCam's regulariser (Tseng et al. 2021)", start_steps=100),
    (
        "auto",
        Strategy("policy", "this project's controller", {"policy": "auto"}, tasks=GAUNTLET | SEED),
    ),
    # Objectives, each with its usual penalties.
    ("lsgan", Strategy("form", "least squares on raw scores", {"form": "lsgan"})),
    ("hinge", Strategy("form", "hinge loss", {"form": "hinge"})),
    (
        "hinge-spectral",
        Strategy(
            "form", "hinge loss, D spectrally normalised", {"form": "hinge", "d_norm": "spectral"}
        ),
    ),
    (
        "wgan-gp",
        Strategy(
            "form",
            "WGAN-GP: five steps of the critic, penalty 10 (Gulrajani et al. 2017)",
            {
                "form": "wgan",
                "gradient_penalty": 10.0,
                "betas": (0.0, 0.9),
                "policy": "ratio",
                "policy_options": {"d_steps": 5},
            },
        ),
    ),
    ("r1", Strategy("form", "cross-entropy with R1 (Mescheder et al. 2018)", {"r1": 1.0})),
    ("relativistic", Strategy("form", "relativistic average", {"form": "relativistic-average"})),
    ("spectral-norm", Strategy("form", "D spectrally normalised", {"d_norm": "spectral"})),
    ("label-smoothing", Strategy("form", "one-sided label smoothing, 0.9", {"real_target": 0.9})),
    # What people copy.
    (
        "dcgan-tutorial",
        Strategy(
            "baseline",
            "DCGAN tutorial: batch norm in D, Adam's beta1 0.5, equal learning rates",
            {"d_norm": "batch", "betas": (0.5, 0.999)},
        ),
    ),
    (
        "seed-recipe",
        Strategy(
            "baseline", "the question's loop: batch norm in D, doubled losses, gate", SEED_LOOP
        ),
    ),
    (
        "esrgan-recipe",
        Strategy(
            "baseline",
            "as BasicSR trains ESRGAN: relativistic average, batch norm in D, betas 0.9 and 0.99",
            {"form": "relativistic-average", "betas": (0.9, 0.99), "d_norm": "batch"},
            tasks=WITH_CONTENT,
        ),
    ),
    (
        "r3gan",
        Strategy(
            "baseline",
            "R3GAN's loss: relativistic pairs with R1 and R2 (Huang et al. 2024)",
            {
                "form": "relativistic-paired",
                "r1": 1.0,
                "r2": 1.0,
                "betas": (0.0, 0.99),
                "d_norm": "none",
            },
        ),
    ),
    # What each part of `auto` is for.
    _auto_without("learning-rate", "auto that does not touch D's learning rate", min_scale=0.999),
    _auto_without("weight", "auto that leaves the adversarial weight", max_weight_scale=1.0),
    _auto_without("noise", "auto without noise on D's inputs", max_noise_std=0.0),
    _auto_without("g-rate", "auto that does not touch G's learning rate", min_g_scale=1.0),
    _auto_without("smoothing", "auto without label smoothing", label_smoothing=0.0),
    _auto_without("r1", "auto that never adds R1", r1=0.0),
    _auto_without("d-steps", "auto that trains D once for each step of G", most_d_steps=1),
    _auto_without("rollback", "auto that never goes back", most_roll_backs=0),
    # Changes to the question's loop, for the task `seed`.
    ("seed-loop", _change("the question's loop as it is")),
    ("seed-no-gate", _change_without_gate("no gate")),
    ("seed-low-d-lr", _change("D's learning rate a tenth", d_learning_rate_factor=0.1)),
    (
        "seed-mse",
        _change("the question's edit: MSELoss behind the sigmoid", form="lsgan-on-sigmoid"),
    ),
    ("seed-lsgan", _change_without_gate("least squares on logits, no gate", form="lsgan")),
    ("seed-smoothing", _change("one-sided label smoothing, 0.9", real_target=0.9)),
    ("seed-batch-4", _change("batch size 4", batch_size=4)),
    ("seed-batch-32", _change("batch size 32", batch_size=32)),
    ("seed-ttur", _change_without_gate("TTUR, no gate", policy="ttur")),
    ("seed-r1", _change_without_gate("R1, no batch norm, no gate", r1=1.0, d_norm="none")),
    ("seed-spectral", _change("spectral norm in place of batch norm", d_norm="spectral")),
    ("seed-joint", _change("real and fake in one batch", d_joint_batch=True)),
    ("seed-no-norm", _change("no batch norm in D", d_norm="none")),
    (
        "seed-content",
        _change("the perceptual term of the adversarial one's size", content_weight=1e3),
    ),
    ("seed-auto", _change_without_gate("auto in place of the gate", policy="auto")),
)
