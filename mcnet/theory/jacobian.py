"""Spectrum of the input-output Jacobian and of the conditional Fisher information, at infinite width.

``J = D_L W_L ... D_1 W_1`` over the hidden layers, ``D_l = diag phi'(u^l)``, ``u^l ~ N(0, q_l)``, all widths equal; the
law is that of the eigenvalues of ``J J^T``; finite widths are in :func:`second_moments` (exact) and
:func:`moment_coefficients` (order 1/M). Gaussian weights have entries N(0, sigma_w2/M), orthogonal ones are
``sqrt(sigma_w2)`` times a Haar matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory.exact.jacobian import SecondMoments, second_moments
from mcnet.theory.expansion.jacobian import MomentCoefficients, moment_coefficients
from mcnet.theory.fixed_points import fixed_length
from mcnet.theory.free.fisher_chain import FisherChain, fisher_moments
from mcnet.theory.free.one_factor import one_factor
from mcnet.theory.free.product import Layers, ProductSystem, law_of, negative_axis, top
from mcnet.theory.free.series import product_moments
from mcnet.theory.free.slope_law import SlopeLaw, slope_law
from mcnet.theory.free.spectrum import MASS_TOLERANCE, Atoms, LogSpectrum, Spectrum, from_log, only_atoms, resolve

__all__ = [
    "MomentCoefficients",
    "SecondMoments",
    "conditional_fim",
    "log_spectrum",
    "moment_coefficients",
    "moments",
    "second_moments",
    "spectrum",
]

Real = NDArray[np.floating[Any]]
ActivationLike = str | Mapping[str, Any] | Activation

MERGE = 1e-6  # pre-activation variances closer than this share one law
MOST_GROUPS = 40  # in a spectrum; a slow transient of hundreds of layers is covered by so many laws
TAIL = 1e-9  # mass that may lie below the grid
NEARLY = 1.3  # sum of the missing masses of the heaviest atoms; from 1 on their product is no atom
LOG_SMALLEST = -690.0  # log of the smallest x whose density is a finite double


def moments(
    activation: ActivationLike,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    count: int,
    q: ArrayLike | None = None,
) -> Real:
    """Moments (1/M) tr (J J^T)^k of the limit M -> infinity.

    Parameters
    ----------
    activation : str, mapping or Activation
        As in a scenario.
    weights : {"gaussian", "orthogonal"}
        Law of the weights.
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance (it only enters the fixed point).
    depth : int
        Number of layers.
    count : int
        Number of moments.
    q : array_like, shape () or (depth,), optional
        Variance of the pre-activations, one or one per layer; default: the fixed point of the length map.

    Returns
    -------
    ndarray, shape (count,)
        mu_1 .. mu_count.

    Raises
    ------
    ValueError
        For weights whose limit is not covered, or a q that is no variance.

    Notes
    -----
    Lagrange inversion of power series (:func:`mcnet.theory.free.series.product_moments`). Relative error below 1e-12
    for     count <= 8; the series lose about a digit per three further moments.

    References
    ----------
    Pennington, Schoenholz, Ganguli 2017, 2018.
    """
    phi = activations.get(activation)
    haar = _is_haar(weights)
    groups = _groups(phi, _lengths(phi, sigma_w2, sigma_b2, depth, q), 0.0)
    factors = [(group.law.moments(count), group.count) for group in groups]
    if any(factor[0] == 0.0 for factor, _ in factors) or sigma_w2 == 0:
        return np.zeros(count)
    return product_moments(factors, depth * math.log(sigma_w2), haar, count)


def spectrum(
    activation: ActivationLike,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    q: ArrayLike | None = None,
    *,
    points: int = 800,
) -> Spectrum:
    """Law of the eigenvalues of J J^T (not of the singular values) in the limit M -> infinity.

    Parameters
    ----------
    activation, weights, sigma_w2, sigma_b2, depth, q
        As in :func:`moments`.
    points : int
        Points of the grid.

    Returns
    -------
    Spectrum
        ``.x``, ``.density`` (continuous part, per unit of x), ``.cdf(x)``, ``.atoms``, ``.lambda_max``, ``.mass``, ...

    Raises
    ------
    ValueError
        For weights that are not covered; if the density found misses the mass by more than 1e-3; or if more than 1e-3
        of the mass lies below the range of a double: :func:`log_spectrum` gives the law of log x then.

    Notes
    -----
    The layer-dependent free product of :mod:`mcnet.theory.free.product`, followed from the negative axis. The
    distribution function needs no quadrature over the density, so ``.mass`` (a quadrature) is a check of both. Density
    of the linear net to 1e-10 relative; mass and first two moments of smooth and piecewise linear nets to 1e-6 on 800
    points (1e-4 where phi' has an atom that just fails to survive, for example elu with two orthogonal layers).
    Layers whose q differ by less than 1e-6 share their mean; with more than 40 different ones the bins grow, which
    costs up to 2e-4 of the second moment (depth 400, slow transient) and nothing of the first.
    """
    first, second = moments(activation, weights, sigma_w2, sigma_b2, depth, 2, q)
    log = _log_spectrum(activation, weights, sigma_w2, sigma_b2, depth, q, points, LOG_SMALLEST)
    return from_log(log, float(first), float(second))


def log_spectrum(
    activation: ActivationLike,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    q: ArrayLike | None = None,
    *,
    points: int = 800,
) -> LogSpectrum:
    """Law of log x for the eigenvalues x of J J^T: also where they leave the range of a double.

    Parameters, errors and accuracy as in :func:`spectrum`.
    """
    return _log_spectrum(activation, weights, sigma_w2, sigma_b2, depth, q, points, -math.inf)


def conditional_fim(
    activation: ActivationLike,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    q: ArrayLike | None = None,
    *,
    points: int = 400,
) -> Spectrum:
    """Spectrum of the Fisher information of one input with as many outputs as the width, in units of the width.

    Parameters
    ----------
    activation, weights, sigma_w2, sigma_b2
        As in :func:`moments`.
    depth : int
        Number L of weight layers. The output is u^L, the pre-activation of the last one: L - 1 layers of phi' enter.
        This is the spectrum of sum_l q_hat_{l-1} J_l J_l^T with J_l = du^L/du^l, the non-zero part of the Fisher
        information of all weights divided by the width (biases add 1/M to each q_hat).
    q : array_like, shape () or (depth,), optional
        Variance of the pre-activations u^1..u^L; default: the fixed point. They fix
        ``q_hat_{l-1} = (q_l - sigma_b2)/sigma_w2``.
    points : int
        Points of the grid.

    Returns
    -------
    Spectrum
        As from :func:`spectrum`; ``.lambda_max``, ``.mean``, ``.second_moment`` do not come from the density. The
        support starts at q_hat_{L-1}, with an atom there where phi' vanishes.

    Raises
    ------
    ValueError
        As :func:`spectrum`, and if some q is not above sigma_b2.

    Notes
    -----
    At criticality (chi_1 = 1) with equal q the mean is L q_hat. The equations are in
    :mod:`mcnet.theory.free.fisher_chain`. Mass and first two moments of the density to 1e-6 on 400 points.

    References
    ----------
    Hayase and Karakida 2020.
    """
    phi = activations.get(activation)
    haar = _is_haar(weights)
    if q is None:
        q = fixed_length(phi, sigma_w2, sigma_b2)
    lengths = _lengths(phi, sigma_w2, sigma_b2, depth, q)
    if sigma_w2 == 0 or min(lengths) <= sigma_b2:
        raise ValueError(f"q must exceed sigma_b2 = {sigma_b2}: q_hat = (q - sigma_b2)/sigma_w2 is a squared length")
    q_hat = tuple(float((length - sigma_b2) / sigma_w2) for length in lengths)
    keys = [1.0 if phi.homogeneous else length for length in lengths[:-1]]
    known = {key: slope_law(phi, key) for key in set(keys)}
    laws = tuple(known[key] for key in keys)
    with np.errstate(over="ignore"):
        mean, second = fisher_moments(laws, q_hat, sigma_w2, haar)
    if not math.isfinite(second):
        raise ValueError(f"at depth {depth} the second moment is beyond the range of a double; take a smaller depth")
    if any(law.values.size == 0 for law in laws):
        raise ValueError("phi' vanishes at q = 0: no layer below it has a gradient")
    if haar and all(law.single for law in laws):
        return from_log(only_atoms(((math.log(mean), 1.0),)), mean, second)
    if not laws:
        return from_log(only_atoms(((math.log(q_hat[0]), 1.0),)), mean, second)
    if haar and depth == 2:
        scale = math.log(sigma_w2 * q_hat[0])
        return from_log(one_factor(phi, lengths[0], scale, points), mean, second, q_hat[-1])
    chain = FisherChain(laws, q_hat, math.log(sigma_w2), haar)
    log_top = chain.top()
    s, states, excess = chain.negative_axis(log_top, LOG_SMALLEST, TAIL)
    if 2 * excess > MASS_TOLERANCE:
        raise ValueError(f"up to {min(2 * excess, 1.0):.2g} of the mass lies too near the lower edge to be resolved")
    look = _look(points, laws)
    evaluate = law_of(chain, (s, states), log_top)
    log = resolve(evaluate, log_top, float(s[-1]), chain.atoms(), points, look)
    return from_log(log, mean, second, q_hat[-1])


def _log_spectrum(
    activation: ActivationLike,
    weights: str,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    q: ArrayLike | None,
    points: int,
    lowest: float,
) -> LogSpectrum:
    phi = activations.get(activation)
    haar = _is_haar(weights)
    lengths = _lengths(phi, sigma_w2, sigma_b2, depth, q)
    groups = _groups(phi, lengths, MERGE)
    log_scale = depth * math.log(sigma_w2) if sigma_w2 > 0 else -math.inf
    if math.isinf(log_scale) or any(group.law.values.size == 0 for group in groups):
        return only_atoms(((-math.inf, 1.0),))
    if len(groups) < len(set(lengths)) and all(group.law.cells is not None for group in groups):
        # Merged layers keep the mean of the spectrum: what is left is of second order in the bins, in its shape only.
        log_scale += math.log(moments(phi, weights, 1.0, sigma_b2, depth, 1, lengths)[0])
        log_scale -= sum(group.count * math.log(group.law.moments(1)[0]) for group in groups)
    zero = float(max(group.law.zero for group in groups))
    if haar:
        # A Haar factor is unitary: a layer with constant phi' only scales.
        log_scale += sum(group.count * math.log(group.law.largest) for group in groups if group.law.single)
        groups = tuple(group for group in groups if not group.law.single)
        if not groups:
            return only_atoms(((log_scale, 1.0),))
        if sum(group.count for group in groups) == 1:
            alone = next(q_l for q_l in lengths if not slope_law(phi, q_l).single)
            return one_factor(phi, alone, log_scale, points)
    system = ProductSystem(groups, log_scale, haar)
    s, states, excess = negative_axis(system, lowest, TAIL)
    if 2 * excess[-1] > MASS_TOLERANCE:
        raise ValueError(
            f"at depth {depth} up to {min(2 * excess[-1], 1.0):.2g} of all eigenvalues lie below 1e-300, the range "
            "of a double; log_spectrum gives the law of their logarithm"
        )
    atoms = _product_atoms(groups, log_scale) if haar else ()
    if zero > 0:
        atoms = ((-math.inf, zero), *atoms)
    look = _look(points, [group.law for group in groups])
    breaks = _lost_atoms(groups, log_scale) if haar else ()
    log_top = top(system)
    evaluate = law_of(system, (s, states), log_top)
    return resolve(evaluate, log_top, float(s[-1]), atoms, points, look, breaks)


def _look(points: int, laws: Sequence[SlopeLaw]) -> int:
    """Points to look for gaps with: only where phi' has atoms are several likely."""
    return points if all(law.cells is None for law in laws) else points // 5


def _is_haar(weights: str) -> bool:
    if weights == "uniform":
        raise ValueError(
            'weights = "uniform": the limits here are derived for "gaussian" and "orthogonal" weights; use "gaussian", '
            "whose limit i.i.d. weights of the same variance are expected to share (not its finite-width corrections)"
        )
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'weights = "{weights}" is not known ("gaussian", "orthogonal")')
    return weights == "orthogonal"


