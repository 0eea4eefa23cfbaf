"""Normalisation inside the network at infinite width: batch normalisation, layer normalisation, the largest eigenvalue.

Batch normalisation (no epsilon, no gain and shift) of the pre-activations of unit i over T inputs is
``(u - mean)/sigma``, with mean and sigma over the batch; layer normalisation is the same over the units of one input.
Inputs are exchangeable if ``x_a . x_a`` is the same for all of them, and ``x_a . x_b`` for all pairs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mcnet import activations
from mcnet.activations import Activation
from mcnet.theory import batch_pair, gaussian, tangent
from mcnet.theory.gaussian import ActivationLike, Floats


class BatchFisher(NamedTuple):
    """Eigenvalues of the Fisher information matrix over the width M, one output, weights alone.

    Attributes
    ----------
    lambda_1 : float
        Of the constant vector over the inputs.
    lambda_perp : float
        The T - 1 others.
    trace : float
        ``lambda_1 + (T - 1) lambda_perp``.
    """

    lambda_1: float
    lambda_perp: float
    trace: float


class LayerNorm(NamedTuple):
    """Networks with layer normalisation of every hidden layer, at infinite width; layers first.

    Attributes
    ----------
    q : ndarray, shape (depth, T, T)
        Pre-activations before they are normalised.
    c : ndarray, shape (depth, T, T)
        Their correlations, the covariances after it.
    q_hat : ndarray, shape (depth + 1, T, T)
        Activations, the inputs first.
    q_tilde : ndarray, shape (depth, T, T)
        Gradients of one output with respect to the pre-activations before they are normalised, summed over units.
    """

    q: Floats
    c: Floats
    q_hat: Floats
    q_tilde: Floats


class BatchMeans(NamedTuple):
    """Means over two entries a, b of a normalised batch, with slopes p = phi'."""

    k_11: float  # phi(a)^2
    k_12: float  # phi(a) phi(b)
    p2: float  # p_a^2
    pp: float  # p_a p_b
    x2: float  # (a p_a)^2
    xx: float  # a p_a b p_b


def gram(activation: ActivationLike, batch: int) -> tuple[float, float]:
    """Gram of the activations after batch normalisation, ``h(a) . h(b) / M``: diagonal and off-diagonal entry.

    Parameters
    ----------
    activation : str, mapping or Activation
    batch : int
        T >= 2 exchangeable inputs.

    Returns
    -------
    k_11, k_12 : float

    Notes
    -----
    Reached in one layer, whatever the inputs, sigma_w2 and sigma_b2: a normalised batch is sqrt(T) times a uniform unit
    vector orthogonal to (1, ..., 1). For relu ``1/2`` and ``[sin t - (pi - t)/(T - 1)]/(2 pi)`` with
    ``cos t = -1/(T - 1)``.

    Accuracy: the limit M -> infinity; quadrature 1e-12. Inputs that are not exchangeable get there geometrically
    (linear networks never do).

    References
    ----------
    Yang, Pennington, Rao, Sohl-Dickstein, Schoenholz 2019, arXiv:1902.08129.
    """
    means = batch_means(activations.get(activation), batch)
    return means.k_11, means.k_12


def chi(activation: ActivationLike, batch: int) -> float:
    """Factor by which the squared gradient, summed over the batch, grows per hidden layer towards the input.

    Parameters
    ----------
    activation : str, mapping or Activation
    batch : int
        T >= 4 exchangeable inputs.

    Raises
    ------
    ValueError
        If T < 4: no gradient passes at T = 2, its mean is infinite at T = 3. (Its variance is for T < 6.)

    Notes
    -----
    With p2 = E p_a^2, pp = E p_a p_b, x2 = E (a p_a)^2, xx = E a p_a b p_b over the normalised batch,

        chi = T / [(T-3)(T-1)(K_11 - K_12)] {T p2 (1 - 1/T)^2 + (T-1) pp/T - [x2 - (x2 + (T-1) xx)/T]} .

    Always above 1, whatever sigma_w2: linear (T-2)/(T-3); relu 1.788190 at T = 8, pi/(pi - 1) as T -> infinity. The
    step into layer 1 has the Gram of the inputs in place of K: a factor ``chi (K_11 - K_12)/(K^0_11 - K^0_12)``.

    Accuracy: the limit M -> infinity; quadrature 1e-12.

    References
    ----------
    Yang et al. 2019, arXiv:1902.08129.
    """
    _passes_gradients(batch)
    m, t = batch_means(activations.get(activation), batch), batch
    inner = t * m.p2 * (1.0 - 1.0 / t) ** 2 + (t - 1) * m.pp / t - (m.x2 - (m.x2 + (t - 1) * m.xx) / t)
    return t / ((t - 3) * (t - 1) * (m.k_11 - m.k_12)) * inner


