"""What an adversarial objective's numbers mean, and which one a log was printed under.

A loss of 0 or an output of 1 says nothing until the objective is known: BCE at 0 is a
discriminator that is certain, a hinge loss at 0 one whose margins are met, and a score of -25 has
no meaning of its own.
"""

import math
from dataclasses import dataclass

import numpy as np

from counterpoise.registry import Registry
from counterpoise.trace import Trace

UNKNOWN = "unknown"

# A printed number may be off by this share of itself before it contradicts another.
TOLERANCE = 0.02
# Share of rows that an objective must explain to be taken for the log's.
EXPLAINS = 0.9
# D's loss over the least that BCE allows at its outputs: squares are below the first, and above the
# second it is no BCE, not even a doubled one.
SQUARES_RATIO, BCE_RATIO = 0.7, 5.0
# The last digit of a loss that people print; a fit is near within a factor of 2.
PRINTED, NEAR = 1e-5, math.log(2)
# Rows that must speak before an objective is inferred.
LEAST_ROWS = 3


@dataclass(frozen=True)
class Objective:
    """One adversarial objective, as its losses and outputs appear in a log."""

    title: str
    # Whether D's output is a probability (there is a sigmoid in D or in the loss).
    has_probability: bool
    # D's loss, both halves summed, where it cannot tell real from fake.
    equilibrium_d_loss: float
    # Whether D's loss is bounded below by 0, so that "near 0" means that D is sure.
    d_loss_reaches_zero: bool
    # Whether G's gradient fades where D is sure that its images are fake.
    g_gradient_saturates: bool


OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    ("non-saturating", Objective("BCE, non-saturating", True, math.log(4), True, False)),
    ("lsgan", Objective("least squares on raw scores", False, 0.5, True, False)),
    ("lsgan-on-sigmoid", Objective("least squares behind a sigmoid", True, 0.5, True, True)),
    ("hinge", Objective("hinge", False, 2.0, True, False)),
    ("wgan", Objective("Wasserstein", False, 0.0, False, False)),
    ("relativistic-average", Objective("relativistic average", False, math.log(4), True, False)),
    ("relativistic-paired", Objective("relativistic paired", False, math.log(2), True, False)),
)

# Other names by which people know them.
ALIASES = {
    "bce": "non-saturating",
    "vanilla": "non-saturating",
    "ns": "non-saturating",
    "gan": "non-saturating",
    "dcgan": "non-saturating",
    "mse": "lsgan",
    "least-squares": "lsgan",
    "mse-on-sigmoid": "lsgan-on-sigmoid",
    "wgan-gp": "wgan",
    "wasserstein": "wgan",
    "ragan": "relativistic-average",
    "rpgan": "relativistic-paired",
    "rsgan": "relativistic-paired",
}


def objective_name(name: str) -> str:
    """The objective's own name for any name it is known by; `UserError` for an unknown one."""
    plain = name.strip().lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    OBJECTIVES[plain]
    return plain


def infer_objective(trace: Trace) -> tuple[str, str]:
    """The objective that a log was printed under, or "unknown", and how that is known.

    Works by elimination: by Jensen's inequality the mean loss cannot be below the loss at the mean
    output, and losses of probabilities have an upper bound where they are squared. An objective is
    named only if it explains the numbers and no other does.
    """
    if trace.objective is not None:
        if _behind_sigmoid(trace):
            return "lsgan-on-sigmoid", "the run says least squares, and D's outputs end at 0 and 1"
        return trace.objective, "given, or written in the run's own configuration"
    if trace.has("d_real", "d_fake_before") and _probabilities(trace):
        return _infer_from_probabilities(trace)
    return _infer_from_scores(trace)


def _behind_sigmoid(trace: Trace) -> bool:
    return (
        trace.objective == "lsgan"
        and trace.has("d_real", "d_fake_before")
        and (_probabilities(trace) and _pinned(trace))
    )


def _pinned(trace: Trace) -> bool:
    """Whether outputs often come within a hundredth of 0 or 1, which raw scores would pass."""
    values = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
    values = values[np.isfinite(values)]
    at_end = np.minimum(values, 1 - values) < 0.01
    return len(values) >= LEAST_ROWS and bool(at_end.mean() > 0.4)


def _probabilities(trace: Trace) -> bool:
    values = np.concatenate([trace.get("d_real"), trace.get("d_fake_before")])
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(((values >= 0) & (values <= 1)).all())


