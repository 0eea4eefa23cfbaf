"""Mean products of different eigenvalues of J J^T against the expected characteristic polynomial, at every width."""

from __future__ import annotations

import math

import numpy as np
from mcnet_analysis.judge.table import Row, comparison
from mcnet_analysis.predict.spectra import exact_products
from mcnet_analysis.statistics.estimate import Floats, moments
from mcnet_analysis.study import Column, Setting

ORDERS = 4
"""Products of so many eigenvalues at most: those of more are means of rare events."""

SAME_NETWORKS = "mean products of eigenvalues (the moments of the same networks are weighed)"


def products(traces: Floats, width: int) -> Floats:
    """Means over all choices of k different eigenvalues of their product, k = 1, 2, ...

    Parameters
    ----------
    traces : ndarray, shape (N, K)
        Moments of the spectra by network, ``tr A^k`` over M, k = 1..K.
    width : int
        M >= K, the number of eigenvalues.

    Returns
    -------
    ndarray, shape (N, K)
        ``e_k/C(M, k)``, by Newton's identities ``k e_k = sum_i (-1)^(i-1) e_(k-i) p_i`` with ``p_i = tr A^i``.
    """
    sums = width * traces
    elementary = [np.ones(len(traces))]
    for k in range(1, traces.shape[1] + 1):
        terms = ((-1) ** (i - 1) * elementary[k - i] * sums[:, i - 1] for i in range(1, k + 1))
        elementary.append(np.sum(list(terms), axis=0) / k)
    return np.stack([e / math.comb(width, k) for k, e in enumerate(elementary)][1:], axis=1)


def product_rows(setting: Setting, traces: Floats, why_left_out: str | None) -> list[Row]:
    """Rows of order "exact" at one width; ``why_left_out`` in place of the usual reason. None where nothing is exact.

    The first says what the first moment says, the second what both second moments say together. They stand beside
    the verdict, which takes the moments.
    """
    count = min(ORDERS, traces.shape[1], setting.width)
    predicted = exact_products(setting, count)
    if predicted is None or len(traces) < 3:
        return []
    m = moments(products(traces[:, :count], setting.width))
    return [
        {
            **comparison(
                Column("jacobian_product", (0,), setting.depth),
                setting.point,
                "product",
                "exact",
                measured=m.mean[k],
                statistical=m.mean_error[k],
                neglected=0.0,
                predicted=predicted[k],
                networks=m.networks,
                support=m.mean_support[k],
                left_out=why_left_out or SAME_NETWORKS,
            ),
            "k": k + 1,
        }
        for k in range(count)
    ]