def fim(activation: ActivationLike, batch: int, weight_layers: int) -> BatchFisher:
    """Fisher information of a network with batch normalisation in all its hidden layers.

    Parameters
    ----------
    activation : str, mapping or Activation
    batch : int
        T >= 4 exchangeable inputs, all of them in one batch.
    weight_layers : int
        L >= 2: L - 1 hidden layers of width M and a linear readout, all with the same sigma_w2, which drops out. The
        inputs may have any dimension and any exchangeable Gram.

    Returns
    -------
    BatchFisher
        Over M. A trained readout bias adds 1 to ``M lambda_1``; biases below a batch normalisation have no gradient.

    Raises
    ------
    ValueError
        If T < 4 or L < 2.

    Notes
    -----
    With the means of :func:`chi` and ``g = sum_{j=0}^{L-2} chi^j``,

        trace    = K_11 + g [(T-1) p2 - x2]/(T-3) ,
        lambda_1 = [K_11 + (T-1) K_12]/T + g [(T-1)(p2 - pp) - (x2 + (T-1) xx)]/[T (T-3)] .

    The first terms are the readout. lambda_1 stays of order M at T of order M unless ``E phi(z) = 0``: batch
    normalisation in hidden layers does not remove the large eigenvalue of relu. At width M the T - 1 other eigenvalues
    spread over a relative O(M^(-1/2)): compare ``v^T F v`` of the constant vector and the trace, not the largest one.

    References
    ----------
    Karakida, Akaho, Amari 2019, arXiv:1906.02926, for the setting.
    """
    _passes_gradients(batch)
    if weight_layers < 2:
        raise ValueError(f"weight_layers = {weight_layers}: at least one hidden layer and the readout are needed")
    phi = activations.get(activation)
    m, t = batch_means(phi, batch), batch
    growth = sum(chi(phi, batch) ** j for j in range(weight_layers - 1))
    trace = m.k_11 + growth * ((t - 1) * m.p2 - m.x2) / (t - 3)
    constant = (t - 1) * (m.p2 - m.pp) - (m.x2 + (t - 1) * m.xx)
    lambda_1 = (m.k_11 + (t - 1) * m.k_12) / t + growth * constant / (t * (t - 3))
    return BatchFisher(lambda_1, (trace - lambda_1) / (t - 1), trace)


@lru_cache(maxsize=256)
def batch_means(activation: Activation, batch: int) -> BatchMeans:
    """The six means that batch normalisation of exchangeable inputs needs; K_11 and K_12 from T = 2 on.

    Homogeneous activations: Gaussian means at variance 1 and covariance -1/(T - 1), since lengths factor out.
    """
    if activation.homogeneous and batch >= 2:
        c = -1.0 / (batch - 1)
        k_11, k_12 = gaussian.square(activation, 1.0), gaussian.product(activation, 1.0, 1.0, c)
        p2 = gaussian.derivative_square(activation, 1.0)
        return BatchMeans(k_11, k_12, p2, gaussian.derivative_product(activation, 1.0, 1.0, c), k_11, k_12)
    ab, weights = batch_pair.nodes(batch, activation.kinks, gaussian.feature_scale(activation))
    h, p = activation.phi(ab), activation.dphi(ab)
    x = ab * p
    return BatchMeans(*(float(weights @ (one[0] * one[k])) for one in (h, p, x) for k in (0, 1)))


def _passes_gradients(batch: int) -> None:
    if batch < 4:
        raise ValueError(
            f"batch = {batch}: mean gradients through batch normalisation exist from 4 inputs on "
            "(none passes at 2, the mean of 1/sigma^2 is infinite at 3)"
        )


def layer_norm(activation: ActivationLike, sigma_w2: float, sigma_b2: float, gram: ArrayLike, depth: int) -> LayerNorm:
    """Signal and gradients of a network whose hidden pre-activations are normalised over the units of each input.

    Parameters
    ----------
    activation : str, mapping or Activation
    sigma_w2, sigma_b2 : float
        Weight variance times fan-in; bias variance. The readout has the same sigma_w2.
    gram : array_like, shape (T, T)
        x_a . x_b / M_0.
    depth : int
        Number of hidden layers.

    Returns
    -------
    LayerNorm

    Raises
    ------
    ValueError
        If pre-activations vanish, so that nothing can be normalised.

    Notes
    -----
    ``q = sigma_w2 q_hat + sigma_b2`` of the layer below, ``c_ab = q_ab/sqrt(q_aa q_bb)``, ``q_hat_ab = E phi phi`` at
    variances 1 and covariance c; ``q_tilde^l_ab = sigma_w2 E[p_a p_b] q_tilde^(l+1)_ab / sqrt(q^l_aa q^l_bb)``, from 1
    at the readout. Accuracy: the limit M -> infinity.
    """
    phi = activations.get(activation)
    below = np.atleast_2d(np.asarray(gram, dtype=np.float64))
    q, c, q_hat, slopes = [], [], [below], []
    for _ in range(depth):
        variance = sigma_w2 * below + sigma_b2
        if not np.all(np.diagonal(variance) > 0.0):
            raise ValueError("pre-activations of zero length cannot be normalised: an input, phi or sigma_w2 is zero")
        deviation = np.sqrt(np.diagonal(variance))
        size = np.outer(deviation, deviation)
        correlation = np.clip(variance / size, -1.0, 1.0)
        np.fill_diagonal(correlation, 1.0)
        one = np.ones_like(correlation)
        below = np.asarray(gaussian.product(phi, one, one, correlation))
        slopes.append(sigma_w2 * np.asarray(gaussian.derivative_product(phi, one, one, correlation)) / size)
        q.append(variance)
        c.append(correlation)
        q_hat.append(below)
    q_tilde = np.cumprod(np.array(slopes)[::-1], axis=0)[::-1]
    return LayerNorm(np.array(q), np.array(c), np.array(q_hat), q_tilde)


