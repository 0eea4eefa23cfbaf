"""Laws of large depth of residual networks with skip = branch = 1 and bounded odd phi."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from mcnet.activations import Activation
from mcnet.theory import fixed_points
from mcnet.theory.residual.block import Block


class CorrelationLaw(NamedTuple):
    """Correlation of two inputs at large depth: ``c - limit ~ depth^exponent``."""

    limit: float
    exponent: float


def gradient_rate(block: Block) -> float:
    """``log(B^0/B^L) ~ rate sqrt(L)``: growth of the squared gradient over L blocks with a = s = 1, bounded odd phi.

    Parameters
    ----------
    block : Block
        ``post`` or ``two``, skip and branch 1, phi -> +-1 (times a constant) far out.

    Raises
    ------
    ValueError
        For another block, or phi that is not bounded with opposite limits.

    Notes
    -----
    Lengths grow as kappa l (:func:`length_rate`) and ``E phi'^2 ~ I/sqrt(2 pi q)``, I the integral of phi'^2, so that

        rate = 2 I f sqrt(sigma_w2/(2 pi kappa)) ,    f = 1 (post) or sigma_v2 (two) .

    tanh: I = 4/3. Gradients grow without bound but slower than exponentially; the next order is log L.

    References
    ----------
    Yang, Schoenholz 2017, arXiv:1712.08969.
    """
    kappa = length_rate(block)
    return 2.0 * block.gain * _slope_integral(block.phi) / math.sqrt(2.0 * math.pi * block.sigma_w2 * kappa)


def length_rate(block: Block) -> float:
    """kappa in ``K^l ~ kappa l``: the length per block where phi has saturated; errors as :func:`gradient_rate`."""
    if block.kind == "pre" or block.skip != 1.0 or block.branch != 1.0:
        raise ValueError('the laws of large depth are for blocks "post" and "two" with skip = 1 and branch = 1')
    phi = block.phi
    ends = [float(phi.phi(np.float64(u))) for u in (-1e9, -1e7, 1e7, 1e9)]
    top = ends[3]
    if not (top != 0.0 and np.allclose(ends, [-top, -top, top, top], rtol=1e-6)):
        raise ValueError(f"{phi.label} does not saturate at opposite values: its lengths do not grow linearly")
    return float(block.branch_length(top * top))


def correlation_law(block: Block) -> CorrelationLaw:
    """Limit and exponent of the correlation of two inputs over many blocks with a = s = 1, bounded odd phi.

    Parameters and errors as in :func:`gradient_rate`.

    Notes
    -----
    Far out ``E phi_a phi_b = (2/pi) asin c``. With F(c) the overlap of the branch over its length kappa, c moves by
    ``(F(c) - c)/l`` a block: it tends to the root c* < 1 of F(c) = c as a power of depth, exponent ``F'(c*) - 1``.
    ``post``, or ``two`` with sigma_c2 = 0: c* = 0, exponent 2/pi - 1 = -0.3634, whatever the bias. Where c* > 0 the
    exponent lies between that and -1/2, and the saturation of lengths adds a term depth^(-1/2), which fades slowly.

    References
    ----------
    Yang, Schoenholz 2017, arXiv:1712.08969.
    """
    kappa = length_rate(block)
    shared = 0.0 if block.sigma_c2 is None else block.sigma_c2 / kappa
    if shared == 1.0:
        return CorrelationLaw(1.0, -1.0)
    limit = 0.0
    if shared > 0.0:
        limit = fixed_points.root_of(
            lambda c: (1.0 - shared) * 2.0 / math.pi * math.asin(c) + shared - c, 0.0, _below_one(shared)
        )
    slope = (1.0 - shared) * 2.0 / math.pi / math.sqrt(1.0 - limit * limit)
    return CorrelationLaw(limit, slope - 1.0)


def _below_one(shared: float) -> float:
    """Where (1 - e) (2/pi) asin c + e - c is smallest: its second root is c = 1."""
    return math.sqrt(1.0 - ((1.0 - shared) * 2.0 / math.pi) ** 2)


def _slope_integral(phi: Activation) -> float:
    """Integral of phi'^2 over the line."""
    from scipy.integrate import quad

    edges = [-math.inf, *sorted({0.0, *phi.kinks}), math.inf]
    return sum(
        float(quad(lambda u: float(phi.dphi(u)) ** 2, low, high, epsabs=1e-13)[0])
        for low, high in itertools.pairwise(edges)
    )
