"""The curves of a training in the terminal, a line each."""

from collections.abc import Iterator

import numpy as np

from counterpoise.diagnosis.finding import number
from counterpoise.diagnosis.wording import Said
from counterpoise.registry import read_table
from counterpoise.trace import Trace

SHOWN = read_table("counterpoise.commands", "curves.toml")  # titles by column
BLOCKS = "▁▂▃▄▅▆▇█"
# What is beyond is drawn there: sums and differences of it would be infinite.
LARGEST = 1e300
# Columns of a curve where there is room, and where there is none; of the numbers beside it.
CHART_WIDTH, LEAST_CHART_WIDTH, NUMBERS_WIDTH = 48, 8, 24
# Curves of a training whose verdict should stay in sight.
MOST_CURVES = 8


def shown_series(trace: Trace, most: int = MOST_CURVES) -> list[tuple[str, np.ndarray]]:
    """Title and values of the most telling columns, without their gaps; not of rates and gradients
    that stand still."""
    found: list[tuple[str, np.ndarray]] = []
    for name, title in SHOWN.items():
        values = trace.get(name)
        values = values[np.isfinite(values)]
        rests = title.endswith((" rate", " output")) and len(values) and not np.ptp(values)
        if len(values) > 1 and not rests and len(found) < most:
            if title.startswith("D(") and (values.min() < 0 or values.max() > 1):
                of = title.replace("D(x)", "real").replace("D(G(z))", "fake")
                title = f"mean score on {of}"  # no probability
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


def curves(
    trace: Trace, before: Trace | None, width: int, *, ends: bool = False, most: int = MOST_CURVES
) -> Iterator[Said]:
    """A line for each curve: with its range (and where it `ends`), or how it ends here and in the
    baseline."""
    series = shown_series(trace, most)
    earlier = dict(shown_series(before, most)) if before is not None else {}
    titles = max((len(title) for title, _ in series), default=0)
    room = max(LEAST_CHART_WIDTH, min(CHART_WIDTH, width - titles - NUMBERS_WIDTH))
    for title, values in series:
        said = f"{number(float(values[-1]))}, " if ends else ""
        said += f"{number(float(values.min()))} to {number(float(values.max()))}"
        if title in earlier:
            now, then = (float(np.median(v[len(v) * 3 // 4 :])) for v in (values, earlier[title]))
            said = f"at the end {number(now)}, before {number(then)}"
        chart = sparkline(values, room).ljust(min(room, len(trace)))
        yield Said(f"{title.ljust(titles)}  {chart}  {said}", "line")
