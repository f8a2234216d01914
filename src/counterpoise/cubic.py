"""Keys' cubic convolution kernel."""

import numpy as np


def cubic(x: np.ndarray | float, a: float = -0.5) -> np.ndarray:
    """The weights of samples that are `x` away, of any shape; 0 from 2 on.

    `a` is the slope at 1. The order of the operations is part of it: pictures are what they were.
    Source: Keys 1981, Cubic convolution interpolation for digital image processing, equation 4.
    """
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
