import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.balance.smoothing import Average, blend, clamp, is_finite

decays = st.floats(0, 0.999)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), decays)
def test_average_is_the_normalised_weighted_sum(values, decay):
    average = Average(decay)
    for value in values:
        average.update(value)
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    expected = sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)
    assert average.value == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(), max_size=20), decays)
def test_average_stays_within_the_finite_values_that_it_saw(values, decay):
    average = Average(decay)
    for value in values:
        average.update(value)
    seen = [value for value in values if math.isfinite(value)]
    assert average.count == len(seen)
    assert average.value is None if not seen else min(seen) <= average.value <= max(seen)


def test_blend_and_clamp_and_is_finite():
    assert blend(1.0, 3.0, 0.75) == 1.5
    assert blend(1e308, 1e308, 0.3) == 1e308
    assert [clamp(x, 0, 1) for x in (-1, 0.5, 2)] == [0, 0.5, 1]
    assert is_finite(0.0, -1.0)
    assert not is_finite(0.0, None)
    assert not is_finite(math.inf)