def bce_at_mean(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least BCE halves that go with mean outputs D(x) and D(G(z)) (Jensen)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log(real), -np.log1p(-fake)


def squares_at_mean(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least squared errors that go with mean outputs (Jensen)."""
    return (real - 1) ** 2, fake**2


def _infer_from_probabilities(trace: Trace) -> tuple[str, str]:
    """From outputs in [0, 1]: D's loss over the least that BCE would be at these outputs.

    Under BCE the ratio is 1 or a little more, by the spread over the batch; squares are far less.
    """
    real, fake, loss = trace.get("d_real"), trace.get("d_fake_before"), trace.get("d_loss")
    loss = np.where(np.isfinite(loss), loss, trace.get("d_loss_real") + trace.get("d_loss_fake"))
    least = np.sum(bce_at_mean(real, fake), axis=0)
    # Outputs that round to 0 or 1 bound nothing.
    known = np.isfinite(least) & np.isfinite(loss) & (least > 0)
    if known.sum() < LEAST_ROWS:
        return UNKNOWN, "D's outputs lie in [0, 1], but there are too few losses beside them"
    ratio = float(np.median(loss[known] / least[known]))
    if ratio < SQUARES_RATIO:
        how = f"D's loss is {ratio:.2f} of what BCE would be at these outputs (median): squares"
        if _pinned(trace):
            return "lsgan-on-sigmoid", f"{how}, and its outputs end at 0 and 1: probabilities"
        return "lsgan", f"{how} of outputs that are not pinned to 0 or 1"
    if ratio <= BCE_RATIO:
        return (
            "non-saturating",
            "D's outputs lie in [0, 1], and D's loss is that of BCE at these outputs "
            f"(median ratio {ratio:.2f})",
        )
    return UNKNOWN, "D's outputs lie in [0, 1], but its loss fits neither BCE nor squares"


def _infer_from_scores(trace: Trace) -> tuple[str, str]:
    """From D's mean scores on real and fake and its losses.

    Of the objectives whose least loss at these means is not above the printed one, the nearest.
    """
    real = _first(trace, "real_logit_mean", "d_real")
    fake = _first(trace, "fake_logit_mean", "d_fake_before")
    loss = trace.get("d_loss")
    loss = np.where(np.isfinite(loss), loss, trace.get("d_loss_real") + trace.get("d_loss_fake"))
    known = np.isfinite(real) & np.isfinite(fake) & np.isfinite(loss)
    if known.sum() < LEAST_ROWS:
        return UNKNOWN, "the log has no outputs of D beside its losses"
    real, fake, loss = real[known], fake[known], loss[known]
    difference = fake - real
    scale = np.median(np.abs(difference)) + 1e-6
    if np.median(np.abs(loss - difference)) < TOLERANCE * scale:
        return "wgan", "D's loss is the difference of its mean scores"
    # Losses below these are impossible (Jensen).
    bounds = {
        "non-saturating": np.logaddexp(0, -real) + np.logaddexp(0, fake),
        "lsgan": (real - 1) ** 2 + fake**2,
        "hinge": np.maximum(1 - real, 0) + np.maximum(1 + fake, 0),
        "relativistic-average": np.logaddexp(0, difference) * 2,
    }
    # Where D is at chance all of them are alike.
    all_bounds = np.array(list(bounds.values()))
    telling = all_bounds.max(axis=0) > 1.1 * all_bounds.min(axis=0) + PRINTED
    if telling.sum() < LEAST_ROWS:
        return UNKNOWN, "D's outputs are too near to chance to tell the objective by"
    fits = {
        name: float(np.median(np.abs(np.log((loss + PRINTED) / (bound + PRINTED)))[telling]))
        for name, bound in bounds.items()
        if (loss >= bound * (1 - TOLERANCE) - PRINTED).mean() >= EXPLAINS
    }
    if not fits:
        return UNKNOWN, "no known objective explains D's losses beside its outputs"
    ranked = sorted(fits, key=lambda name: fits[name])
    best = fits[ranked[0]]
    clear = len(ranked) == 1 or fits[ranked[1]] > max(1.5 * best, best + 0.1)
    if clear and best < NEAR:
        others = ", ".join(name for name in bounds if name not in fits) or "none"
        return ranked[0], f"D's losses fit its mean outputs best under it (ruled out: {others})"
    return UNKNOWN, f"D's losses and outputs could be {' or '.join(ranked)}"


def _first(trace: Trace, *names: str) -> np.ndarray:
    for name in names:
        if trace.has(name):
            return trace.get(name)
    return trace.get(names[0])
