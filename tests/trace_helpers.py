"""Hand-made traces with a known verdict."""

import math
from dataclasses import replace

import numpy as np

from counterpoise.trace import Trace, TraceBuilder

ROWS = 60


def trace(rows: int = ROWS, *, every: int = 100, non_finite=(), **columns) -> Trace:
    """A trace whose columns are numbers, arrays or functions of the progress in [0, 1]."""
    progress = np.linspace(0, 1, rows)
    values = {
        name: np.broadcast_to(column(progress) if callable(column) else column, rows)
        for name, column in columns.items()
        if name not in ("objective", "policy")
    }
    builder = TraceBuilder()
    for row in range(rows):
        at = {name: float(column[row]) for name, column in values.items()}
        at |= {name: float("nan") for where, name in non_finite if where == row}
        builder.add((row + 1) * every, at)
    said = {name: columns.get(name) for name in ("objective", "policy")}
    return replace(builder.build(), source="hand-made", **said)


def noise(scale: float, rows: int = ROWS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, scale, rows)


def bce_columns(real, fake, *, seed: int = 0) -> dict[str, np.ndarray]:
    """What a BCE loop prints at these mean outputs, D moving D(G(z)) a little in each step."""
    real, fake = np.broadcast_arrays(np.asarray(real, float), np.asarray(fake, float))
    if not real.shape:
        real, fake = np.full(ROWS, real), np.full(ROWS, fake)
    spread = 1.05 + 0.1 * np.random.default_rng(seed).random(real.shape)
    after = fake * 0.9
    return {
        "d_real": real,
        "d_fake_before": fake,
        "d_fake_after": after,
        "d_loss": spread * (-np.log(real) - np.log1p(-fake)),
        "g_loss": spread * -np.log(after),
    }


def found(diagnosis, finding_id):
    """The finding of this name."""
    return next(f for f in diagnosis.findings if f.id == finding_id)


def smoothed_labels(label, fake, swing=0.01):
    """What a D prints that is asked for `label` on real images and gives it."""
    real = np.clip(label + noise(swing), 0.01, 0.99)
    fake = np.clip(fake + noise(0.002, seed=1), 1e-4, 0.9)
    loss = -(label * np.log(real) + (1 - label) * np.log1p(-real)) - np.log1p(-fake)
    return {"d_real": real, "d_fake_before": fake, "d_loss": loss, "g_loss": 4 + noise(0.1, seed=2)}


def balanced(rows=ROWS):
    """D leads by a little and the lead wanders."""
    real = np.clip(0.65 + noise(0.05, rows), 0.05, 0.95)
    fake = np.clip(0.33 + noise(0.05, rows, seed=1), 0.05, 0.95)
    return bce_columns(real, fake)


def within(first, last, inside, outside):
    """A column that is `inside` from row `first` to before row `last`."""
    rows = np.arange(ROWS)
    return np.where((rows >= first) & (rows < last), inside, outside)


def certain(first, last):
    return bce_columns(within(first, last, 0.999, 0.65), within(first, last, 0.004, 0.35))


def chance():
    return bce_columns(0.5 + noise(0.005), 0.5 + noise(0.005, seed=1))


def at_rest(rests, columns):
    after = np.where(rests, columns["d_fake_before"], columns["d_fake_after"])
    return columns | {"d_fake_after": after}


def swings():
    real = 0.7 + 0.27 * np.sin(np.linspace(0, 8 * math.pi, ROWS * 4))
    return bce_columns(real, np.clip(0.95 - real, 0.02, 0.98))
