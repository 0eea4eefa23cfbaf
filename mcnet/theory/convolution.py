"""Convolutional networks at infinite width: Fourier modes and their depth scales, Gram matrices, tangent kernels.

``u_i(p) = sum_j sum_b W_ij(b) h_j(p + b) + b_i`` on a periodic grid in any number of dimensions, M channels, taps b
around 0 with weights of variance ``sigma_w2 v_b / M``, sum v_b = 1. The shift average of a Gram matrix is

    (A K)_pp' = sum_b v_b K_(p+b, p'+b) .
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import fixed_points, gaussian, tangent
from mcnet.theory.gaussian import ActivationLike, Floats


class Modes(NamedTuple):
    """Fourier modes over the positions near the fixed point, in the order of ``numpy.fft``; arrays of the grid's shape.

    Attributes
    ----------
    length : ndarray
        Depth over which mode k of the squared length over the positions decays.
    correlation : ndarray
        The same for overlaps of two positions (or inputs) at a fixed separation, or of two inputs.
    gradient : ndarray
        Factor per layer of mode k of the squared gradient over the positions, towards the input (its modulus).
    """

    length: Floats
    correlation: Floats
    gradient: Floats


def tap_modes(taps: ArrayLike, positions: int | tuple[int, ...]) -> NDArray[np.complex128]:
    """``lambda_k = sum_b v_b exp(i k b)`` for the wave numbers of a periodic grid.

    Parameters
    ----------
    taps : array_like, shape (k,) or (k_1, k_2, ...)
        Variances v_b, odd numbers per axis, the middle one at b = 0; their sum is 1.
    positions : int or tuple of int
        The grid.

    Returns
    -------
    ndarray, of the grid's shape
        Real for symmetric taps; 1 at k = 0, and everywhere if only the middle tap is there.

    Raises
    ------
    ValueError
        If taps are negative or do not sum to 1, even in number, wider than the grid, or of another dimension.
    """
    shape = (positions,) if isinstance(positions, int) else tuple(positions)
    v = _taps(taps, shape)
    grid = np.zeros(shape)
    middle = [size // 2 for size in v.shape]
    for index in np.ndindex(v.shape):
        grid[tuple((i - m) % n for i, m, n in zip(index, middle, shape, strict=True))] += v[index]
    return np.asarray(np.fft.ifftn(grid) * grid.size)


def modes(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, taps: ArrayLike, positions: int | tuple[int, ...]
) -> Modes:
    """Depth scales of Fourier modes at the stable fixed point.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
    taps, positions
        As in :func:`tap_modes`.

    Returns
    -------
    Modes

    Notes
    -----
    Mode k decays by ``chi |lambda_k|`` a layer, depth scale ``-1/ln(chi |lambda_k|)``, with chi the slope of the length
    map at q* for lengths, of the correlation map at c* for overlaps. It is infinite where the factor is 1 to within
    1e-12, 0 where it vanishes. Only k = 0 reaches the depth scale of dense networks; gradients become uniform in space,
    factor ``chi_1 |lambda_k|``. Accuracy: the limit M -> infinity, small perturbations.

    References
    ----------
    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, arXiv:1806.05393.
    """
    phi = activations.get(activation)
    size = np.abs(tap_modes(taps, positions))
    point = fixed_points.fixed_point(phi, sigma_w2, sigma_b2)
    return Modes(_scale(point.slope_q * size), _scale(point.slope_c * size), point.chi_1 * size)


def covariances(
    activation: ActivationLike, sigma_w2: float, sigma_b2: float, gram: ArrayLike, depth: int, taps: ArrayLike
) -> Floats:
    """Gram matrices of all inputs and positions, layer by layer.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
    gram : array_like, shape (T, P, T, P), or (T, P_1, P_2, T, P_1, P_2), ...
        ``x_a(p) . x_b(p') / M_0``.
    depth : int
    taps : array_like

    Returns
    -------
    ndarray, shape (depth + 1, *gram.shape)
        ``h^l_a(p) . h^l_b(p') / M``, the inputs first: ``G(sigma_w2 A K + sigma_b2)``, G = E phi phi entry by entry.
    """
    path = _Path(activations.get(activation), sigma_w2, sigma_b2, gram, depth, taps)
    return np.array([k.reshape(path.shape) for k in path.grams])


def kernel(
    gram: ArrayLike,
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    taps: ArrayLike,
    pooling: str,
    parameterization: str,
    train_biases: bool,
    width: float | None = None,
) -> Floats:
    """Tangent kernel of one output at infinite width.

    Parameters
    ----------
    gram, taps
        As in :func:`covariances`.
    activation, sigma_w2, sigma_b2, depth, parameterization, train_biases, width
        As in :func:`mcnet.theory.tangent.kernel`.
    pooling : {"gap", "flat"}
        Readout of the mean over the positions, or of all positions with weights of their own, of variance
        ``sigma_w2/(M P)``.

    Returns
    -------
    ndarray, shape (T, T)

    Raises
    ------
    ValueError
        If pooling is another word; if a tap of variance 0 would be trained; as :func:`tap_modes`.

    Notes
    -----
    ``Theta = readout + sum_l sum_pp' B^l_pp' (alpha_l Q^(l-1)_pp' + beta_l)``, where Q = A K in the ``ntk``
    parametrisation and ``Q_pp' = sum_b K_(p+b, p'+b)`` in the others, which train the taps as they are; and


        gap:  readout alpha (1/P^2) sum_pp' K_pp' + beta ,   B^L_pp' = sigma_w2/P^2 <p p'> ,
        flat: readout alpha (1/P) sum_p K_pp + beta ,        B^L_pp' = delta_pp' sigma_w2/P <p p> ,
        B^l = sigma_w2 (A^T B^(l+1)) o <p p> .

    In the limit ``flat`` keeps p = p' only, as a locally connected network without shared weights. Accuracy: the limit.

    References
    ----------
    Novak et al. 2019, arXiv:1810.05148.
    """
    if pooling not in ("gap", "flat"):
        raise ValueError(f'pooling = "{pooling}": it must be "gap" or "flat"')
    if parameterization != "ntk" and not np.all(np.asarray(taps) > 0.0):
        raise ValueError(f'"{parameterization}" trains a tap of variance 0 too: leave the tap out')
    phi = activations.get(activation)
    path = _Path(phi, sigma_w2, sigma_b2, gram, depth, taps)
    alpha, beta = tangent.layer_factors(parameterization, sigma_w2, sigma_b2, depth, train_biases, width)
    t, p = path.inputs, path.positions
    last = path.grams[-1].reshape(t, p, t, p)
    if pooling == "gap":
        theta = alpha[-1] * last.mean((1, 3)) + beta[-1]
        above = np.full_like(last, 1.0 / p**2)
    else:
        fan = p if parameterization == "standard" else 1
        theta = fan * alpha[-1] * np.einsum("apbp->ab", last) / p + beta[-1]
        above = np.broadcast_to(np.eye(p)[None, :, None, :] / p, last.shape)
    above = sigma_w2 * above
    for layer in reversed(range(depth)):
        b = above * path.slopes(layer).reshape(last.shape)
        question = path.shifted[layer] if parameterization == "ntk" else path.average(path.grams[layer], ones=True)
        answers = alpha[layer] * question.reshape(last.shape) + beta[layer]
        theta = theta + (b * answers).sum((1, 3))
        above = sigma_w2 * path.average(b.reshape(t * p, t * p), backwards=True).reshape(last.shape)
    return np.asarray(theta)


class _Path:
    """Gram matrices (T P, T P) of all layers, and of what the next layer sees of them."""

    def __init__(
        self, phi: Activation, sigma_w2: float, sigma_b2: float, gram: ArrayLike, depth: int, taps: ArrayLike
    ) -> None:
        start = np.asarray(gram, dtype=np.float64)
        half = start.ndim // 2
        if start.ndim < 4 or start.ndim % 2 or start.shape[:half] != start.shape[half:]:
            raise ValueError(
                f"gram must have shape (T, P, T, P), with one P for every axis of the grid, got {start.shape}"
            )
        self.phi, self.sigma_w2, self.sigma_b2 = phi, sigma_w2, sigma_b2
        self.shape, self.inputs, grid = start.shape, start.shape[0], start.shape[1:half]
        self.positions = math.prod(grid)
        v = _taps(taps, grid)
        places = np.arange(self.positions).reshape(grid)
        axes = tuple(range(len(grid)))
        self.weights, self.neighbours = [], []
        for index in np.ndindex(v.shape):
            offset = tuple(size // 2 - i for i, size in zip(index, v.shape, strict=True))
            self.weights.append(float(v[index]))
            self.neighbours.append(np.roll(places, offset, axes).ravel())  # place of p + b
        size = self.inputs * self.positions
        self.grams = [start.reshape(size, size)]
        self.shifted = []
        for _ in range(depth):
            self.shifted.append(self.average(self.grams[-1]))
            self.grams.append(self.means(len(self.shifted) - 1, derivative=False))

    def average(self, k: Floats, backwards: bool = False, ones: bool = False) -> Floats:
        """A K, or A^T K, or the sum over the taps without their variances."""
        four = k.reshape(self.inputs, self.positions, self.inputs, self.positions)
        result = np.zeros_like(four)
        for weight, place in zip(self.weights, self.neighbours, strict=True):
            if weight:
                here = np.argsort(place) if backwards else place
                result += (1.0 if ones else weight) * four[:, here][..., here]
        return result.reshape(k.shape)

    def slopes(self, layer: int) -> Floats:
        """E phi' phi' in hidden layer ``layer + 1``."""
        return self.means(layer, derivative=True)

    def means(self, layer: int, derivative: bool) -> Floats:
        s = self.sigma_w2 * self.shifted[layer] + self.sigma_b2
        single = gaussian.derivative_square if derivative else gaussian.square
        double = gaussian.derivative_product if derivative else gaussian.product
        result, one = np.empty_like(s), np.diagonal(s)
        np.fill_diagonal(result, single(self.phi, one))
        a, b = np.triu_indices(len(s), 1)
        # translated copies have the same entries: each pair of values once
        values = np.stack([one[a], one[b], s[a, b]])
        alike = (values / max(one.max(), 1e-300)).round(13)
        _, first, back = np.unique(alike, axis=1, return_index=True, return_inverse=True)
        result[a, b] = result[b, a] = np.asarray(double(self.phi, *values[:, first]))[back.ravel()]
        return result


def _taps(taps: ArrayLike, grid: tuple[int, ...]) -> Floats:
    v = np.asarray(taps, dtype=np.float64)
    if v.ndim != len(grid):
        raise ValueError(f"taps of shape {v.shape} for a grid of shape {grid}: one axis for each of the grid's")
    if any(size % 2 == 0 for size in v.shape) or any(size > n for size, n in zip(v.shape, grid, strict=True)):
        raise ValueError(f"taps of shape {v.shape}: odd numbers, at most those of the grid {grid}")
    if np.any(v < 0.0) or not math.isclose(v.sum(), 1.0, rel_tol=1e-9):
        raise ValueError(f"the variances of the taps must be >= 0 and sum to 1; they sum to {v.sum():g}")
    return v


def _scale(factor: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        log = np.log(np.abs(factor))
    return np.where(log > -1e-12, np.inf, -1.0 / np.minimum(log, -1e-12))
