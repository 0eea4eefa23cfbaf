"""Means, variances and their covariances over networks, with delete-one jackknife errors.

The network is the unit: layers, pairs and observables of one network are correlated, networks are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Reader = Callable[[int, int], Floats]

MEAN_SHARE, VARIANCE_SHARE = 3.0, 15.0
"""Networks of a normal law behind one effective network of the error of a mean and of a variance."""

_IN_MEMORY = 2**26  # values (512 MiB); a larger sample is read block by block, three times


class Moments(NamedTuple):
    """Mean and variance over networks of p columns (one column: one observable at one layer of one input or pair).

    Attributes
    ----------
    networks : int
        N.
    defined : (p,) int
        Networks in which the column is a finite number. The others (for example the correlation of a dead layer) are
        left out of that column's mean and variance, and counted here.
    mean, variance : (p,)
        Sample mean; unbiased sample variance. NaN for fewer than 1 or 2 networks.
    mean_error, variance_error : (p,)
        Standard errors by the delete-one jackknife. NaN for fewer than 2 or 3 networks.
    mean_support, variance_support : (p,)
        Effective number of networks behind the error itself, (sum w)^2 / sum w^2 with w the squared influence of a
        network: N/3 and N/15 for a normal law, a few for a heavy tail whatever N is. Then the error means little. More
        than of a normal law is not believed: it says that the sample has no tail, which a small one often has not.
    joint : (s,) int
        Columns whose joint covariance was asked for.
    covariance : (2s, 2s)
        Jackknife covariance of (means, variances) of the joint columns; of rank N - 1 at most. NaN for N < 3.
    """

    networks: int
    defined: NDArray[np.int64]
    mean: Floats
    variance: Floats
    mean_error: Floats
    variance_error: Floats
    mean_support: Floats
    variance_support: Floats
    joint: NDArray[np.intp]
    covariance: Floats


def moments(
    sample: ArrayLike | Reader,
    *,
    networks: int | None = None,
    columns: int | None = None,
    joint: Sequence[int] | None = None,
    rows: int = 4096,
) -> Moments:
    """Means, variances, their jackknife errors and joint covariance.

    Parameters
    ----------
    sample : array_like, shape (N, p), or callable
        Values, or ``read(start, stop) -> (stop - start, p)`` for samples larger than memory.
    networks, columns : int
        N and p, needed with a callable.
    joint : sequence of int, optional
        Columns whose covariance is wanted; default all.
    rows : int
        Networks handled at a time.

    Notes
    -----
    Delete-one jackknife in closed form. With d_i = x_i - mean, the pseudo-values are

        of the mean:      x_i                                                                    (1)
        of the variance:  constant + N/(N-2) d_i^2                                               (2)

    and the covariance of two statistics is the sample covariance of their pseudo-values over N. Where a column is
    undefined in some networks its mean is a ratio of two means; the influence d_i N/n of the defined ones takes the
    place of d_i.
    """
    if callable(sample):
        if networks is None or columns is None:
            raise ValueError("a reader needs the number of networks and of columns")
        read, n, p = sample, networks, columns
    else:
        values = np.asarray(sample, dtype=np.float64)
        if values.ndim != 2:
            raise ValueError(f"expected (networks, columns), got the shape {values.shape}")
        n, p = values.shape
        read = lambda start, stop: values[start:stop]  # noqa: E731
    if callable(sample) and n * p <= _IN_MEMORY:
        held = np.asarray(read(0, n), dtype=np.float64).reshape(n, p)
        read = lambda start, stop: held[start:stop]  # noqa: E731
    chosen = np.arange(p) if joint is None else np.asarray(joint, dtype=np.intp)
    starts = range(0, n, rows)

    defined = np.zeros(p, dtype=np.int64)
    total = np.zeros(p)
    for start in starts:
        block, finite = _finite(read(start, min(start + rows, n)))
        defined += len(block) if finite is None else finite.sum(0)
        total += block.sum(0)
    count = defined.astype(np.float64)
    mean = _divide(total, count)

    square = np.zeros(p)
    for start in starts:
        d, _ = _finite(read(start, min(start + rows, n)) - mean)
        square += (d * d).sum(0)
    spread = _divide(square, count)  # mean of d^2, (n-1)/n of the unbiased variance

    fourth, influence, influence_square = np.zeros(p), np.zeros(p), np.zeros(p)
    product = np.zeros((2 * chosen.size, 2 * chosen.size))
    scale_mean = _divide(np.full(p, float(n)), count)
    scale_variance = scale_mean * _divide(count, count - 2)  # (2)
    for start in starts:
        d, finite = _finite(read(start, min(start + rows, n)) - mean)
        d2 = d * d
        of_variance = d2 - spread
        if finite is not None:
            of_variance[~finite] = 0.0
        square_influence = of_variance * of_variance
        fourth += (d2 * d2).sum(0)
        influence += square_influence.sum(0)
        influence_square += (square_influence * square_influence).sum(0)
        pseudo = np.hstack([d[:, chosen] * scale_mean[chosen], of_variance[:, chosen] * scale_variance[chosen]])
        product += pseudo.T @ pseudo

    variance = _divide(square, count - 1)
    variance_of_square = _divide(influence, count - 1)
    return Moments(
        networks=n,
        defined=defined,
        mean=mean,
        variance=variance,
        mean_error=np.sqrt(_divide(variance, count)),
        variance_error=np.sqrt(_divide(variance_of_square, count)) * _divide(count, count - 2),
        mean_support=np.minimum(_divide(square**2, fourth), count / MEAN_SHARE),
        variance_support=np.minimum(_divide(influence**2, influence_square), count / VARIANCE_SHARE),
        joint=chosen,
        covariance=product / (n * (n - 1.0)) if n > 2 else np.full_like(product, np.nan),
    )


def jackknife(
    statistic: Callable[[Floats], ArrayLike], sample: ArrayLike, groups: int | None = None
) -> tuple[Floats, Floats]:
    """Any statistic of a sample over networks, and the jackknife covariance of its entries.

    Parameters
    ----------
    statistic : callable
        From values (networks, ...) to numbers (k,).
    sample : array_like, shape (N, ...)
        One entry per network.
    groups : int, optional
        Number of groups of equal size (up to one network), deleted one at a time; default N.

    Returns
    -------
    estimate : (k,), covariance : (k, k)
        The covariance is NaN for fewer than two groups.
    """
    values = np.asarray(sample, dtype=np.float64)
    n = values.shape[0]
    g = n if groups is None else min(groups, n)
    estimate = np.atleast_1d(np.asarray(statistic(values), dtype=np.float64))
    if g < 2:
        return estimate, np.full((estimate.size, estimate.size), np.nan)
    edges = np.linspace(0, n, g + 1).astype(int)
    left_out = [
        np.atleast_1d(np.asarray(statistic(np.delete(values, slice(a, b), axis=0)), dtype=np.float64))
        for a, b in pairwise(edges)
    ]
    deviation = np.array(left_out) - np.mean(left_out, axis=0)
    return estimate, (g - 1.0) / g * deviation.T @ deviation


def _finite(block: Floats) -> tuple[Floats, NDArray[np.bool_] | None]:
    """The block with zeros for undefined values, and where it is defined (None: everywhere)."""
    finite = np.isfinite(block)
    if finite.all():
        return block, None
    return np.where(finite, block, 0.0), finite


def _divide(a: Floats, b: Floats) -> Floats:
    """a / b, NaN where b <= 0: a statistic that so few networks do not have."""
    result = np.full(np.broadcast(a, b).shape, np.nan)
    np.divide(a, b, out=result, where=b > 0)
    return result
