"""Second moments of the spectrum of J J^T, exact at any width, where the slopes are independent of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mcnet import activations
from mcnet.activations.table import Activation
from mcnet.theory.free.slope_law import slope_law


class SecondMoments(NamedTuple):
    """Moments over networks of one width; tr is the trace divided by the width.

    Attributes
    ----------
    mean : float
        E tr A, A = J J^T.
    second : float
        E tr A^2: the second moment of the spectrum.
    trace_square : float
        E (tr A)^2.
    """

    mean: float
    second: float
    trace_square: float

    @property
    def trace_variance(self) -> float:
        """Variance over networks of tr J J^T."""
        return self.trace_square - self.mean**2


def second_moments(
    activation: str | Mapping[str, Any] | Activation, weights: str, sigma_w2: float, depth: int, width: int
) -> SecondMoments:
    """E tr J J^T, E tr (J J^T)^2 and E (tr J J^T)^2 of ``depth`` layers of width M, exactly.

    Parameters
    ----------
    activation : str, mapping or Activation
        A homogeneous one (linear, relu, leaky-relu): phi' then only depends on the sign of u.
    weights : {"gaussian", "orthogonal"}
        Law of the weights.
    sigma_w2 : float
        Weight variance times width.
    depth, width : int
        Number of layers; M, also the dimension of the input.

    Returns
    -------
    SecondMoments

    Raises
    ------
    ValueError
        If phi is not homogeneous: its slopes depend on the lengths, which depend on the weights.

    Notes
    -----
    The rows of W and the biases are symmetric in sign, so the spectrum has the law it would have with slopes drawn
    independently of W, sign by sign. With x = E tr A^2, y = E (tr A)^2, mu_k = E phi'^(2k), a Gaussian layer maps

        x' = sigma_w2^2 [(mu_1^2 (1 - 1/M) + 2 mu_2/M) x + mu_2 y],
        y' = sigma_w2^2 [(mu_1^2 (1 - 1/M) + mu_2/M) y + (2 mu_2/M^2) x].

    For a Haar matrix O, ``E (O A O^T)_ii (O A O^T)_jj = c_1 + 2 c_2 delta_ij`` and ``E (O A O^T)_ij^2 = c_2`` off the
    diagonal, with c_1, c_2 from x and y. Exact at every width (correct to rounding); biases may be present.
    """
    phi = activations.get(activation)
    if not phi.homogeneous:
        raise ValueError(f'"{phi.label}" is not homogeneous: second moments at finite width are exact only where it is')
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'weights = "{weights}": known here are "gaussian" and "orthogonal"')
    mu_1, mu_2 = (float(moment) for moment in slope_law(phi, 1.0).moments(2))
    m = width
    mean, x, y = 1.0, 1.0, 1.0
    for _ in range(depth):
        mean *= sigma_w2 * mu_1
        if weights == "gaussian":
            x, y = (
                (mu_1**2 * (1 - 1 / m) + 2 * mu_2 / m) * x + mu_2 * y,
                (mu_1**2 * (1 - 1 / m) + mu_2 / m) * y + 2 * mu_2 / m**2 * x,
            )
        else:
            c_2 = m * (x - y) / ((m + 2) * (m - 1)) if m > 1 else 0.0
            c_1 = y - 2 * c_2 / m if m > 1 else y
            pairs, same = m * (m - 1) * mu_1**2, m * mu_2
            x, y = (
                ((c_1 + 2 * c_2) * same + c_2 * pairs) / m,
                ((c_1 + 2 * c_2) * same + c_1 * pairs) / m**2,
            )
        x, y = sigma_w2**2 * x, sigma_w2**2 * y
    return SecondMoments(mean, x, y)
