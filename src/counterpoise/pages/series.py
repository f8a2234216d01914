"""Which columns of a trace a person is shown, and their curves in little space."""

import numpy as np

from counterpoise.trace import Trace

# Column and title, in the order that they are shown.
SHOWN = (
    ("d_real", "D(x)"),
    ("real_logit_mean", "mean logit on real"),
    ("d_fake_before", "D(G(z)) before"),
    ("d_fake_after", "D(G(z)) after"),
    ("fake_logit_mean", "mean logit on fake"),
    ("d_accuracy", "D's accuracy"),
    ("d_accuracy_real", "D's accuracy on real"),
    ("d_accuracy_fake", "D's accuracy on fake"),
    ("auc", "AUC"),
    ("d_loss", "Loss D"),
    ("d_loss_real", "Loss D, real half"),
    ("d_loss_fake", "Loss D, fake half"),
    ("g_loss", "Loss G"),
    ("g_adversarial", "Loss G, adversarial"),
    ("g_gradient_adversarial", "adversarial gradient at G's output"),
    ("g_gradient_content", "content gradient at G's output"),
    ("diversity_ratio", "diversity of outputs"),
    ("held_out_logit_mean", "mean logit on held-out real"),
    ("d_learning_rate", "D's learning rate"),
)
BLOCKS = "▁▂▃▄▅▆▇█"


def shown_series(trace: Trace) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Title, steps and values of the columns worth showing, without their gaps."""
    found = []
    for name, title in SHOWN:
        values = trace.get(name)
        known = np.isfinite(values)
        if known.sum() > 1:
            found.append((title, trace.steps[known], values[known]))
    return found


def buckets(values: np.ndarray, count: int) -> list[np.ndarray]:
    """The values in at most `count` groups of neighbours."""
    return [group for group in np.array_split(values, min(count, len(values))) if len(group)]


def sparkline(values: np.ndarray, width: int) -> str:
    """A curve of at most `width` block characters, from the smallest value to the largest."""
    means = np.array([group.mean() for group in buckets(values, width)])
    low, high = means.min(), means.max()
    if values.min() == values.max() or high == low:  # Means of equal values may differ in a bit.
        return BLOCKS[3] * len(means)
    heights = np.round((means - low) / (high - low) * (len(BLOCKS) - 1)).astype(int)
    return "".join(BLOCKS[height] for height in heights)
