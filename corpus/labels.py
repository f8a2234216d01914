"""What is true of a training: fixed rules over what was measured inside it at every step.

`measure` reduces a training to numbers, which the manifest keeps so that every label can be
checked; `label` turns the numbers into ids. Neither looks at the code that diagnoses, and neither
knows which cause was intended, except for what cannot be measured: that a leak was built in (then
it must also be measured that D uses it) and that a policy was configured.

A finding is `expected` where its rule holds with room to spare and the log shows what is needed to
see it (`NEEDS`); `allowed` where it holds only nearly, or only for a part of the run, or where the
log does not show enough: then it is neither rewarded nor punished.
"""

import math

import numpy as np
from formats import Row
from loop import Run
from objectives import OBJECTIVES

IDS = (
    "d-saturated",
    "d-frozen",
    "g-vanishing-gradient",
    "d-too-weak",
    "oscillation",
    "mode-collapse",
    "d-memorises",
    "divergence",
    "non-finite",
    "lsgan-on-sigmoid",
    "adversarial-term-drowned",
    "content-term-drowned",
    "loss-inconsistent",
    "d-restarts",
    "trivially-separable",
    "inert-rule",
    "healthy",
    "not-enough-evidence",
)

# Any of these sets of columns lets a reader judge the finding. "objective" stands for a log whose
# objective is told by its user, written in its configuration, or follows from losses and D(x).
_OUTPUTS = [
    {"d_real", "d_fake_before", "objective"},
    {"d_accuracy_real", "d_accuracy_fake"},
    {"d_loss", "objective"},
    {"d_loss_real", "d_loss_fake", "objective"},
    {"real_logit_mean", "fake_logit_mean", "objective"},
]
NEEDS: dict[str, list[set[str]]] = {
    "d-saturated": _OUTPUTS,
    "d-too-weak": _OUTPUTS,
    "oscillation": [*_OUTPUTS, {"d_real", "d_fake_before"}],
    "d-frozen": [{"d_fake_before", "d_fake_after"}, {"d_updated"}],
    "d-restarts": [{"d_fake_before", "d_fake_after"}, {"d_updated"}],
    "g-vanishing-gradient": [{"g_gradient_adversarial"}],
    "mode-collapse": [{"diversity_ratio"}],
    "d-memorises": [{"d_accuracy_held_out", "d_accuracy_real"}],
    "divergence": [{"g_loss"}, {"g_adversarial"}],
    "non-finite": [{"g_loss"}, {"g_adversarial"}],
    "lsgan-on-sigmoid": [{"g_loss", "d_loss", "d_real", "d_fake_before"}],
    "adversarial-term-drowned": [{"g_gradient_adversarial", "g_gradient_content"}],
    "content-term-drowned": [{"g_gradient_adversarial", "g_gradient_content"}],
    "loss-inconsistent": [{"d_loss", "d_real", "d_fake_before"}],
    "trivially-separable": [{"auc", "auc_quantised"}, {"auc", "auc_border_hidden"}],
    "inert-rule": [{"policy"}],
    "healthy": _OUTPUTS,
    "not-enough-evidence": [set()],
}
# With fewer lines than this nothing can be said.
FEWEST_LINES = 6


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    return np.convolve(values, np.ones(window) / window, mode="valid")


def _longest(flags: np.ndarray) -> int:
    """Length of the longest unbroken stretch of True."""
    longest = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest


def _swings(values: np.ndarray) -> tuple[float, int]:
    """Range of a smoothed signal (10th to 90th percentile), and how often it crosses most of it."""
    low, high = np.percentile(values, [10, 90])
    span = high - low
    side, crossings = 0, 0
    for value in values:
        now = 1 if value > high - span / 4 else -1 if value < low + span / 4 else side
        crossings += now != side and side != 0
        side = now
    return float(span), crossings


def _belief(run: Run) -> np.ndarray:
    """D's answer on fakes on a scale from 0 (sure: fake) to 1 (sure: real) for any objective."""
    logit = run.every_step["fake_logit"]
    name = run.settings.objective
    if name == "lsgan":  # targets 0 and 1
        return 1 / (1 + np.exp(-np.clip(4 * (logit - 0.5), -50, 50)))
    if name in ("wgan", "ragan"):  # no zero of their own: against the reals
        gap = logit - run.every_step["real_logit"]
        return 1 / (1 + np.exp(-np.clip(gap, -50, 50)))
    return run.every_step["fake_belief"]


