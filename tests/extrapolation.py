"""Means over networks of several widths, extrapolated to infinite width."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def limit_of(values: Sequence[np.ndarray], widths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Weighted fit of the means over networks, c + c_1/M, and the error of c; values (N, k) of each width."""
    design = np.stack([np.ones(len(widths)), 1.0 / np.array(widths)], axis=1)
    means = np.array([v.mean(0) for v in values])
    errors = np.array([v.std(0, ddof=1) / math.sqrt(len(v)) for v in values])
    found, sigma = [], []
    for k in range(means.shape[1]):
        inverse = np.linalg.inv(design.T @ (design / errors[:, k, None] ** 2))
        found.append((inverse @ design.T @ (means[:, k] / errors[:, k] ** 2))[0])
        sigma.append(math.sqrt(inverse[0, 0]))
    return np.array(found), np.array(sigma)
