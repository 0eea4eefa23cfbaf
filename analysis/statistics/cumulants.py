"""Connected correlators of outputs and tangent kernel, V, D, F, A and B, measured from networks with jackknife errors.

Defined in :func:`mcnet.theory.program.cumulants`. One pass over the networks: each is an average of products of two
numbers of a network, less the product of their averages.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from mcnet_analysis.statistics.estimate import Floats
from numpy.typing import ArrayLike


class Measured(NamedTuple):
    """A tensor at one width: M times the correlator, its jackknife error, and the networks behind it."""

    value: Floats
    error: Floats
    networks: int


def measured(
    width: int, kernel: ArrayLike, outputs: ArrayLike | None = None, covariance: ArrayLike | None = None
) -> dict[str, Measured]:
    """The tensors that can be read off some networks.

    Parameters
    ----------
    width : int
        M.
    kernel : array_like, shape (N, C, T, C, T)
        Tangent kernel between all C >= 2 outputs.
    outputs : array_like, shape (N, C, T), optional
        Of the same networks: for V, D and F.
    covariance : array_like, shape (N, T, T), optional
        Of the outputs given the hidden layers, sigma_w2 q_hat^L + sigma_b2 of a Gaussian readout: V and D then come
        from it, with smaller errors than from outputs.

    Returns
    -------
    dict
        Of arrays (T, T, T, T), averages over all pairs of different outputs.

    Raises
    ------
    ValueError
        If there are fewer than two outputs or three networks.

    Notes
    -----
    With E_n the mean over N networks, of pairs x, y of numbers

        cov = N/(N-1) (E_n x y - E_n x E_n y),    error^2 = Var_n [(x - E_n x)(y - E_n y)] / N

    to leading order in 1/N: the delete-one jackknife of a covariance. B and F are means of products whose factors (the
    kernel between two outputs, the product of two outputs) have mean zero by symmetry: nothing is subtracted.
    """
    theta = np.asarray(kernel, dtype=np.float64)
    networks, count, inputs = theta.shape[:3]
    if count < 2 or networks < 3:
        raise ValueError(f"correlators need two outputs and three networks; there are {count} and {networks}")
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    shape = (networks, inputs**2)
    own = [theta[:, i, :, i, :].reshape(shape) for i in range(count)]
    cross = {(i, j): theta[:, i, :, j, :].reshape(shape) for i, j in pairs}
    found = {
        "A": _covariance([(own[i], own[j]) for i, j in pairs]),
        "B": _turned(_product([(cross[pair], cross[pair]) for pair in pairs])),
    }
    if outputs is not None:
        f = np.asarray(outputs, dtype=np.float64)
        products = {
            (i, j): (f[:, i, :, None] * f[:, j, None, :]).reshape(shape) for i in range(count) for j in range(count)
        }
        found["V"] = _covariance([(products[i, i], products[j, j]) for i, j in pairs])
        found["D"] = _covariance([(products[i, i], own[j]) for i, j in pairs])
        found["F"] = _turned(_product([(products[pair], cross[pair]) for pair in pairs]))
    if covariance is not None:
        s = np.asarray(covariance, dtype=np.float64).reshape(shape)
        found["V"] = _covariance([(s, s)])
        found["D"] = _covariance([(s, one) for one in own])
    tensor = (inputs,) * 4
    return {
        name: Measured(width * mean.reshape(tensor), width * error.reshape(tensor), networks)
        for name, (mean, error) in found.items()
    }


Pairs = list[tuple[Floats, Floats]]


def _covariance(pairs: Pairs) -> tuple[Floats, Floats]:
    """Of numbers (N, p) and (N, q), the mean over the pairs: (p, q), and its error."""
    networks = len(pairs[0][0])
    mean, error = _product([(x - x.mean(axis=0), y - y.mean(axis=0)) for x, y in pairs])
    return mean * networks / (networks - 1), error


def _product(pairs: Pairs) -> tuple[Floats, Floats]:
    networks, p, q = len(pairs[0][0]), pairs[0][0].shape[1], pairs[0][1].shape[1]
    value, error = np.empty((p, q)), np.empty((p, q))
    for column in range(p):  # (N, q) at a time
        each = np.mean([x[:, column, None] * y for x, y in pairs], axis=0)
        value[column], error[column] = each.mean(axis=0), each.std(axis=0, ddof=1) / networks**0.5
    return value, error


def _turned(found: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """Indices (ab)(cd) of products as (ac)(bd) of the tensor."""
    inputs = round(len(found[0]) ** 0.5)
    mean, error = (x.reshape((inputs,) * 4).transpose(0, 2, 1, 3) for x in found)
    return mean, error