def violations(shown: list[Row], objective: str, averages: bool) -> float:
    """Share of lines whose printed losses contradict the printed D(x) and D(G(z)).

    Mean BCE is at least -ln of the mean (Jensen). A line counts where it is 3 % and 0.01 below.
    """
    if averages or not objective.startswith("bce"):
        return 0.0
    bad = 0
    for row in shown:
        real, fake = row["d_real"], row["d_fake_before"]
        if not all(map(math.isfinite, (real, fake, row["d_loss"]))):
            continue
        bound = -math.log(max(real, 1e-6)) - math.log(max(1 - fake, 1e-6))
        bad += row["d_loss"] < bound * 0.97 - 0.01
        if objective != "bce-saturating" and row.get("g_content") is None:
            bound_g = -math.log(max(row["d_fake_after"], 1e-6))
            bad += row["g_loss"] < bound_g * 0.97 - 0.01
    return bad / max(1, len(shown))


def measure(run: Run, shown: list[Row], averages: bool) -> dict[str, float]:
    """The numbers that the labels rest on. "Late" is the second half of the steps."""
    steps = run.every_step
    settings = run.settings
    count = len(steps["accuracy"])
    late = slice(count // 2, count)
    losses = np.stack([steps["g_loss"], steps["d_loss"]])
    finite = np.isfinite(losses).all(axis=0)
    numbers: dict[str, float] = {"non_finite_share": float(1 - finite.mean())}
    window = max(10, settings.log_every)
    accuracy = _smooth(steps["accuracy"], window)
    numbers["accuracy_late"] = float(steps["accuracy"][late].mean())
    numbers["accuracy_highest"] = float(accuracy.max())
    numbers["real_belief_late"] = float(steps["real_belief"][late].mean())
    numbers["fake_belief_late"] = float(steps["fake_belief"][late].mean())
    sure = (
        (accuracy >= 0.98)
        & (_smooth(steps["real_belief"], window) >= 0.95)
        & (_smooth(steps["fake_belief"], window) <= 0.05)
    )
    numbers["sure_share_late"] = float(sure[len(sure) // 2 :].mean())
    numbers["sure_longest_share"] = _longest(sure) / len(sure)
    numbers["right_share_late"] = float((accuracy[len(accuracy) // 2 :] >= 0.98).mean())
    updated = steps["d_updated"] > 0
    numbers["updated_share"] = float(updated.mean())
    numbers["frozen_longest_steps"] = _longest(~updated)
    turns = int((np.diff(updated.astype(int)) > 0).sum())
    numbers["restarts"] = turns
    numbers["frozen_stretch_mean_steps"] = float((~updated).sum() / max(1, turns))
    lines_updated = np.array([row["d_updated"] > 0 for row in shown])
    numbers["lines_frozen_share"] = float(1 - lines_updated.mean())
    numbers["lines_restarts"] = int((np.diff(lines_updated.astype(int)) > 0).sum())
    # Where a pair of D(G(z)) can tell: not at 0 or 1, where it is equal whatever D does.
    telling = [
        min(abs(row["d_fake_before"]), abs(1 - row["d_fake_before"])) > 5e-5 for row in shown
    ]
    same = [abs(row["d_fake_before"] - row["d_fake_after"]) < 5e-5 for row in shown]
    numbers["lines_still_share"] = float(
        np.mean([a and b for a, b in zip(same, telling, strict=True)])
    )
    numbers["lines_seen_frozen_share"] = float(np.mean(~lines_updated & np.array(telling)))
    numbers["slope_late"] = float(np.nanmedian(steps["slope"][late]))
    late_slopes = _smooth(steps["slope"], window)[-(count // 2) :]
    numbers["slope_tiny_share_late"] = float((late_slopes <= 0.01).mean())
    norms = _smooth(steps["g_adversarial_norm"], window)
    numbers["gradient_fell_to"] = float(np.median(norms[-count // 4 :]) / max(norms.max(), 1e-30))
    fakes = steps["fake_belief"][late]
    numbers["pinned_share_late"] = float(((fakes <= 0.01) | (fakes >= 0.99)).mean())
    settled = _smooth(_belief(run)[count // 4 :], 10)
    if np.isfinite(settled).all():
        numbers["swing"], numbers["swings"] = _swings(settled)
    else:
        numbers["swing"], numbers["swings"] = 0.0, 0
    logits = np.maximum(np.abs(steps["fake_logit"]), np.abs(steps["real_logit"]))
    early = np.nanmedian(logits[count // 20 : count // 4]) if count >= 20 else math.nan
    final = np.nanmedian(logits[-count // 10 :]) if finite[-count // 10 :].any() else math.nan
    numbers["logit_scale_early"], numbers["logit_scale_final"] = float(early), float(final)
    # D's loss in multiples of what guessing costs: at the start, and in the end.
    guessing = {"lsgan": 0.5, "lsgan-sigmoid": 0.5, "hinge": 2.0, "wgan": math.inf}
    cost = np.abs(steps["d_loss"]) / guessing.get(settings.objective, math.log(4))
    numbers["d_loss_early"] = float(np.nanmedian(cost[: max(1, count // 10)]))
    numbers["d_loss_final"] = (
        float(np.nanmedian(cost[-count // 10 :])) if np.isfinite(final) else math.nan
    )
    content = steps["g_content_norm"][late]
    if np.isfinite(content).any():
        adversarial = steps["g_adversarial_norm"][late]
        numbers["adversarial_share_late"] = float(np.median(adversarial / (adversarial + content)))
    numbers["violations"] = violations(shown, settings.objective, averages)
    numbers["lines"] = len(shown)
    numbers["gate_acted_share"] = run.policy_acted / count
    return {**numbers, **run.truth}


def _true_and_nearly(run: Run, m: dict[str, float], policy: str | None) -> tuple[set, set]:
    """The ids whose rule holds, and those whose rule holds nearly or for a part of the run."""
    s = run.settings
    objective = OBJECTIVES[s.objective]
    true: set[str] = set()
    nearly: set[str] = set()

    def rule(name: str, holds: bool, almost: bool) -> None:
        if holds:
            true.add(name)
        elif almost:
            nearly.add(name)

    rule("non-finite", m["non_finite_share"] > 0, False)
    # D is right about practically all images and says so with practically full certainty. Only
    # objectives with a probability have such a state; of the others one may say it or not.
    saturates = objective.is_probability
    rule(
        "d-saturated",
        saturates and m["sure_share_late"] >= 0.9,
        m["sure_longest_share"] >= 0.1 or m["accuracy_late"] >= 0.95,
    )
    # A quarter of the steps, and of the lines, without any change of D's weights.
    frozen = 1 - m["updated_share"]
    rule(
        "d-frozen",
        frozen >= 0.25 and m["lines_frozen_share"] >= 0.2,
        frozen >= 0.02 or m["lines_frozen_share"] > 0 or m["lines_still_share"] >= 0.1,
    )
    # D stands still for stretches and comes back, several times, and the lines show it.
    mixed = 0.05 <= m["updated_share"] <= 0.95
    rule(
        "d-restarts",
        mixed
        and m["lines_restarts"] >= 3
        and m["frozen_stretch_mean_steps"] >= 2
        and s.d_every == 1,
        m["restarts"] >= 1,
    )
    # Behind a saturated objective hardly anything of D's gradient reaches G.
    rule(
        "g-vanishing-gradient",
        m["slope_tiny_share_late"] >= 0.9 and m["gradient_fell_to"] <= 0.05,
        m["slope_tiny_share_late"] >= 0.3 or m["gradient_fell_to"] <= 0.02,
    )
    # D is at chance to the end though an ordinary D, trained afresh, tells the images apart; and
    # it never was above chance, or G has nothing to show for it. (A fresh D beats every G that
    # stands still, so that alone says little: a good G holds its own D near chance.)
    chance = m["accuracy_late"] <= 0.58 and m["oracle_accuracy"] >= 0.85
    # A critic's scores have no zero and no scale, so where they are is no weakness; and a D whose
    # logits are huge is not weak but broken.
    comparable = s.objective != "wgan" and m["logit_scale_final"] < 50 and m["d_loss_final"] < 20
    rule(
        "d-too-weak",
        chance and comparable and (m["accuracy_highest"] <= 0.65 or not is_good(m)),
        m["accuracy_late"] <= 0.65 and m["oracle_accuracy"] >= 0.7,
    )
    rule(
        "oscillation",
        comparable and m["swing"] >= 0.4 and m["swings"] >= 6,
        m["swing"] >= 0.15 and m["swings"] >= 3,
    )
    if "modes" in m:
        rule(
            "mode-collapse",
            m["modes"] <= m["modes_all"] / 4 and m["diversity"] <= 0.35,
            m["modes"] <= m["modes_all"] * 0.6 or m["diversity"] <= 0.6,
        )
    remembered = m["train_accuracy"] - m["held_out_accuracy"]
    rule(
        "d-memorises",
        remembered >= 0.3 and m["train_accuracy"] >= 0.7 and m["fake_accuracy"] >= 0.5,
        remembered >= 0.1,
    )
    grown = m["logit_scale_final"] / max(m["logit_scale_early"], 1.0)
    rule(
        "divergence",
        (m["logit_scale_final"] >= 1e3 and grown >= 20)
        or (m["d_loss_final"] >= 50 and m["d_loss_final"] >= 10 * m["d_loss_early"]),
        m["logit_scale_final"] >= 50
        or grown >= 5
        or m["d_loss_final"] >= 20
        or m["non_finite_share"] > 0,
    )
    behind_sigmoid = s.objective == "lsgan-sigmoid"
    rule("lsgan-on-sigmoid", behind_sigmoid and m["pinned_share_late"] >= 0.8, behind_sigmoid)
    share = m.get("adversarial_share_late", 0.5)
    rule("adversarial-term-drowned", share <= 0.01, share <= 0.08)
    rule("content-term-drowned", share >= 0.99, share >= 0.92)
    rule(
        "loss-inconsistent",
        m["violations"] * m["lines"] >= 3 and m["violations"] >= 0.04,
        m["violations"] > 0,
    )
    # A leak was built in, and D lives on it: without it, D's ranking falls apart.
    leak = s.linear_output or s.zero_border
    lost = m["auc"] - min(m.get("auc_quantised", 1.0), m.get("auc_border_hidden", 1.0) + 0.0)
    rule(
        "trivially-separable",
        leak and m["auc"] >= 0.9 and lost >= 0.25,
        lost >= 0.1 or leak,
    )
    if policy not in (None, "none"):
        rule("inert-rule", m["gate_acted_share"] == 0, m["gate_acted_share"] < 0.01)
    return true, nearly


def is_good(m: dict[str, float]) -> bool:
    """Whether the generator's samples are what one wants of so small a training."""
    if "psnr_over_bicubic" in m:
        return m["psnr_over_bicubic"] >= -1.5 and 0.2 <= m["detail"] <= 2
    return (
        m["modes"] >= 0.7 * m["modes_all"]
        and 0.7 <= m["diversity"] <= 1.4
        and m["good_samples"] >= 0.3
    )


def label(
    run: Run, m: dict[str, float], fields: set[str], policy: str | None
) -> tuple[list[str], list[str]]:
    """The expected and the allowed ids; no expected ones where the truth is ambiguous: drop it."""
    true, nearly = _true_and_nearly(run, m, policy)
    if m["lines"] < FEWEST_LINES:
        return ["not-enough-evidence"], sorted(true | nearly | {"healthy"})

    def shows(name: str) -> bool:
        return any(need <= fields for need in NEEDS[name])

    expected = {name for name in true if shows(name)}
    if "d_updated" not in fields and m["lines_seen_frozen_share"] < 0.2:
        expected.discard("d-frozen")
    if "d-frozen" in expected:  # then being weak is what follows from it
        expected.discard("d-too-weak")
    allowed = nearly | (true - expected)
    if "non-finite" in true or "divergence" in true:
        # What is read from numbers on their way to infinity may be called by several names.
        allowed |= {"oscillation", "divergence", "d-saturated", "d-too-weak", "d-memorises"}
    calm = {"lsgan-on-sigmoid", "d-restarts", "inert-rule", "loss-inconsistent"}
    # Nothing wrong with the game itself; D neither lost nor won it, and the samples are good.
    if not true - calm and is_good(m) and 0.45 <= m["accuracy_late"] <= 0.93:
        if not expected and shows("healthy"):
            expected = {"healthy"}
        else:
            allowed |= {"healthy", "not-enough-evidence"}
    if not expected:
        allowed |= {"not-enough-evidence"}
    return sorted(expected), sorted(allowed - expected)