def _lengths(phi: Activation, sigma_w2: float, sigma_b2: float, depth: int, q: ArrayLike | None) -> list[float]:
    """Variance of the pre-activations, layer by layer."""
    if depth < 1:
        raise ValueError(f"depth = {depth}: at least one layer is needed")
    if sigma_w2 < 0 or not math.isfinite(sigma_w2):
        raise ValueError(f"sigma_w2 = {sigma_w2} is no variance")
    if q is None:
        q = 1.0 if phi.homogeneous else fixed_length(phi, sigma_w2, sigma_b2)
    lengths = np.asarray(q, dtype=float)
    if lengths.shape not in ((), (depth,)):
        raise ValueError(f"q has shape {lengths.shape}; give one number or one per layer, shape ({depth},)")
    if not np.all(np.isfinite(lengths) & (lengths >= 0)):
        raise ValueError("q must be finite and not negative: it is the variance of the pre-activations")
    return [float(q_l) for q_l in np.broadcast_to(lengths, (depth,))]


def _groups(phi: Activation, lengths: Sequence[float], tolerance: float) -> tuple[Layers, ...]:
    """Layers with equal q, or q within the tolerance, together; a group takes the mean q of its layers.

    The error is of second order in the tolerance, which grows until there are at most MOST_GROUPS.
    """
    if phi.homogeneous:
        return (Layers(slope_law(phi, 1.0), len(lengths)),)
    groups: list[list[float]] = []
    while not groups or (tolerance > 0 and len(groups) > MOST_GROUPS):
        groups = []
        for q in sorted(lengths):
            if groups and q - groups[-1][0] <= tolerance * min(1.0, 1e3 * q):
                groups[-1].append(q)
            else:
                groups.append([q])
        tolerance *= 1.5
    return tuple(Layers(slope_law(phi, math.fsum(group) / len(group)), len(group)) for group in groups)


