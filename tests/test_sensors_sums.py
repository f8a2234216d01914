"""What is measured depends on the numbers alone: not on where they lie, nor on who adds them."""

import numpy as np
import pytest
import torch

from counterpoise.sensors.gradients import flat, gradient_readings, update_ratio
from counterpoise.sensors.images import image_readings
from counterpoise.sensors.sums import mean, norm, total

LENGTH = 40_961  # more than one thread's share, and no whole number of rows


def at_each_offset(values):
    """The same numbers at 16 places in memory, four bytes from one to the next."""
    for offset in range(16):
        room = torch.zeros(len(values) + offset)
        room[offset:] = values
        yield room[offset:]


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def all_readings(values, kept, start):
    """Every sum over a network or an image that a row can hold, of these numbers."""
    # As a checkpoint gives it back: wherever it lies.
    gradient_norm, cosine = gradient_readings(flat([values]), kept)
    images = values[:40_960].reshape(4, 1, 80, 128)
    readings = image_readings(images, images.flip(0) * 2 + 1, paired=True)
    return [
        gradient_norm.item(),
        cosine.item(),
        update_ratio(start, flat([values])).item(),
        total(values).item(),
        mean(values).item(),
        *(number for reading in readings.values() for number in reading.reshape(-1).tolist()),
    ]


def test_no_reading_depends_on_alignment_or_threads(threads):
    generator = torch.Generator().manual_seed(1)
    values, kept = (torch.randn(LENGTH, generator=generator) for _ in range(2))
    torch.set_num_threads(1)
    expected = all_readings(values.clone(), kept.clone(), kept.clone())
    torch.set_num_threads(threads)
    for here, there, start in zip(*map(at_each_offset, (values, kept, kept)), strict=True):
        assert all_readings(here, there.clone(), start.clone()) == expected
        assert all_readings(here, there, start) == expected


@pytest.mark.parametrize("length", [0, 1, 1023, 1024, 1025, LENGTH])
def test_sums_against_numpy(length):
    values = torch.randn(length, generator=torch.Generator().manual_seed(length)) - 3
    exact = values.double().numpy()
    assert total(values).item() == pytest.approx(exact.sum(), rel=1e-5, abs=1e-5)
    assert norm(values).item() == pytest.approx(np.linalg.norm(exact), rel=1e-5)
    assert total(values).dtype == torch.float32


def test_what_is_not_finite_is_not_hidden():
    values = torch.ones(3000)
    values[2999] = torch.nan
    assert total(values).isnan()
    assert norm(values).isnan()
    values[2999] = torch.inf
    assert norm(values).isinf()
