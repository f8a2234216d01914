"""Which columns of a trace a person is shown first, and their curves in the terminal."""

import numpy as np

from counterpoise.trace import Trace

# Column and title, most telling first.
SHOWN = (
    ("d_real", "D(x)"),
    ("d_fake_before", "D(G(z)) before"),
    ("d_fake_after", "D(G(z)) after"),
    ("d_loss", "Loss D"),
    ("g_loss", "Loss G"),
    ("auc", "AUC"),
    ("d_accuracy", "D's accuracy"),
    ("g_adversarial", "Loss G, adversarial"),
    ("g_gradient_adversarial", "adversarial gradient at G's output"),
    ("g_gradient_content", "content gradient at G's output"),
    ("d_learning_rate", "D's learning rate"),
    ("real_logit_mean", "mean logit on real"),
    ("fake_logit_mean", "mean logit on fake"),
    ("d_accuracy_real", "D's accuracy on real"),
    ("d_accuracy_fake", "D's accuracy on fake"),
    ("d_loss_real", "Loss D, real half"),
    ("d_loss_fake", "Loss D, fake half"),
    ("diversity_ratio", "diversity of outputs"),
    ("held_out_logit_mean", "mean logit on held-out real"),
)
BLOCKS = "▁▂▃▄▅▆▇█"
# What is beyond is drawn there: sums and differences of it would be infinite.
LARGEST = 1e300


def shown_series(trace: Trace) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Title, steps and values of the columns worth showing, without their gaps."""
    found = []
    for name, title in SHOWN:
        values = trace.get(name)
        known = np.isfinite(values)
        if known.sum() > 1:
            found.append((title, trace.steps[known], np.clip(values[known], -LARGEST, LARGEST)))
    return found


def sparkline(values: np.ndarray, width: int) -> str:
    """A curve of at most `width` block characters, from the smallest value to the largest."""
    groups = np.array_split(values, min(width, len(values)))
    means = np.array([group.mean() for group in groups])
    low, high = means.min(), means.max()
    if values.min() == values.max() or high == low:  # Means of equal values may differ in a bit.
        return BLOCKS[3] * len(means)
    # Halved: the difference of two huge values is infinite.
    heights = np.round((means / 2 - low / 2) / (high / 2 - low / 2) * (len(BLOCKS) - 1))
    return "".join(BLOCKS[height] for height in heights.astype(int))
