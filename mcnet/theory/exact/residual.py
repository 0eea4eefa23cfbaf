"""Residual networks at any finite width: Jacobians of linear ones, lengths and gradients of relu ones."""

from __future__ import annotations

from mcnet.theory.exact.jacobian import SecondMoments
from mcnet.theory.exact.laws import Moments


def linear_residual_jacobian(sigma_w2: float, skip: float, branch: float, width: int, depth: int) -> SecondMoments:
    """Moments of J J^T for ``J = prod (a + s W_l)``, W Gaussian with entries of variance sigma_w2/M.

    Parameters
    ----------
    sigma_w2, skip, branch : float
    width, depth : int

    Notes
    -----
    With v = sigma_w2/M, X = E Tr A^2 and Y = E (Tr A)^2, A = J J^T, from (M, M^2):

        X' = a^4 X + 2 a^2 s^2 v [Y + (1 + M) X] + s^4 v^2 [M (M + 1) X + M Y] ,
        Y' = a^4 Y + a^2 s^2 v [4 X + 2 M Y] + s^4 v^2 [2 M X + M^2 Y] .
    """
    m, v = width, sigma_w2 / width
    a2, s2 = skip**2, branch**2
    x, y = float(m), float(m * m)
    for _ in range(depth):
        x, y = (
            a2 * a2 * x + 2.0 * a2 * s2 * v * (y + (1 + m) * x) + s2 * s2 * v * v * (m * (m + 1) * x + m * y),
            a2 * a2 * y + a2 * s2 * v * (4.0 * x + 2.0 * m * y) + s2 * s2 * v * v * (2.0 * m * x + m * m * y),
        )
    return SecondMoments((a2 + s2 * sigma_w2) ** depth, x / m, y / (m * m))


def relu_residual_lengths(
    sigma_w2: float, sigma_v2: float, skip: float, branch: float, width: int, depth: int
) -> Moments:
    """Moments of K^depth/K^0, K = |h|^2/M, for blocks ``h' = a h + s V relu(W h)`` without biases.

    Parameters
    ----------
    sigma_w2, sigma_v2, skip, branch : float
    width, depth : int

    Notes
    -----
    The signs of the rows of W and of the columns of V make the network equal in law to a linear one with masks of
    probability 1/2, so blocks multiply independently. With rho = sigma_w2 sigma_v2:

        E K'/K     = a^2 + s^2 rho/2 ,
        E (K'/K)^2 = a^4 + a^2 s^2 rho (1 + 2/M) + s^4 rho^2 (1 + 2/M)(1/4 + 5/(4M)) .

    The squared gradient B^0/B^depth, from an error at the top that does not depend on the network, has the same law.
    With s^2 = sigma^2/depth the relative variance saturates near ``exp(2 sigma^2 rho/M) - 1``.
    """
    rho, more = sigma_w2 * sigma_v2, 1.0 + 2.0 / width
    a2, s2 = skip**2, branch**2
    mean = a2 + 0.5 * s2 * rho
    second = a2 * a2 + a2 * s2 * rho * more + s2 * s2 * rho * rho * more * (0.25 + 1.25 / width)
    return Moments(mean**depth, second**depth)


def relu_residual_gradients(
    sigma_w2: float, sigma_v2: float, skip: float, branch: float, width: int, above: int
) -> Moments:
    """Moments of |df/du|^2 in such networks, f = w . h of a Gaussian readout w with entries of variance sigma_w2/M.

    Parameters
    ----------
    sigma_w2, sigma_v2, skip, branch, width
        As :func:`relu_residual_lengths`.
    above : int
        Blocks above the one whose pre-activations u = W h are meant.

    Notes
    -----
    ``df/du = s mask (V^T D)`` with the error D at the output of the block, whose squared length is that of w times a
    length through ``above`` blocks; half of the entries of V^T D pass:

        E |df/du|^2 = s^2 sigma_v2/2 E|D|^2 ,    E |df/du|^4 = s^4 sigma_v2^2 (1/4 + 5/(4M)) E|D|^4 .
    """
    through = relu_residual_lengths(sigma_w2, sigma_v2, skip, branch, width, above)
    gain = branch**2 * sigma_v2 * sigma_w2
    return Moments(0.5 * gain * through.mean, gain**2 * (0.25 + 1.25 / width) * (1.0 + 2.0 / width) * through.second)
