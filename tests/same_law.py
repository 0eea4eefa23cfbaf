"""Two programs that should draw from one law: the judgement of two samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr
from scipy.stats import ks_2samp


def assert_same_law(a: ArrayLike, b: ArrayLike, what: str, z_max: float = 5.0) -> None:
    """a, b: independent samples (N, ...) of two programs; means, second moments and whole distributions must agree.

    Compared column by column: two-sample z of x and of x^2, and the Kolmogorov-Smirnov p-value against the two-sided
    normal tail at z_max. A column without spread must agree to 1e-9.
    """
    x, y = (np.asarray(sample, dtype=np.float64).reshape(len(np.asarray(sample)), -1) for sample in (a, b))
    assert np.all(np.isfinite(x))
    assert np.all(np.isfinite(y))
    for column in range(x.shape[1]):
        if x[:, column].std() < 1e-9 * abs(x[:, column].mean()):  # no randomness but rounding
            np.testing.assert_allclose(y[:, column], x[:, column].mean(), rtol=1e-9, err_msg=what)
            continue
        for power in (1, 2):
            u, v = x[:, column] ** power, y[:, column] ** power
            error = np.sqrt(u.var() / u.size + v.var() / v.size)
            difference = u.mean() - v.mean()
            assert abs(difference) <= z_max * error, (
                f"{what}, column {column}: moment {power} differs by {difference / error:+.1f} standard errors"
            )
        p = float(ks_2samp(x[:, column], y[:, column], method="asymp").pvalue)
        assert p > 2 * ndtr(-z_max), f"{what}, column {column}: Kolmogorov-Smirnov p = {p:.1e}"
