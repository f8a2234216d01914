"""Short logs, and what is read from them."""

import io

import numpy as np

from counterpoise.logs.read import read_log

SEED_LINE = (
    "Epoch {epoch}/5 - Step: {step}/100  Loss G: 3.5  Loss D: 0.25  D(x): 0.75  "
    "D(G(z)): 0.125 / 0.0625\nTime for the last step: 51.55 s    Epoch ETA: 01:04:13\n"
)
BASICSR = """2021-01-01 12:00:00,123 INFO: [train..][epoch:  0, iter:   1,000, lr:(1.000e-04,)] \
[eta: 5 days, 1:02:03, time (data): 0.500 (0.002)] l_g_pix: 2.0e-02 l_g_percep: 1.0e+00 \
l_g_gan: 5.0e-01 l_d_real: 6.0e-01 out_d_real: 2.0e-01 l_d_fake: 7.0e-01 out_d_fake: -1.0e-01
2021-01-01 12:01:00,123 INFO: [train..][epoch:  0, iter:   1,100, lr:(1.000e-04,)] \
[eta: 5 days, 1:02:03, time (data): 0.500 (0.002)] l_g_pix: 2.0e-02 l_g_percep: 1.0e+00 \
l_g_gan: 5.5e-01 l_d_real: 6.0e-01 out_d_real: 2.0e-01 l_d_fake: nan out_d_fake: -1.0e-01
"""


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
