"""Which charts a report may have, and what each of them says."""

from dataclasses import dataclass

from counterpoise.pages.run_report_curves import (
    ACCURACY,
    ACTION,
    ADVERSARIAL_SHARE,
    SMOOTHED_ACCURACY,
    TERM,
)

SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Plan:
    """A chart: its title, what to see in it, and its curves by name, each with a label.

    A name that ends in `*` stands for all curves that begin so.
    """

    key: str
    title: str
    what: str
    curves: tuple[tuple[str, str], ...]
    span: tuple[float, float] | None = None  # that its axis shows at least
    only_means: bool = False  # where single values are 0 or 1
    lines: tuple[tuple[float, str], ...] = ()


PLANS = (
    Plan(
        "g-loss",
        "Loss of G, by term",
        "Weighted, as trained on. The value of an adversarial loss says little by itself.",
        (("g_loss", "G, all terms"), (TERM + "*", "")),
    ),
    Plan(
        "d-loss",
        "Loss of D",
        "Near zero for long: D is certain of everything. Added: penalties, and what a policy adds.",
        (
            ("d_loss", "D, both halves"),
            ("d_loss_real", "on real"),
            ("d_loss_fake", "on fake"),
            ("d_penalty", "added terms"),
        ),
    ),
    Plan(
        "d-outputs",
        "D(x) and D(G(z))",
        "D's mean output on real images, and on the same fakes before and after D's update.",
        (
            ("d_real", "D(x)"),
            ("d_fake_before", "D(G(z)) before"),
            ("d_fake_after", "D(G(z)) after"),
        ),
    ),
    Plan(
        "d-accuracy",
        "D's accuracy and AUC",
        "Share of images that D judges rightly; 0.5 is chance. AUC: how often a real image scores "
        "above a fake one.",
        (
            (SMOOTHED_ACCURACY, "accuracy as the controller sees it"),
            (ACCURACY, "accuracy"),
            ("d_accuracy", "accuracy (as logged)"),
            ("d_accuracy_real", "on real"),
            ("d_accuracy_fake", "on fake"),
            ("auc", "AUC"),
        ),
        SHARE,
    ),
    Plan(
        "logits",
        "D's logits",
        "Means over a batch, before any sigmoid.",
        (
            ("real_logit_mean", "on real"),
            ("fake_logit_mean", "on fake"),
            ("held_out_logit_mean", "on held-out real"),
        ),
    ),
    Plan(
        "share",
        "Share of D in the gradient that reaches G",
        "Adversarial gradient at G's output over that of all terms: near 0, G does not hear D; "
        "near 1, nothing else.",
        ((ADVERSARIAL_SHARE, "adversarial share"),),
        SHARE,
    ),
    Plan(
        "output-gradients",
        "Gradients at G's output",
        "Norms; the adversarial one with the policy's weight in it.",
        (
            ("g_gradient_adversarial", "adversarial term"),
            ("g_gradient_content", "all other terms"),
        ),
    ),
    Plan(
        "gradient-norms",
        "Gradients of the weights",
        "Norms of the last update's gradients.",
        (("g_gradient_norm", "G"), ("d_gradient_norm", "D")),
    ),
    Plan(
        "update-ratios",
        "Updates over weights",
        "How far a step moves a network; about 0.001 is usual for Adam.",
        (("g_update_ratio", "G"), ("d_update_ratio", "D")),
    ),
    Plan(
        "cosines",
        "Cosine of the gradients of two steps",
        "Below 0 again and again: the network turns back and forth.",
        (("g_gradient_cosine", "G"), ("d_gradient_cosine", "D")),
        (-1.0, 1.0),
    ),
    Plan(
        "d-updated",
        "Share of steps in which D was trained",
        "The means over neighbouring steps.",
        (("d_updated", "D trained"), ("g_updated", "G trained")),
        SHARE,
        only_means=True,
    ),
    Plan(
        "actions",
        "What the policy set",
        "Only what it ever changed; factors are of the configured values.",
        ((ACTION + "*", ""),),
    ),
    Plan(
        "learning-rates",
        "Learning rates",
        "As used, with the policy's factors in them.",
        (("g_learning_rate", "G"), ("d_learning_rate", "D")),
    ),
    Plan(
        "detail",
        "Outputs against real images",
        "Ratios, 1 is alike: variety within a batch, fine detail, texture.",
        (
            ("diversity_ratio", "variety"),
            ("high_frequency_ratio", "fine detail"),
            ("patch_variance_ratio", "texture"),
        ),
        lines=((1.0, "as real images"),),
    ),
    Plan(
        "saturation",
        "Share of outputs of D where its sigmoid is flat",
        "There, G learns little from D.",
        (("d_saturation_real", "on real"), ("d_saturation_fake", "on fake")),
        SHARE,
    ),
    Plan(
        "probes",
        "D's tests",
        "Accuracy on held-out images; AUC where a leak is hidden from D (a large fall: D judges by "
        "the leak); accuracy of a copy of D trained on one batch.",
        (
            ("d_accuracy_held_out", "accuracy, held-out real"),
            ("auc_quantised", "AUC, fakes of 8 bits"),
            ("auc_border_hidden", "AUC, borders hidden"),
            ("d_probe_accuracy", "accuracy of a copy of D"),
            ("fake_out_of_range", "fakes out of range"),
        ),
        SHARE,
    ),
    Plan("speed", "Seconds per step", "Measuring included.", (("seconds", "seconds"),)),
)
# With several runs, a chart has one curve of each.
COMPARED = (
    ("g_loss", "Loss of G"),
    (TERM + "adversarial", "Adversarial loss of G"),
    ("d_loss", "Loss of D"),
    ("d_real", "D(x)"),
    ("d_fake_before", "D(G(z)) before D's update"),
    ("d_fake_after", "D(G(z)) after D's update"),
    (ACCURACY, "D's accuracy"),
    ("auc", "AUC"),
    (ADVERSARIAL_SHARE, "Share of D in the gradient that reaches G"),
    ("g_gradient_norm", "Gradient norm of G"),
    ("d_gradient_norm", "Gradient norm of D"),
    ("d_updated", "Share of steps in which D was trained"),
    ("d_learning_rate", "Learning rate of D"),
    ("g_learning_rate", "Learning rate of G"),
    (ACTION + "adversarial_weight_scale", "The policy's factor on the adversarial weight"),
    ("diversity_ratio", "Variety of outputs over that of real images"),
    ("high_frequency_ratio", "Fine detail of outputs over that of real images"),
    ("seconds", "Seconds per step"),
)
