"""The signal at infinite width: lengths, correlations and gradients layer by layer, fixed points and the critical line.

Conventions: ``u^l = W^l h^(l-1) + b^l``, ``h^l = phi(u^l)``, ``W ~ (0, sigma_w2 / M)``, ``b ~ N(0, sigma_b2)``; q is
the squared length of u per neuron, q_hat that of h, q_tilde the squared norm of the back-propagated error. One layer is
in :mod:`mcnet.theory.maps`, fixed points are in :mod:`mcnet.theory.fixed_points`, the critical line is in
:mod:`mcnet.theory.critical_line`; all of it can be called from here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.theory import fixed_arrays, gaussian
from mcnet.theory.critical_line import Critical, critical_point, critical_sigma_w2, double_critical
from mcnet.theory.fixed_points import (
    FixedPoint,
    chi_1,
    depth_scales,
    fixed_correlation,
    fixed_length,
    fixed_lengths,
    fixed_point,
)
from mcnet.theory.gaussian import ActivationLike, Floats
from mcnet.theory.many_inputs import pair_means
from mcnet.theory.maps import chi, correlation_map, gap_map, length_map, length_slope

__all__ = [
    "Covariances",
    "Critical",
    "FixedPoint",
    "chi",
    "chi_1",
    "correlation_gaps",
    "correlation_map",
    "correlations",
    "covariances",
    "critical_point",
    "critical_sigma_w2",
    "depth_scales",
    "double_critical",
    "fixed_correlation",
    "fixed_length",
    "fixed_lengths",
    "fixed_point",
    "gap_map",
    "gradient_covariances",
    "gradients",
    "length_map",
    "length_slope",
    "lengths",
]


def lengths(
    activation: ActivationLike, sigma_w2: ArrayLike, sigma_b2: ArrayLike, q_hat_0: ArrayLike, depth: int
) -> Floats:
    """Squared lengths of the pre-activations, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float or array_like
        Weight variance times fan-in; bias variance. Arrays are broadcast, with q_hat_0 too.
    q_hat_0 : float or array_like
        |x|^2 / M_0 of the input.
    depth : int
        Number of layers.

    Returns
    -------
    ndarray, shape (..., depth)
        ``q^1 = sigma_w2 q_hat_0 + sigma_b2``, then the length map.

    Notes
    -----
    Accuracy: the limit M -> infinity of |u^l|^2 / M; relative quadrature error 1e-13 a layer.

    References
    ----------
    Poole et al. 2016, arXiv:1606.05340.
    """
    activation = activations.get(activation)
    w, b, start = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (sigma_w2, sigma_b2, q_hat_0)))
    q = np.empty((*w.shape, depth))
    for layer in range(depth):
        squared = start if not layer else _squares(activation, q[..., layer - 1])
        q[..., layer] = w * squared + b
    return q


def _squares(activation: activations.Activation, q: Floats) -> Floats:
    """E phi^2 at one length, or at many by shared nodes; lengths of 0 exactly."""
    if q.ndim == 0:
        return np.asarray(gaussian.square(activation, float(q)))
    square = np.full(q.shape, float(activation.phi(np.float64(0.0))) ** 2)
    square[q > 0.0] = fixed_arrays.squares(activation, q[q > 0.0])
    return np.where(np.isfinite(q), square, q)


def correlations(
    activation: ActivationLike,
    sigma_w2: ArrayLike,
    sigma_b2: ArrayLike,
    q_hat_0: ArrayLike,
    c_0: ArrayLike,
    depth: int,
) -> Floats:
    """Correlations of the pre-activations of two inputs of equal length, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float or array_like
        Weight variance times fan-in; bias variance. Arrays are broadcast, with q_hat_0 and c_0 too.
    q_hat_0 : float or array_like
        |x|^2 / M_0 of both inputs.
    c_0 : float or array_like
        Their correlation.
    depth : int
        Number of layers.

    Returns
    -------
    ndarray, shape (..., depth)
        ``c^1 = (sigma_w2 q_hat_0 c_0 + sigma_b2) / q^1``, then the correlation map at the running length. NaN where
        the length is 0.

    Notes
    -----
    Accuracy: the limit M -> infinity; 1e-13, and as :func:`correlation_gaps` where c is near 1.
    """
    gap_0 = 1.0 - np.asarray(c_0, dtype=np.float64)
    return 1.0 - correlation_gaps(activation, sigma_w2, sigma_b2, q_hat_0, gap_0, depth)


def correlation_gaps(
    activation: ActivationLike,
    sigma_w2: ArrayLike,
    sigma_b2: ArrayLike,
    q_hat_0: ArrayLike,
    gap_0: ArrayLike,
    depth: int,
) -> Floats:
    """``1 - c``, layer by layer, to full relative accuracy also where c is 1 to all digits.

    Parameters as in :func:`correlations`, with ``gap_0 = 1 - c_0``; shape (..., depth). Relative error below
    1e-10 a layer for gaps above 1e-12 and for smooth phi; 1e-8 below where phi' jumps.
    """
    activation = activations.get(activation)
    given = (sigma_w2, sigma_b2, q_hat_0, gap_0)
    w, b, start, gap = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in given))
    q = lengths(activation, w, b, start, depth)
    gaps = np.empty(q.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        gaps[..., 0] = np.where(q[..., 0] > 0.0, w * start * gap / q[..., 0], math.nan)
    for layer in range(1, depth):
        below = q[..., layer - 1], gaps[..., layer - 1], w, b
        if w.ndim == 0:
            gaps[layer] = gap_map(activation, *map(float, below))
        else:
            flat = fixed_arrays.gap_maps(activation, *(x.ravel() for x in below))
            gaps[..., layer] = flat.reshape(w.shape)
    return gaps


class Covariances(NamedTuple):
    """Second moments of T inputs in every layer.

    Attributes
    ----------
    q_hat : ndarray, shape (depth + 1, T, T)
        ``h^l(a) . h^l(b) / M``, layers 0 (the inputs) to depth.
    q : ndarray, shape (depth, T, T)
        ``u^l(a) . u^l(b) / M``, layers 1 to depth.
    """

    q_hat: Floats
    q: Floats


def covariances(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, gram: ArrayLike, depth: int
) -> Covariances:
    """Covariances of any number of inputs, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    gram : array_like, shape (T, T)
        ``x_a . x_b / M_0`` of the inputs, positive semi-definite.
    depth : int
        Number of layers.

    Notes
    -----
    Every pair by itself: ``q_ab = sigma_w2 q_hat_ab + sigma_b2``, ``q_hat_ab = E phi(u_a) phi(u_b)``.

    Accuracy: the limit M -> infinity; 1e-13 of the diagonal. Differences of nearly equal inputs are better had from
    :func:`correlation_gaps`.
    """
    activation = activations.get(activation)
    first = np.asarray(gram, dtype=np.float64)
    q_hat = np.empty((depth + 1, *first.shape))
    q = np.empty((depth, *first.shape))
    q_hat[0] = first
    for layer in range(depth):
        q[layer] = sigma_w2 * q_hat[layer] + sigma_b2
        q_hat[layer + 1] = pair_means(activation, q[layer], derivative=False)
    return Covariances(q_hat, q)


def gradients(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, q_hat_0: float, depth: int, readout: bool
) -> Floats:
    """Squared norms of the back-propagated errors, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance.
    q_hat_0 : float
        |x|^2 / M_0 of the input.
    depth : int
        Number of hidden layers.
    readout : bool
        True: the error is the gradient of one output of a linear readout with weight variance sigma_w2 on top of the
        hidden layers. False: the error at ``h^depth`` is a random vector with mean squared norm 1.

    Returns
    -------
    ndarray, shape (depth,)
        q_tilde^1 to q_tilde^depth, the squared norms (sums over the units) of the gradients with respect to u^l.

    Notes
    -----
    ``q_tilde^l = sigma_w2 E phi'^2 q_tilde^(l+1)`` with the mean at the length of layer l, from ``q_tilde = 1`` at the
    readout; without one from ``q_tilde^depth = E phi'^2``.

    Accuracy: the limit M -> infinity; relative quadrature error 1e-13 a layer.

    References
    ----------
    Schoenholz et al. 2017, arXiv:1611.01232; Karakida, Akaho, Amari 2019, arXiv:1806.01316.
    """
    return gradient_covariances(activation, sigma_w2, sigma_b2, [[q_hat_0]], depth, readout)[:, 0, 0]


def gradient_covariances(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, gram: ArrayLike, depth: int, readout: bool
) -> Floats:
    """Inner products of the back-propagated errors of T inputs, layer by layer: shape (depth, T, T).

    Parameters as in :func:`covariances` and :func:`gradients`; without a readout all inputs have the same error at
    ``h^depth``. ``q_tilde^l_ab = sigma_w2 E[phi'(u_a) phi'(u_b)] q_tilde^(l+1)_ab``.
    """
    activation = activations.get(activation)
    q = covariances(activation, sigma_w2, sigma_b2, gram, depth).q
    q_tilde = np.empty_like(q)
    above = np.full(q.shape[1:], sigma_w2 if readout else 1.0)  # of the error at h^l
    for layer in reversed(range(depth)):
        q_tilde[layer] = pair_means(activation, q[layer], derivative=True) * above
        above = sigma_w2 * q_tilde[layer]
    return q_tilde
