"""Judgements in standard errors, shared by the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def assert_standard_normal(z: ArrayLike, what: str, z_max: float = 5.0) -> None:
    """z: independent scores, each of mean 0 and standard deviation 1 if the code is right."""
    z = np.ravel(np.asarray(z, dtype=np.float64))
    mean = z.mean() * np.sqrt(z.size)
    spread = ((z**2).mean() - 1) * np.sqrt(z.size / 2)
    assert max(abs(mean), abs(spread)) < z_max, (
        f"{what}: over {z.size} scores the mean is {mean:+.1f} sigma and "
        f"the variance {spread:+.1f} sigma from N(0, 1); allowed {z_max}"
    )
