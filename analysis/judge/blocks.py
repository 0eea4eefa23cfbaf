"""Errors of what the figure of single blocks shows: the relative variance of the squared singular values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mcnet_analysis.statistics.estimate import Floats, Moments
from mcnet_analysis.study import Column

FIRST, SECOND = "block_mu_1", "block_mu_2"


def ratio_errors(columns: Sequence[Column], m: Moments) -> Floats:
    """Standard errors of mu_2/mu_1^2 of means at the columns of mu_2: (columns,).

    NaN at other columns, and at layers that have no part in the covariance.
    """
    found = np.full(len(columns), np.nan)
    place = {j: k for k, j in enumerate(m.joint.tolist())}
    first = {(c.inputs, c.layer): j for j, c in enumerate(columns) if c.observable == FIRST}
    for j, column in enumerate(columns):
        i = first.get((column.inputs, column.layer)) if column.observable == SECOND else None
        if i in place and j in place:
            at, mean, square = [place[i], place[j]], m.mean[i], m.mean[j]
            slope = np.array([-2.0 * square / mean**3, 1.0 / mean**2])
            found[j] = np.sqrt(slope @ m.covariance[np.ix_(at, at)] @ slope)
    return found