def layer_norm_chi(activation: ActivationLike, sigma_w2: float, sigma_b2: float) -> float:
    """Factor by which a squared gradient grows per layer-normalised hidden layer towards the input.

    ``sigma_w2 E phi'^2/(sigma_w2 E phi^2 + sigma_b2)`` at variance 1: for relu without bias exactly 1 at any sigma_w2.
    """
    phi = activations.get(activation)
    slope, square = gaussian.derivative_square(phi, 1.0), gaussian.square(phi, 1.0)
    return float(sigma_w2 * slope / (sigma_w2 * square + sigma_b2))


def layer_norm_kernel(
    gram: ArrayLike,
    activation: ActivationLike,
    sigma_w2: float,
    sigma_b2: float,
    depth: int,
    parameterization: str,
    train_biases: bool,
    width: float | None = None,
) -> Floats:
    """Tangent kernel of one output with layer normalisation in all hidden layers, shape (T, T).

    Parameters as in :func:`mcnet.theory.tangent.kernel`; the Fisher matrix of T inputs has the eigenvalues of the
    ``standard`` kernel over T. Accuracy: the limit M -> infinity.
    """
    alpha, beta = tangent.layer_factors(parameterization, sigma_w2, sigma_b2, depth, train_biases, width)
    signal = layer_norm(activation, sigma_w2, sigma_b2, gram, depth)
    theta: Floats = alpha[-1] * signal.q_hat[-1] + beta[-1]
    for layer in range(depth):
        theta = theta + signal.q_tilde[layer] * (alpha[layer] * signal.q_hat[layer] + beta[layer])
    return theta


def last_layer_trace(trace: float, outputs: int, variance: float) -> float:
    """Mean trace of Theta (or F) where the C outputs of each input are normalised over the outputs.

    Parameters
    ----------
    trace : float
        Of the same network without the normalisation.
    outputs : int
        C.
    variance : float
        Of an output before it, ``sigma_w2 q_hat + sigma_b2``.

    Raises
    ------
    ValueError
        If C <= 3: the mean is infinite. (The variance is for C <= 5.)

    Notes
    -----
    ``trace (C - 2)/((C - 3) variance)``: the normalisation passes C - 2 directions, and
    ``E 1/sigma^2 = C/((C - 3) variance)``.
    """
    if outputs <= 3:
        raise ValueError(f"outputs = {outputs}: the mean of 1/sigma^2 over the outputs is finite from 4 outputs on")
    return trace * (outputs - 2) / ((outputs - 3) * variance)


PLACEMENTS = ("none", "last-mean", "last-batch", "hidden-batch", "hidden-layer", "last-layer")


def growth(placement: str, activation: ActivationLike, inputs: str) -> float:
    """Exponent of the largest eigenvalue of the Fisher information in the width.

    Parameters
    ----------
    placement : {"none", "last-mean", "last-batch", "hidden-batch", "hidden-layer", "last-layer"}
        Where what is normalised: the outputs over the batch (mean only, or mean and variance), all hidden layers over
        the batch or over units, the outputs over themselves.
    activation : str, mapping or Activation
    inputs : {"fixed", "proportional"}
        T stays fixed, or grows in proportion to M.

    Returns
    -------
    float
        1 or 0. For networks whose inputs keep a common part (kappa_2 > 0: a bias, ``E phi != 0`` or correlated inputs).

    Notes
    -----
    With fixed T every placement has exponent 1. With T in proportion to M the normalisations of the outputs over the
    batch remove it (proved: at most 1/2; seen: 0), and so does batch normalisation of the hidden layers if
    ``E phi(z) = 0``, z ~ N(0, 1); normalising over units never does.

    References
    ----------
    Karakida, Akaho, Amari 2019, arXiv:1906.02926.
    """
    if placement not in PLACEMENTS:
        raise ValueError(f'placement = "{placement}": it must be one of {", ".join(PLACEMENTS)}')
    if inputs not in ("fixed", "proportional"):
        raise ValueError(f'inputs = "{inputs}": it must be "fixed" or "proportional"')
    if inputs == "fixed" or placement in ("none", "hidden-layer", "last-layer"):
        return 1.0
    if placement != "hidden-batch":
        return 0.0
    phi = activations.get(activation)
    mean = gaussian.mean(phi.phi, 1.0, phi.kinks, gaussian.feature_scale(phi))
    return 0.0 if abs(mean) < 1e-12 else 1.0
