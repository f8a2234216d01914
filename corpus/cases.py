"""Which trainings make up the corpus: causes, objectives, formats and seeds of both parts.

A line of `TABLE` is one training. Seeds up to 100 are for tuning, those above are held out; the
held-out part also has pairs of objective and format that the tuning part lacks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from loop import Settings
from objectives import OBJECTIVES

# What the tasks need to train well; a cause changes some of it.
RING: dict[str, object] = {"task": "ring"}
DIGITS: dict[str, object] = {"task": "digits", "r1": 0.5}
SR: dict[str, object] = {
    "task": "sr",
    "steps": 800,
    "batch": 16,
    "log_every": 8,
    "g_width": 8,
    "d_width": 8,
    "d_learning_rate": 2e-3,
    "content_weight": 1.0,
    "adversarial_weight": 3e-3,
}
WGAN: dict[str, object] = {"objective": "wgan", "gradient_penalty": 1.0, "r1": 0.0}
GATE: dict[str, object] = {"objective": "bce-sigmoid", "gate": 0.3}
LARGE_STEPS: dict[str, object] = {
    "beta1": 0.9,
    "d_learning_rate": 5e-3,
    "g_learning_rate": 5e-3,
    "d_width": 64,
    "noise_scale": 0.1,
}
PROBES: dict[str, object] = {"probes": True}


@dataclass(frozen=True)
class Case:
    """One training and how its log is written."""

    cause: str
    settings: Settings
    format: str
    printing: str = "exact"  # exact, average (losses over the interval) or halved (D's loss)
    lines: int | None = None  # print only the first lines
    tell_objective: bool = False  # whether the reader is told the objective
    policy: str | None = None  # what a run folder's configuration says

    @property
    def split(self) -> str:
        return "tuning" if self.settings.seed <= 100 else "held-out"

    @property
    def name(self) -> str:
        s = self.settings
        return f"{self.cause}_{s.task}_{s.objective}_{self.format}_{s.seed}"

    @property
    def objective_told(self) -> str | None:
        """What a user of the log would give with `--objective`."""
        return OBJECTIVES[self.settings.objective].package_name if self.tell_objective else None


# (cause, base settings, changes, extras of the case, [(format, seed), ...])
Line = tuple[str, dict[str, object], dict[str, object], dict[str, object], list[tuple[str, int]]]
TOLD: dict[str, object] = {"tell_objective": True}
PLAIN: dict[str, object] = {}

HEALTHY: list[Line] = [
    (
        "healthy",
        RING,
        {"objective": "bce-logits"},
        PLAIN,
        [("seed", 1), ("csv", 2), ("run", 3), ("dcgan", 101), ("keyvalue", 102), ("stylegan", 103)],
    ),
    (
        "healthy",
        RING,
        {"objective": "bce-sigmoid"},
        PLAIN,
        [("dcgan", 4), ("keyvalue", 5), ("seed", 104), ("jsonl", 105)],
    ),
    ("healthy", RING, {"objective": "hinge"}, TOLD, [("jsonl", 6), ("seed", 106)]),
    ("healthy", RING, {"objective": "lsgan"}, PLAIN, [("dcgan", 7), ("csv", 107)]),
    ("healthy", RING, {**WGAN, "g_learning_rate": 5e-4}, TOLD, [("keyvalue", 8), ("csv", 108)]),
    (
        "healthy",
        RING,
        {"objective": "bce-logits"},
        TOLD,
        [("pytorch-gan", 9), ("keras", 10), ("pytorch-gan", 109)],
    ),
    # Nobody says the objective: nothing to find, but never a severe finding either.
    ("healthy", RING, {"objective": "hinge"}, PLAIN, [("pytorch-gan", 11), ("keras", 110)]),
    ("healthy", DIGITS, {"objective": "bce-logits"}, PLAIN, [("seed", 12), ("run", 111)]),
    ("healthy", DIGITS, {"objective": "hinge"}, PLAIN, [("run", 13), ("stylegan", 112)]),
    ("healthy", DIGITS, {"objective": "bce-logits"}, PLAIN, [("stylegan", 14)]),
    ("healthy", DIGITS, {**WGAN, **PROBES}, TOLD, [("run", 15), ("wide-csv", 113)]),
    (
        "healthy",
        DIGITS,
        {"objective": "bce-sigmoid", **PROBES},
        PLAIN,
        [("wide-csv", 16), ("run", 114)],
    ),
    ("healthy", DIGITS, {"objective": "ragan"}, TOLD, [("keyvalue", 17), ("jsonl", 115)]),
    # Livelier games: D ahead, slower or faster steps.
    (
        "healthy",
        DIGITS,
        {"objective": "bce-sigmoid", "r1": 0.1, "g_learning_rate": 5e-4, "d_learning_rate": 5e-4},
        PLAIN,
        [("dcgan", 22), ("seed", 120)],
    ),
    (
        "healthy",
        RING,
        {"objective": "bce-logits", "d_learning_rate": 4e-4},
        PLAIN,
        [("csv", 23), ("dcgan", 121)],
    ),
    (
        "healthy",
        RING,
        {"objective": "bce-sigmoid", "beta1": 0.9, "d_learning_rate": 1e-3, "batch": 256},
        PLAIN,
        [("seed", 24), ("keyvalue", 122)],
    ),
    ("healthy", SR, {"objective": "bce-logits"}, PLAIN, [("basicsr", 18), ("kair", 116)]),
    ("healthy", SR, {"objective": "bce-logits"}, TOLD, [("pix2pix", 19)]),
    ("healthy", SR, {"objective": "lsgan"}, TOLD, [("pix2pix", 117)]),
    ("healthy", SR, {"objective": "hinge"}, TOLD, [("kair", 20), ("basicsr", 118)]),
    ("healthy", SR, {"objective": "bce-logits", **PROBES}, PLAIN, [("run", 21), ("wide-csv", 119)]),
]

OVERPOWERED: list[Line] = [
    (
        "d-far-too-fast",
        RING,
        {"objective": "bce-sigmoid", "g_learning_rate": 1e-6},
        PLAIN,
        [("seed", 30), ("stylegan", 31), ("dcgan", 130)],
    ),
    (
        "d-far-too-fast",
        RING,
        {"objective": "bce-logits", "g_learning_rate": 1e-6},
        TOLD,
        [("pytorch-gan", 32), ("keras", 131)],
    ),
    (
        "d-far-too-fast",
        DIGITS,
        {"objective": "bce-logits", "r1": 0.0, "d_learning_rate": 3e-3, "g_learning_rate": 1e-5},
        PLAIN,
        [("dcgan", 33), ("run", 34), ("csv", 132), ("run", 134)],
    ),
    (
        "d-far-too-fast",
        SR,
        {"objective": "bce-logits", "d_learning_rate": 1e-3, "g_learning_rate": 1e-6},
        PLAIN,
        [("basicsr", 35), ("kair", 135)],
    ),
    (
        "saturating",
        RING,
        {"objective": "bce-saturating", "g_learning_rate": 1e-6, **PROBES},
        PLAIN,
        [("wide-csv", 36), ("wide-csv", 136)],
    ),
    (
        "saturating",
        DIGITS,
        {
            "objective": "bce-saturating",
            "r1": 0.0,
            "d_learning_rate": 3e-3,
            "g_learning_rate": 1e-4,
            **PROBES,
        },
        PLAIN,
        [("wide-csv", 37), ("wide-csv", 137)],
    ),
    (
        "mse-behind-sigmoid",
        RING,
        {"objective": "lsgan-sigmoid", "g_learning_rate": 1e-6},
        PLAIN,
        [("seed", 38), ("csv", 138)],
    ),
    (
        "mse-behind-sigmoid",
        DIGITS,
        {"objective": "lsgan-sigmoid", "r1": 0.0, "d_learning_rate": 3e-3, "g_learning_rate": 2e-5},
        PLAIN,
        [("dcgan", 39), ("seed", 139), ("keyvalue", 140)],
    ),
    (
        "mse-behind-sigmoid",
        DIGITS,
        {
            "objective": "lsgan-sigmoid",
            "r1": 0.0,
            "d_learning_rate": 3e-3,
            "g_learning_rate": 2e-5,
            **PROBES,
        },
        PLAIN,
        [("wide-csv", 29), ("wide-csv", 129)],
    ),
]

NOT_TRAINED: list[Line] = [
    (
        "loss-gate",
        DIGITS,
        {**GATE, "r1": 0.0, "g_learning_rate": 3e-4},
        PLAIN,
        [("seed", 40), ("keyvalue", 141)],
    ),
    (
        "loss-gate",
        DIGITS,
        {**GATE, "r1": 0.0, "g_learning_rate": 3e-4},
        {"policy": "loss-gate"},
        [("run", 41), ("run", 143)],
    ),
    (
        "loss-gate",
        RING,
        {**GATE, "g_learning_rate": 1e-5},
        PLAIN,
        [("dcgan", 42), ("keyvalue", 43)],
    ),
    (
        "never-updated",
        RING,
        {"objective": "bce-sigmoid", "d_every": 0},
        PLAIN,
        [("dcgan", 44), ("keyvalue", 145)],
    ),
    (
        "frozen-halfway",
        RING,
        {"objective": "bce-logits", "freeze_from": 0.5},
        PLAIN,
        [("seed", 45), ("dcgan", 146)],
    ),
    (
        "frozen-halfway",
        DIGITS,
        {"objective": "hinge", "freeze_from": 0.4},
        TOLD,
        [("keyvalue", 46), ("run", 148)],
    ),
    (
        "d-learning-rate-zero",
        RING,
        {"objective": "bce-logits", "d_learning_rate": 1e-6},
        PLAIN,
        [("csv", 47), ("jsonl", 149)],
    ),
    (
        "d-learning-rate-zero",
        DIGITS,
        {"objective": "bce-logits", "d_learning_rate": 1e-7},
        PLAIN,
        [("jsonl", 48), ("csv", 150), ("stylegan", 151)],
    ),
    (
        "d-learning-rate-zero",
        SR,
        {"objective": "bce-logits", "d_learning_rate": 1e-7},
        PLAIN,
        [("basicsr", 50), ("kair", 152)],
    ),
    (
        "d-learning-rate-zero",
        DIGITS,
        {"objective": "bce-sigmoid", "d_learning_rate": 1e-7},
        TOLD,
        [("pytorch-gan", 51), ("keras", 153)],
    ),
    (
        "d-tiny",
        DIGITS,
        {"objective": "bce-logits", "d_width": 1, "d_learning_rate": 1e-4},
        PLAIN,
        [("dcgan", 52), ("seed", 154)],
    ),
]

UNSTABLE: list[Line] = [
    (
        "large-steps",
        RING,
        {"objective": "bce-logits", **LARGE_STEPS},
        PLAIN,
        [("seed", 60), ("csv", 160), ("jsonl", 61), ("dcgan", 161)],
    ),
    (
        "large-steps",
        RING,
        {"objective": "bce-sigmoid", **LARGE_STEPS, "d_learning_rate": 8e-3},
        PLAIN,
        [("dcgan", 62), ("keyvalue", 162)],
    ),
    (
        "large-steps",
        RING,
        {"objective": "bce-logits", **LARGE_STEPS, "g_learning_rate": 8e-3},
        PLAIN,
        [("run", 63), ("stylegan", 163)],
    ),
    (
        "collapse",
        DIGITS,
        {
            "objective": "bce-logits",
            "g_learning_rate": 5e-4,
            "d_learning_rate": 2e-4,
            "r1": 0.0,
            **PROBES,
        },
        PLAIN,
        [("wide-csv", 64), ("run", 65), ("wide-csv", 165)],
    ),
    (
        "collapse",
        RING,
        {"objective": "hinge", "noise_scale": 0.01, "batch": 16, **PROBES},
        TOLD,
        [("wide-csv", 66), ("run", 166)],
    ),
    (
        "collapse",
        RING,
        {"objective": "bce-sigmoid", "noise_scale": 0.01, "batch": 16, **PROBES},
        PLAIN,
        [("run", 67), ("wide-csv", 167)],
    ),
    (
        "twenty-images",
        DIGITS,
        {
            "objective": "bce-logits",
            "r1": 0.0,
            "train_images": 20,
            "steps": 2400,
            "log_every": 24,
            "d_learning_rate": 3e-4,
            "g_learning_rate": 1e-3,
            **PROBES,
        },
        PLAIN,
        [("wide-csv", 68), ("run", 168)],
    ),
    (
        "twenty-images",
        DIGITS,
        {
            "objective": "hinge",
            "r1": 0.0,
            "train_images": 20,
            "steps": 2400,
            "log_every": 24,
            "d_learning_rate": 3e-4,
            "g_learning_rate": 1e-3,
            **PROBES,
        },
        TOLD,
        [("wide-csv", 70), ("run", 170)],
    ),
    (
        "no-lipschitz",
        DIGITS,
        {"objective": "wgan", "d_learning_rate": 5e-3, "r1": 0.0},
        PLAIN,
        [("keyvalue", 72), ("jsonl", 172)],
    ),
    (
        "exploding",
        RING,
        {"objective": "bce-logits", "break_at": 0.4, "break_by": 3000.0},
        PLAIN,
        [("dcgan", 73), ("csv", 174)],
    ),
    (
        "exploding",
        RING,
        {"objective": "lsgan", "break_at": 0.4, "break_by": 1000.0},
        PLAIN,
        [("seed", 74), ("jsonl", 175)],
    ),
    (
        "broken-image",
        DIGITS,
        {"objective": "bce-logits", "nan_at": 0.6},
        PLAIN,
        [("seed", 75), ("csv", 177)],
    ),
    (
        "broken-image",
        RING,
        {"objective": "hinge", "nan_at": 0.3},
        TOLD,
        [("dcgan", 76), ("keyvalue", 178)],
    ),
    (
        "exploding",
        RING,
        {
            "objective": "bce-logits",
            "momentum_sgd": True,
            "d_learning_rate": 2e-2,
            "g_learning_rate": 2e-2,
        },
        PLAIN,
        [("jsonl", 77)],
    ),
]

OTHER: list[Line] = [
    (
        "weight-too-small",
        SR,
        {"objective": "bce-logits", "adversarial_weight": 1e-6, **PROBES},
        PLAIN,
        [("wide-csv", 80)],
    ),
    (
        "weight-too-small",
        SR,
        {"objective": "hinge", "adversarial_weight": 1e-6, **PROBES},
        TOLD,
        [("run", 81), ("wide-csv", 181)],
    ),
    (
        "weight-too-large",
        SR,
        {"objective": "bce-logits", "adversarial_weight": 1e3, **PROBES},
        PLAIN,
        [("wide-csv", 82), ("run", 182)],
    ),
    (
        "weight-too-large",
        SR,
        {"objective": "lsgan", "adversarial_weight": 1e3, **PROBES},
        TOLD,
        [("wide-csv", 83)],
    ),
    (
        "averaged-losses",
        DIGITS,
        {"objective": "bce-sigmoid", "r1": 0.05, "batch": 8},
        {"printing": "average"},
        [("seed", 84), ("dcgan", 184)],
    ),
    (
        "averaged-losses",
        RING,
        {"objective": "bce-logits", "beta1": 0.9, "g_learning_rate": 3e-3, "d_learning_rate": 3e-3},
        {"printing": "average"},
        [("dcgan", 85), ("keyvalue", 186)],
    ),
    (
        "zero-border",
        SR,
        {"objective": "bce-logits", "zero_border": True, "d_width": 8, **PROBES},
        PLAIN,
        [("wide-csv", 86), ("run", 187)],
    ),
    (
        "zero-border",
        DIGITS,
        {"objective": "bce-logits", "zero_border": True, "r1": 0.05, **PROBES},
        PLAIN,
        [("wide-csv", 87), ("wide-csv", 188)],
    ),
    (
        "inert-gate",
        RING,
        {"objective": "bce-logits", "gate": 1e-4},
        {"policy": "loss-gate"},
        [("run", 88), ("run", 189)],
    ),
    (
        "inert-gate",
        DIGITS,
        {"objective": "hinge", "gate": 1e-6},
        {"policy": "loss-gate"},
        [("run", 89), ("run", 190)],
    ),
    (
        "short",
        RING,
        {"objective": "bce-logits", "steps": 100},
        {"lines": 4},
        [("seed", 90), ("dcgan", 191)],
    ),
    (
        "short",
        DIGITS,
        {"objective": "bce-sigmoid", "steps": 60},
        {"lines": 2},
        [("csv", 91), ("keyvalue", 192)],
    ),
    (
        "short",
        SR,
        {"objective": "bce-logits", "steps": 60},
        {"lines": 5},
        [("basicsr", 92), ("kair", 193)],
    ),
]

TABLE = HEALTHY + OVERPOWERED + NOT_TRAINED + UNSTABLE + OTHER


def cases() -> Iterator[Case]:
    """All trainings of the corpus."""
    for cause, base, changes, extras, prints in TABLE:
        for form, seed in prints:
            # What goes wrong goes wrong early.
            length = {} if cause == "healthy" else {"steps": 1600, "log_every": 16}
            every = {"log_every": 40} if form == "run" and base["task"] != "sr" else {}
            settings = {"log_every": 24, **length, **base, **every, **changes, "seed": seed}
            yield Case(cause, Settings(**settings), form, **extras)  # type: ignore[arg-type]