def _lost_atoms(groups: Sequence[Layers], log_scale: float) -> tuple[float, ...]:
    """log x where an atom of a free product just fails to survive, and leaves a singular or a very steep density."""
    heaviest = [max(group.law.atoms, key=lambda atom: atom[1], default=(0.0, 0.0)) for group in groups]
    deficit = math.fsum(group.count * (1 - atom[1]) for group, atom in zip(groups, heaviest, strict=True))
    if not 1 <= deficit < NEARLY or any(value == 0.0 for value, _ in heaviest):
        return ()
    scale = math.fsum(group.count * math.log(atom[0]) for group, atom in zip(groups, heaviest, strict=True))
    return (log_scale + scale,)


def _product_atoms(groups: Sequence[Layers], log_scale: float) -> Atoms:
    """Atoms away from zero of a free product: at prod a_l with mass 1 - sum (1 - mass_l) where that is positive.

    At most one layer can contribute an atom that is not its heaviest: two would have masses of at most 1/2 each.
    """
    heaviest = []
    for group in groups:
        positive = [atom for atom in group.law.atoms if atom[0] > 0]
        if not positive:
            return ()
        heaviest.append(max(positive, key=lambda atom: atom[1]))
    deficit = math.fsum(group.count * (1 - atom[1]) for group, atom in zip(groups, heaviest, strict=True))
    place = log_scale + math.fsum(group.count * math.log(atom[0]) for group, atom in zip(groups, heaviest, strict=True))
    found = [(place, 1 - deficit)] if deficit < 1 else []
    for group, (value, mass) in zip(groups, heaviest, strict=True):
        for other, other_mass in group.law.atoms:
            share = 1 - deficit - mass + other_mass
            if other > 0 and other != value and share > 0:
                # each layer of the group may be the one that differs, all at the same place
                found.append((place + math.log(other / value), group.count * share))
    return tuple(sorted(found))
