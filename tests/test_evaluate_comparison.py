"""Two methods on the same images."""

import numpy as np
import pytest

from counterpoise.evaluate.scores import Scores, differences_between
from counterpoise.statistics import hierarchical_mean


def scores(name, **columns):
    count = len(next(iter(columns.values())))
    rows = [(f"{i}.png", {k: v[i] for k, v in columns.items()}) for i in range(count)]
    return Scores(name, rows)


def test_differences_are_paired():
    random = np.random.default_rng(0)
    content = random.normal(28, 4, 20)  # images differ far more than methods do
    a, b = content, content + random.normal(0.3, 0.2, 20)
    (found,) = differences_between(scores("a", psnr_y=a), scores("b", psnr_y=b))
    assert found.difference == hierarchical_mean((b - a)[None])  # which scipy's is compared with
    assert found.verdict == "B is better"
    assert found.b_wins == (b > a).sum()


@pytest.mark.parametrize(
    ("name", "step", "verdict"),
    [
        ("psnr_y", [1] * 8, "B is better"),
        ("rmse", [1] * 8, "A is better"),
        ("rmse", [0] * 8, "equal"),
        ("rmse", [1, -1] * 4, "not told apart"),
        ("rmse", [1], "not told apart"),
    ],
)
def test_verdicts(name, step, verdict):
    a = np.arange(float(len(step)))
    (found,) = differences_between(scores("a", **{name: a}), scores("b", **{name: a + step}))
    assert found.verdict == verdict
    assert (found.difference.interval is None) == (len(step) == 1)


def test_what_is_not_finite_in_either_is_left_out():
    a = scores("a", psnr_y=[1.0, 2.0, 3.0, 4.0], rmse=[1.0, 1.0, 1.0, 1.0])
    b = scores("b", psnr_y=[2.0, np.inf, np.nan, 5.0], rmse=[2.0, 2.0, 2.0, 2.0])
    psnr, rmse = differences_between(a, b)
    assert (psnr.difference.count, psnr.difference.mean) == (2, 1.0)
    assert rmse.difference.count == 4
