"""Short logs, and what is read from them."""

import io

import numpy as np

from counterpoise.logs.read import read_log

SEED_LINE = (
    "Epoch {epoch}/5 - Step: {step}/100  Loss G: 3.5  Loss D: 0.25  D(x): 0.75  "
    "D(G(z)): 0.125 / 0.0625\nTime for the last step: 51.55 s    Epoch ETA: 01:04:13\n"
)
SEED_VALUES = {
    "g_loss": 3.5,
    "d_loss": 0.25,
    "d_real": 0.75,
    "d_fake_before": 0.125,
    "d_fake_after": 0.0625,
}
# What is read of many logs here.
D, G, A, C, RATE = "d_loss", "g_loss", "g_adversarial", "g_content", "g_learning_rate"
D_REAL, D_FAKE = "d_loss_real", "d_loss_fake"
# What many logs here say, each in its own way.
TWO_ROWS = [(10, {D: 0.5, G: 1.5}), (20, {D: 0.25, G: 2.0})]


def read(text, **options):
    return read_log(io.StringIO(text), **options)


def one(text, **options):
    (trace,) = read(text, **options)
    return trace


def rows(trace):
    """The rows as (step, values)."""
    columns = trace.columns
    return [
        (int(step), {n: float(c[row]) for n, c in columns.items() if np.isfinite(c[row])})
        for row, step in enumerate(trace.steps)
    ]
