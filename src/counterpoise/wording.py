"""A diagnosis in sentences, and curves in a line: alike in the terminal and on a page."""

import numpy as np

from counterpoise.diagnosis.finding import PROBLEMS, Diagnosis, Finding
from counterpoise.diagnosis.found import lines
from counterpoise.objectives import OBJECTIVES
from counterpoise.trace import Trace

# Columns that a person is shown first, with their titles, most telling first.
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


def shown_series(trace: Trace) -> list[tuple[str, np.ndarray]]:
    """Title and values of the columns worth showing, without their gaps."""
    found = []
    for name, title in SHOWN:
        values = trace.get(name)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            found.append((title, np.clip(values, -LARGEST, LARGEST)))
    return found


def sparkline(values: np.ndarray, width: int) -> str:
    """A curve of at most `width` block characters, from the smallest value to the largest."""
    means = np.array([group.mean() for group in np.array_split(values, min(width, len(values)))])
    low, high = means.min(), means.max()
    if values.min() == values.max() or high == low:  # Means of equal values may differ in a bit.
        return BLOCKS[3] * len(means)
    heights = np.round((means - low) / (high - low) * (len(BLOCKS) - 1))
    return "".join(BLOCKS[height] for height in heights.astype(int))


def headline(diagnosis: Diagnosis) -> str:
    """Which training this is: file, lines, steps, format."""
    name = f"{diagnosis.source} ({diagnosis.title})" if diagnosis.title else diagnosis.source
    what = f"{lines(diagnosis.rows)}, steps {diagnosis.first_step} to {diagnosis.last_step}"
    return f"{name}: {what}" + (f", read as {diagnosis.format}" if diagnosis.format else "")


def objective_line(diagnosis: Diagnosis) -> str:
    """The objective and how it is known."""
    name = diagnosis.objective
    title = OBJECTIVES[name].title if name in OBJECTIVES else "unknown (say it with --objective)"
    return f"Objective: {title}: {diagnosis.objective_evidence}."


def verdict(diagnosis: Diagnosis | None, name: str = "") -> str:
    """The diagnosis in one sentence; after the name of a D where there are several. None: G is
    trained alone."""
    lead = f"{name}: " if name else ""
    if diagnosis is None:
        return f"{lead}G is trained alone: nothing to judge until D joins."
    if diagnosis.rows == 0:
        return f"{lead}Nothing to judge yet."
    if diagnosis.healthy:
        return f"{lead}Healthy, as far as this log can show."
    if not diagnosis.problems:
        return f"{lead}This log cannot say whether the training is healthy."
    severe = [f for f in diagnosis.problems if f.severity == "severe"]
    chosen = severe or diagnosis.problems
    if len(chosen) == 1:
        what = "one thing is seriously wrong" if severe else "one thing needs a change"
    else:
        what = f"{len(chosen)} things {'are seriously wrong' if severe else 'need a change'}"
    titles = "; ".join(_within_sentence(finding.title) for finding in chosen)
    return f"{lead}Not healthy: {what}: {titles}."


def _within_sentence(title: str) -> str:
    """A title with a small first letter, unless it begins with the name of a network."""
    return title if title.startswith(("D ", "G ", "D's ", "G's ")) else title[0].lower() + title[1:]


def span(finding: Finding) -> str:
    """Since when, and how sure."""
    return f"steps {finding.first_step} to {finding.last_step}, confidence {finding.confidence:.0%}"


def todo(finding: Finding) -> str:
    """The heading over what to do about a finding."""
    return "What to change, likeliest first" if finding.severity in PROBLEMS else "What to do"
